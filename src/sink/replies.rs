//! The replies of one round, in order: some are rendered already, and those to ends of data wait until it
//! is known whether their message is kept.

use super::keep::Keep;
use crate::smtp::deviation::Deviations;
use crate::smtp::reply::Reply;
use crate::smtp::server::EndOfData;
use crate::spool::{Sealed, Ticket};

/// More octets than the reply to an end of data has.
const LINE_BYTES: usize = 80;

/// The text that names a message which is counted and not kept.
const DISCARDED: &[u8] = b"discarded";

/// A message that was taken, and whose client has no reply yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenMessage {
    /// `None` when it is counted and not kept.
    pub(super) stored: Option<Sealed>,
    pub(super) bytes: u64,
    pub(super) recipients: u64,
    pub(super) keep: Keep,
    pub(super) deviations: Deviations,
}

/// The replies that wait.
///
/// INVARIANT: `at` never falls from one to the next, and is within the rendered octets.
#[derive(Debug, Default)]
pub(super) struct ReplyQueue {
    pending: Vec<PendingReply>,
    /// Lines of those replies.
    lines: usize,
    /// The name of a message as text; the buffer is reused.
    id: Vec<u8>,
}

#[derive(Debug)]
struct PendingReply {
    /// How many octets of the rendered replies go before this one.
    at: usize,
    reply: EndOfData,
    message: TakenMessage,
}

impl ReplyQueue {
    /// Queues the reply to an end of data after the `rendered` octets of other replies.
    pub(super) fn push(&mut self, rendered: usize, reply: EndOfData, message: TakenMessage) {
        debug_assert!(
            self.pending.last().is_none_or(|last| last.at <= rendered),
            "replies are queued in the order of their places"
        );
        self.lines += reply.lines();
        self.pending.push(PendingReply { at: rendered, reply, message });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// An upper bound of the octets that the replies will have.
    pub(super) fn octets(&self) -> usize {
        self.lines * LINE_BYTES
    }

    /// The ticket of the last message that waits for the spool.
    pub(super) fn last_ticket(&self) -> Option<Ticket> {
        let mut newest_first = self.pending.iter().rev();
        newest_first.find_map(|pending| pending.message.stored.map(|stored| stored.ticket))
    }

    /// Renders each reply that waits at its place among the octets of `out`. `fate` says whether the
    /// message is kept, or else the reply that refuses it; it is asked once for each, in order.
    ///
    /// `scratch` is room for octets that have to move; where the reply is the last one nothing moves.
    pub(super) fn compose(
        &mut self,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
        mut fate: impl FnMut(&TakenMessage, EndOfData) -> Result<(), Reply>,
    ) {
        let Some(first) = self.pending.first().map(|pending| pending.at) else { return };
        assert!(first <= out.len(), "replies were sent before those that they follow");
        scratch.clear();
        scratch.extend_from_slice(&out[first..]);
        out.truncate(first);
        let mut moved = first;
        for PendingReply { at, reply, message } in self.pending.drain(..) {
            out.extend_from_slice(&scratch[moved - first..at - first]);
            moved = at;
            match fate(&message, reply) {
                Ok(()) => reply.accept(name(message.stored, &mut self.id), out),
                Err(refusal) => reply.refuse(refusal, out),
            }
        }
        out.extend_from_slice(&scratch[moved - first..]);
        debug_assert!(moved <= first + scratch.len(), "a reply stands after the rendered octets");
        self.lines = 0;
    }
}

fn name(stored: Option<Sealed>, text: &mut Vec<u8>) -> &[u8] {
    let Some(Sealed { place, .. }) = stored else { return DISCARDED };
    text.clear();
    place.write(text);
    text
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::limits::RECIPIENTS_DEFAULT;
    use crate::smtp::auth::AuthPolicy;
    use crate::smtp::extension::Extensions;
    use crate::smtp::server::{
        BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy,
    };
    use crate::spool::{Draft, Meta, Options, Spool};

    const TAKEN: TakenMessage = TakenMessage {
        stored: None,
        bytes: 0,
        recipients: 0,
        keep: Keep::All,
        deviations: Deviations::empty(),
    };

    const LOST: Reply = Reply::new(451, 3, 0, "lost");

    fn server(protocol: Protocol) -> Server {
        Server::new(Rc::new(Policy {
            hostname: "sink.example".into(),
            protocol,
            message_bytes_max: u64::MAX,
            recipients_max: RECIPIENTS_DEFAULT,
            syntax: Syntax::Strict,
            bare_newline: BareNewline::Reject,
            extensions: Extensions::ALL,
            commands: Commands::default(),
            auth: AuthPolicy::default(),
            tls: TlsPolicy::default(),
        }))
    }

    /// The replies to `wire`, where the messages whose numbers are in `lost` are not kept.
    fn converse(protocol: Protocol, wire: &str, lost: &[usize]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _, mut writers) = Spool::open(dir.path(), Options::default()).unwrap();
        let (mut server, mut queue) = (server(protocol), ReplyQueue::default());
        let (mut out, mut input, mut all) = (Vec::new(), wire.as_bytes(), Vec::new());
        while let Some(event) = server.step(&mut input, &mut out) {
            if let Event::End(_) = event {
                let (mut draft, meta) = (Draft::default(), Meta::default());
                let to = server.envelope().recipients();
                let sealed = writers[0].seal(&mut draft, &meta, to).unwrap();
                all.push(sealed);
                let stored = Some(sealed);
                let message = TakenMessage { stored, recipients: 1, ..TAKEN };
                queue.push(out.len(), server.end_accepted(), message);
            }
        }
        assert_eq!(queue.last_ticket(), all.last().map(|sealed| sealed.ticket));
        let mut asked = all.iter().enumerate();
        queue.compose(&mut out, &mut Vec::new(), |message, _| {
            let (number, sealed) = asked.next().unwrap();
            assert_eq!(message.stored, Some(*sealed), "in order");
            if lost.contains(&number) { Err(LOST) } else { Ok(()) }
        });
        assert!(asked.next().is_none() && queue.is_empty() && queue.octets() == 0);
        let text = String::from_utf8(out).unwrap();
        for (number, sealed) in all.iter().enumerate() {
            let told = text.contains(&format!("queued as {}\r\n", sealed.place));
            assert_eq!(told, !lost.contains(&number), "{text}");
        }
        text.lines()
            .filter(|line| !line.starts_with("250-"))
            .map(|line| line.to_owned() + "\n")
            .collect()
    }

