//! What is taken where syntax is lenient, and refused where it is strict: each row in both.

use ringpost::smtp::server::{BareNewline, Flags, Policy};

use super::harness::{EHLO, MAIL, RCPT, Session, check, lenient_of, policy, run_with};

fn lenient() -> Policy {
    lenient_of(&policy())
}

/// The names of what was odd in a session that sent `wire` and stays open.
fn deviations(wire: &str) -> String {
    let mut session = Session::new(lenient());
    session.feed(wire.as_bytes());
    session.server.session_deviations().join()
}

#[test]
fn names_of_clients_are_taken_as_they_are() {
    const ODD: &str = "hello-not-a-domain";
    for (argument, strict, seen) in [
        (" M\u{dc}LLER-PC", "501/5.5.2", ODD),
        (" [::1]", "501/5.5.4", ODD),
        (" (null)", "501/5.5.4", ODD),
        (" host.example.", "501/5.5.4", ODD),
        (" two words", "501/5.5.4", ODD),
        (" host-", "501/5.5.4", ODD),
        (" a..b", "501/5.5.4", ODD),
        (" [fe80::1]", "250", ODD),
        ("  client.example", "501/5.5.4", "extra-whitespace"),
        ("\tclient.example", "500/5.5.2", "extra-whitespace"),
        (" client.example", "250", ""),
    ] {
        for verb in ["EHLO", "HELO"] {
            let wire = format!("{verb}{argument}\r\n");
            check(&policy(), "", &[(&wire, strict)]);
            check(&lenient(), "", &[(&wire, "250")]);
            assert_eq!(deviations(&wire), seen, "{wire:?}");
            let mut session = Session::new(lenient());
            session.feed(wire.as_bytes());
            assert_eq!(session.server.hello(), argument.trim().as_bytes());
        }
    }
    for wire in ["EHLO\r\n", "EHLO \t\r\n"] {
        check(&lenient(), "", &[(wire, "501/5.5.4")]);
    }
    for wire in ["EHLO a\x01b\r\n", "EHLO a\tb\r\n", "HELO \x1b[2J\r\n", "EHLO x\x7f\r\n"] {
        check(&lenient(), "", &[(wire, "501/5.5.2")]);
        assert_eq!(deviations(wire), "");
    }
}

/// Recipient, the reply to it where syntax is strict, what is kept of it, and what is odd.
const RECIPIENTS: [(&str, &str, &str, &str); 28] = [
    ("<c@d>", "250/2.1.5", "c@d", ""),
    ("<Postmaster>", "250/2.1.5", "Postmaster", ""),
    (" <c@d>", "250/2.1.5", "c@d", "extra-whitespace"),
    ("c@d", "501/5.1.3", "c@d", "path-without-brackets"),
    ("<root>", "501/5.1.3", "root", "no-domain"),
    ("<@relay:postmaster>", "501/5.1.3", "postmaster", "no-domain"),
    ("<try..this..0511@x>", "501/5.1.3", "try..this..0511@x", "dots-in-local-part"),
    ("<email.@x>", "501/5.1.3", "email.@x", "dots-in-local-part"),
    ("<.lead@x>", "501/5.1.3", ".lead@x", "dots-in-local-part"),
    ("<user@x.example.>", "501/5.1.3", "user@x.example.", "trailing-dot-in-domain"),
    ("<user@host@x>", "501/5.1.3", "user@host@x", "special-in-local-part"),
    ("<a:b@x>", "501/5.1.3", "a:b@x", "special-in-local-part"),
    ("<@x>", "501/5.1.3", "@x", "no-local-part"),
    ("< c@d>", "501/5.1.3", "c@d", "extra-whitespace"),
    ("<c@d >", "501/5.1.3", "c@d", "extra-whitespace"),
    ("\t<c@d>", "501/5.5.2", "c@d", "extra-whitespace"),
    ("<c@d>\tNOTIFY=NEVER", "501/5.5.2", "c@d", "extra-whitespace"),
    ("<c@d>  NOTIFY=NEVER", "250/2.1.5", "c@d", "extra-whitespace"),
    ("<c @ d>", "501/5.1.3", "c @ d", "extra-whitespace"),
    ("<<c@d>>", "501/5.1.3", "c@d", "stray-brackets"),
    ("c@d>", "501/5.1.3", "c@d", "stray-brackets"),
    ("<Joe <c@d>>", "501/5.1.3", "c@d", "display-name"),
    ("Joe<c@d>", "501/5.1.3", "c@d", "display-name"),
    ("(x)<c@d>", "501/5.1.3", "c@d", "comment"),
    ("<c@d>(x)", "501/5.1.3", "c@d", "comment"),
    ("<c@d (x)>", "501/5.1.3", "c@d", "extra-whitespace,comment"),
    ("<\u{3c0}@d>", "553/5.6.7", "\u{3c0}@d", "utf8-without-smtputf8"),
    ("<c@\u{3c0}.d>", "553/5.6.7", "c@\u{3c0}.d", "utf8-without-smtputf8"),
];

