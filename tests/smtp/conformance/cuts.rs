//! Replies and events do not depend on where the input is cut.

use proptest::prelude::*;
use ringpost::smtp::server::{BareNewline, Policy, Protocol};

use super::harness::{Outcome, policy, run_cut};

/// Command lines and near misses.
const LINES: [&str; 30] = [
    "EHLO client.example\r\n",
    "EHLO client.example\r\n",
    "LHLO client.example\r\n",
    "HELO [127.0.0.1]\r\n",
    "EHLO\r\n",
    "MAIL FROM:<a@b>\r\n",
    "MAIL FROM:<a@b>\r\n",
    "MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME\r\n",
    "MAIL FROM:<> BODY=BINARYMIME SMTPUTF8\r\n",
    "MAIL FROM:<a@b> SIZE=100000\r\n",
    "MAIL FROM:oops\r\n",
    "RCPT TO:<c@d>\r\n",
    "RCPT TO:<c@d>\r\n",
    "RCPT TO:<Postmaster>\r\n",
    "RCPT TO:<>\r\n",
    "RCPT TO:<c@d> X=1\r\n",
    "DATA\r\n",
    "DATA\r\n",
    "DATA\r\n",
    ".\r\n",
    "RSET\r\n",
    "NOOP \r\n",
    "VRFY x\r\n",
    "HELP\r\n",
    "QUIT\r\n",
    "\r\n",
    "NOOP\nNOOP\r\n",
    "\x16\x03\x01",
    "BDAT x\r\n",
    "BDAT 3 LAST\r\nab",
];

/// What a message is made of, and what it is broken with.
const WORDS: [&str; 10] =
    ["\r\n", "\r", "\n", ".", "\r\n.", "\r\n.\r\n", "hello", "\0", "\u{e9}", "x"];

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12).prop_map(|words| words.concat())
}

fn fragment() -> impl Strategy<Value = String> {
    let transaction = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\n";
    prop_oneof![
        6 => prop::sample::select(&LINES[..]).prop_map(String::from),
        2 => text().prop_map(move |text| format!("{transaction}DATA\r\n{text}\r\n.\r\n")),
        2 => (text(), any::<bool>()).prop_map(move |(text, last)| {
            let last = if last { " LAST" } else { "" };
            format!("{transaction}BDAT {}{last}\r\n{text}", text.len())
        }),
        2 => (text(), any::<bool>()).prop_map(|(text, last)| {
            let last = if last { " LAST" } else { "" };
            format!("BDAT {}{last}\r\n{text}", text.len())
        }),
        1 => text(),
        1 => (4_000usize..4_200).prop_map(|octets| format!("NOOP {}\r\n", "x".repeat(octets))),
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    (any::<bool>(), any::<bool>()).prop_map(|(lmtp, keep)| Policy {
        protocol: if lmtp { Protocol::Lmtp } else { Protocol::Smtp },
        bare_newline: if keep { BareNewline::Keep } else { BareNewline::Reject },
        message_bytes_max: 40,
        recipients_max: 3,
        ..policy()
    })
}

/// What must hold of any session.
fn check_sanity(outcome: &Outcome) {
    let count = |name| outcome.events.iter().filter(|event| **event == name).count();
    let mut open = false;
    for event in &outcome.events {
        let was = open;
        open = *event == "begin" || was && !matches!(&**event, "end" | "discard");
        let fits = match &**event {
            "begin" => !was,
            "end" => was,
            // A message whose first chunk is too large never begins.
            _ => true,
        };
        assert!(fits, "a message begins where the last one ended: {}", outcome.trace());
    }
    assert!(count("close") <= 1 && (count("close") == 0 || outcome.is_closed()));
    assert!(outcome.messages.iter().all(|m| m.body.len() <= 40 && m.recipients.len() <= 3));
}

proptest! {
    #[test]
    fn replies_and_events_do_not_depend_on_where_the_input_is_cut(
        policy in policies(),
        fragments in prop::collection::vec(fragment(), 0..14),
        pieces in prop::collection::vec(1usize..60, 0..200),
    ) {
        let hello = match policy.protocol {
            Protocol::Smtp => "EHLO x\r\n",
            Protocol::Lmtp => "LHLO x\r\n",
        };
        let wire = format!("{hello}{}", fragments.concat());
        let wire = wire.as_bytes();
        let whole = run_cut(&policy, wire, [wire.len()]);
        check_sanity(&whole);
        prop_assert_eq!(&whole, &run_cut(&policy, wire, pieces));
        prop_assert_eq!(&whole, &run_cut(&policy, wire, std::iter::repeat_n(1, wire.len())));
    }
}
