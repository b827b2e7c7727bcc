//! Buffers larger than small that TLS sessions of one core wait with, and the bound for all of them.
//!
//! A record, or a message of a handshake, must come whole before anything is in it. Whoever waits for the rest of a
//! long one keeps what came, and many of them together keep much. Beyond the bound the session that has waited
//! longest since octets came for it is called back: those that get on keep what they have, and those that only hold
//! it make room for them.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

use super::conn::Handle;

/// The loans of one core.
#[derive(Debug)]
pub struct Loans {
    bytes_max: usize,
    ledger: RefCell<LoanLedger>,
}

#[derive(Debug, Default)]
struct LoanLedger {
    entries: Slab<LoanEntry>,
    /// INVARIANT: the sum over all entries that were not called back.
    bytes: usize,
    /// Counts the times that octets came for a loan.
    turn: u64,
}

#[derive(Debug)]
struct LoanEntry {
    handle: Handle,
    bytes: usize,
    /// The turn at which octets came for it last.
    used: u64,
    is_called_back: bool,
}

impl LoanEntry {
    fn counted(&self) -> usize {
        if self.is_called_back { 0 } else { self.bytes }
    }
}

impl Loans {
    /// No more than `bytes_max` in all.
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ledger: RefCell::default() }
    }

    /// Octets that are lent and not called back.
    pub fn bytes(&self) -> usize {
        self.ledger.borrow().bytes
    }
}

impl LoanLedger {
    fn set(&mut self, key: usize, bytes: usize) {
        self.turn += 1;
        let entry = &mut self.entries[key];
        self.bytes = self.bytes - entry.counted() + bytes;
        (entry.bytes, entry.used, entry.is_called_back) = (bytes, self.turn, false);
    }

    /// Calls back the entry that octets came for least lately, except `own`; `false` when there is none.
    #[cold]
    fn call_back_oldest(&mut self, own: usize) -> bool {
        let others =
            self.entries.iter_mut().filter(|(key, entry)| *key != own && !entry.is_called_back);
        let Some((_, oldest)) = others.min_by_key(|(_, entry)| entry.used) else { return false };
        self.bytes -= oldest.bytes;
        oldest.is_called_back = true;
        oldest.handle.interrupt();
        true
    }
}

/// What one session has on loan, if that is anything. Dropping it gives it back.
#[derive(Debug, Default)]
pub(super) struct Loan {
    /// `None` sets no bound.
    of: Option<Rc<Loans>>,
    /// Its entry there.
    key: Option<usize>,
    bytes: usize,
}

impl Loan {
    pub(super) fn new(of: Rc<Loans>) -> Self {
        Self { of: Some(of), ..Self::default() }
    }

    pub(super) fn is_some(&self) -> bool {
        self.bytes > 0
    }

    /// Octets came, and `bytes` are on loan from here on. Others are called back if that is too much for all.
    pub(super) fn set(&mut self, bytes: usize, handle: impl FnOnce() -> Handle) {
        self.bytes = bytes;
        let Some(loans) = &self.of else { return };
        let mut ledger = loans.ledger.borrow_mut();
        let key = match self.key {
            None if bytes == 0 => return,
            None => {
                let entry =
                    LoanEntry { handle: handle(), bytes: 0, used: 0, is_called_back: false };
                *self.key.insert(ledger.entries.insert(entry))
            }
            Some(key) => key,
        };
        ledger.set(key, bytes);
        if bytes == 0 {
            ledger.entries.remove(key);
            self.key = None;
            return;
        }
        while ledger.bytes > loans.bytes_max && ledger.call_back_oldest(key) {}
    }

    /// Octets came for what is on loan, also if it was called back.
    #[inline]
    pub(super) fn renew(&mut self) {
        if self.is_some() {
            self.set(self.bytes, || unreachable!("there is an entry"));
        }
    }

    /// Whether others need it more. The receive that waits is interrupted for it.
    pub(super) fn is_called_back(&self) -> bool {
        let entry = self.of.as_ref().zip(self.key);
        entry.is_some_and(|(loans, key)| loans.ledger.borrow().entries[key].is_called_back)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.set(0, || unreachable!("nothing is borrowed at the end"));
    }
}
