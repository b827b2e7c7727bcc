//! LMTP (RFC 2033).

use ringpost::smtp::{
    reply::Reply,
    server::{Flags, Policy, Protocol},
};

use super::harness::{EHLO, MAIL, RCPT, Session, Verdict, check, policy, run_with};

fn lmtp() -> Policy {
    Policy { protocol: Protocol::Lmtp, message_bytes_max: 10, ..policy() }
}

const LHLO: &str = "LHLO client.example\r\n";

#[test]
fn only_lhlo_greets() {
    check(
        &lmtp(),
        "",
        &[
            (LHLO, "250"),
            ("LHLO\r\n", "501/5.5.4"),
            ("HELO x\r\n", "500/5.5.2"),
            (EHLO, "500/5.5.2"),
            (MAIL, "503/5.5.1"),
        ],
    );
}

#[test]
fn each_recipient_gets_a_reply_behind_the_dot() {
    let lead = format!("{LHLO}{MAIL}{}RCPT TO:<>\r\n", RCPT.repeat(3));
    check(
        &lmtp(),
        &lead,
        &[
            ("DATA\r\nhi\r\n.\r\n", "354 250/2.0.0 250/2.0.0 250/2.0.0"),
            ("DATA\r\nhi\n\r\n.\r\n", "354 550/5.6.0 550/5.6.0 550/5.6.0"),
            ("DATA\r\n123456789\r\n.\r\n", "354 552/5.3.4 552/5.3.4 552/5.3.4"),
            ("BDAT 2 LAST\r\nhi", "250/2.0.0 250/2.0.0 250/2.0.0"),
            ("BDAT 2\r\nhiBDAT 0 LAST\r\n", "250/2.0.0 250/2.0.0 250/2.0.0 250/2.0.0"),
            ("BDAT 11 LAST\r\n12345678901", "552/5.3.4 552/5.3.4 552/5.3.4"),
            (
                "BDAT 11\r\n12345678901BDAT 0 LAST\r\nNOOP\r\n",
                "552/5.3.4 503/5.5.1 503/5.5.1 503/5.5.1 250/2.0.0",
            ),
        ],
    );
    let outcome = run_with(&lmtp(), format!("{lead}DATA\r\nhi\r\n.\r\n"));
    assert_eq!(outcome.messages[0].flags, Flags::LMTP);
}

#[test]
fn a_refusal_goes_to_each_recipient() {
    let refusal = Verdict::Refuse(Reply::new(452, 3, 1, "No room"));
    let mut session = Session::new(lmtp()).with_verdict(refusal);
    session.feed(format!("{LHLO}{MAIL}{RCPT}{RCPT}DATA\r\n.\r\nNOOP\r\n").as_bytes());
    assert_eq!(session.finish().replies[4..].join(" "), "354 452/4.3.1 452/4.3.1 250/2.0.0");
}

#[test]
fn without_a_recipient_data_is_refused_and_the_last_chunk_gets_no_reply() {
    let lead = format!("{LHLO}{MAIL}RCPT TO:<>\r\n");
    check(
        &lmtp(),
        &lead,
        &[
            ("DATA\r\n", "503/5.5.1"),
            ("BDAT 2 LAST\r\nhiNOOP\r\n", "250/2.0.0"),
            ("BDAT 2\r\nhiBDAT 0 LAST\r\nNOOP\r\n", "503/5.5.1 250/2.0.0"),
        ],
    );
}
