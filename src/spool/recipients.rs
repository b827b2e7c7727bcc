//! The recipients of a stored envelope.

use std::fmt;

/// One recipient as the client gave it: the path without its brackets, and the raw parameters after it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Recipient<'l> {
    pub path: &'l [u8],
    pub params: &'l [u8],
}

/// Recipients in the order of RCPT. Their text lies in one piece, so that half a million of them take little more
/// memory than they took in the envelope.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct RecipientList {
    text: Vec<u8>,
    /// Of each recipient, where its path ends in `text`, and where its parameters end.
    ///
    /// INVARIANT: they only grow, and the last is the length of `text`.
    ends: Vec<(u32, u32)>,
}

impl RecipientList {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The recipient with this number, from 0 on.
    pub fn get(&self, index: usize) -> Option<Recipient<'_>> {
        let (path_end, params_end) = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        let [start, path_end, params_end] = [start, path_end, params_end].map(|at| at as usize);
        let (path, params) = (&self.text[start..path_end], &self.text[path_end..params_end]);
        Some(Recipient { path, params })
    }

    /// All, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Recipient<'_>> {
        (0..self.len()).map(|index| self.get(index).expect("an index below the length"))
    }

    /// Adds a recipient without parameters. Their text is part of an envelope, whose length fits 32 bits
    /// (limits.rs).
    pub(super) fn push(&mut self, path: &[u8]) {
        self.text.extend_from_slice(path);
        let end = self.end();
        self.ends.push((end, end));
    }

    /// Sets the parameters of the last recipient. `None` if there is no recipient.
    pub(super) fn set_params(&mut self, params: &[u8]) -> Option<()> {
        let (path_end, _) = *self.ends.last()?;
        self.text.truncate(path_end as usize);
        self.text.extend_from_slice(params);
        let end = self.end();
        self.ends.last_mut()?.1 = end;
        Some(())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<(u32, u32)>()
    }

    fn end(&self) -> u32 {
        u32::try_from(self.text.len()).expect("an envelope has less than 4 GiB")
    }
}

/// Paths with their parameters.
impl<'r> FromIterator<(&'r [u8], &'r [u8])> for RecipientList {
    fn from_iter<I: IntoIterator<Item = (&'r [u8], &'r [u8])>>(recipients: I) -> Self {
        let mut list = Self::default();
        for (path, params) in recipients {
            list.push(path);
            list.set_params(params).expect("the recipient that was added");
        }
        list
    }
}

impl fmt::Debug for RecipientList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_come_back_in_their_order_with_their_own_parameters() {
        let mut list = RecipientList::default();
        assert!(list.is_empty() && list.set_params(b"X").is_none() && list.get(0).is_none());
        let all: [(&[u8], &[u8]); 4] = [(b"a@x", b"A=1"), (b"", b""), (b"b@x", b""), (b"", b"Y")];
        for (path, params) in all {
            list.push(path);
            // The last that are given count.
            list.set_params(b"LONGER=PARAMETERS").unwrap();
            list.set_params(params).unwrap();
        }
        let read: Vec<_> = list.iter().map(|Recipient { path, params }| (path, params)).collect();
        assert_eq!(read, all);
        assert_eq!(list, all.into_iter().collect());
        assert_eq!((list.len(), list.get(4)), (4, None));
    }
}
