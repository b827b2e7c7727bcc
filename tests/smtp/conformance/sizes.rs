//! Every bound at one below, at and one above.

use ringpost::limits::{
    COMMAND_LINE_BYTES_MAX, DOMAIN_BYTES_MAX, LOCAL_PART_BYTES_MAX, PATH_BYTES_MAX,
};
use ringpost::smtp::server::Policy;

use super::harness::{EHLO, MAIL, RCPT, check, policy};

/// Checks a line of each size beside `bound`.
fn around(bound: usize, lead: &str, line: impl Fn(usize) -> String, codes: [&str; 3]) {
    for (size, expected) in (bound - 1..=bound + 1).zip(codes) {
        check(&policy(), lead, &[(&line(size), expected)]);
    }
}

/// A domain of many labels.
fn domain(octets: usize) -> String {
    format!("{}{}", "x.".repeat((octets - 1) / 2), if octets % 2 == 1 { "x" } else { "xx" })
}

#[test]
fn parts_of_a_path_are_bounded() {
    let rcpt = format!("{EHLO}{MAIL}");
    let x = |octets| "x".repeat(octets);
    let quoted = |octets: usize| format!("\"{}\"", x(octets - 2));
    let literal = |octets: usize| format!("[x:{}]", x(octets - 4));
    let long = "501/5.1.7";
    let good = "250/2.1.0";
    let local = LOCAL_PART_BYTES_MAX;
    around(local, EHLO, |n| format!("MAIL FROM:<{}@d>\r\n", x(n)), [good, good, long]);
    around(local, EHLO, |n| format!("MAIL FROM:<{}@d>\r\n", quoted(n)), [good, good, long]);
    let host = DOMAIN_BYTES_MAX;
    around(host, EHLO, |n| format!("MAIL FROM:<a@{}>\r\n", x(n)), [good, good, long]);
    around(host, EHLO, |n| format!("MAIL FROM:<a@{}>\r\n", domain(n)), [good, good, long]);
    around(host, EHLO, |n| format!("MAIL FROM:<a@{}>\r\n", literal(n)), [good, good, long]);
    around(host, "", |n| format!("EHLO {}\r\n", x(n)), ["250", "250", "501/5.5.4"]);
    let long = "501/5.1.3";
    let good = "250/2.1.5";
    around(local, &rcpt, |n| format!("RCPT TO:<{}@d>\r\n", x(n)), [good, good, long]);
    around(local, &rcpt, |n| format!("RCPT TO:<{}@d>\r\n", quoted(n)), [good, good, long]);
    around(host, &rcpt, |n| format!("RCPT TO:<a@{}>\r\n", x(n)), [good, good, long]);
    around(host, &rcpt, |n| format!("RCPT TO:<a@{}>\r\n", domain(n)), [good, good, long]);
    around(host, &rcpt, |n| format!("RCPT TO:<a@{}>\r\n", literal(n)), [good, good, long]);
}

#[test]
fn a_path_is_bounded_as_a_whole() {
    let route = format!("@{},", "r".repeat(200)).repeat(4);
    let path = |octets: usize| {
        let rest = octets - route.len() - "<@:a@b>".len();
        format!("<{route}@{}:a@b>", "r".repeat(rest))
    };
    let rcpt = format!("{EHLO}{MAIL}");
    let most = PATH_BYTES_MAX;
    let good = ["250/2.1.0", "250/2.1.0", "501/5.1.7"];
    around(most, EHLO, |n| format!("MAIL FROM:{}\r\n", path(n)), good);
    let good = ["250/2.1.5", "250/2.1.5", "501/5.1.3"];
    around(most, &rcpt, |n| format!("RCPT TO:{}\r\n", path(n)), good);
}

#[test]
fn a_command_line_is_bounded() {
    let codes = ["250/2.0.0", "250/2.0.0", "500/5.5.2"];
    let line = |octets: usize| format!("NOOP {}\r\n", "x".repeat(octets - 7));
    for lead in ["", EHLO] {
        around(512, lead, line, ["250/2.0.0"; 3]);
        around(COMMAND_LINE_BYTES_MAX, lead, line, codes);
    }
    let mail = |octets: usize| format!("MAIL FROM:<a@b>{}\r\n", " ".repeat(octets - 17));
    around(COMMAND_LINE_BYTES_MAX, EHLO, mail, ["250/2.1.0", "250/2.1.0", "500/5.5.2"]);
}

#[test]
fn a_message_is_bounded_in_either_framing() {
    let lead = format!("{EHLO}{MAIL}{RCPT}");
    for most in [2usize, 3, 64, 1_000] {
        let limited = Policy { message_bytes_max: most as u64, ..policy() };
        for (size, code) in [(most - 1, "250/2.0.0"), (most, "250/2.0.0"), (most + 1, "552/5.3.4")]
        {
            let text = format!("{}\r\n", "x".repeat(size.saturating_sub(2)));
            let expected = format!("354 {code}");
            if size >= 2 {
                check(&limited, &lead, &[(&format!("DATA\r\n{text}.\r\n"), &expected)]);
            }
            if size >= 3 {
                // The stuffed dot is not counted.
                let text = format!("..{}", &text[1..]);
                check(&limited, &lead, &[(&format!("DATA\r\n{text}.\r\n"), &expected)]);
            }
            let chunk = "y".repeat(size);
            let whole = format!("BDAT {size} LAST\r\n{chunk}");
            let (one, two) = chunk.split_at(size / 2);
            let halves = format!("BDAT {}\r\n{one}BDAT {} LAST\r\n{two}", one.len(), two.len());
            let expected = format!("250/2.0.0 {code}");
            check(&limited, &lead, &[(&whole, code), (&halves, &expected)]);
            let mail_code = if size > most { code } else { "250/2.1.0" };
            let mail = format!("MAIL FROM:<a@b> SIZE={size}\r\n");
            check(&limited, EHLO, &[(&mail, mail_code)]);
        }
    }
}

#[test]
fn recipients_are_bounded() {
    for most in [1usize, 2, 100] {
        let limited = Policy { recipients_max: most, ..policy() };
        for (count, last) in [(most, "250/2.1.5"), (most + 1, "452/4.5.3")] {
            let lead = format!("{EHLO}{MAIL}{}", RCPT.repeat(count - 1));
            check(&limited, &lead, &[(RCPT, last)]);
            // The earlier ones stay.
            let expected = format!("{last} 354 250/2.0.0");
            check(&limited, &lead, &[(&format!("{RCPT}DATA\r\n.\r\n"), &expected)]);
        }
    }
}

#[test]
fn numbers_are_bounded() {
    check(
        &Policy { message_bytes_max: u64::MAX, ..policy() },
        EHLO,
        &[
            ("MAIL FROM:<a@b> SIZE=18446744073709551614\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SIZE=18446744073709551615\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SIZE=18446744073709551616\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "250/2.1.0"),
            ("MAIL FROM:<a@b> SIZE=100000000000000000000\r\n", "501/5.5.4"),
            ("BDAT 18446744073709551616\r\n", "521/5.5.4 ."),
            ("BDAT 00000000000000000000000000000002\r\nhi", "503/5.5.1"),
        ],
    );
}
