//! The fast receiver, fed in pieces, seen as the slow one is.

use std::rc::Rc;

use ringpost::smtp::reply::{Enhanced, ReplyReader};
use ringpost::smtp::server::{Event, Policy, Server};

use super::reference::{Seen, Stored};

/// What is seen of a session in which the client sends `wire` in `pieces`, the rest in one.
pub fn drive(policy: &Rc<Policy>, wire: &[u8], pieces: impl IntoIterator<Item = usize>) -> Seen {
    let mut session = Session {
        server: Server::new(policy.clone()),
        seen: Seen::default(),
        body: Vec::new(),
        replies: Vec::new(),
    };
    let mut rest = wire;
    for octets in pieces {
        let (piece, behind) = rest.split_at(octets.min(rest.len()));
        session.feed(piece);
        rest = behind;
    }
    session.feed(rest);
    session.seen.replies = words(&session.replies);
    session.seen
}

struct Session {
    server: Server,
    seen: Seen,
    body: Vec<u8>,
    replies: Vec<u8>,
}

impl Session {
    fn feed(&mut self, mut input: &[u8]) {
        let mut replies = Vec::new();
        loop {
            while let Some(event) = self.server.step(&mut input, &mut replies) {
                match event {
                    Event::Begin => assert!(self.body.is_empty()),
                    Event::Body(piece) => self.body.extend_from_slice(piece),
                    Event::End(flags) => self.end(flags.bits(), &mut replies),
                    Event::Discard => self.body.clear(),
                    Event::Close => self.seen.closed = true,
                }
            }
            self.replies.append(&mut replies);
            if input.is_empty() {
                return;
            }
        }
    }

    fn end(&mut self, flags: u32, replies: &mut Vec<u8>) {
        let envelope = self.server.envelope();
        self.seen.stored.push(Stored {
            sender: envelope.reverse_path().to_vec(),
            sender_params: envelope.reverse_params().to_vec(),
            recipients: envelope.recipients().map(|(path, _)| path.to_vec()).collect(),
            body: std::mem::take(&mut self.body),
            flags,
        });
        self.server.accept("0-1-40", replies);
    }
}

/// One word for each reply: `250/2.1.0`, or `354` where there is no enhanced code.
pub fn words(wire: &[u8]) -> Vec<String> {
    let mut input = wire;
    let mut reader = ReplyReader::default();
    let mut words = Vec::new();
    while let Some(line) = reader.step(&mut input).unwrap() {
        if line.last {
            words.push(match Enhanced::parse(line.text) {
                Some(enhanced) => format!("{}/{enhanced}", line.code),
                None => line.code.to_string(),
            });
        }
    }
    words
}
