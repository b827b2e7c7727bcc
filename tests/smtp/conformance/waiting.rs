//! ETRN (RFC 1985) and ATRN (RFC 2645), as far as the machine judges them.

use ringpost::smtp::{
    auth::{AuthPolicy, Credentials, Mechanisms},
    server::{AtrnAnswer, Commands, EtrnAnswer, Policy, Protocol},
};

use super::harness::{EHLO, MAIL, RCPT, Session, check, policy, run_with};

const LOGIN: &str = "AUTH PLAIN AGEAYg==\r\n";

/// A listener that takes both, and logins.
pub(super) fn waiting() -> Policy {
    let (credentials, mechanisms) = (Credentials::Any, Mechanisms::ALL);
    Policy {
        commands: Commands { etrn: true, atrn: true, ..Commands::default() },
        auth: AuthPolicy { credentials, mechanisms, required: false },
        ..policy()
    }
}

/// The machine's answers alone: a sink without a relay has one for each only.
fn say(etrn: EtrnAnswer, atrn: AtrnAnswer, wire: &str) -> (String, Vec<u8>, bool) {
    let mut session = Session::new(waiting()).with_answers(etrn, atrn);
    session.feed(wire.as_bytes());
    let turned = session.server.turned();
    let outcome = session.finish();
    (outcome.replies.last().unwrap().clone(), outcome.wire, turned)
}

#[test]
fn etrn_is_judged_by_state_and_then_by_syntax() {
    let known = "458/4.3.2";
    check(
        &waiting(),
        EHLO,
        &[
            ("ETRN\r\n", "500/5.5.2"),
            ("ETRN  \r\n", "500/5.5.2"),
            ("ETRN localname\r\n", "501/5.5.4"),
            ("ETRN @org\r\n", "501/5.5.4"),
            ("ETRN example.org.\r\n", "501/5.5.4"),
            ("ETRN a b.example\r\n", "501/5.5.4"),
            ("ETRN -a.example\r\n", "501/5.5.4"),
            ("ETRN [192.0.2.1]\r\n", "501/5.5.4"),
            ("ETRN #\r\n", "501/5.5.4"),
            ("ETRN #a/b\r\n", "501/5.5.4"),
            ("ETRN !example.org\r\n", "501/5.5.4"),
            ("ETRN b\u{fc}cher.example\r\n", "501/5.5.2"),
            ("ETRN a\x01.example\r\n", "501/5.5.2"),
            ("ETRN example.org\r\n", known),
            ("etrn EXAMPLE.ORG \t\r\n", known),
            ("ETRN @example.org\r\n", known),
            ("ETRN #uucp\r\n", known),
            ("ETRN example.org\r\nETRN #uucp\r\n", "458/4.3.2 458/4.3.2"),
            ("HELO x\r\nETRN example.org\r\n", "250 458/4.3.2"),
        ],
    );
    check(&waiting(), "", &[("ETRN example.org\r\n", "503/5.5.1"), ("ETRN\r\n", "503/5.5.1")]);
    let transaction = format!("{EHLO}{MAIL}{RCPT}");
    check(
        &waiting(),
        &transaction,
        &[
            ("ETRN example.org\r\n", "503/5.5.1"),
            ("ETRN example.org\r\nDATA\r\n.\r\n", "503/5.5.1 354 250/2.0.0"),
            ("RSET\r\nETRN example.org\r\n", "250/2.0.0 458/4.3.2"),
            ("BDAT 2\r\nhiETRN example.org\r\nBDAT 0 LAST\r\n", "250/2.0.0 503/5.5.1 250/2.0.0"),
        ],
    );
}

#[test]
fn atrn_comes_behind_auth_alone() {
    check(
        &waiting(),
        EHLO,
        &[
            ("ATRN\r\n", "530/5.7.0"),
            ("ATRN example.org\r\n", "530/5.7.0"),
            ("ATRN bad..name\r\n", "530/5.7.0"),
            ("HELO x\r\nATRN\r\n", "250 503/5.5.1"),
            (&format!("{MAIL}ATRN\r\n"), "250/2.1.0 530/5.7.0"),
            ("AUTH PLAIN AGEA\r\nATRN\r\n", "535/5.7.8 530/5.7.0"),
        ],
    );
    check(&waiting(), "", &[("ATRN\r\n", "503/5.5.1")]);
    check(
        &waiting(),
        &format!("{EHLO}{LOGIN}"),
        &[
            ("ATRN\r\n", "451/4.3.0"),
            ("ATRN example.org\r\n", "451/4.3.0"),
            ("atrn example.org,EXAMPLE.com\r\n", "451/4.3.0"),
            ("ATRN example.org, example.com\r\n", "501/5.5.4"),
            ("ATRN example.org,\r\n", "501/5.5.4"),
            ("ATRN ,\r\n", "501/5.5.4"),
            ("ATRN @example.org\r\n", "501/5.5.4"),
            ("ATRN #uucp\r\n", "501/5.5.4"),
            ("ATRN org\r\n", "501/5.5.4"),
            ("ATRN a\x7f.example\r\n", "501/5.5.2"),
            (&format!("{MAIL}ATRN\r\n"), "250/2.1.0 503/5.5.1"),
        ],
    );
}

