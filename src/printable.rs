//! Text that came from elsewhere, made fit to print. What a peer or a file says must not steer a terminal,
//! forge a line, or show itself in another order than it has.
//!
//! Every path to a terminal comes through here: [`notice!`](crate::notice), the reports on stdout, lists of
//! messages, JSON and pages. Where such text is put into a line of ours, [`printable`] makes it harmless;
//! at the exit [`lines`] and [`styled`] see the whole once more, so that no path can forget it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// What stands in place of a character that is not printed.
const INSTEAD: char = '?';

/// Whether a terminal may do something else than draw this character: controls (C0, DEL and C1 of ECMA-48,
/// NUL and all line ends among them), separators of lines and paragraphs, marks that change the direction of
/// text (Unicode 16, UAX #9), and what is invisible and begins or ends a run of text.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text on one line, with a `?` for each character that a terminal may obey.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |_| false)
}

/// As [`printable`], for octets that need not be UTF-8.
pub(crate) fn printable_octets(octets: &[u8]) -> String {
    printable(&String::from_utf8_lossy(octets)).into_owned()
}

/// Whole lines of ours, whose ends and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| matches!(c, '\n' | '\t'))
}

/// As [`lines`], for text with colours of ours: what sets a colour (SGR of ECMA-48, 8.3.117) stays too.
pub(crate) fn styled(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return lines(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&lines(&rest[..at]));
        let colour = sgr_bytes(&rest[at..]);
        match colour {
            0 => out.push(INSTEAD),
            _ => out.push_str(&rest[at..at + colour]),
        }
        rest = &rest[at + colour.max(1)..];
    }
    out.push_str(&lines(rest));
    Cow::Owned(out)
}

/// Length of the SGR sequence that `text` begins with: `ESC [`, digits and semicolons, `m`. Else 0.
fn sgr_bytes(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = rest.bytes().take_while(|octet| matches!(octet, b'0'..=b'9' | b';')).count();
    if rest.as_bytes().get(digits) == Some(&b'm') { 2 + digits + 1 } else { 0 }
}

/// JSON text in which such characters are escaped (RFC 8259 §7). They can stand in strings alone, so the
/// value is the same. The line ends between the parts of pretty JSON stay.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && c != '\n';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if harmful(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Where a serializer writes JSON: [`json`] of all that it gives, piece by piece.
pub(crate) struct JsonOut<W>(W);

impl<W: Write> JsonOut<W> {
    pub(crate) fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Write for JsonOut<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let text = match str::from_utf8(octets) {
            Ok(text) => text,
            // The rest of the character comes once more, with what follows it.
            Err(error) if error.valid_up_to() > 0 => {
                str::from_utf8(&octets[..error.valid_up_to()]).map_err(io::Error::other)?
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        self.0.write_all(json(text).as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn replaced(text: &str, kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmful = |c: char| is_harmful(c) && !kept(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if harmful(c) { INSTEAD } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Controls by number, and the names of Unicode's list of characters with a direction.
    const HARMFUL: &str = "\0\x07\x08\t\n\r\x1b\x7f\u{80}\u{85}\u{9b}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\
        \u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{e0041}";

    #[test]
    fn each_character_that_a_terminal_may_obey_is_replaced_and_no_other() {
        for c in HARMFUL.chars() {
            assert_eq!(printable(&format!("a{c}b")), "a?b", "{c:?}");
        }
        for kept in ["", "Grüße, 日本語 ✓ 🦀 \u{301}", "العربية עברית", " ~\u{a0}"]
        {
            assert!(matches!(printable(kept), Cow::Borrowed(same) if same == kept), "{kept}");
        }
        assert_eq!(printable_octets(b"\x9b2J\xff\x1b[2J"), "\u{fffd}2J\u{fffd}?[2J");
    }

    #[test]
    fn lines_keep_their_ends_and_colours_stay_where_there_are_colours() {
        assert_eq!(lines("a\tb\nc\rd\x1b[1me"), "a\tb\nc?d?[1me");
        assert_eq!(styled("\x1b[1;31mno\x1b[0m\n"), "\x1b[1;31mno\x1b[0m\n");
        for (given, told) in [
            ("\x1b]0;x\x07", "?]0;x?"),
            ("\x1b[2J\x1b[31mx", "?[2J\x1b[31mx"),
            ("\x1b[31", "?[31"),
            ("\x1b", "?"),
            ("\x1b\x1b[m\u{9b}m", "?\x1b[m?m"),
            ("\x1b[?25lä", "?[?25lä"),
        ] {
            assert_eq!(styled(given), told, "{given:?}");
        }
    }

    proptest! {
        #[test]
        fn escaped_json_is_the_same_value_and_nothing_of_it_is_harmful(
            text in prop::collection::vec(prop_oneof![
                any::<char>(),
                prop::sample::select(HARMFUL.chars().collect::<Vec<_>>()),
            ], 0..40),
        ) {
            let text: String = text.into_iter().collect();
            let value = serde_json::json!({ &text: [&text, 1.5] });
            for plain in [value.to_string(), format!("{value:#}")] {
                let escaped = json(&plain);
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), &value);
                let mut written = Vec::new();
                JsonOut::new(&mut written).write_all(plain.as_bytes()).unwrap();
                prop_assert_eq!(str::from_utf8(&written).unwrap(), &*escaped);
                prop_assert!(!escaped.contains(|c| is_harmful(c) && c != '\n'));
            }
            prop_assert!(!printable(&text).contains(is_harmful));
            prop_assert!(!styled(&text).contains(|c| is_harmful(c) && !"\n\t\x1b".contains(c)));
        }
    }
}
