//! MAIL and RCPT.

use ringpost::limits::RECIPIENTS_OVERSHOOT_MAX;
use ringpost::smtp::{
    reply::Reply,
    server::{Flags, Policy},
};

use super::harness::{EHLO, MAIL, RCPT, Session, check, policy, run, run_with};

#[test]
fn commands_out_of_order_change_nothing() {
    check(
        &policy(),
        "",
        &[
            (MAIL, "503/5.5.1"),
            ("MAIL FROM:rubbish\r\n", "503/5.5.1"),
            (RCPT, "503/5.5.1"),
            ("DATA\r\n", "503/5.5.1"),
            ("EHLO\r\nMAIL FROM:<a@b>\r\n", "501/5.5.4 503/5.5.1"),
        ],
    );
    check(&policy(), EHLO, &[(RCPT, "503/5.5.1"), ("DATA\r\n", "503/5.5.1")]);
    let outcome = run(format!(
        "{EHLO}{MAIL}MAIL FROM:<second@b>\r\n{RCPT}MAIL FROM:<third@b>\r\nDATA\r\n.\r\n"
    ));
    assert_eq!(outcome.codes(), "250 250/2.1.0 503/5.5.1 250/2.1.5 503/5.5.1 354 250/2.0.0");
    assert_eq!(outcome.messages[0].sender, "a@b.example");
}

#[test]
fn a_second_greeting_ends_the_transaction() {
    for hello in [EHLO, "HELO x\r\n"] {
        let outcome = run(format!("{EHLO}{MAIL}{RCPT}{hello}DATA\r\n{RCPT}{MAIL}"));
        assert_eq!(outcome.codes(), "250 250/2.1.0 250/2.1.5 250 503/5.5.1 503/5.5.1 250/2.1.0");
    }
}

#[test]
fn sender_syntax_is_judged() {
    check(
        &policy(),
        EHLO,
        &[
            ("MAIL FROM:<>\r\n", "250/2.1.0"),
            ("mail from:<A@B>\r\n", "250/2.1.0"),
            ("MAIL FROM: <a@b>  \r\n", "250/2.1.0"),
            ("MAIL FROM:<@x,@y:a@b>\r\n", "250/2.1.0"),
            ("MAIL FROM:<\"a b\"@[192.0.2.1]>\r\n", "250/2.1.0"),
            ("MAIL\r\n", "501/5.1.7"),
            ("MAIL FROM:\r\n", "501/5.1.7"),
            ("MAIL FROM:a@b\r\n", "501/5.1.7"),
            ("MAIL FROM:<a>\r\n", "501/5.1.7"),
            ("MAIL FROM:<a@b\r\n", "501/5.1.7"),
            ("MAIL FROM:<a@b>x\r\n", "501/5.1.7"),
            ("MAIL FROM:<a\x01@b>\r\n", "501/5.5.2"),
            ("MAIL FROM:<a\0@b>\r\n", "501/5.5.2"),
            ("MAIL FROM:<a@b> SIZE=\x01\r\n", "501/5.5.2"),
            ("MAIL FROM:<\u{fc}@b>\r\n", "550/5.6.7"),
            ("MAIL FROM:<\u{fc}@b> SMTPUTF8\r\n", "250/2.1.0"),
        ],
    );
    let invalid = run(b"EHLO x\r\nMAIL FROM:<\xfc@b> SMTPUTF8\r\n");
    assert_eq!(invalid.codes(), "250 500/5.5.2");
    // The source route is thrown away, but no excuse for octets that no one may send.
    let invalid = run(
        b"EHLO x\r\nMAIL FROM:<@\xfc:a@b> SMTPUTF8\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<@\xfc:a@b>\r\n",
    );
    assert_eq!(invalid.codes(), "250 500/5.5.2 250/2.1.0 500/5.5.2");
}

