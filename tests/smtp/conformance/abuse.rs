//! Clients that err, flood, or speak something else.

use ringpost::limits::{
    COMMAND_LINE_BYTES_MAX, COMMAND_NOISE_BYTES_MAX, SESSION_ERRORS_MAX, SESSION_JUNK_MAX,
};

use ringpost::smtp::server::Policy;

use super::harness::{EHLO, MAIL, RCPT, check, policy, run, run_with};

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

/// RFC 2920: a client may send all of this before it has read the first reply.
#[test]
fn what_follows_a_refused_command_in_its_flight_is_no_error_of_its_own() {
    let many = 3 * SESSION_ERRORS_MAX as usize;
    let (flight, noop) = (RCPT.repeat(many), "NOOP\r\n");
    let refused_mail = "MAIL FROM:<a@b.example> SIZE=999999999999\r\n";
    let outcome = run(format!("{EHLO}{refused_mail}{flight}DATA\r\n{noop}"));
    assert_eq!(outcome.replies.last().unwrap(), "250/2.0.0");
    assert_eq!(outcome.replies.iter().filter(|reply| *reply == "503/5.5.1").count(), many + 1);

    let refused_rcpt = "RCPT TO:<@>\r\n";
    let transaction = format!("{MAIL}{refused_rcpt}DATA\r\nRSET\r\n");
    let outcome = run(format!("{EHLO}{}{noop}", transaction.repeat(15)));
    assert_eq!(outcome.replies.last().unwrap(), "250/2.0.0", "one error each");

    let small = Policy { message_bytes_max: 1_000, ..policy() };
    let chunk = format!("BDAT 1001\r\n{}", "x".repeat(1_001));
    let chunks = format!("{EHLO}{MAIL}{RCPT}{}BDAT 0 LAST\r\n{noop}", chunk.repeat(many));
    let outcome = run_with(&small, chunks);
    assert_eq!(outcome.replies.last().unwrap(), "250/2.0.0");

    let without_mail = run(format!("{EHLO}{flight}"));
    assert!(without_mail.is_closed(), "nothing was refused before");
    let taken = format!("{refused_mail}{MAIL}{RCPT}DATA\r\n.\r\n");
    let outcome = run(format!("{EHLO}{taken}{flight}"));
    assert!(outcome.is_closed(), "the flight is over");
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
