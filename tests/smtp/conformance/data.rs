//! DATA: the message, its end, and what is wrong with it.

use ringpost::smtp::{
    reply::Reply,
    server::{BareNewline, CloseReason, Flags, Policy},
};

use super::harness::{EHLO, MAIL, RCPT, Session, Verdict, policy, run, run_with};

fn lead() -> String {
    format!("{EHLO}{MAIL}{RCPT}DATA\r\n")
}

#[test]
fn a_message_is_kept_octet_for_octet_without_its_stuffing() {
    let outcome =
        run([lead().as_bytes(), b"..a\r\n\xff\x01\t\r\n.b\r\n\r\n.\r\nNOOP\r\n"].concat());
    assert_eq!(outcome.codes(), "250 250/2.1.0 250/2.1.5 354 250/2.0.0 250/2.0.0");
    assert_eq!(outcome.trace(), "begin body end");
    assert_eq!(outcome.messages[0].body, b".a\r\n\xff\x01\t\r\nb\r\n\r\n");
    assert_eq!(outcome.messages[0].flags, Flags::EIGHT_BIT);
}

#[test]
fn an_empty_message_has_no_body_event() {
    let outcome = run(format!("{}.\r\n", lead()));
    assert_eq!(outcome.trace(), "begin end");
    assert_eq!(outcome.messages[0].flags, Flags::default());
}

#[test]
fn the_next_transaction_may_stand_behind_the_dot() {
    let one = format!("{MAIL}{RCPT}DATA\r\nhi\r\n.\r\n");
    let outcome = run(format!("{EHLO}{}QUIT\r\n", one.repeat(3)));
    assert_eq!(outcome.messages.len(), 3);
    assert_eq!(outcome.trace(), format!("{} close", ["begin body end"; 3].join(" ")));
}

#[test]
fn a_message_over_the_limit_is_read_to_its_true_end() {
    let policy = Policy { message_bytes_max: 10, ..policy() };
    for (body, codes, trace) in [
        ("12345678\r\n", "250/2.0.0", "begin body end"),
        ("..2345678\r\n", "250/2.0.0", "begin body end"),
        ("123456789\r\n", "552/5.3.4", "begin discard"),
        ("123456789\r\nNOOP\r\n..\r\nQUIT\r\n", "552/5.3.4", "begin discard"),
    ] {
        let outcome = run_with(&policy, format!("{}{body}.\r\nNOOP\r\n", lead()));
        assert_eq!(outcome.codes(), format!("250 250/2.1.0 250/2.1.5 354 {codes} 250/2.0.0"));
        assert_eq!(outcome.trace(), trace, "{body:?}");
    }
}

#[test]
fn a_bare_newline_is_refused_at_the_true_end() {
    for body in ["a\nb\r\n", "a\rb\r\n", "\n\r\n", "a\n.\nb\r\n", "a\r\n.\r\r\nb\r\n", ".\n\r\n"] {
        let outcome = run(format!("{}{body}.\r\nNOOP\r\n", lead()));
        assert_eq!(outcome.replies[4..], ["550/5.6.0", "250/2.0.0"], "{body:?}");
        assert_eq!(outcome.trace(), "begin discard", "{body:?}");
    }
}

#[test]
fn a_bare_newline_can_be_kept_and_is_flagged() {
    let policy = Policy { bare_newline: BareNewline::Keep, ..policy() };
    let lone = |cr: bool, lf: bool| {
        let flags = if cr { Flags::BARE_CR } else { Flags::default() };
        if lf { flags.union(Flags::BARE_LF) } else { flags }
    };
    for (wire, body, flags) in [
        ("a\nb\r\n", "a\nb\r\n", lone(false, true)),
        ("a\rb\r\n", "a\rb\r\n", lone(true, false)),
        ("a\n.\nb\r\n", "a\n.\nb\r\n", lone(false, true)),
        ("a\r\n.\nb\r\n", "a\r\n\nb\r\n", lone(false, true)),
        ("a\r\n.\r\r\nb\r\n", "a\r\n\r\r\nb\r\n", lone(true, false)),
        ("a\n\r\0\r\n", "a\n\r\0\r\n", lone(true, true).union(Flags::NUL)),
    ] {
        let outcome = run_with(&policy, format!("{}{wire}.\r\n", lead()));
        assert_eq!(outcome.messages[0].body, body.as_bytes());
        assert_eq!(outcome.messages[0].flags, flags, "{wire:?}");
    }
}

