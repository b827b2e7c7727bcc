//! Writes the file `delivered`: what became of recipients whose mail was handed on to another server.
//!
//! Segments are not touched for it. Only the sink that holds the spool's lock appends to the file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{DELIVERY_BYTES, Delivery};
use crate::spool::options::Durability;
use crate::spool::read::{DELIVERED, Deliveries, list_segments};

/// Octets of the spool's file of deliveries below which it is not written anew: 20,000 recipients.
const DELIVERED_TIDY_BYTES: u64 = 1024 * 1024;

/// The name under which the file is written anew, until it replaces the old one.
const NEW_FILE: &str = "delivered.new";

/// Appends deliveries. Only for the holder of the spool's lock.
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
    /// Opens the file, or makes it. Drops records that are torn or damaged, or of segments that are gone.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, SpoolError> {
        let (file, bytes) = rewrite(dir, durability)?;
        let tidy_bytes = next_tidy(bytes);
        Ok(Self { dir: dir.to_owned(), durability, file, bytes, tidy_bytes })
    }

    /// Appends records, and under [`Durability::Sync`] waits for the disk. After a power cut that takes a
    /// record, one message is sent twice.
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
            // A part of a record would shift all later ones.
            let _ = self.file.set_len(self.bytes);
            return Err(SpoolError::io("note a delivery", &self.dir.join(DELIVERED), cause));
        }
        self.bytes += octets.len() as u64;
        Ok(())
    }
}

fn next_tidy(bytes: u64) -> u64 {
    (2 * bytes).max(DELIVERED_TIDY_BYTES)
}

/// Writes the file anew, with the records whose segments still exist, and opens it for appending. A crash
/// leaves the old file or the new one.
fn rewrite(dir: &Path, durability: Durability) -> Result<(File, u64), SpoolError> {
    let path = dir.join(NEW_FILE);
    let failed = |cause| SpoolError::io("write the deliveries", &path, cause);
    let living: HashSet<_> = list_segments(dir)?.segments.into_iter().collect();
    let is_living = |d: &Delivery| living.contains(&(d.place.core, d.place.segment));
    let kept = Deliveries::read_those(dir, is_living)?;
    clear_the_way(&path).map_err(failed)?;
    let bytes = write_all(&path, &kept).map_err(failed)?;
    fs::rename(&path, dir.join(DELIVERED)).map_err(failed)?;
    if durability == Durability::Sync {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    let file = file::open(&dir.join(DELIVERED), Access::Append).map_err(failed)?;
    Ok((file, bytes))
}

/// Writes deliveries to a file that is new, and syncs it; returns its octets.
fn write_all(path: &Path, deliveries: &Deliveries) -> io::Result<u64> {
    let mut out = BufWriter::new(file::create(path)?);
    let mut bytes = 0;
    deliveries.try_each(|delivery| {
        bytes += DELIVERY_BYTES as u64;
        out.write_all(&delivery.encode())
    })?;
    out.into_inner()?.sync_all()?;
    Ok(bytes)
}

/// Removes what is left of a file that was being written anew. Its octets may be those of another name
/// too, so it is not used again. What is no regular file is not ours, and stays.
fn clear_the_way(path: &Path) -> io::Result<()> {
    match file::open(path, Access::Read) {
        Ok(_left) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::format::{DeliveryFate, Place};
    use crate::spool::{Message, StoredEnvelope};

    fn delivery(segment: u32, recipient: u32, fate: DeliveryFate) -> Delivery {
        let place = Place { core: 1, segment, offset: 64 };
        Delivery { place, sealed_ns: 9, recipient, fate, code: 250, at_ns: 10 }
    }

    fn message(segment: u32, sealed_ns: u64) -> Message {
        let recipients = [(&b"x@a.example"[..], &b""[..]); 9].into_iter().collect();
        let envelope = StoredEnvelope { sealed_ns, recipients, ..StoredEnvelope::default() };
        Message::of_envelope(Place { core: 1, segment, offset: 64 }, envelope)
    }

    /// Those recipients of a message that do not wait any more.
    fn recipients(dir: &Path, segment: u32) -> Vec<u32> {
        let known = Deliveries::read(dir).unwrap();
        known.of(&message(segment, 9)).unwrap().iter().map(|d| d.recipient).collect()
    }

    fn spool_with(segments: &[u32]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for number in segments {
            fs::write(dir.path().join(format!("c001-{number:08}.seg")), b"").unwrap();
        }
        dir
    }

    #[test]
    fn what_is_appended_is_known_and_belongs_to_one_message() {
        let dir = spool_with(&[1, 2]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Sync).unwrap();
        log.append(&[
            delivery(1, 2, DeliveryFate::Delivered),
            delivery(1, 0, DeliveryFate::Refused),
        ])
        .unwrap();
        log.append(&[delivery(2, 0, DeliveryFate::Delivered)]).unwrap();
        let known = Deliveries::read(dir.path()).unwrap();
        let fates = |message| {
            let of = known.of(&message).unwrap();
            of.iter().map(|d| (d.recipient, d.fate)).collect::<Vec<_>>()
        };
        let expected = [(0, DeliveryFate::Refused), (2, DeliveryFate::Delivered)];
        assert_eq!(fates(message(1, 9)), expected);
        assert_eq!(fates(message(1, 8)), [], "another life of the place");
        assert_eq!(fates(message(3, 9)), []);
        // Of a recipient that the message has not.
        log.append(&[delivery(1, 9, DeliveryFate::Delivered)]).unwrap();
        assert_eq!(recipients(dir.path(), 1), [0, 2]);
    }

    #[test]
    fn a_torn_end_and_a_damaged_record_lose_themselves_alone() {
        let dir = spool_with(&[1]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        let three = [0, 1, 2].map(|recipient| delivery(1, recipient, DeliveryFate::Delivered));
        log.append(&three).unwrap();
        let path = dir.path().join(DELIVERED);
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let whole = cut / DELIVERY_BYTES;
            assert_eq!(recipients(dir.path(), 1), [0, 1, 2][..whole], "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[DELIVERY_BYTES + 20] ^= 4;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(recipients(dir.path(), 1), [0, 2]);
        // The next writer appends after the last whole record.
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        log.append(&[delivery(1, 7, DeliveryFate::Delivered)]).unwrap();
        assert_eq!(recipients(dir.path(), 1), [0, 1, 7]);
    }

    #[test]
    fn deliveries_go_with_their_segment_at_the_start_and_as_the_file_grows() {
        let dir = spool_with(&[1, 2]);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        log.append(&[
            delivery(1, 0, DeliveryFate::Delivered),
            delivery(2, 0, DeliveryFate::Delivered),
        ])
        .unwrap();
        fs::remove_file(dir.path().join("c001-00000001.seg")).unwrap();
        drop(log);
        let mut log = DeliveryLog::open(dir.path(), Durability::Process).unwrap();
        let path = dir.path().join(DELIVERED);
        assert_eq!(fs::metadata(&path).unwrap().len() as usize, DELIVERY_BYTES);
        let many: Vec<_> = (0..30_000).map(|n| delivery(7, n, DeliveryFate::Delivered)).collect();
        log.append(&many).unwrap();
        log.append(&[delivery(2, 1, DeliveryFate::Refused)]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len() as usize, 2 * DELIVERY_BYTES);
        assert_eq!(recipients(dir.path(), 2), [0, 1]);
    }
}