#[test]
fn addresses_are_taken_as_they_are() {
    let long = format!("{}@x", "l".repeat(4_000));
    let bracketed = format!("<{long}>");
    let lead = format!("{EHLO}{MAIL}");
    let too_long = (&*bracketed, "501/5.1.3", &*long, "local-part-too-long,path-too-long");
    let routed = format!("<{}:c@d>", vec!["@relay.example"; 70].join(","));
    let far = (&*routed, "501/5.1.3", "c@d", "path-too-long");
    for (path, strict, kept, seen) in RECIPIENTS.into_iter().chain([too_long, far]) {
        let wire = format!("RCPT TO:{path}\r\n");
        check(&policy(), &lead, &[(&wire, strict)]);
        check(&lenient(), &lead, &[(&wire, "250/2.1.5")]);
        assert_eq!(deviations(&format!("{lead}{wire}")), seen, "{path}");
        let outcome = run_with(&lenient(), format!("{lead}{wire}DATA\r\n.\r\n"));
        assert_eq!(outcome.messages[0].recipients, [kept], "{path}");
        // The same paths from the other side.
        let wire = format!("{EHLO}MAIL FROM:{path}\r\n{RCPT}DATA\r\n.\r\n");
        let sender = run_with(&lenient(), &wire);
        if !path.contains("NOTIFY") && path != "<Postmaster>" {
            assert_eq!(sender.messages[0].sender, kept, "{path}");
        }
    }
}

#[test]
fn what_no_server_understands_is_refused() {
    let lead = format!("{EHLO}{MAIL}");
    check(
        &lenient(),
        &lead,
        &[
            ("RCPT TO:<>\r\n", "501/5.1.3"),
            ("RCPT TO:\r\n", "501/5.1.3"),
            ("RCPT TO<c@d>\r\n", "501/5.1.3"),
            ("RCPT TO:<c@d\r\n", "501/5.1.3"),
            ("RCPT TO:<c@d>x\r\n", "501/5.1.3"),
            ("RCPT TO:<a b@c>\r\n", "501/5.1.3"),
            ("RCPT TO:<a@b..c>\r\n", "501/5.1.3"),
            ("RCPT TO:<a@[1.2.3]>\r\n", "501/5.1.3"),
            ("RCPT TO:<a\x01b@c>\r\n", "501/5.5.2"),
            ("RCPT TO:<\"a\tb\"@c>\r\n", "501/5.5.2"),
            ("RCPT TO:c@d,e@f\r\n", "501/5.1.3"),
            ("RCPT TO:>\r\n", "501/5.1.3"),
            ("RCPT TO:<@h:>\r\n", "501/5.1.3"),
            ("RCPT TO:<<<c@d>>>\r\n", "501/5.1.3"),
            ("RCPT TO:<Joe c@d>\r\n", "501/5.1.3"),
            ("RCPT TO:<c@d> NOTIFY=NEVER NOTIFY=NEVER\r\n", "501/5.5.4"),
            ("RCPT TO:<c@d> FOO=1\r\n", "555/5.5.4"),
            ("RSET x\r\n", "501/5.5.4"),
        ],
    );
    let without = lenient().extensions.difference(ringpost::smtp::extension::Extensions::SMTPUTF8);
    let without = Policy { extensions: without, ..lenient() };
    check(&without, &lead, &[("RCPT TO:<\u{3c0}@d>\r\n", "553/5.6.7")]);
    let outcome = run_with(&lenient(), [lead.as_bytes(), b"RCPT TO:<a\xff@b>\r\n"].concat());
    assert_eq!(outcome.replies.last().unwrap(), "500/5.5.2");
}

