//! What became of recipients whose mail was handed on to another server: the file `delivered`.
//!
//! Segments are never touched for it. The file is read as a whole, and appended to by the sink that
//! holds the spool's lock; `spool/mod.rs` describes it to the byte.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::SpoolError;
use super::format::{Place, crc32c};
use super::open::Durability;
use super::reader::{Message, list_segments};
use crate::limits::DELIVERED_TIDY_BYTES;

const FILE: &str = "delivered";
/// Where the file is written anew, until it takes the old one's place.
const NEW_FILE: &str = "delivered.new";
const MAGIC: [u8; 4] = *b"RPD\x01";
const RECORD_BYTES: usize = 48;

/// What became of one recipient for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// The next server took the message.
    Delivered,
    /// It refused the recipient or the message with 5xx.
    Refused,
}

impl Fate {
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

/// The end of one recipient of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    pub place: Place,
    /// End of data of the message, which tells it from one that had the same place in another life
    /// of the spool.
    pub sealed_ns: u64,
    /// From 0 on, in the order of the envelope.
    pub recipient: u32,
    pub fate: Fate,
    /// The reply that decided it.
    pub code: u16,
    /// Unix nanoseconds.
    pub at_ns: u64,
}

impl Delivery {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut octets = [0; RECORD_BYTES];
        octets[..4].copy_from_slice(&MAGIC);
        octets[4] = match self.fate {
            Fate::Delivered => 1,
            Fate::Refused => 2,
        };
        octets[6..8].copy_from_slice(&self.place.core.to_le_bytes());
        octets[8..12].copy_from_slice(&self.place.segment.to_le_bytes());
        octets[12..16].copy_from_slice(&self.place.offset.to_le_bytes());
        octets[16..20].copy_from_slice(&self.recipient.to_le_bytes());
        octets[20..22].copy_from_slice(&self.code.to_le_bytes());
        octets[24..32].copy_from_slice(&self.sealed_ns.to_le_bytes());
        octets[32..40].copy_from_slice(&self.at_ns.to_le_bytes());
        let crc = crc32c(&octets[..44]);
        octets[44..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// `None` for octets that are no record, or a damaged one.
    fn decode(octets: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(octets[at..at + 4].try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(octets[at..at + 8].try_into().ok()?));
        if octets.len() != RECORD_BYTES
            || octets[..4] != MAGIC
            || word(44)? != crc32c(&octets[..44])
        {
            return None;
        }
        let half = |at: usize| u16::from_le_bytes([octets[at], octets[at + 1]]);
        Some(Self {
            place: Place { core: half(6), segment: word(8)?, offset: word(12)? },
            sealed_ns: long(24)?,
            recipient: word(16)?,
            fate: match octets[4] {
                1 => Fate::Delivered,
                2 => Fate::Refused,
                _ => return None,
            },
            code: half(20),
            at_ns: long(32)?,
        })
    }

    fn key(&self) -> (Place, u64, u32) {
        (self.place, self.sealed_ns, self.recipient)
    }
}

/// All deliveries that a spool knows of, as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// In the order of [`Delivery::key`], each key once.
    known: Vec<Delivery>,
}

impl Deliveries {
    /// Reads the file of the spool in `dir`; without one nothing has been delivered. Damaged records
    /// and a torn end are passed over: their recipients count as not delivered.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(FILE);
        let octets = match fs::read(&path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(cause) => return Err(SpoolError::io("read the deliveries", &path, cause)),
        };
        let mut known: Vec<_> =
            octets.chunks_exact(RECORD_BYTES).filter_map(Delivery::decode).collect();
        // Stable, so that the first of two stays: what was delivered once was delivered.
        known.sort_by_key(Delivery::key);
        known.dedup_by_key(|delivery| delivery.key());
        Ok(Self { known })
    }

    /// Those of one message, in the order of its recipients.
    pub fn of(&self, message: &Message) -> &[Delivery] {
        let (place, sealed_ns) = (message.place, message.envelope.sealed_ns);
        let start = self.known.partition_point(|d| d.key() < (place, sealed_ns, 0));
        let rest = &self.known[start..];
        let end = rest.partition_point(|d| (d.place, d.sealed_ns) == (place, sealed_ns));
        &rest[..end]
    }

    /// What became of the recipient with this number; `None` while it waits.
    pub fn fate(&self, message: &Message, recipient: usize) -> Option<&Delivery> {
        let of = self.of(message);
        of.binary_search_by_key(&recipient, |d| d.recipient as usize).ok().map(|at| &of[at])
    }
}

