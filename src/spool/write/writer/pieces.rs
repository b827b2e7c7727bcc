//! Which records of a log are pieces of messages that are still open.

use crate::limits::OPEN_PIECES_MAX;

/// One record of an open message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) segment: u32,
    pub(super) offset: u32,
    /// Octets of the fragment; 0 while it is not committed: then it is the record at the head of the log.
    pub(super) bytes: u32,
    /// There was no room to commit it, so the message is lost.
    lost: bool,
    /// The piece before it of the same message.
    before: PieceId,
}

/// Names a piece; the default is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PieceId(u32);

/// The pieces of all open messages of one log. Allocates only while more of them are open than ever before.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// INVARIANT: those that are not in use form a list from `free` on.
    all: Vec<Piece>,
    free: PieceId,
    used: usize,
}

impl Pieces {
    /// Whether an open message gets no further piece, because those that there are take enough memory.
    pub(super) fn is_full(&self) -> bool {
        self.used >= OPEN_PIECES_MAX
    }

    /// Adds a piece that is being written, the one after `before`.
    pub(super) fn add(&mut self, segment: u32, offset: u32, before: PieceId) -> PieceId {
        let piece = Piece { segment, offset, bytes: 0, lost: false, before };
        self.used += 1;
        match self.at(self.free) {
            Some(at) => {
                let id = std::mem::replace(&mut self.free, self.all[at].before);
                self.all[at] = piece;
                id
            }
            None => {
                self.all.push(piece);
                PieceId(self.all.len() as u32)
            }
        }
    }

    /// The piece is committed, as a fragment of so many octets.
    pub(super) fn close(&mut self, id: PieceId, bytes: u32) {
        let at = self.at(id).expect("a record that is open is a piece");
        self.all[at].bytes = bytes;
    }

    /// There is no room to commit the piece.
    pub(super) fn lose(&mut self, id: PieceId) {
        let at = self.at(id).expect("a record that is open is a piece");
        self.all[at].lost = true;
    }

    /// Whether a message is lost whose latest piece this is.
    pub(super) fn is_lost(&self, id: PieceId) -> bool {
        self.at(id).is_some_and(|at| self.all[at].lost)
    }

    /// Forgets the piece. Returns it, and the one before it.
    pub(super) fn take(&mut self, id: PieceId) -> Option<(Piece, PieceId)> {
        let at = self.at(id)?;
        let piece = self.all[at];
        self.all[at].before = std::mem::replace(&mut self.free, id);
        self.used -= 1;
        Some((piece, piece.before))
    }

    /// Forgets the piece and all before it. Returns the octets of the fragments.
    pub(super) fn forget(&mut self, mut id: PieceId) -> u64 {
        let mut bytes = 0;
        while let Some((piece, before)) = self.take(id) {
            bytes += u64::from(piece.bytes);
            id = before;
        }
        bytes
    }

    /// The segments of the piece and of all before it.
    #[cfg(test)]
    pub(super) fn segments(&self, mut id: PieceId) -> std::collections::HashSet<u32> {
        let mut segments = std::collections::HashSet::new();
        while let Some(at) = self.at(id) {
            segments.insert(self.all[at].segment);
            id = self.all[at].before;
        }
        segments
    }

    fn at(&self, id: PieceId) -> Option<usize> {
        (id.0 as usize).checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_many_messages_are_told_apart_and_their_places_used_again() {
        let mut pieces = Pieces::default();
        let mut chains = [PieceId::default(); 3];
        for round in 0..5 {
            for (of, chain) in chains.iter_mut().enumerate() {
                *chain = pieces.add(of as u32, round, *chain);
                if round > 0 {
                    pieces.close(*chain, 10);
                }
            }
        }
        let mut offsets = Vec::new();
        let mut id = chains[1];
        while let Some((piece, before)) = pieces.take(id) {
            assert_eq!((piece.segment, piece.bytes > 0), (1, piece.offset > 0));
            offsets.push(piece.offset);
            id = before;
        }
        assert_eq!(offsets, [4, 3, 2, 1, 0]);
        assert_eq!(pieces.forget(chains[0]), 40);
        assert_eq!(pieces.used, 5);
        for _ in 0..10 {
            pieces.add(9, 9, PieceId::default());
        }
        assert_eq!(pieces.all.len(), 15);
        assert!(!pieces.is_lost(chains[2]) && !pieces.is_lost(PieceId::default()));
        pieces.lose(chains[2]);
        assert!(pieces.is_lost(chains[2]));
        assert_eq!(pieces.take(chains[2]).unwrap().0.segment, 2);
    }

    /// What the manual says of "what one connection can make the sink hold".
    #[test]
    fn a_piece_takes_little_memory_and_none_that_is_given_back_is_kept_twice() {
        let mut pieces = Pieces::default();
        for _ in 0..3 {
            let mut chain = PieceId::default();
            for count in 1..=100_000 {
                chain = pieces.add(1, 64, chain);
                assert!(count < 100 || pieces.all.capacity() * size_of::<Piece>() <= 40 * 100_000);
            }
            assert_eq!((pieces.used, pieces.is_full()), (100_000, false));
            pieces.forget(chain);
        }
        assert_eq!((pieces.used, pieces.all.len()), (0, 100_000));
        pieces.used = OPEN_PIECES_MAX;
        assert!(pieces.is_full());
    }
}
