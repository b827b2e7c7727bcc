//! Where the header block of a message ends.

/// Finds the end of the header block in a message that comes in pieces.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HeaderCut {
    #[default]
    LineStart,
    /// After a CR at the start of a line.
    LineStartCr,
    Line,
    /// The empty line has been taken.
    Done,
}

impl HeaderCut {
    /// The part of the next piece that belongs to the header block, the empty line included.
    pub fn take<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let mut at = 0;
        while at < piece.len() && *self != Self::Done {
            if *self == Self::Line {
                let Some(newline) = memchr::memchr(b'\n', &piece[at..]) else { return piece };
                at += newline + 1;
                *self = Self::LineStart;
                continue;
            }
            *self = match (*self, piece[at]) {
                (_, b'\n') => Self::Done,
                (Self::LineStart, b'\r') => Self::LineStartCr,
                _ => Self::Line,
            };
            at += 1;
        }
        &piece[..at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_block_ends_behind_its_empty_line_however_it_is_cut() {
        for (message, header_bytes) in [
            (&b"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore"[..], 14),
            (b"\r\nbody", 2),
            (b"A: b\n\nbody", 6),
            (b"A: b\r\r\n\r\nbody", 9),
            (b"A: b\r\n\rx\r\n\r\nbody", 12),
            (b"A: b\r\nno empty line", 19),
            (b"", 0),
        ] {
            for first in 0..=message.len() {
                for second in first..=message.len() {
                    let mut cut = HeaderCut::default();
                    let pieces = [&message[..first], &message[first..second], &message[second..]];
                    let kept = pieces.map(|piece| cut.take(piece)).concat();
                    assert_eq!(kept, message[..header_bytes], "cut at {first} and {second}");
                }
            }
        }
    }
}