/// Appends deliveries. For the holder of the spool's lock.
#[derive(Debug)]
pub struct DeliveryLog {
    dir: PathBuf,
    durability: Durability,
    file: File,
    bytes: u64,
    /// The file is tidied when it has grown to this.
    tidy_bytes: u64,
}

impl DeliveryLog {
    /// Opens the file, or makes it, without what is torn, damaged or of segments that are gone.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, SpoolError> {
        let (file, bytes) = rewrite(dir, durability)?;
        let tidy_bytes = next_tidy(bytes);
        Ok(Self { dir: dir.to_owned(), durability, file, bytes, tidy_bytes })
    }

    /// Appends, and under [`Durability::Sync`] waits for the disk. A mark that a power cut takes
    /// means one message twice, never one less.
    ///
    /// # Errors
    /// [`SpoolError::Io`]; nothing of `deliveries` is kept then.
    pub fn append(&mut self, deliveries: &[Delivery]) -> Result<(), SpoolError> {
        if self.bytes >= self.tidy_bytes {
            (self.file, self.bytes) = rewrite(&self.dir, self.durability)?;
            self.tidy_bytes = next_tidy(self.bytes);
        }
        let octets: Vec<u8> = deliveries.iter().flat_map(Delivery::encode).collect();
        let mut written = self.file.write_all(&octets);
        if written.is_ok() && self.durability == Durability::Sync {
            written = self.file.sync_data();
        }
        if let Err(cause) = written {
            // What is left of a record would shift all that follow.
            let _ = self.file.set_len(self.bytes);
            return Err(SpoolError::io("note a delivery", &self.dir.join(FILE), cause));
        }
        self.bytes += octets.len() as u64;
        Ok(())
    }
}

fn next_tidy(bytes: u64) -> u64 {
    (2 * bytes).max(DELIVERED_TIDY_BYTES)
}

