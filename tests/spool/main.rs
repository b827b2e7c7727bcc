//! The spool through its front door: what was sealed is read back octet for octet, whatever came
//! between, and what was not sealed never shows.

mod cli;
mod crash;
mod disk;
mod model;
mod open;
mod ring;
mod sync;
mod tape;

use std::path::Path;

use ringpost::spool::{
    Draft, Durability, Envelope, Meta, Options, Place, Reader, Recovery, Spool, SpoolError, Survey,
    WhenFull, Writer,
};

const SEGMENT: u64 = 64 * 1024;

/// Small segments, `count` of them, one core.
fn small(count: u64) -> Options {
    Options {
        segment_bytes: SEGMENT,
        limit_bytes: count * SEGMENT,
        when_full: WhenFull::Recycle,
        durability: Durability::Process,
        cores: 1,
    }
}

fn open_one(dir: &Path, options: Options) -> (Spool, Recovery, Writer) {
    let (spool, recovery, mut writers) = Spool::open(dir, options).unwrap();
    assert_eq!(writers.len(), 1);
    (spool, recovery, writers.remove(0))
}

fn seal(writer: &mut Writer, draft: &mut Draft) -> Result<Place, SpoolError> {
    let to: [(&[u8], &[u8]); 2] = [(b"a@example.org", b""), (b"b@example.org", b"NOTIFY=NEVER")];
    let meta = Meta {
        received_ns: 1,
        sealed_ns: 2,
        helo: b"client.example",
        reverse_path: b"from@example.org",
        ..Meta::default()
    };
    writer.seal(draft, &meta, to)
}

/// One whole message.
fn store(writer: &mut Writer, body: &[u8]) -> Result<Place, SpoolError> {
    let mut draft = Draft::default();
    writer.append(&mut draft, body)?;
    seal(writer, &mut draft)
}

/// Every message of the spool with its octets, each also found by its name.
fn read_all(dir: &Path) -> (Vec<(Place, Vec<u8>)>, Survey) {
    let reader = Reader::open(dir).unwrap();
    let mut messages = reader.messages();
    let mut all = Vec::new();
    for message in messages.by_ref() {
        let message = message.unwrap();
        assert_eq!(reader.get(message.place).unwrap(), message);
        let body = reader.body(&message).unwrap();
        assert_eq!(body.len() as u64, message.bytes);
        check_envelope(&message.envelope);
        all.push((message.place, body));
    }
    (all, messages.survey().clone())
}

fn check_envelope(envelope: &Envelope) {
    assert_eq!((envelope.received_ns, envelope.sealed_ns), (1, 2));
    assert_eq!(envelope.helo, b"client.example");
    assert_eq!(envelope.reverse_path, b"from@example.org");
    assert_eq!(envelope.recipients[1].path, b"b@example.org");
    assert_eq!(envelope.recipients[1].params, b"NOTIFY=NEVER");
}

/// Octets that differ from message to message and inside one.
fn octets(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut body = vec![0; len];
    random.fill(&mut body);
    body
}
