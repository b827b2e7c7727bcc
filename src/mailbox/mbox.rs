//! mbox with mboxrd quoting: a reader that unquotes it gets back what was written, octet for octet.

use jiff::tz::TimeZone;
use memchr::memmem;

use super::received::format_time;
use crate::spool::Message;

/// Appends one message with its separators: a `From ` line, the message in which each line that
/// begins with `>`s and `From ` gets one more `>`, and an empty line. The lines of
/// `octets` end with `newline`; a last line without it gets it, since mbox knows no other end.
pub(super) fn write(message: &Message, octets: &[u8], newline: &[u8], out: &mut Vec<u8>) {
    write_from_line(message, newline, out);
    let mut copied = 0;
    for hit in memmem::find_iter(octets, b"From ") {
        let quotes = octets[copied..hit].iter().rev().take_while(|&&b| b == b'>').count();
        let start = hit - quotes;
        if start == 0 || octets[start - 1] == b'\n' {
            out.extend_from_slice(&octets[copied..start]);
            out.push(b'>');
            copied = start;
        }
    }
    out.extend_from_slice(&octets[copied..]);
    if !octets.ends_with(b"\n") {
        out.extend_from_slice(newline);
    }
    out.extend_from_slice(newline);
}

/// `From address date`, with the date in UTC as asctime writes it (RFC 4155). The sender of mail with the
/// null reverse path is MAILER-DAEMON.
fn write_from_line(message: &Message, newline: &[u8], out: &mut Vec<u8>) {
    let sender = message.envelope.reverse_path.as_slice();
    out.extend_from_slice(b"From ");
    if sender.is_empty() {
        out.extend_from_slice(b"MAILER-DAEMON");
    }
    // A space, as a quoted local part may hold, would end the address for every reader.
    out.extend(sender.iter().map(|&b| if b <= b' ' || b == 0x7f { b'_' } else { b }));
    out.push(b' ');
    let date = format_time(message.envelope.received_ns, &TimeZone::UTC, "%a %b %e %H:%M:%S %Y");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(newline);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{Place, StoredEnvelope};

    fn message(sender: &str) -> Message {
        let envelope = StoredEnvelope {
            received_ns: 1_699_000_000_000_000_000,
            reverse_path: sender.as_bytes().to_vec(),
            ..StoredEnvelope::default()
        };
        Message::of_envelope(Place::default(), envelope)
    }

    fn written(sender: &str, octets: &str) -> String {
        let mut out = Vec::new();
        write(&message(sender), octets.as_bytes(), b"\n", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_that_look_like_separators_are_quoted_and_others_are_not() {
        let lead = "From a@b Fri Nov  3 08:26:40 2023\n";
        for (octets, quoted) in [
            ("From x\n", ">From x\n\n"),
            ("a\n\nFrom x\n>From y\n>>From z\n", "a\n\n>From x\n>>From y\n>>>From z\n\n"),
            (
                "From: x\na From b\n From c\n>x From d\n",
                "From: x\na From b\n From c\n>x From d\n\n",
            ),
            ("From From \n", ">From From \n\n"),
            ("> From x\nFrom", "> From x\nFrom\n\n"),
            ("", "\n\n"),
        ] {
            assert_eq!(written("a@b", octets), format!("{lead}{quoted}"), "{octets:?}");
        }
    }

    #[test]
    fn the_separator_names_one_sender_without_spaces() {
        assert!(written("", "x\n").starts_with("From MAILER-DAEMON Fri Nov  3 "));
        assert!(written("\"a b\"@c", "x\n").starts_with("From \"a_b\"@c Fri Nov  3 "));
    }
}
