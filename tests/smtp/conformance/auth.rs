//! AUTH: every answer of RFC 4954, whole and in pieces.

use base64::{Engine, prelude::BASE64_STANDARD};
use ringpost::limits::AUTH_LINE_BYTES_MAX;
use ringpost::smtp::auth::{Accounts, AuthPolicy, Credentials, Mechanism, Mechanisms};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{Policy, Protocol};

use super::harness::{EHLO, MAIL, RCPT, Session, check, policy, run_with};

fn b64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn with(credentials: Credentials) -> Policy {
    let auth = AuthPolicy { credentials, mechanisms: Mechanisms::ALL, required: false };
    Policy { auth, ..policy() }
}

fn any() -> Policy {
    with(Credentials::Any)
}

fn listed() -> Policy {
    with(Credentials::Listed(Accounts::parse(b"tim:tanstaaftanstaaf", 1).unwrap().into()))
}

/// `tim` and his password, as PLAIN sends them.
fn tim() -> String {
    b64("\0tim\0tanstaaftanstaaf")
}

/// `tim` and a token, as OAUTHBEARER sends them.
fn bearer(token: &str) -> String {
    b64(&format!("n,a=tim,\x01host=sink.example\x01port=25\x01auth=Bearer {token}\x01\x01"))
}

#[test]
fn ehlo_lists_the_mechanisms_that_the_credentials_can_serve() {
    let last = |policy: &Policy| {
        let wire = String::from_utf8(run_with(policy, EHLO).wire).unwrap();
        wire.lines().last().unwrap().to_owned()
    };
    assert_eq!(last(&any()), "250 AUTH CRAM-MD5 PLAIN LOGIN OAUTHBEARER XOAUTH2");
    let all = "250 AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN OAUTHBEARER XOAUTH2";
    assert_eq!(last(&listed()), all);
    assert_eq!(last(&policy()), "250 HELP");
    let off = Policy { extensions: Extensions::ALL.difference(Extensions::AUTH), ..any() };
    assert_eq!(last(&off), "250 HELP");
    check(&off, EHLO, &[("AUTH PLAIN\r\n", "502/5.5.1"), ("HELP\r\n", "214/2.0.0")]);
    let mut few = any();
    few.auth.mechanisms = [Mechanism::CramMd5].into_iter().collect();
    assert_eq!(last(&few), "250 AUTH CRAM-MD5");
    check(&few, EHLO, &[("AUTH PLAIN\r\n", "504/5.5.4")]);
}

