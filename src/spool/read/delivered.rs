//! Reads the file `delivered`: what became of recipients whose mail was handed on to another server.

use std::borrow::Cow;
use std::env;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::message::Message;
use super::sorted::{Sorted, Sorter};
use crate::spool::envelope::StoredEnvelope;
use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{DELIVERY_BYTES, Delivery, Place};

/// Name of the file.
pub(in crate::spool) const DELIVERED: &str = "delivered";

/// Octets of the file that are read at once: whole records.
const BLOCK_BYTES: usize = 1_024 * DELIVERY_BYTES;

/// All deliveries that the file named when it was read. It takes at most some 30 MiB of memory, however many there
/// are: more of them lie in a file without a name in `TMPDIR`.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    known: Arc<Sorted>,
}

impl Deliveries {
    /// Reads the file of the spool in `dir`; without one nothing has been delivered. Damaged records
    /// and a torn end are passed over: their recipients count as not delivered.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the file is there and cannot be read, or `TMPDIR` has no room.
    pub fn read(dir: &Path) -> Result<Self, SpoolError> {
        Self::read_those(dir, |_| true)
    }

    /// As [`Deliveries::read`], of one message.
    pub fn read_of(dir: &Path, message: &Message) -> Result<Self, SpoolError> {
        let (place, sealed_ns) = (message.place, message.envelope.sealed_ns);
        Self::read_those(dir, |d| (d.place, d.sealed_ns) == (place, sealed_ns))
    }

    /// As [`Deliveries::read`], of messages that come after those in `places`: at most one for each core.
    pub fn read_after(dir: &Path, places: &[Place]) -> Result<Self, SpoolError> {
        let is_before = |place: Place| places.iter().any(|p| p.core == place.core && place <= *p);
        Self::read_those(dir, |delivery| !is_before(delivery.place))
    }

    pub(in crate::spool) fn read_those(
        dir: &Path,
        wanted: impl Fn(&Delivery) -> bool,
    ) -> Result<Self, SpoolError> {
        let path = dir.join(DELIVERED);
        let failed = |cause| SpoolError::io("read the deliveries", &path, cause);
        let file = match file::open(&path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(failed(cause)),
        };
        let mut sorter = Sorter::default();
        let mut block = vec![0; BLOCK_BYTES];
        let mut at = 0;
        loop {
            let count = read_block(&file, &mut block, at).map_err(failed)?;
            let records = block[..count].chunks_exact(DELIVERY_BYTES);
            let mut records = records.filter_map(Delivery::decode).filter(&wanted);
            records.try_for_each(|delivery| sorter.push(delivery)).map_err(unsorted)?;
            if count < BLOCK_BYTES {
                break;
            }
            at += BLOCK_BYTES as u64;
            // A hole holds no records, and may be larger than anything that could be read.
            if block.iter().all(|&octet| octet == 0) {
                let Some(data) = next_data(&file, at).map_err(failed)? else { break };
                at = data - data % DELIVERY_BYTES as u64;
            }
        }
        Ok(Self { known: Arc::new(sorter.finish().map_err(unsorted)?) })
    }

    /// The deliveries of one message, in the order of its recipients. Each is of a recipient that there is.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the file in `TMPDIR` cannot be read.
    pub fn of(&self, message: &Message) -> Result<Cow<'_, [Delivery]>, SpoolError> {
        let StoredEnvelope { sealed_ns, recipients, .. } = &message.envelope;
        let key = |recipient: usize| (message.place, *sealed_ns, recipient as u32);
        self.known.range(key(0), key(recipients.len())).map_err(unsorted)
    }

    /// Hands each delivery to `take`, in the order of [`Delivery::key`].
    pub(in crate::spool) fn try_each(
        &self,
        take: impl FnMut(&Delivery) -> io::Result<()>,
    ) -> io::Result<()> {
        self.known.try_each(take)
    }
}

fn unsorted(cause: io::Error) -> SpoolError {
    SpoolError::io("sort the deliveries in", &env::temp_dir(), cause)
}

/// Fills the block from `at` on; returns how many octets there were.
fn read_block(file: &File, block: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read_at(&mut block[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where the next octets are that are no hole, from `at` on; `None` if there are none.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        // This file system knows no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(at)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::format::DeliveryFate;

    #[test]
    fn holes_of_any_size_are_passed_over_and_what_stands_after_them_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let delivery = |recipient| Delivery {
            place: Place { core: 0, segment: 1, offset: 64 },
            sealed_ns: 9,
            recipient,
            fate: DeliveryFate::Delivered,
            code: 250,
            at_ns: 1,
        };
        let file = File::create(dir.path().join(DELIVERED)).unwrap();
        let far = (1 << 40) / DELIVERY_BYTES as u64;
        for (recipient, record) in [(0, 0), (1, 5_000), (2, far), (3, far + 1)] {
            let at = record * DELIVERY_BYTES as u64;
            file.write_all_at(&delivery(recipient).encode(), at).unwrap();
        }
        file.set_len(1 << 42).unwrap();
        let mut known = Vec::new();
        let all = Deliveries::read(dir.path()).unwrap();
        all.try_each(|delivery| {
            known.push(*delivery);
            Ok(())
        })
        .unwrap();
        assert_eq!(known, [0, 1, 2, 3].map(delivery));
    }
}
