//! SMTP smuggling: every sequence that some receiver took for an end of data, with a second
//! transaction inside the message behind it.
//!
//! A message ends at CRLF . CRLF, or at . CRLF right behind the 354, and nowhere else (RFC 5321
//! §4.1.1.4). What is stored and answered must be what the slow receiver of `support` says, which
//! must be what [`WouldBeEnd::ends`] says.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::thread;

use ringpost::engine::EngineKind;
use ringpost::smtp::ending::{WouldBeEnd, endings};
use ringpost::smtp::server::{BareNewline, Policy, Syntax};
use ringpost::spool::Reader;

use crate::drive::{drive, words};
use crate::reference::world::Circumstances;
use crate::reference::{Quirk, Reference, Seen};
use crate::sink::engines;
use crate::stream::policy;
use crate::under_tls::{Door, Doors, takes_all};

/// Clients at once on each sink.
const CALLERS: usize = 4;

/// The framing of a message.
#[derive(Clone, Copy, Debug)]
enum Framing {
    Data,
    /// One chunk, or two that meet at this octet.
    Bdat(Option<usize>),
}

/// A session whose message holds `vector` and commands behind it.
fn session(number: usize, vector: &WouldBeEnd, framing: Framing) -> Vec<u8> {
    let lead = format!("EHLO x\r\nMAIL FROM:<s{number}@b>\r\nRCPT TO:<c@d>\r\n");
    let evil = format!("MAIL FROM:<evil{number}@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil");
    let content = format!("{}{evil}\r\n.\r\n", vector.text()).into_bytes();
    let mut wire = lead.into_bytes();
    match framing {
        Framing::Data => {
            wire.extend_from_slice(b"DATA\r\n");
            wire.extend_from_slice(&content);
        }
        Framing::Bdat(cut) => {
            let (one, two) = content.split_at(cut.unwrap_or(0));
            if cut.is_some() {
                wire.extend_from_slice(format!("BDAT {}\r\n", one.len()).as_bytes());
                wire.extend_from_slice(one);
            }
            wire.extend_from_slice(format!("BDAT {} LAST\r\n", two.len()).as_bytes());
            wire.extend_from_slice(two);
        }
    }
    wire.extend_from_slice(b"QUIT\r\n");
    wire
}

fn keep() -> Policy {
    Policy { bare_newline: BareNewline::Keep, ..policy() }
}

/// What a sink does unless it is told otherwise.
fn lenient() -> Policy {
    Policy { syntax: Syntax::Lenient, ..keep() }
}

fn reject() -> Policy {
    Policy { bare_newline: BareNewline::Reject, ..policy() }
}

/// What must come of a session: what the slow receiver says, held against the rule itself.
fn expected(policy: &Policy, vector: &WouldBeEnd, framing: Framing, wire: &[u8]) -> Seen {
    let seen = Reference::new(policy, Circumstances::default(), None).run(wire, []);
    let (sessions, chunks) = match framing {
        Framing::Data if vector.ends() => return seen,
        Framing::Data => ("250/2.1.0 250/2.1.5 354", ""),
        Framing::Bdat(None) => ("250/2.1.0 250/2.1.5", ""),
        Framing::Bdat(Some(_)) => ("250/2.1.0 250/2.1.5", " 250/2.0.0"),
    };
    let verdict = if seen.stored.is_empty() { "550/5.6.0" } else { "250/2.0.0" };
    let replies = format!("{sessions}{chunks} {verdict} 221/2.0.0");
    // Behind the answer to EHLO.
    assert_eq!(seen.replies[1..].join(" "), replies, "{vector:?} {framing:?}");
    let bare = vector.text().replace("\r\n", "").contains(['\r', '\n']);
    let refused =
        bare && policy.bare_newline == BareNewline::Reject && matches!(framing, Framing::Data);
    assert_eq!(seen.stored.len(), usize::from(!refused), "{vector:?} {framing:?}");
    assert!(seen.stored.iter().all(|m| m.sender.starts_with(b"s") && m.recipients.len() == 1));
    seen
}

#[test]
fn nothing_is_smuggled_at_any_split_point() {
    let policies = [keep(), reject(), lenient()].map(Rc::new);
    let mut sessions = 0;
    for (number, vector) in endings().enumerate() {
        let mut framings = vec![Framing::Data, Framing::Bdat(None)];
        framings.extend((1..=vector.text().len()).map(|cut| Framing::Bdat(Some(cut))));
        for (policy, framing) in policies.iter().flat_map(|p| framings.iter().map(move |f| (p, *f)))
        {
            let wire = session(number, &vector, framing);
            let expected = expected(policy, &vector, framing, &wire);
            let from = wire.windows(3).position(|w| w == b"TO:").unwrap();
            for at in from..wire.len() {
                let seen = drive(policy, Circumstances::default(), &wire, [at]);
                assert_eq!(seen, expected, "{vector:?} {framing:?} split at {at}");
                sessions += 1;
            }
            let seen = drive(policy, Circumstances::default(), &wire, vec![1; wire.len()]);
            assert_eq!(seen, expected, "{vector:?} {framing:?} octet by octet");
        }
    }
    assert!(sessions > 200_000, "{sessions}");
}

