//! Commands outside a transaction.

use ringpost::smtp::{extension::Extensions, server::Policy};

use super::harness::{EHLO, MAIL, RCPT, check, policy, run, run_with};

#[test]
fn greeting_commands_answer_as_their_rfcs_say() {
    check(
        &policy(),
        "",
        &[
            ("HELO client.example\r\n", "250"),
            ("helo [127.0.0.1]\r\n", "250"),
            ("EHLO [IPv6:2001:db8::1]\r\n", "250"),
            ("EHLO my_host  \r\n", "250"),
            ("EHLO\r\n", "501/5.5.4"),
            ("EHLO \r\n", "501/5.5.4"),
            ("HELO a b\r\n", "501/5.5.4"),
            ("HELO a..b\r\n", "501/5.5.4"),
            ("EHLO [1.2.3]\r\n", "501/5.5.4"),
            ("EHLO b\u{fc}cher.example\r\n", "501/5.5.2"),
            ("EHLO a\x01\r\n", "501/5.5.2"),
            ("LHLO client.example\r\n", "500/5.5.2"),
        ],
    );
}

#[test]
fn ehlo_lists_what_is_offered_in_one_reply_and_helo_lists_nothing() {
    let outcome = run(EHLO);
    assert_eq!(
        String::from_utf8(outcome.wire).unwrap(),
        "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 67108864\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n\
         250-CHUNKING\r\n250-BINARYMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-DELIVERBY\r\n\
         250-FUTURERELEASE 999999999 9999-12-31T23:59:59Z\r\n250-MT-PRIORITY\r\n\
         250-LIMITS RCPTMAX=100\r\n250 HELP\r\n"
    );
    assert_eq!(run("HELO x\r\n").wire, b"250 sink.example\r\n");
    let bare = Policy { extensions: Extensions::empty(), ..policy() };
    assert_eq!(run_with(&bare, "EHLO x\r\n").wire, b"250 sink.example\r\n");
}

#[test]
fn commands_that_need_no_greeting_work_before_it_and_behind_it() {
    for lead in ["", EHLO, "HELO x\r\n"] {
        check(
            &policy(),
            lead,
            &[
                ("NOOP\r\n", "250/2.0.0"),
                ("NOOP anything at all\r\n", "250/2.0.0"),
                ("RSET\r\n", "250/2.0.0"),
                ("HELP\r\n", "214/2.0.0"),
                ("HELP MAIL\r\n", "214/2.0.0"),
                ("VRFY someone\r\n", "252/2.5.2"),
                ("VRFY\r\n", "501/5.5.4"),
                ("QUIT\r\n", "221/2.0.0 ."),
                ("quit \t\r\nNOOP\r\n", "221/2.0.0 ."),
            ],
        );
    }
}

#[test]
fn arguments_where_none_belong_are_refused() {
    let transaction = format!("{EHLO}{MAIL}{RCPT}");
    check(
        &policy(),
        &transaction,
        &[("DATA x\r\n", "501/5.5.4"), ("RSET x\r\n", "501/5.5.4"), ("QUIT x\r\n", "501/5.5.4")],
    );
}

#[test]
fn unknown_and_unimplemented_commands_keep_the_session() {
    check(
        &policy(),
        EHLO,
        &[
            ("\r\n", "500/5.5.2"),
            ("XYZZY\r\n", "500/5.5.2"),
            ("MAILX FROM:<>\r\n", "500/5.5.2"),
            (" NOOP\r\n", "500/5.5.2"),
            ("NO\0P\r\n", "500/5.5.2"),
            ("N\u{d6}OP\r\n", "500/5.5.2"),
            ("NOOP x\x01\r\n", "501/5.5.2"),
            ("NOOP \u{d6}\r\n", "501/5.5.2"),
            ("HELP \x7f\r\n", "501/5.5.2"),
            ("EXPN list\r\n", "502/5.5.1"),
            ("ETRN example.org\r\n", "502/5.5.1"),
            ("ATRN example.org\r\n", "502/5.5.1"),
            ("TURN\r\n", "502/5.5.1"),
            ("SEND FROM:<a@b>\r\n", "502/5.5.1"),
            ("SOML FROM:<a@b>\r\n", "502/5.5.1"),
            ("SAML FROM:<a@b>\r\n", "502/5.5.1"),
            ("AUTH PLAIN AGEAYg==\r\n", "502/5.5.1"),
            ("STARTTLS\r\n", "502/5.5.1"),
        ],
    );
}

#[test]
fn a_bare_newline_does_not_end_a_command() {
    check(
        &policy(),
        EHLO,
        &[
            ("NOOP\nNOOP\r\n", "500/5.5.2"),
            ("NOOP\rNOOP\r\n", "500/5.5.2"),
            ("NOOP\r\r\n", "500/5.5.2"),
            ("\nNOOP\r\n", "500/5.5.2"),
            ("NOOP\n\r\nNOOP\r\n", "500/5.5.2 250/2.0.0"),
        ],
    );
}

#[test]
fn enhanced_codes_vanish_when_switched_off() {
    let policy = Policy {
        extensions: Extensions::ALL.difference(Extensions::ENHANCED_STATUS_CODES),
        ..policy()
    };
    let mut session = super::harness::Session::new(policy);
    session.feed(
        format!("{MAIL}NOOP\r\nHELP\r\nBDAT 2\r\nhi{EHLO}{MAIL}{RCPT}BDAT 2\r\nhiBDAT 0 LAST\r\n")
            .as_bytes(),
    );
    let mut replies = Vec::new();
    session.server.close_for(ringpost::smtp::server::CloseReason::ShuttingDown, &mut replies);
    assert!(replies.starts_with(b"421 Shutting"));
    // The harness insists on enhanced codes, so this looks at the wire itself.
    let wire = String::from_utf8(session.into_wire()).unwrap();
    let texts = wire.lines().map(|line| &line[4..]);
    assert!(texts.clone().count() > 10);
    for text in texts {
        assert!(!text.starts_with("2.") && !text.starts_with("5."), "{text}");
    }
}
