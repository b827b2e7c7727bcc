//! Clients that err, flood, or speak something else.

use ringpost::limits::{
    COMMAND_LINE_BYTES_MAX, COMMAND_NOISE_BYTES_MAX, SESSION_ERRORS_MAX, SESSION_JUNK_MAX,
};

use super::harness::{EHLO, MAIL, RCPT, check, policy, run};

#[test]
fn the_twentieth_error_ends_the_session() {
    let errors = SESSION_ERRORS_MAX as usize;
    let outcome = run("XYZZY\r\n".repeat(errors - 1));
    assert!(outcome.replies.len() == errors - 1 && !outcome.is_closed());
    let outcome = run("XYZZY\r\n".repeat(errors + 5));
    assert_eq!(outcome.replies.len(), errors + 1);
    assert_eq!(outcome.replies.last().unwrap(), "421/4.7.0");
    assert_eq!(outcome.trace(), "close");
}

#[test]
fn an_accepted_message_clears_the_count_of_errors() {
    let errors = "XYZZY\r\n".repeat(SESSION_ERRORS_MAX as usize - 1);
    let message = format!("{MAIL}{RCPT}DATA\r\n.\r\n");
    let outcome = run(format!("{EHLO}{errors}{message}{errors}{message}"));
    assert!(outcome.messages.len() == 2 && !outcome.is_closed());
}

#[test]
fn errors_in_mid_message_discard_it() {
    let flood = "XYZZY\r\n".repeat(SESSION_ERRORS_MAX as usize);
    let outcome = run(format!("{EHLO}{MAIL}{RCPT}BDAT 2\r\nhi{flood}"));
    assert_eq!(outcome.trace(), "begin discard close");
}

/// Found by comparison with the slow receiver: a last error that also gave up a message was let pass.
#[test]
fn the_twentieth_error_ends_the_session_though_it_ends_a_message_too() {
    let junk = "NOOP\r\n".repeat(SESSION_JUNK_MAX as usize - 1);
    let errors = "XYZZY\r\n".repeat(SESSION_ERRORS_MAX as usize - 1);
    let outcome = run(format!("{EHLO}{junk}{errors}{MAIL}{RCPT}BDAT 2\r\nhiRSET\r\n"));
    assert_eq!(outcome.replies[outcome.replies.len() - 2..], ["250/2.0.0", "421/4.7.0"]);
    assert_eq!(outcome.trace(), "begin discard close");
}

#[test]
fn commands_that_do_no_work_become_errors() {
    let bound = (SESSION_JUNK_MAX + SESSION_ERRORS_MAX) as usize;
    for junk in ["NOOP\r\n", "RSET\r\n", "VRFY x\r\n", "HELP\r\n", "HELO x\r\n"] {
        let outcome = run(junk.repeat(bound + 10));
        let replies = outcome.replies.len();
        // The first HELO is no repetition.
        assert!((bound + 1..=bound + 2).contains(&replies), "{junk} got {replies}");
        assert!(outcome.is_closed());
        let text = String::from_utf8(outcome.wire).unwrap();
        assert!(
            text.ends_with("421 4.7.0 Too many commands without a message; closing\r\n"),
            "{text}"
        );
    }
    let one = format!("NOOP\r\nRSET\r\n{MAIL}{RCPT}DATA\r\n.\r\n");
    assert!(!run(format!("{EHLO}{}", one.repeat(bound))).is_closed(), "work clears the count");
}

#[test]
fn a_flood_of_tiny_chunks_ends_the_session() {
    for chunk in [
        "BDAT 1\r\nx",
        "BDAT 0\r\n",
        "BDAT 63\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        let outcome = run(format!("{EHLO}{MAIL}{RCPT}{}", chunk.repeat(200)));
        assert_eq!(outcome.replies.last().unwrap(), "421/4.7.0");
        assert_eq!(outcome.trace().split(' ').next_back(), Some("close"));
        assert!(outcome.messages.is_empty());
    }
    let chunk = format!("BDAT 64\r\n{}", "x".repeat(64));
    let outcome = run(format!("{EHLO}{MAIL}{RCPT}{}BDAT 0 LAST\r\n", chunk.repeat(200)));
    assert_eq!(outcome.messages[0].body.len(), 64 * 200);
}

#[test]
fn a_line_too_long_is_skipped_to_its_end() {
    let line = |octets: usize| format!("NOOP {}\r\n", "x".repeat(octets - 7));
    for (octets, code) in [
        (512, "250/2.0.0"),
        (COMMAND_LINE_BYTES_MAX, "250/2.0.0"),
        (COMMAND_LINE_BYTES_MAX + 1, "500/5.5.2"),
        (COMMAND_NOISE_BYTES_MAX, "500/5.5.2"),
    ] {
        let outcome = run(format!("{}QUIT\r\n", line(octets)));
        assert_eq!(outcome.codes(), format!("{code} 221/2.0.0"), "{octets}");
    }
    let outcome = run(line(COMMAND_NOISE_BYTES_MAX + 1));
    assert_eq!(outcome.codes(), "421/4.7.0");
    assert!(outcome.is_closed());
    assert_eq!(run("x".repeat(COMMAND_NOISE_BYTES_MAX + 1)).codes(), "421/4.7.0");
    assert_eq!(run("\n".repeat(COMMAND_NOISE_BYTES_MAX)).codes(), "");
}

#[test]
fn what_is_no_smtp_client_is_sent_away() {
    check(
        &policy(),
        "",
        &[
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "554/5.5.0 ."),
            ("POST /x HTTP/1.1\r\n\r\n", "554/5.5.0 ."),
            ("CONNECT x:25 HTTP/1.1\r\n\r\n", "554/5.5.0 ."),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "554/5.5.0 ."),
            ("\x16\x03\x01\x02\0\x01", "554/5.5.0 ."),
            ("GET\r\n", "500/5.5.2"),
            ("NOOP\r\nGET / HTTP/1.1\r\n", "250/2.0.0 500/5.5.2"),
            ("\x16\r\n", "500/5.5.2"),
        ],
    );
}
