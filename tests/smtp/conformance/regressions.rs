//! Bugs that other receivers had, by the day their maintainers wrote them down.

use ringpost::smtp::{
    reply::Reply,
    server::{CloseReason, Event, Policy},
};

use super::harness::{EHLO, MAIL, RCPT, Session, Verdict, check, policy, run, run_with};

/// Postfix 20260724: a BDAT error did not reset the recipients, and the DATA behind it crashed.
#[test]
fn a_bdat_error_takes_the_recipients_with_it() {
    let small = Policy { message_bytes_max: 4, ..policy() };
    check(
        &small,
        &format!("{EHLO}{MAIL}{RCPT}"),
        &[
            ("BDAT 5\r\nhelloDATA\r\n", "552/5.3.4 503/5.5.1"),
            ("BDAT 5 LAST\r\nhelloDATA\r\n", "552/5.3.4 503/5.5.1"),
            ("BDAT 5 LAST\r\nhelloRCPT TO:<c@d>\r\n", "552/5.3.4 503/5.5.1"),
            (
                "BDAT 5\r\nhelloRSET\r\nMAIL FROM:<>\r\nDATA\r\n",
                "552/5.3.4 250/2.0.0 250/2.1.0 503/5.5.1",
            ),
        ],
    );
}

/// Postfix 20260803: a rejection at the end of data left sender and recipients standing.
#[test]
fn a_rejected_message_takes_sender_and_recipients_with_it() {
    let bare = "DATA\r\nhi\n\r\n.\r\n";
    let large = "DATA\r\nhello, world\r\n.\r\n";
    let small = Policy { message_bytes_max: 4, ..policy() };
    for message in [bare, large] {
        let outcome = run_with(&small, format!("{EHLO}{MAIL}{RCPT}{message}DATA\r\n{RCPT}{MAIL}"));
        assert_eq!(outcome.replies[5..].join(" "), "503/5.5.1 503/5.5.1 250/2.1.0");
    }
    let refusal = Verdict::Refuse(Reply::new(554, 3, 0, "No"));
    let mut session = Session::new(policy()).with_verdict(refusal);
    session.feed(format!("{EHLO}{MAIL}{RCPT}BDAT 0 LAST\r\nBDAT 0 LAST\r\nDATA\r\n").as_bytes());
    assert_eq!(session.finish().replies[3..].join(" "), "554/5.3.0 503/5.5.1 503/5.5.1");
}

/// Postfix 20260805: very small chunks exhausted memory through a history of commands.
#[test]
fn small_chunks_are_bounded_in_number() {
    let outcome = run(format!("{EHLO}{MAIL}{RCPT}{}", "BDAT 1\r\nx".repeat(1_000)));
    assert!(outcome.replies.len() < 150 && outcome.is_closed());
}

/// Postfix 20260812: VRFY reset the sender but not the recipients, and the next command crashed.
#[test]
fn vrfy_leaves_the_transaction_alone() {
    for vrfy in ["VRFY x\r\n", "VRFY\r\n", "VRFY \x01\r\n", "EXPN x\r\n", "HELP\r\n"] {
        let outcome = run(format!("{EHLO}{MAIL}{vrfy}{RCPT}{vrfy}DATA\r\nhi\r\n.\r\n"));
        assert_eq!(outcome.messages.len(), 1);
        assert_eq!(outcome.messages[0].recipients, ["c@d.example"]);
    }
}

/// Postfix 20260816 and the class before it: the two framings see each other's octets.
#[test]
fn the_framings_do_not_see_each_others_octets() {
    // A chunk that ends inside what would be an end of data, followed by commands.
    let outcome = run(format!("{EHLO}{MAIL}{RCPT}BDAT 3\r\na\r\nBDAT 3 LAST\r\n.\r\nNOOP\r\n"));
    assert_eq!(outcome.messages[0].body, b"a\r\n.\r\n");
    let outcome =
        run(format!("{EHLO}{MAIL}{RCPT}BDAT 2 LAST\r\na\r{MAIL}{RCPT}DATA\r\n\n.\r\nx\r\n.\r\n"));
    assert_eq!(outcome.messages.len(), 1, "LF first in a message is bare whatever came before");
    assert_eq!(outcome.replies.last().unwrap(), "550/5.6.0");
}

/// Exim CVE-2026-45185: the stream ended inside a chunk and one more octet was read as a command.
#[test]
fn a_session_closed_inside_a_chunk_reads_nothing_more() {
    let mut session = Session::new(policy());
    session.feed(format!("{EHLO}{MAIL}{RCPT}BDAT 9\r\nhi").as_bytes());
    let mut replies = Vec::new();
    session.server.close_for(CloseReason::Timeout, &mut replies);
    let said = replies.len();
    for mut octet in [&b"x"[..], b"QUIT\r\n", b""] {
        assert_eq!(session.server.step(&mut octet, &mut replies), None::<Event<'_>>);
        assert!(octet.is_empty());
    }
    assert_eq!(replies.len(), said);
}

/// CVE-2011-0411 and kin: what is pipelined behind a refused STARTTLS stays plain commands.
#[test]
fn refused_starttls_changes_nothing() {
    check(&policy(), EHLO, &[("STARTTLS\r\nNOOP\r\n", "502/5.5.1 250/2.0.0")]);
}
