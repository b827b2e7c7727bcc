//! Writes what arrives into a spool, as a sink would at that time.

use std::path::Path;

use ringpost::spool::{Draft, Durability, Meta, Options, Spool, WhenFull};

/// A message as it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Arriving {
    /// Unix nanoseconds.
    pub at_ns: u64,
    pub octets: Vec<u8>,
    pub recipients: Vec<Vec<u8>>,
}

/// Stores all of them in their order, in a ring of so many segments of 1 MiB.
pub(crate) fn store(dir: &Path, arriving: &[Arriving], segments: u64) {
    const SEGMENT: u64 = 1024 * 1024;
    let options = Options {
        segment_bytes: SEGMENT,
        limit_bytes: segments * SEGMENT,
        when_full: WhenFull::Recycle,
        durability: Durability::Process,
        cores: 1,
        open_bytes: segments * SEGMENT,
        message_bytes: 0,
    };
    let (_spool, _, mut writers) = Spool::open(dir, options).unwrap();
    for one in arriving {
        let mut draft = Draft::default();
        writers[0].append(&mut draft, &one.octets).unwrap();
        let meta = Meta {
            received_ns: one.at_ns,
            sealed_ns: one.at_ns,
            reverse_path: b"a@client.example",
            ..Meta::default()
        };
        let none: &[u8] = b"";
        let to: Vec<_> = one.recipients.iter().map(|path| (path.as_slice(), none)).collect();
        writers[0].seal(&mut draft, &meta, to).unwrap();
    }
}
