//! Changes the ends of lines in octets that come in pieces.

use std::io::{self, Write};

/// What becomes of a CR on its way to `out`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CrRule {
    /// Every octet stays.
    Keep,
    /// It is left out before an LF: lines end as on Unix. A lone CR stays.
    BeforeLf,
    /// It is left out everywhere.
    All,
}

/// Hands octets on to `out`. [`LineEnds::finish`] ends it.
pub(super) struct LineEnds<W> {
    rule: CrRule,
    out: W,
    /// A CR came last, and what comes next decides what becomes of it.
    pending: bool,
}

impl<W: Write> LineEnds<W> {
    pub(super) fn new(rule: CrRule, out: W) -> Self {
        Self { rule, out, pending: false }
    }

    /// Hands on what was held back, and gives the output back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        if self.pending {
            self.out.write_all(b"\r")?;
        }
        Ok(self.out)
    }

    fn before_lf(&mut self, mut octets: &[u8]) -> io::Result<()> {
        let Some(&first) = octets.first() else { return Ok(()) };
        if std::mem::take(&mut self.pending) && first != b'\n' {
            self.out.write_all(b"\r")?;
        }
        let mut from = 0;
        while let Some(found) = memchr::memchr(b'\r', &octets[from..]) {
            let at = from + found;
            match octets.get(at + 1) {
                Some(b'\n') => {
                    self.out.write_all(&octets[..at])?;
                    octets = &octets[at + 1..];
                    from = 0;
                }
                Some(_) => from = at + 1,
                None => {
                    self.pending = true;
                    octets = &octets[..at];
                    break;
                }
            }
        }
        self.out.write_all(octets)
    }
}

impl<W: Write> Write for LineEnds<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self.rule {
            CrRule::Keep => self.out.write_all(octets)?,
            CrRule::BeforeLf => self.before_lf(octets)?,
            CrRule::All => {
                for piece in octets.split(|&octet| octet == b'\r') {
                    self.out.write_all(piece)?;
                }
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_ends_of_lines_change_and_nothing_else_however_it_is_cut(
            pieces in prop::collection::vec(
                prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..20), 0..9
            )
        ) {
            let text = String::from_utf8(pieces.concat()).unwrap();
            for (rule, expected) in [
                (CrRule::Keep, text.clone()),
                (CrRule::BeforeLf, text.replace("\r\n", "\n")),
                (CrRule::All, text.replace('\r', "")),
            ] {
                let mut ends = LineEnds::new(rule, Vec::new());
                for piece in &pieces {
                    ends.write_all(piece).unwrap();
                }
                prop_assert_eq!(String::from_utf8(ends.finish().unwrap()).unwrap(), expected);
            }
        }
    }
}
