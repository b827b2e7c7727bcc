//! Buffers that are given away with an operation and come back with its result.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use crate::limits::{RECV_LARGE_BYTES, RECV_RECORD_BYTES, RECV_SMALL_BYTES};

/// Idle large buffers that one core keeps for reuse: 4 MiB.
const RECV_LARGE_KEPT: usize = 64;

/// Idle buffers for cut TLS records that one core keeps for reuse: 1.25 MiB.
const RECV_RECORD_KEPT: usize = 64;

/// Idle small buffers that one core keeps for reuse: 8 MiB.
const RECV_SMALL_KEPT: usize = 4_096;

/// Octets owned by exactly one side at a time: the session, or the kernel.
///
/// An operation takes the `Buf` by value, so that no code can grow, read or free it while the kernel
/// holds its address. Between operations it is a plain vector that may grow.
#[derive(Default)]
pub struct Buf {
    bytes: Vec<u8>,
}

impl Buf {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The vector itself, for writers that append to one.
    pub fn vec_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Vec<u8>> for Buf {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} of {} octets)", self.bytes.len(), self.bytes.capacity())
    }
}

/// Idle buffers of one core, in three sizes: small ones for sessions that wait, larger ones for those that wait
/// for the rest of a TLS record, and large ones for sessions in full flow.
#[derive(Debug, Default)]
pub struct Pool {
    /// INVARIANT: all are empty and of their size, and no more are kept than the limit says.
    small: RefCell<Vec<Buf>>,
    record: RefCell<Vec<Buf>>,
    large: RefCell<Vec<Buf>>,
}

impl Pool {
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer of `RECV_SMALL_BYTES` or a little more.
    pub fn small(&self) -> Buf {
        let idle = self.small.borrow_mut().pop();
        let buf = idle.unwrap_or_else(|| Buf::with_capacity(RECV_SMALL_BYTES));
        debug_assert!(buf.is_empty() && buf.capacity() >= RECV_SMALL_BYTES);
        buf
    }

    /// An empty buffer of `RECV_RECORD_BYTES` or a little more.
    pub fn record(&self) -> Buf {
        let idle = self.record.borrow_mut().pop();
        let buf = idle.unwrap_or_else(|| Buf::with_capacity(RECV_RECORD_BYTES));
        debug_assert!(buf.is_empty() && buf.capacity() >= RECV_RECORD_BYTES);
        buf
    }

    /// An empty buffer of `RECV_LARGE_BYTES` or more.
    pub fn large(&self) -> Buf {
        let idle = self.large.borrow_mut().pop();
        let buf = idle.unwrap_or_else(|| Buf::with_capacity(RECV_LARGE_BYTES));
        debug_assert!(buf.is_empty() && buf.capacity() >= RECV_LARGE_BYTES);
        buf
    }

    /// Takes a buffer back. One that fits no size (its owner let it grow, or it came from
    /// elsewhere) is freed, so that the pool's memory stays bounded.
    pub fn give(&self, mut buf: Buf) {
        buf.clear();
        let capacity = buf.capacity();
        let (kept, kept_max) = if (RECV_SMALL_BYTES..2 * RECV_SMALL_BYTES).contains(&capacity) {
            (&self.small, RECV_SMALL_KEPT)
        } else if (RECV_RECORD_BYTES..2 * RECV_RECORD_BYTES).contains(&capacity) {
            (&self.record, RECV_RECORD_KEPT)
        } else if (RECV_LARGE_BYTES..2 * RECV_LARGE_BYTES).contains(&capacity) {
            (&self.large, RECV_LARGE_KEPT)
        } else {
            return;
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < kept_max {
            kept.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_hands_the_same_memory_out_again_emptied() {
        let pool = Pool::new();
        let mut buf = pool.large();
        buf.vec_mut().extend_from_slice(b"EHLO");
        let address = buf.as_ptr();
        pool.give(buf);
        let again = pool.large();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn pool_keeps_sizes_apart_and_frees_what_fits_none() {
        let pool = Pool::new();
        pool.give(Buf::with_capacity(16));
        pool.give(Buf::with_capacity(RECV_SMALL_BYTES * 2));
        pool.give(Buf::with_capacity(RECV_LARGE_BYTES * 2));
        assert!(pool.small.borrow().is_empty() && pool.large.borrow().is_empty());
        pool.give(Buf::with_capacity(RECV_SMALL_BYTES));
        pool.give(Buf::with_capacity(RECV_RECORD_BYTES));
        assert_eq!((pool.small.borrow().len(), pool.record.borrow().len()), (1, 1));
        assert!(pool.record().capacity() >= RECV_RECORD_BYTES);
        assert!(pool.large().capacity() >= RECV_LARGE_BYTES);
    }

    #[test]
    fn pool_keeps_no_more_than_its_limit() {
        let pool = Pool::new();
        for _ in 0..RECV_LARGE_KEPT + 5 {
            pool.give(Buf::with_capacity(RECV_LARGE_BYTES));
        }
        assert_eq!(pool.large.borrow().len(), RECV_LARGE_KEPT);
    }
}