    const ONE: &str = "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@y.example>\r\nRCPT TO:<c@y.example>\r\n\
                       BDAT 3 LAST\r\nhi\n";

    #[test]
    fn each_reply_stands_where_its_message_ended() {
        let wire = format!("EHLO x\r\n{ONE}{ONE}{ONE}NOOP\r\nQUIT\r\n");
        let replies = converse(Protocol::Smtp, &wire, &[1]);
        let codes: Vec<_> = replies.lines().map(|line| &line[..line.len().min(9)]).collect();
        let envelope = ["250 2.1.0", "250 2.1.5", "250 2.1.5"];
        let expected: Vec<_> = (envelope.into_iter().chain(["250 2.0.0"]))
            .chain(envelope)
            .chain(["451 4.3.0"])
            .chain(envelope)
            .chain(["250 2.0.0", "250 2.0.0", "221 2.0.0"])
            .collect();
        assert_eq!(codes[codes.len() - expected.len()..], expected, "{replies}");
    }

    #[test]
    fn lmtp_answers_for_each_recipient_whatever_the_fate() {
        let wire = format!("LHLO x\r\n{ONE}{ONE}NOOP\r\n");
        let replies = converse(Protocol::Lmtp, &wire, &[0]);
        let ends: Vec<_> = replies
            .lines()
            .skip_while(|line| !line.starts_with("451"))
            .map(|line| &line[..9])
            .collect();
        let envelope = ["250 2.1.0", "250 2.1.5", "250 2.1.5"];
        let expected: Vec<_> =
            ["451 4.3.0"; 2].into_iter().chain(envelope).chain(["250 2.0.0"; 3]).collect();
        assert_eq!(ends, expected, "{replies}");
    }

    #[test]
    fn a_reply_that_comes_last_moves_nothing() {
        let (mut server, mut queue) = (server(Protocol::Smtp), ReplyQueue::default());
        let (mut out, mut scratch) = (Vec::new(), Vec::new());
        let wire = format!("EHLO x\r\n{ONE}");
        let mut input = wire.as_bytes();
        while let Some(event) = server.step(&mut input, &mut out) {
            if let Event::End(_) = event {
                let message =
                    TakenMessage { bytes: 3, recipients: 2, keep: Keep::Nothing, ..TAKEN };
                queue.push(out.len(), server.end_accepted(), message);
            }
        }
        assert_eq!(queue.last_ticket(), None);
        queue.compose(&mut out, &mut scratch, |_, _| Ok(()));
        assert!(out.ends_with(b"250 2.0.0 Ok: queued as discarded\r\n"));
        assert_eq!(scratch.capacity(), 0);
    }
}