#[test]
fn every_answer_of_the_rfc_is_given() {
    let tim = tim();
    let long = "A".repeat(AUTH_LINE_BYTES_MAX - 1);
    let rows = [
        (format!("AUTH PLAIN {tim}\r\n"), "235/2.7.0"),
        (format!("auth plain {tim} \t\r\n"), "235/2.7.0"),
        (format!("AUTH PLAIN\r\n{tim}\r\n"), "334 235/2.7.0"),
        ("AUTH PLAIN =\r\n".into(), "501/5.5.2"),
        ("AUTH PLAIN\r\n\r\n".into(), "334 501/5.5.2"),
        ("AUTH PLAIN\r\n=\r\n".into(), "334 501/5.5.2"),
        ("AUTH PLAIN\r\n*\r\nNOOP\r\n".into(), "334 501/5.7.0 250/2.0.0"),
        ("AUTH PLAIN\r\nNOOP!\r\nNOOP\r\n".into(), "334 501/5.5.2 250/2.0.0"),
        (format!("AUTH PLAIN\r\n{tim}\n\r\n"), "334 501/5.5.2"),
        (format!("AUTH PLAIN {tim}\n\r\n"), "500/5.5.2"),
        ("AUTH PLAIN =AAA\r\n".into(), "501/5.5.2"),
        ("AUTH PLAIN AAA=BBB=\r\n".into(), "501/5.5.2"),
        ("AUTH PLAIN AA AA\r\n".into(), "501/5.5.2"),
        ("AUTH PLAIN \u{e9}\r\n".into(), "501/5.5.2"),
        (format!("AUTH PLAIN {}\r\n", b64("tim")), "501/5.5.2"),
        (format!("AUTH PLAIN {}\r\n", b64("\0tim\0wrong")), "535/5.7.8"),
        (format!("AUTH PLAIN {}\r\n", b64("\0tom\0tanstaaftanstaaf")), "535/5.7.8"),
        (format!("AUTH PLAIN {}\r\n", b64("tom\0tim\0tanstaaftanstaaf")), "535/5.7.8"),
        (format!("AUTH PLAIN {long}\r\nNOOP\r\n"), "500/5.5.6 250/2.0.0"),
        (format!("AUTH PLAIN\r\n{long}\r\nNOOP\r\n"), "334 500/5.5.6 250/2.0.0"),
        (format!("NOOP {long}\r\n"), "500/5.5.2"),
        ("AUTH\r\n".into(), "501/5.5.4"),
        ("AUTH \r\n".into(), "501/5.5.4"),
        ("AUTH GSSAPI\r\n".into(), "504/5.5.4"),
        ("AUTH PLAI\u{e9} x\r\n".into(), "504/5.5.4"),
        ("AUTH CRAM-MD5 =\r\n".into(), "501/5.7.0"),
        ("AUTH CRAM-MD5 AAAA\r\n".into(), "501/5.7.0"),
        ("AUTH CRAM-MD5\r\nAAAA\r\n".into(), "334 501/5.5.2"),
        (format!("AUTH LOGIN\r\n{}\r\n{}\r\n", b64("tim"), b64("no")), "334 334 535/5.7.8"),
        ("AUTH LOGIN\r\n*\r\n".into(), "334 501/5.7.0"),
        (format!("AUTH LOGIN {}\r\n*\r\n", b64("tim")), "334 501/5.7.0"),
        ("AUTH SCRAM-SHA-256\r\n*\r\n".into(), "334 501/5.7.0"),
        (format!("AUTH OAUTHBEARER {}\r\n", bearer("tanstaaftanstaaf")), "235/2.7.0"),
        (format!("AUTH OAUTHBEARER\r\n{}\r\n", bearer("tanstaaftanstaaf")), "334 235/2.7.0"),
        (format!("AUTH OAUTHBEARER {}\r\nAQ==\r\n", bearer("x")), "334 535/5.7.8"),
        (format!("AUTH OAUTHBEARER {}\r\n*\r\n", bearer("x")), "334 501/5.7.0"),
        (format!("AUTH OAUTHBEARER {}\r\n\r\n", bearer("x")), "334 501/5.5.2"),
        ("AUTH OAUTHBEARER AQ==\r\n".into(), "501/5.5.2"),
        ("AUTH SCRAM-SHA-256 AAAA\r\n".into(), "501/5.5.2"),
        (format!("AUTH PLAIN {tim}\r\nAUTH PLAIN {tim}\r\n"), "235/2.7.0 503/5.5.1"),
    ];
    let rows: Vec<_> = rows.iter().map(|(input, codes)| (input.as_str(), *codes)).collect();
    check(&listed(), EHLO, &rows);
}

#[test]
fn a_line_as_long_as_the_rfc_asks_for_is_taken() {
    let token = "x".repeat(9_000);
    let plain = format!("AUTH PLAIN {}\r\n", b64(&format!("\0tim\0{token}")));
    assert!(plain.len() > 12_000 && plain.len() <= AUTH_LINE_BYTES_MAX);
    check(&any(), EHLO, &[(&plain, "235/2.7.0")]);
}

#[test]
fn auth_has_its_place_between_ehlo_and_mail() {
    let auth = format!("AUTH PLAIN {}\r\n", tim());
    check(&listed(), "", &[(&auth, "503/5.5.1")]);
    check(&listed(), "HELO x\r\n", &[(&auth, "503/5.5.1")]);
    check(&listed(), &format!("{EHLO}{MAIL}"), &[(&auth, "503/5.5.1")]);
    check(&listed(), &format!("{EHLO}{MAIL}{RCPT}BDAT 1\r\nx"), &[(&auth, "503/5.5.1")]);
    check(&listed(), &format!("{EHLO}{MAIL}RSET\r\n"), &[(&auth, "235/2.7.0")]);
    check(&policy(), EHLO, &[(&auth, "502/5.5.1")]);
    let lmtp = Policy { protocol: Protocol::Lmtp, ..listed() };
    check(&lmtp, "LHLO x\r\n", &[(&auth, "235/2.7.0")]);
    check(&lmtp, "", &[(&auth, "503/5.5.1")]);
}

