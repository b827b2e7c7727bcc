//! Every verb in every state of a session.

use ringpost::smtp::server::Policy;

use super::harness::{check, policy};

/// States of a session, and what leads to each. The message limit is 8 octets.
const STATES: [(&str, &str); 10] = [
    ("fresh", ""),
    ("helo", "HELO x\r\n"),
    ("ehlo", "EHLO x\r\n"),
    ("mail", "EHLO x\r\nMAIL FROM:<a@b>\r\n"),
    ("rcpt", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"),
    ("no rcpt", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>\r\n"),
    ("chunk", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nx"),
    ("failed", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 9\r\n123456789"),
    ("done", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n"),
    ("reset", "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRSET\r\n"),
];

/// The reply in any state.
const ANYWHERE: [(&str, &str); 45] = [
    ("EHLO x\r\n", "250"),
    ("HELO x\r\n", "250"),
    ("eHlO [192.0.2.1]\r\n", "250"),
    ("EHLO\r\n", "501/5.5.4"),
    ("HELO a b\r\n", "501/5.5.4"),
    ("HELO \x7f\r\n", "501/5.5.2"),
    ("LHLO x\r\n", "500/5.5.2"),
    ("RSET\r\n", "250/2.0.0"),
    ("rset\r\n", "250/2.0.0"),
    ("RSET \r\n", "250/2.0.0"),
    ("RSET x\r\n", "501/5.5.4"),
    ("NOOP\r\n", "250/2.0.0"),
    ("NOOP x y z\r\n", "250/2.0.0"),
    ("NOOP \x01\r\n", "501/5.5.2"),
    ("VRFY x\r\n", "252/2.5.2"),
    ("VRFY\r\n", "501/5.5.4"),
    ("VRFY \x01\r\n", "501/5.5.2"),
    ("HELP\r\n", "214/2.0.0"),
    ("HELP DATA\r\n", "214/2.0.0"),
    ("QUIT\r\n", "221/2.0.0 ."),
    ("QUIT now\r\n", "501/5.5.4"),
    ("DATA x\r\n", "501/5.5.4"),
    ("\r\n", "500/5.5.2"),
    (" \r\n", "500/5.5.2"),
    ("\t\r\n", "500/5.5.2"),
    ("X\r\n", "500/5.5.2"),
    ("XYZZY\r\n", "500/5.5.2"),
    ("NOOPX\r\n", "500/5.5.2"),
    ("NOOP\tx\r\n", "500/5.5.2"),
    (" NOOP\r\n", "500/5.5.2"),
    ("NOO\r\n", "500/5.5.2"),
    ("MAILFROM:<a@b>\r\n", "500/5.5.2"),
    ("\0\r\n", "500/5.5.2"),
    ("\u{dc}\r\n", "500/5.5.2"),
    ("NO\0P\r\n", "500/5.5.2"),
    ("NO\nOP\r\n", "500/5.5.2"),
    ("NO\rOP\r\n", "500/5.5.2"),
    ("NOOP\r\r\n", "500/5.5.2"),
    ("\nNOOP\r\n", "500/5.5.2"),
    ("DATA\n.\n\r\n", "500/5.5.2"),
    ("BDAT\r\n", "521/5.5.4 ."),
    ("BDAT LAST\r\n", "521/5.5.4 ."),
    ("BDAT x\r\n", "521/5.5.4 ."),
    ("BDAT -1\r\n", "521/5.5.4 ."),
    ("BDAT 18446744073709551616\r\n", "521/5.5.4 ."),
];

/// The reply in each state, in their order.
const BY_STATE: [(&str, [&str; 10]); 17] = {
    const OUT: &str = "503/5.5.1";
    const NONE: &str = "554/5.5.1";
    const MAIL: &str = "250/2.1.0";
    const RCPT: &str = "250/2.1.5";
    const OK: &str = "250/2.0.0";
    const UNOFFERED: &str = "555/5.5.4";
    const BIG: &str = "552/5.3.4";
    [
        ("MAIL FROM:<e@f>\r\n", [OUT, MAIL, MAIL, OUT, OUT, OUT, OUT, OUT, MAIL, MAIL]),
        ("mail from:<>\r\n", [OUT, MAIL, MAIL, OUT, OUT, OUT, OUT, OUT, MAIL, MAIL]),
        ("MAIL FROM:<e@f> SIZE=8\r\n", [OUT, UNOFFERED, MAIL, OUT, OUT, OUT, OUT, OUT, MAIL, MAIL]),
        ("MAIL FROM:<e@f> SIZE=9\r\n", [OUT, UNOFFERED, BIG, OUT, OUT, OUT, OUT, OUT, BIG, BIG]),
        (
            "MAIL FROM:<e@f> X-Y=1\r\n",
            [OUT, UNOFFERED, UNOFFERED, OUT, OUT, OUT, OUT, OUT, UNOFFERED, UNOFFERED],
        ),
        (
            "MAIL e@f\r\n",
            [OUT, "501/5.1.7", "501/5.1.7", OUT, OUT, OUT, OUT, OUT, "501/5.1.7", "501/5.1.7"],
        ),
        ("RCPT TO:<g@h>\r\n", [OUT, OUT, OUT, RCPT, RCPT, RCPT, OUT, OUT, OUT, OUT]),
        ("rcpt to:<PostMaster>\r\n", [OUT, OUT, OUT, RCPT, RCPT, RCPT, OUT, OUT, OUT, OUT]),
        (
            "RCPT TO:<>\r\n",
            [OUT, OUT, OUT, "501/5.1.3", "501/5.1.3", "501/5.1.3", OUT, OUT, OUT, OUT],
        ),
        (
            "RCPT TO:<g@h> X=1\r\n",
            [OUT, OUT, OUT, UNOFFERED, UNOFFERED, UNOFFERED, OUT, OUT, OUT, OUT],
        ),
        ("DATA\r\n", [OUT, OUT, OUT, OUT, "354", NONE, OUT, OUT, OUT, OUT]),
        ("BDAT 0\r\n", [OUT, OUT, OUT, OUT, OK, NONE, OK, OUT, OUT, OUT]),
        ("BDAT 0 LAST\r\n", [OUT, OUT, OUT, OUT, OK, NONE, OK, OUT, OUT, OUT]),
        ("BDAT 6\r\nQUIT\r\n", [OUT, OUT, OUT, OUT, OK, NONE, OK, OUT, OUT, OUT]),
        ("bdat 6 last\r\nDATA\r\n", [OUT, OUT, OUT, OUT, OK, NONE, OK, OUT, OUT, OUT]),
        ("BDAT 9\r\nRSET\r\nXYZ", [OUT, OUT, OUT, OUT, BIG, NONE, BIG, OUT, OUT, OUT]),
        ("BDAT 9 LAST\r\nMAIL\r\nXYZ", [OUT, OUT, OUT, OUT, BIG, NONE, BIG, OUT, OUT, OUT]),
    ]
};

fn small() -> Policy {
    Policy { message_bytes_max: 8, ..policy() }
}

#[test]
fn what_does_not_depend_on_the_state_is_answered_alike_in_all() {
    for (_, lead) in STATES {
        check(&small(), lead, &ANYWHERE);
    }
}

#[test]
fn every_transaction_command_is_judged_by_the_state() {
    for (line, expected) in BY_STATE {
        for ((_, lead), expected) in STATES.iter().zip(expected) {
            check(&small(), lead, &[(line, expected)]);
        }
    }
}

/// What a command did is seen by what may follow it.
#[test]
fn a_refused_command_leaves_the_state_as_it_was() {
    const REFUSED: [(&str, &str); 8] = [
        ("EHLO\r\n", "501/5.5.4"),
        ("RSET x\r\n", "501/5.5.4"),
        ("QUIT x\r\n", "501/5.5.4"),
        ("VRFY\r\n", "501/5.5.4"),
        ("XYZZY\r\n", "500/5.5.2"),
        ("DATA x\r\n", "501/5.5.4"),
        ("LHLO x\r\n", "500/5.5.2"),
        ("NOOP\nRSET\r\n", "500/5.5.2"),
    ];
    const PROBES: [(&str, [&str; 10]); 3] = {
        const OUT: &str = "503/5.5.1";
        const NONE: &str = "554/5.5.1";
        const MAIL: &str = "250/2.1.0";
        const RCPT: &str = "250/2.1.5";
        [
            ("MAIL FROM:<e@f>\r\n", [OUT, MAIL, MAIL, OUT, OUT, OUT, OUT, OUT, MAIL, MAIL]),
            ("RCPT TO:<g@h>\r\n", [OUT, OUT, OUT, RCPT, RCPT, RCPT, OUT, OUT, OUT, OUT]),
            ("DATA\r\n", [OUT, OUT, OUT, OUT, "354", NONE, OUT, OUT, OUT, OUT]),
        ]
    };
    for (refused, code) in REFUSED {
        for (probe, expected) in PROBES {
            for ((_, lead), expected) in STATES.iter().zip(expected) {
                let row = (&*format!("{refused}{probe}"), &*format!("{code} {expected}"));
                check(&small(), lead, &[row]);
            }
        }
    }
}
