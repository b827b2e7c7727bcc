//! BDAT and BINARYMIME (RFC 3030).

use ringpost::smtp::{
    extension::Extensions,
    server::{BareNewline, Flags, Policy},
};

use super::harness::{EHLO, MAIL, RCPT, check, policy, run, run_with};

fn lead() -> String {
    format!("{EHLO}{MAIL}{RCPT}")
}

#[test]
fn chunks_are_counted_out_and_the_last_ends_the_message() {
    let outcome =
        run(format!("{}BDAT 6\r\n.\r\nab\rBDAT 3\r\n\n\r\nbdat 4 last\r\n..\r\nNOOP\r\n", lead()));
    assert_eq!(outcome.codes(), "250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0 250/2.0.0 250/2.0.0");
    assert_eq!(outcome.trace(), "begin body end");
    assert_eq!(outcome.messages[0].body, b".\r\nab\r\n\r\n..\r\n");
    assert_eq!(outcome.messages[0].flags, Flags::BDAT);
    assert!(String::from_utf8(outcome.wire).unwrap().contains("250 2.0.0 6 octets\r\n"));
}

#[test]
fn bare_newlines_in_chunks_are_kept_and_flagged() {
    let outcome = run(format!("{}BDAT 5 LAST\r\na\nb\0\r", lead()));
    let flags = Flags::BDAT.union(Flags::BARE_CR).union(Flags::BARE_LF).union(Flags::NUL);
    assert_eq!(outcome.messages[0].flags, flags);
    assert_eq!(policy().bare_newline, BareNewline::Reject);
}

#[test]
fn an_empty_last_chunk_ends_a_message() {
    for (chunks, body) in [("BDAT 0 LAST\r\n", ""), ("BDAT 2\r\nhiBDAT 0 LAST\r\n", "hi")] {
        let outcome = run(format!("{}{chunks}", lead()));
        assert_eq!(outcome.messages[0].body, body.as_bytes());
        assert_eq!(outcome.replies.last().unwrap(), "250/2.0.0");
    }
    check(&policy(), &lead(), &[("BDAT 0\r\nBDAT 0 LAST\r\n", "250/2.0.0 250/2.0.0")]);
}

#[test]
fn a_chunk_is_consumed_before_it_is_refused() {
    // The chunk spells a command, which must not be carried out.
    let chunk = "BDAT 6\r\nQUIT\r\nNOOP\r\n";
    let last = "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n";
    for (lead, code) in [
        (String::new(), "503/5.5.1"),
        ("HELO x\r\n".into(), "503/5.5.1"),
        (EHLO.into(), "503/5.5.1"),
        (format!("{EHLO}{MAIL}"), "503/5.5.1"),
        (format!("{EHLO}{MAIL}RCPT TO:<>\r\n"), "554/5.5.1"),
    ] {
        let expected = format!("{code} 250/2.0.0");
        check(&policy(), &lead, &[(chunk, &expected), (last, &expected)]);
    }
    let off = Policy { extensions: Extensions::ALL.difference(Extensions::CHUNKING), ..policy() };
    check(&off, &lead(), &[(chunk, "502/5.5.1 250/2.0.0")]);
}

#[test]
fn chunks_behind_a_refused_one_are_consumed_and_refused() {
    let small = Policy { message_bytes_max: 8, ..policy() };
    let lead = lead();
    check(
        &small,
        &lead,
        &[
            ("BDAT 8 LAST\r\n12345678", "250/2.0.0"),
            ("BDAT 9 LAST\r\n123456789NOOP\r\n", "552/5.3.4 250/2.0.0"),
            (
                "BDAT 9\r\n123456789BDAT 2\r\nhiBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@b>\r\n",
                "552/5.3.4 503/5.5.1 503/5.5.1 250/2.1.0",
            ),
            (
                "BDAT 9\r\n123456789MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nNOOP\r\nRSET\r\n\
                 MAIL FROM:<a@b>\r\n",
                "552/5.3.4 503/5.5.1 503/5.5.1 503/5.5.1 250/2.0.0 250/2.0.0 250/2.1.0",
            ),
        ],
    );
    let outcome = run_with(&small, format!("{lead}BDAT 6\r\n123456BDAT 3\r\n123BDAT 0 LAST\r\n"));
    assert_eq!(outcome.replies[3..], ["250/2.0.0", "552/5.3.4", "503/5.5.1"]);
    assert_eq!(outcome.trace(), "begin discard");
    let outcome = run_with(&small, format!("{lead}BDAT 9 LAST\r\n123456789"));
    assert_eq!(outcome.trace(), "discard", "a message was refused, though none began");
    let mut wire = format!("{lead}BDAT 18446744073709551615 LAST\r\n").into_bytes();
    wire.resize(100_000, b'x');
    assert_eq!(run_with(&small, wire).replies.len(), 3, "nothing is said before the chunk ends");
}

#[test]
fn nothing_but_chunks_may_follow_a_chunk() {
    let lead = format!("{}BDAT 2\r\nhi", lead());
    check(
        &policy(),
        &lead,
        &[
            ("DATA\r\n", "503/5.5.1"),
            (MAIL, "503/5.5.1"),
            (RCPT, "503/5.5.1"),
            (
                "NOOP\r\nVRFY x\r\nHELP\r\nBDAT 0 LAST\r\n",
                "250/2.0.0 252/2.5.2 214/2.0.0 250/2.0.0",
            ),
        ],
    );
    for (ending, codes, trace) in [
        ("RSET\r\nBDAT 0 LAST\r\n", "250/2.0.0 503/5.5.1", "begin discard"),
        ("EHLO x\r\nDATA\r\n", "250 503/5.5.1", "begin discard"),
        ("QUIT\r\n", "221/2.0.0", "begin discard close"),
    ] {
        let outcome = run(format!("{lead}{ending}"));
        assert_eq!(outcome.replies[4..].join(" "), codes);
        assert_eq!(outcome.trace(), trace, "{ending:?}");
    }
}

#[test]
fn a_chunk_behind_the_last_is_refused() {
    check(
        &policy(),
        &lead(),
        &[("BDAT 2 LAST\r\nhiBDAT 2 LAST\r\nhiNOOP\r\n", "250/2.0.0 503/5.5.1 250/2.0.0")],
    );
}

#[test]
fn binarymime_needs_bdat() {
    let lead = format!("{EHLO}MAIL FROM:<a@b> BODY=BINARYMIME\r\n{RCPT}");
    check(&policy(), &lead, &[("DATA\r\n", "503/5.5.1"), ("BDAT 3 LAST\r\n\0\r\n", "250/2.0.0")]);
}

#[test]
fn a_size_that_cannot_be_read_ends_the_session() {
    for lead in [String::new(), lead(), format!("{}BDAT 2\r\nhi", lead())] {
        for argument in ["", " ", " x", " -1", " 5 FOO", " 18446744073709551616", " LAST"] {
            let outcome = run(format!("{lead}BDAT{argument}\r\nhello\r\nNOOP\r\n"));
            assert_eq!(outcome.replies.last().unwrap(), "521/5.5.4", "{argument}");
            assert!(outcome.is_closed() && outcome.messages.is_empty());
        }
    }
}
