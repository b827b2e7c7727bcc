//! The spool through its front door: what was sealed is read back octet for octet, whatever came
//! between, and what was not sealed never shows.

mod cli;
mod crash;
mod disk;
mod later;
mod model;
mod names;
mod open;
mod quarantine;
mod ring;
mod space;
mod sync;
mod tape;
mod torn;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ringpost::spool::{
    Draft, Durability, Listing, Message, Meta, Options, Place, Reader, Recovery, SessionMeta,
    Spool, SpoolError, StoredEnvelope, Survey, WhenFull, Writer,
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
        open_bytes: count * SEGMENT,
        message_bytes: 0,
    }
}

fn open_one(dir: &Path, options: Options) -> (Spool, Recovery, Writer) {
    let (spool, recovery, mut writers) = Spool::open(dir, options).unwrap();
    assert_eq!(writers.len(), 1);
    (spool, recovery, writers.remove(0))
}

fn seal(writer: &mut Writer, draft: &mut Draft) -> Result<Place, SpoolError> {
    let to: [(&[u8], &[u8]); 2] = [(b"a@example.org", b""), (b"b@example.org", b"NOTIFY=NEVER")];
    let mut session = Vec::new();
    SessionMeta { helo: b"client.example", ..SessionMeta::default() }.encode(&mut session)?;
    let meta = Meta {
        received_ns: 1,
        sealed_ns: 2,
        session: &session,
        reverse_path: b"from@example.org",
        ..Meta::default()
    };
    Ok(writer.seal(draft, &meta, to)?.place)
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
    while let Some(message) = messages.next() {
        let message = message.unwrap();
        assert_eq!(reader.get(message.place).unwrap(), message);
        let body = reader.body(&message).unwrap();
        assert_eq!(body.len() as u64, message.bytes);
        check_envelope(&message.envelope);
        let mut at_hand = Vec::new();
        messages.copy_body(&message, u64::MAX, &mut at_hand).unwrap();
        assert!(at_hand == body);
        all.push((message.place, body));
    }
    check_other_ways(&reader, &all, messages.survey());
    (all, messages.survey().clone())
}

/// What one thread finds from front to back, several find in pieces, and from back to front.
///
/// The helper of a live spool may bring a new segment in between: it holds nothing, and only counts.
fn check_other_ways(reader: &Reader, all: &[(Place, Vec<u8>)], survey: &Survey) {
    let sorted = |survey: &Survey| {
        // In a live spool a segment may come, and one that holds dead fragments alone may go.
        let mut survey =
            Survey { segments: 0, file_bytes: 0, orphaned_fragments: 0, ..survey.clone() };
        survey.cores.iter_mut().for_each(|core| core.segments = 0);
        survey.cores.retain(|core| core.messages > 0);
        survey.damage.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        survey
    };
    let walked = AtomicU64::new(0);
    let count = |bytes| {
        walked.fetch_add(bytes, Ordering::Relaxed);
    };
    let in_pieces = reader.survey(3, &count).unwrap();
    assert_eq!(sorted(&in_pieces), sorted(survey));
    assert!(in_pieces.segments.abs_diff(survey.segments) <= 2);
    assert!(in_pieces.orphaned_fragments <= survey.orphaned_fragments);
    assert_eq!(walked.into_inner(), in_pieces.file_bytes);
    // All were sealed at the same time, so that the order is that of the cores.
    let mut forwards = Vec::new();
    let mut listing = reader.oldest_first();
    while let Some(message) = listing.next() {
        forwards.push(with_body(message.unwrap(), &mut listing));
    }
    assert!(forwards == all);
    assert_eq!(sorted(&listing.survey()), sorted(survey));
    let mut backwards = Vec::new();
    let mut listing = reader.newest_first();
    while let Some(message) = listing.next() {
        backwards.push(with_body(message.unwrap(), &mut listing));
    }
    backwards.reverse();
    assert!(backwards == all);
    assert_eq!(listing.survey().damage.len(), survey.damage.len());
}

fn with_body(message: Message, listing: &mut Listing<'_>) -> (Place, Vec<u8>) {
    let (mut start, mut body) = (Vec::new(), Vec::new());
    listing.copy_body(&message, message.bytes / 2, &mut start).unwrap();
    listing.copy_body(&message, u64::MAX, &mut body).unwrap();
    assert_eq!(start, body[..body.len() / 2]);
    (message.place, body)
}

fn check_envelope(envelope: &StoredEnvelope) {
    assert_eq!((envelope.received_ns, envelope.sealed_ns), (1, 2));
    assert_eq!(envelope.helo, b"client.example");
    assert_eq!(envelope.reverse_path, b"from@example.org");
    let second = envelope.recipients.get(1).unwrap();
    assert_eq!(second.path, b"b@example.org");
    assert_eq!(second.params, b"NOTIFY=NEVER");
}

/// Octets that differ from message to message and inside one.
fn octets(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut body = vec![0; len];
    random.fill(&mut body);
    body
}

/// A number that the caller may set: how often, or which seed.
fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