#[test]
fn authentication_outlives_rset_ehlo_and_messages() {
    let auth = format!("AUTH PLAIN {}\r\n", tim());
    let message = format!("{MAIL}{RCPT}DATA\r\nhi\r\n.\r\n");
    for between in ["", "RSET\r\n", EHLO, &message] {
        let mut session = Session::new(listed());
        session.feed(format!("{EHLO}{auth}").as_bytes());
        assert_eq!(session.server.identity(), Some(&b"tim"[..]));
        session.feed(format!("{between}{auth}").as_bytes());
        assert_eq!(session.server.identity(), Some(&b"tim"[..]));
        assert_eq!(session.finish().replies.last().unwrap(), "503/5.5.1");
    }
}

#[test]
fn a_failed_or_cancelled_exchange_leaves_nobody_and_another_may_follow() {
    let mut session = Session::new(listed());
    let wrong = b64("\0tim\0wrong");
    session.feed(format!("{EHLO}AUTH PLAIN {wrong}\r\nAUTH LOGIN\r\n*\r\n").as_bytes());
    assert_eq!(session.server.identity(), None);
    session.feed(format!("AUTH PLAIN {}\r\n", tim()).as_bytes());
    assert_eq!(session.finish().codes(), "250 535/5.7.8 334 501/5.7.0 235/2.7.0");
}

#[test]
fn guessing_ends_the_session() {
    let guess = format!("AUTH PLAIN {}\r\n", b64("\0tim\0wrong"));
    let outcome = run_with(&listed(), format!("{EHLO}{}", guess.repeat(25)));
    assert!(outcome.is_closed());
    assert_eq!(outcome.replies.last().unwrap(), "421/4.7.0");
}

#[test]
fn mail_waits_for_auth_where_it_is_required() {
    let mut policy = any();
    policy.auth.required = true;
    let auth = format!("AUTH PLAIN {}\r\n", tim());
    check(&policy, EHLO, &[(MAIL, "530/5.7.0"), ("NOOP\r\n", "250/2.0.0"), (RCPT, "503/5.5.1")]);
    check(&policy, "HELO x\r\n", &[(MAIL, "530/5.7.0")]);
    check(&policy, "", &[(MAIL, "503/5.5.1")]);
    check(&policy, &format!("{EHLO}{auth}"), &[(MAIL, "250/2.1.0")]);
}

#[test]
fn the_auth_parameter_of_mail_is_checked_wherever_auth_is_offered() {
    let row = |param| format!("MAIL FROM:<e=mc2@example.com> {param}\r\n");
    for (param, expected) in [
        ("AUTH=e+3Dmc2@example.com", "250/2.1.0"),
        ("AUTH=<>", "250/2.1.0"),
        ("AUTH=", "501/5.5.4"),
        ("AUTH=a+3d", "501/5.5.4"),
        ("AUTH=<> AUTH=<>", "501/5.5.4"),
    ] {
        check(&any(), EHLO, &[(&row(param), expected)]);
    }
    check(&policy(), EHLO, &[(&row("AUTH=<>"), "555/5.5.4")]);
    check(&any(), "HELO x\r\n", &[(&row("AUTH=<>"), "555/5.5.4")]);
    let mail = format!("{EHLO}{}{RCPT}DATA\r\n.\r\n", row("AUTH=<>"));
    assert_eq!(run_with(&any(), mail).messages[0].sender_params, "AUTH=<>");
}

#[test]
fn a_challenge_without_text_keeps_its_space_and_nonces_do_not_repeat() {
    let wire = format!("{EHLO}AUTH PLAIN\r\n*\r\nAUTH CRAM-MD5\r\n*\r\nAUTH CRAM-MD5\r\n*\r\n");
    let outcome = run_with(&any(), wire);
    let text = String::from_utf8(outcome.wire).unwrap();
    let challenges: Vec<_> = text.split("\r\n").filter(|line| line.starts_with("334")).collect();
    assert_eq!(challenges[0], "334 ");
    assert_ne!(challenges[1], challenges[2]);
    let challenge = BASE64_STANDARD.decode(&challenges[1][4..]).unwrap();
    assert!(challenge.starts_with(b"<") && challenge.ends_with(b"@sink.example>"));
}