#[test]
fn sender_parameters_are_judged() {
    let limited = Policy { message_bytes_max: 1000, ..policy() };
    check(
        &limited,
        EHLO,
        &[
            ("MAIL FROM:<a@b> SIZE=1000\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SIZE=1001\r\n", "552/5.3.4"),
            ("MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "552/5.3.4"),
            ("MAIL FROM:<a@b> SIZE=999999999999999999999\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> SIZE=\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> SIZE=x\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> BODY=9BIT\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> BODY=7BIT BODY=7BIT\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> body=8bitmime size=1 smtputf8\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SMTPUTF8=1\r\n", "501/5.5.4"),
            ("MAIL FROM:<a@b> XFOO=1\r\n", "555/5.5.4"),
            ("MAIL FROM:<a@b> REQUIRETLS\r\n", "555/5.5.4"),
        ],
    );
    check(&limited, "HELO x\r\n", &[("MAIL FROM:<a@b> SIZE=1\r\n", "555/5.5.4")]);
}

#[test]
fn recipient_syntax_is_judged() {
    let lead = format!("{EHLO}{MAIL}");
    check(
        &policy(),
        &lead,
        &[
            ("RCPT TO:<Postmaster>\r\n", "250/2.1.5"),
            ("rcpt to:<POSTMASTER@d>\r\n", "250/2.1.5"),
            ("RCPT TO: <c@d>\r\n", "250/2.1.5"),
            ("RCPT TO:<@x:c@d>\r\n", "250/2.1.5"),
            ("RCPT TO:<>\r\n", "501/5.1.3"),
            ("RCPT TO:<c>\r\n", "501/5.1.3"),
            ("RCPT FROM:<c@d>\r\n", "501/5.1.3"),
            ("RCPT TO:<c\x01@d>\r\n", "501/5.5.2"),
            ("RCPT TO:<\u{fc}@d>\r\n", "553/5.6.7"),
            ("RCPT TO:<c@d> XNOTIFY=NEVER\r\n", "555/5.5.4"),
            ("RCPT TO:<c@d> =\r\n", "501/5.5.4"),
        ],
    );
    let long = "x".repeat(65);
    check(&policy(), &lead, &[(&format!("RCPT TO:<{long}@d>\r\n"), "501/5.1.3")]);
    check(&policy(), EHLO, &[(&format!("MAIL FROM:<{long}@d>\r\n"), "501/5.1.7")]);
    let utf8 = format!("{EHLO}MAIL FROM:<> SMTPUTF8\r\n");
    check(&policy(), &utf8, &[("RCPT TO:<\u{fc}@d>\r\n", "250/2.1.5")]);
}

#[test]
fn the_envelope_reaches_the_caller_as_it_was_sent() {
    let outcome = run(format!(
        "{EHLO}MAIL FROM:<@r:\u{fc}@b> SIZE=3  SMTPUTF8\r\nRCPT TO:<C@d>\r\nRCPT TO:<C@d>\r\n\
         RCPT TO:<postMaster>\r\nDATA\r\n\u{fc}\r\n.\r\n"
    ));
    let message = &outcome.messages[0];
    assert_eq!(message.sender, "\u{fc}@b");
    assert_eq!(message.sender_params, "SIZE=3  SMTPUTF8");
    assert_eq!(message.recipients, ["C@d", "C@d", "postMaster"]);
    assert_eq!(message.flags, Flags::SMTPUTF8.union(Flags::EIGHT_BIT));
    assert!(outcome.wire.ends_with(b"250 2.0.0 Ok: queued as 0-1-40\r\n"));
}

#[test]
fn data_needs_a_recipient() {
    let lead = format!("{EHLO}{MAIL}");
    check(
        &policy(),
        &lead,
        &[
            ("DATA\r\n", "503/5.5.1"),
            ("RCPT TO:<>\r\nDATA\r\n", "501/5.1.3 554/5.5.1"),
            (
                "RCPT TO:<>\r\nDATA\r\nRCPT TO:<c@d>\r\nDATA\r\n",
                "501/5.1.3 554/5.5.1 250/2.1.5 354",
            ),
            ("RCPT TO:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n", "501/5.1.3 250/2.1.5 354"),
        ],
    );
}

#[test]
fn recipients_beyond_the_limit_are_deferred_and_the_earlier_ones_stay() {
    let outcome = run(format!("{EHLO}{MAIL}{}DATA\r\n.\r\n", RCPT.repeat(150)));
    assert_eq!(outcome.replies.iter().filter(|r| *r == "250/2.1.5").count(), 100);
    assert_eq!(outcome.replies.iter().filter(|r| *r == "452/4.5.3").count(), 50);
    assert_eq!(outcome.messages[0].recipients.len(), 100);
    assert!(!outcome.is_closed());
}

#[test]
fn a_recipient_flood_closes_after_the_overshoot() {
    let policy = Policy { recipients_max: 1, ..policy() };
    let flood = RCPT.repeat(RECIPIENTS_OVERSHOOT_MAX as usize + 100);
    let outcome = run_with(&policy, format!("{EHLO}{MAIL}{flood}"));
    let deferred = outcome.replies.iter().filter(|r| *r == "452/4.5.3").count();
    assert_eq!(deferred, RECIPIENTS_OVERSHOOT_MAX as usize + 20);
    assert!(outcome.replies.last().unwrap().starts_with("421") && outcome.is_closed());
}

#[test]
fn a_caller_without_room_defers_mail_and_takes_it_again_later() {
    let mut session = Session::new(policy());
    session.server.set_no_room(Some(Reply::new(452, 3, 1, "No room")));
    session.feed(format!("{EHLO}{MAIL}{RCPT}").as_bytes());
    session.server.set_no_room(None);
    session.feed(format!("{MAIL}{RCPT}").as_bytes());
    assert_eq!(session.finish().codes(), "250 452/4.3.1 503/5.5.1 250/2.1.0 250/2.1.5");
}