#[test]
fn smuggled_messages_stay_inside_the_first_one() {
    let inner = "MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nevil\r\n";
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\n",
        "\n.\r",
        "\r.\r\n",
        "\r\n.\r\r\n",
        "\r\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\r\n.\r\0\n",
        "\r\0\n.\r\n",
        "\r\n. \r\n",
        "\r\n.\t\r\n",
        "\r\n..\r\n",
        "\u{85}.\u{85}",
        "\u{2028}.\u{2028}",
        "\x0b.\x0b",
        "\x0c.\x0c",
        "\r\n\u{3002}\r\n",
        "\r\n\u{ff0e}\r\n",
    ];
    for mode in [BareNewline::Keep, BareNewline::Reject] {
        let policy = Policy { bare_newline: mode, ..policy() };
        for end in ends {
            let wire = format!("{}hi{end}{inner}.\r\nQUIT\r\n", lead());
            let outcome = run_with(&policy, wire);
            assert_eq!(outcome.replies.len(), 6, "{end:?} started a second message");
            assert!(outcome.messages.iter().all(|m| m.sender == "a@b.example"));
            assert_eq!(outcome.messages.len(), 1 - outcome.trace().matches("discard").count());
        }
    }
}

#[test]
fn a_refused_message_leaves_a_clean_session() {
    let refusal = Verdict::Refuse(Reply::new(452, 3, 1, "No room"));
    let mut session = Session::new(policy()).with_verdict(refusal);
    session.feed(format!("{}hi\r\n.\r\n{RCPT}{MAIL}", lead()).as_bytes());
    assert_eq!(
        session.finish().codes(),
        "250 250/2.1.0 250/2.1.5 354 452/4.3.1 503/5.5.1 250/2.1.0"
    );
}

#[test]
fn the_caller_can_tell_where_the_client_is() {
    let mut session = Session::new(policy());
    assert!(!session.server.awaiting_more() && session.server.hello().is_empty());
    session.feed(b"EHLO cl");
    assert!(session.server.awaiting_more());
    session.feed(b"ient\r\n");
    assert!(!session.server.awaiting_more() && session.server.extended());
    assert_eq!(session.server.hello(), b"client");
    session.feed(format!("{MAIL}{RCPT}DATA\r\n").as_bytes());
    assert!(session.server.awaiting_more() && session.server.mid_message());
    session.feed(b"hi\r\n.\r\n");
    assert!(!session.server.awaiting_more() && !session.server.mid_message());
    session.feed(format!("{MAIL}{RCPT}BDAT 2\r\nhi").as_bytes());
    assert!(!session.server.awaiting_more() && session.server.mid_message());
    session.feed(b"BDAT 2 LAST\r\nh");
    assert!(session.server.awaiting_more() && session.server.mid_message());
}

#[test]
fn a_session_that_the_caller_closes_is_deaf() {
    for (why, line) in [
        (CloseReason::Timeout, &b"421 4.4.2 "[..]),
        (CloseReason::ShuttingDown, b"421 4.3.2 "),
        (CloseReason::Overloaded, b"421 4.3.2 "),
        (CloseReason::TooManyErrors, b"421 4.7.0 "),
        (CloseReason::RecordCrowd, b"421 4.3.2 "),
    ] {
        for lead in [String::new(), lead(), format!("{EHLO}{MAIL}{RCPT}BDAT 9\r\nhi")] {
            let mut session = Session::new(policy());
            session.feed(lead.as_bytes());
            let mut replies = Vec::new();
            session.server.close_for(why, &mut replies);
            assert!(replies.starts_with(line) && replies.ends_with(b"\r\n"));
            let mut input = &b"\r\n.\r\nNOOP\r\n"[..];
            assert_eq!(session.server.step(&mut input, &mut replies), None);
            assert!(input.is_empty() && replies.iter().filter(|&&b| b == b'\n').count() == 1);
            assert!(!session.server.mid_message());
        }
    }
}