#[test]
fn both_are_unknown_where_they_are_off() {
    let lmtp = Policy { protocol: Protocol::Lmtp, ..waiting() };
    let both = [("ETRN example.org\r\n", "502/5.5.1"), ("ATRN\r\n", "502/5.5.1")];
    check(&policy(), EHLO, &both);
    check(&lmtp, "LHLO x\r\n", &both);
    let old = Policy { commands: Commands { esmtp: false, ..waiting().commands }, ..waiting() };
    let mut session = Session::new(old);
    session.feed(b"HELO x\r\nETRN example.org\r\nATRN\r\n");
    let wire = String::from_utf8(session.into_wire()).unwrap();
    assert!(wire.lines().skip(1).all(|line| line.starts_with("502 ")), "{wire}");
    // ATRN stands on AUTH; ETRN does not.
    let open = Policy { auth: AuthPolicy::default(), ..waiting() };
    check(&open, EHLO, &[("ETRN example.org\r\n", "458/4.3.2"), ("ATRN\r\n", "502/5.5.1")]);
}

#[test]
fn logins_that_are_required_are_required_of_etrn() {
    let mut policy = waiting();
    policy.auth.required = true;
    check(&policy, EHLO, &[("ETRN example.org\r\n", "530/5.7.0"), ("ETRN\r\n", "530/5.7.0")]);
    check(&policy, &format!("{EHLO}{LOGIN}"), &[("ETRN example.org\r\n", "458/4.3.2")]);
}

#[test]
fn every_answer_has_its_reply() {
    let etrn = |answer| say(answer, AtrnAnswer::Unable, &format!("{EHLO}ETRN @Foo.Example\r\n"));
    for (answer, code, text) in [
        (EtrnAnswer::Queued, "250/2.0.0", "OK, queuing for node @foo.example started"),
        (EtrnAnswer::Nothing, "251/2.0.0", "OK, no messages waiting for node @foo.example"),
        (EtrnAnswer::Pending, "252/2.0.0", "OK, pending messages for node @foo.example started"),
        (
            EtrnAnswer::Counted(14),
            "253/2.0.0",
            "OK, 14 pending messages for node @foo.example started",
        ),
        (EtrnAnswer::Unable, "458/4.3.2", "Unable to queue messages for node @foo.example"),
        (EtrnAnswer::NotAllowed("so"), "459/4.7.1", "Node @foo.example not allowed: so"),
    ] {
        let (seen, wire, turned) = etrn(answer);
        let wire = String::from_utf8(wire).unwrap();
        assert_eq!((seen.as_str(), turned), (code, false));
        assert!(wire.ends_with(&format!("{text}\r\n")), "{wire}");
    }
    let atrn = |answer| say(EtrnAnswer::Unable, answer, &format!("{EHLO}{LOGIN}ATRN\r\n"));
    for (answer, code) in [
        (AtrnAnswer::Refused, "450/4.7.1"),
        (AtrnAnswer::Unable, "451/4.3.0"),
        (AtrnAnswer::Nothing, "453/4.2.0"),
    ] {
        let (seen, _, turned) = atrn(answer);
        assert_eq!((seen.as_str(), turned), (code, false));
    }
    let (seen, _, turned) = atrn(AtrnAnswer::Turn);
    assert_eq!((seen.as_str(), turned), ("250/2.0.0", true));
}

#[test]
fn a_session_that_has_turned_takes_nothing_more() {
    let mut session = Session::new(waiting()).with_answers(EtrnAnswer::Unable, AtrnAnswer::Turn);
    session.feed(format!("{EHLO}{LOGIN}ATRN\r\n").as_bytes());
    let mut input = &b"220 peer.example ready\r\n"[..];
    let mut replies = Vec::new();
    assert_eq!(session.server.step(&mut input, &mut replies), None);
    assert!(input.starts_with(b"220 peer") && replies.is_empty());
}

#[test]
fn requests_that_come_to_nothing_wear_the_session_out() {
    let wire = format!("{EHLO}{}", "ETRN example.org\r\n".repeat(200));
    let outcome = run_with(&waiting(), wire);
    assert!(outcome.is_closed() && outcome.replies.last().unwrap().starts_with("421"));
}