#[test]
fn commands_stand_among_blanks_and_parameters_after_helo() {
    let odd = "extra-whitespace";
    for (wire, strict, seen) in [
        ("MAIL FROM:<a@b>\tSIZE=1\r\n", "501/5.5.2", odd),
        ("MAIL  FROM:<a@b>\r\n", "501/5.1.7", odd),
        ("MAIL\tFROM:<a@b> SIZE=1\r\n", "500/5.5.2", odd),
        ("\t mail from:<a@b> SIZE=1 \t RET=FULL\r\n", "500/5.5.2", odd),
        ("MAIL FROM:a@b SIZE=1\r\n", "501/5.1.7", "path-without-brackets"),
        ("MAIL FROM:>\r\n", "501/5.1.7", "stray-brackets"),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=2\r\n", "501/5.5.4", "repeated-parameter"),
        ("MAIL FROM:<a@b> BODY=7BIT BODY=7BIT\r\n", "501/5.5.4", "repeated-parameter"),
    ] {
        check(&policy(), EHLO, &[(wire, strict)]);
        check(&lenient(), EHLO, &[(wire, "250/2.1.0")]);
        assert_eq!(deviations(&format!("{EHLO}{wire}")), seen, "{wire:?}");
    }
    let wire = "MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME\r\n";
    let lead = "HELO client.example\r\n";
    check(&policy(), lead, &[(wire, "555/5.5.4")]);
    check(&lenient(), lead, &[(wire, "250/2.1.0")]);
    assert_eq!(deviations(&format!("{lead}{wire}")), "parameters-after-helo");
    check(&policy(), EHLO, &[(" NOOP\r\n", "500/5.5.2"), ("QUIT x\r\n", "501/5.5.4")]);
    check(&lenient(), EHLO, &[(" NOOP\r\n", "250/2.0.0"), ("QUIT x\r\n", "221/2.0.0 .")]);
    assert_eq!(deviations("QUIT x\r\n"), "argument-after-quit");
}

/// What is odd belongs to the greeting or to one transaction, and ends with it.
#[test]
fn deviations_go_with_the_messages_that_they_are_of() {
    let mut session = Session::new(lenient());
    let mut after = |wire: &str| {
        session.feed(wire.as_bytes());
        session.server.deviations().join()
    };
    assert_eq!(after("EHLO (null)\r\nMAIL FROM:<a@b>\r\n"), "hello-not-a-domain");
    assert_eq!(after("RCPT TO:<a;b@c>\r\n"), "hello-not-a-domain", "what is refused is not in it");
    assert_eq!(after("RCPT TO:c@d\r\n"), "hello-not-a-domain,path-without-brackets");
    assert_eq!(after("DATA\r\n.\r\n"), "hello-not-a-domain");
    assert_eq!(after("MAIL FROM:a@b\r\n"), "hello-not-a-domain,path-without-brackets");
    assert_eq!(after("RSET\r\n"), "hello-not-a-domain");
    assert_eq!(after(EHLO), "");
    let session = session.server.session_deviations();
    assert_eq!(session.join(), "hello-not-a-domain,path-without-brackets");
}

#[test]
fn bare_newlines_are_kept_and_the_client_is_told() {
    let lead = format!("{EHLO}{MAIL}{RCPT}");
    for (body, flags, note) in [
        ("DATA\r\na\nb\r\n.\r\n", Flags::BARE_LF, " (bare LF)"),
        ("DATA\r\na\rb\r\n.\r\n", Flags::BARE_CR, " (bare CR)"),
        ("DATA\r\na\n\rb\r\n.\r\n", Flags::BARE_CR | Flags::BARE_LF, " (bare CR and LF)"),
        ("DATA\r\nab\r\n.\r\n", Flags::empty(), ""),
        ("BDAT 3 LAST\r\na\nb", Flags::BARE_LF | Flags::BDAT, " (bare LF)"),
    ] {
        let outcome = run_with(&lenient(), format!("{lead}{body}"));
        let reply = format!("\r\n250 2.0.0 Ok: queued as 0-1-40{note}\r\n");
        assert!(outcome.wire.ends_with(reply.as_bytes()), "{body:?}");
        assert_eq!(outcome.messages[0].flags, flags, "{body:?}");
        // What strict syntax says of a message that it is told to keep is what it always said.
        let strict = Policy { bare_newline: BareNewline::Keep, ..policy() };
        let outcome = run_with(&strict, format!("{lead}{body}"));
        assert!(outcome.wire.ends_with(b"\r\n250 2.0.0 Ok: queued as 0-1-40\r\n"), "{body:?}");
    }
    // No lines, no bare newlines (RFC 3030 §3).
    let binary = format!("{EHLO}MAIL FROM:<a@b> BODY=BINARYMIME\r\n{RCPT}BDAT 3 LAST\r\na\nb");
    assert!(run_with(&lenient(), binary).wire.ends_with(b" 0-1-40\r\n"));
    let reject = Policy { bare_newline: BareNewline::Reject, ..lenient() };
    check(&reject, &lead, &[("DATA\r\na\nb\r\n.\r\n", "354 550/5.6.0")]);
}
