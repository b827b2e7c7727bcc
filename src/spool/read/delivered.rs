//! Reads the file `delivered`: what became of recipients whose mail was handed on to another server.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::message::Message;
use crate::spool::error::SpoolError;
use crate::spool::file::{self, Access};
use crate::spool::format::{DELIVERY_BYTES, Delivery};

/// Name of the file.
pub(in crate::spool) const DELIVERED: &str = "delivered";

/// Octets of the file that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// All deliveries that the file named when it was read.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// In the order of [`Delivery::key`], each key once.
    pub(in crate::spool) known: Vec<Delivery>,
}

impl Deliveries {
    /// Reads the file of the spool in `dir`; without one nothing has been delivered. Damaged records
    /// and a torn end are passed over: their recipients count as not delivered.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the file is there and cannot be read.
    pub fn read(dir: &Path) -> Result<Self, SpoolError> {
        Self::read_those(dir, |_| true)
    }

    /// As [`Deliveries::read`], of one message.
    pub fn read_of(dir: &Path, message: &Message) -> Result<Self, SpoolError> {
        let (place, sealed_ns) = (message.place, message.envelope.sealed_ns);
        Self::read_those(dir, |d| (d.place, d.sealed_ns) == (place, sealed_ns))
    }

    fn read_those(dir: &Path, wanted: impl Fn(&Delivery) -> bool) -> Result<Self, SpoolError> {
        let path = dir.join(DELIVERED);
        let failed = |cause| SpoolError::io("read the deliveries", &path, cause);
        let mut file = match file::open(&path, Access::Read) {
            Ok(file) => BufReader::with_capacity(READ_BYTES, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(failed(cause)),
        };
        let mut known = Vec::new();
        let mut octets = [0; DELIVERY_BYTES];
        loop {
            match file.read_exact(&mut octets) {
                Ok(()) => known.extend(Delivery::decode(&octets).filter(&wanted)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(cause) => return Err(failed(cause)),
            }
        }
        // The sort is stable, so the first of two records stays: what was delivered once was delivered.
        known.sort_by_key(Delivery::key);
        known.dedup_by_key(|delivery| delivery.key());
        Ok(Self { known })
    }

    /// The deliveries of one message, in the order of its recipients.
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