/// Writes the file anew with what still has a segment, and opens it for appending. A crash leaves the
/// old one or the new one.
fn rewrite(dir: &Path, durability: Durability) -> Result<(File, u64), SpoolError> {
    let path = dir.join(NEW_FILE);
    let failed = |cause| SpoolError::io("write the deliveries", &path, cause);
    let living: HashSet<_> = list_segments(dir)?.into_iter().collect();
    let known = Deliveries::read(dir)?.known;
    let kept = known.iter().filter(|d| living.contains(&(d.place.core, d.place.segment)));
    let octets: Vec<u8> = kept.flat_map(Delivery::encode).collect();
    let mut options = OpenOptions::new();
    let mut file =
        options.create(true).truncate(true).write(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(&octets).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&path, dir.join(FILE)).map_err(failed)?;
    if durability == Durability::Sync {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    let file = OpenOptions::new().append(true).open(dir.join(FILE)).map_err(failed)?;
    Ok((file, octets.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Envelope;

    fn delivery(segment: u32, recipient: u32, fate: Fate) -> Delivery {
        let place = Place { core: 1, segment, offset: 64 };
        Delivery { place, sealed_ns: 9, recipient, fate, code: 250, at_ns: 10 }
    }

    fn message(segment: u32, sealed_ns: u64) -> Message {
        let envelope = Envelope { sealed_ns, ..Envelope::default() };
        Message::of_envelope(Place { core: 1, segment, offset: 64 }, envelope)
    }

    fn spool_with(segments: &[u32]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for number in segments {
            fs::write(dir.path().join(format!("c001-{number:08}.seg")), b"").unwrap();
        }
        dir
    }

    #[test]
    fn the_format_is_what_the_page_says() {
        let place = Place { core: 0x0102, segment: 0x0304_0506, offset: 0x0708_090a };
        let (recipient, code) = (0x0b0c_0d0e, 0x0f10);
        let fate = Fate::Refused;
        let delivery = Delivery {
            place,
            sealed_ns: 0x11,
            recipient,
            fate,
            code,
            at_ns: 0x2122_2324_2526_2728,
        };
        let octets = delivery.encode();
        assert_eq!(octets[..8], *b"RPD\x01\x02\0\x02\x01");
        assert_eq!(octets[8..16], *b"\x06\x05\x04\x03\x0a\x09\x08\x07");
        assert_eq!(octets[16..24], *b"\x0e\x0d\x0c\x0b\x10\x0f\0\0");
        assert_eq!(octets[24..40], *b"\x11\0\0\0\0\0\0\0\x28\x27\x26\x25\x24\x23\x22\x21");
        assert_eq!(octets[40..44], [0; 4]);
        assert_eq!(Delivery::decode(&octets), Some(delivery));
        for at in 0..RECORD_BYTES {
            let mut bad = octets;
            bad[at] ^= 1;
            assert_eq!(Delivery::decode(&bad), None, "octet {at}");
        }
    }

    #[test]
    fn what_is_appended_is_known_and_belongs_to_one_message() {
        let dir = spool_with(&[1, 2]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Sync).unwrap();
        log.append(&[delivery(1, 2, Fate::Delivered), delivery(1, 0, Fate::Refused)]).unwrap();
        log.append(&[delivery(2, 0, Fate::Delivered)]).unwrap();
        let known = Deliveries::read(dir.path()).unwrap();
        assert_eq!(known.of(&message(1, 9)).len(), 2);
        assert_eq!(known.fate(&message(1, 9), 0).unwrap().fate, Fate::Refused);
        assert_eq!(known.fate(&message(1, 9), 1), None);
        assert_eq!(known.fate(&message(1, 9), 2).unwrap().fate, Fate::Delivered);
        assert_eq!(known.of(&message(1, 8)), [], "another life of the place");
        assert_eq!(known.of(&message(3, 9)), []);
    }

    #[test]
    fn a_torn_end_and_a_damaged_record_lose_themselves_alone() {
        let dir = spool_with(&[1]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        let three = [0, 1, 2].map(|recipient| delivery(1, recipient, Fate::Delivered));
        log.append(&three).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let known = Deliveries::read(dir.path()).unwrap();
            assert_eq!(known.of(&message(1, 9)).len(), cut / RECORD_BYTES, "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[RECORD_BYTES + 20] ^= 4;
        fs::write(&path, &damaged).unwrap();
        let known = Deliveries::read(dir.path()).unwrap();
        assert!(known.fate(&message(1, 9), 1).is_none() && known.of(&message(1, 9)).len() == 2);
        // The next writer begins behind the last whole record.
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        log.append(&[delivery(1, 7, Fate::Delivered)]).unwrap();
        assert_eq!(Deliveries::read(dir.path()).unwrap().of(&message(1, 9)).len(), 3);
    }

    #[test]
    fn deliveries_go_with_their_segment_at_the_start_and_as_the_file_grows() {
        let dir = spool_with(&[1, 2]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        log.append(&[delivery(1, 0, Fate::Delivered), delivery(2, 0, Fate::Delivered)]).unwrap();
        fs::remove_file(dir.path().join("c001-00000001.seg")).unwrap();
        drop(log);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        let path = dir.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().len() as usize, RECORD_BYTES);
        let many: Vec<_> = (0..30_000).map(|n| delivery(7, n, Fate::Delivered)).collect();
        log.append(&many).unwrap();
        log.append(&[delivery(2, 1, Fate::Refused)]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len() as usize, 2 * RECORD_BYTES);
        assert_eq!(Deliveries::read(dir.path()).unwrap().of(&message(2, 9)).len(), 2);
    }
}