#[test]
fn nothing_is_smuggled_over_sockets() {
    thread::scope(|scope| {
        for engine in engines() {
            scope.spawn(move || attack(engine));
        }
    });
}

#[test]
fn nothing_is_smuggled_under_tls() {
    thread::scope(|scope| {
        for engine in engines() {
            scope.spawn(move || attack_under_tls(engine));
        }
    });
}

/// The judge is judged: a receiver that is fooled by any of these is told from one that is not.
#[test]
fn receivers_that_are_fooled_are_noticed() {
    for (quirk, framing) in [
        (Quirk::LfDotEnds, Framing::Data),
        (Quirk::DotLfEnds, Framing::Data),
        (Quirk::DotCrEnds, Framing::Data),
        (Quirk::UnstuffsBehindLf, Framing::Data),
        (Quirk::DotEndsChunk, Framing::Bdat(None)),
    ] {
        let policy = keep();
        let noticed = endings().filter(|vector| {
            let wire = session(0, vector, framing);
            let expected = expected(&policy, vector, framing, &wire);
            let fooled = Reference::new(&policy, Circumstances::default(), Some(quirk));
            fooled.run(&wire, []) != expected
        });
        assert!(noticed.count() > 0, "{quirk:?} is not noticed");
    }
}

/// Policies and framings in which every vector is sent.
const WAYS: [(usize, Framing); 4] =
    [(0, Framing::Data), (1, Framing::Data), (0, Framing::Bdat(None)), (1, Framing::Bdat(Some(3)))];

/// A session: its number, the vector in it, the index of its policy, and the framing.
type Attack = (usize, WouldBeEnd, usize, Framing);

fn attacks() -> Vec<Attack> {
    let sessions = endings().flat_map(|vector| WAYS.map(|way| (vector, way)));
    let sessions = sessions.enumerate();
    let sessions: Vec<_> = sessions.map(|(n, (vector, (at, how)))| (n, vector, at, how)).collect();
    assert!(sessions.len() >= 8_000, "{} sessions", sessions.len());
    sessions
}

/// Every vector in all ways.
fn attack(engine: EngineKind) {
    send_all(engine, attacks(), |doors, _| doors[0].clone());
}

/// Every vector in one way, which is another for the next vector, through the doors in turn.
fn attack_under_tls(engine: EngineKind) {
    let mut attacks = attacks();
    attacks.retain(|(number, ..)| {
        takes_all() || number % WAYS.len() == number / WAYS.len() % WAYS.len()
    });
    assert!(attacks.len() >= 2_000, "{} sessions", attacks.len());
    send_all(engine, attacks, |doors, number| doors[1 + number / 16 % 2].clone());
}

/// Sends the sessions to one sink and looks into its spool.
fn send_all(
    engine: EngineKind,
    sessions: Vec<Attack>,
    choose: impl Fn(&[Door], usize) -> Door + Sync,
) {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let policies = [lenient(), reject()];
    let sink = Doors::open(engine, &policies, Some(spool.clone()));
    let share = |caller: usize| {
        let mut owed = BTreeMap::new();
        for (number, vector, at, framing) in sessions.iter().skip(caller).step_by(CALLERS) {
            let wire = session(*number, vector, *framing);
            let expected = expected(&policies[*at], vector, *framing, &wire);
            converse(&choose(&sink.of[*at], *number), *number, &wire, &expected, vector);
            owed.extend(expected.stored.into_iter().map(|m| (m.sender, m.body)));
        }
        owed
    };
    let mut owed: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let share = &share;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|n| scope.spawn(move || share(n))).collect();
        for caller in callers {
            owed.extend(caller.join().unwrap());
        }
    });
    assert_eq!(sink.running.stop().counters.messages, owed.len() as u64, "{engine:?}");
    let reader = Reader::open(&spool).unwrap();
    for message in reader.messages() {
        let message = message.unwrap();
        let sender = &message.envelope.reverse_path;
        let name = sender.escape_ascii();
        let body = owed.remove(sender).unwrap_or_else(|| panic!("{name} is not owed, or twice"));
        assert_eq!(reader.body(&message).unwrap(), body, "{engine:?}: the message of {name}");
    }
    assert!(owed.is_empty(), "{engine:?}: {} messages are lost", owed.len());
}

/// One session, in one write, octet by octet, or cut around the vector.
fn converse(door: &Door, number: usize, wire: &[u8], expected: &Seen, vector: &WouldBeEnd) {
    let mut caller = door.call();
    let content = wire.windows(7).position(|w| w == b"DATA\r\nh").map_or(60, |at| at + 6);
    match number / 4 % 3 {
        0 => caller.send(wire, []),
        1 => caller.send(wire, vec![1; wire.len()]),
        _ => caller.send(wire, std::iter::once(content).chain(vec![1; vector.text().len() + 1])),
    }
    caller.hang_up();
    let greeting = caller.received.iter().position(|&b| b == b'\n').expect("a greeting") + 1;
    let replies = words(&caller.received[greeting..]);
    assert_eq!(replies, expected.replies, "session {number} {}: {vector:?}", door.name());
}
