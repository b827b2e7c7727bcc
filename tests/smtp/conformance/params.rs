//! Every parameter of MAIL and RCPT: what it may say, and what each fault is answered.

use ringpost::smtp::{
    params::Moment,
    server::{Commands, HoldLimits, Policy},
};

use super::harness::{EHLO, MAIL, check, policy, run, run_with};

const OK: &str = "250/2.1.0";
const BAD: &str = "501/5.5.4";
const UNKNOWN: &str = "555/5.5.4";

fn mail(policy: &Policy, rows: &[(&str, &str)]) {
    for (params, expected) in rows {
        check(policy, EHLO, &[(&format!("MAIL FROM:<a@b> {params}\r\n"), expected)]);
    }
}

fn rcpt(rows: &[(&str, &str)]) {
    let lead = format!("{EHLO}{MAIL}");
    for (params, expected) in rows {
        let line = format!("RCPT TO:<c@d> {params}\r\n");
        check(&policy(), &lead, &[(&line, &expected.replace(OK, "250/2.1.5"))]);
    }
}

#[test]
fn dsn_parameters_of_mail_are_judged() {
    let long = "e".repeat(100);
    mail(
        &policy(),
        &[
            ("RET=FULL", OK),
            ("ret=hdrs ENVID=QQ314159", OK),
            ("ENVID=a+2Bb+3D~!", OK),
            (&format!("ENVID={long}"), OK),
            (&format!("ENVID={long}x"), BAD),
            ("RET", BAD),
            ("RET=", BAD),
            ("RET=X", BAD),
            ("RET=FULL,HDRS", BAD),
            ("RET=FULL RET=FULL", BAD),
            ("RET=FULL RET=HDRS", BAD),
            ("ENVID", BAD),
            ("ENVID=", BAD),
            ("ENVID=a+", BAD),
            ("ENVID=a+2", BAD),
            ("ENVID=a+2b", BAD),
            ("ENVID=a+ZZ", BAD),
            ("ENVID=a=b", BAD),
            ("ENVID=\u{fc}", BAD),
            ("ENVID=a ENVID=a", BAD),
            ("NOTIFY=NEVER", UNKNOWN),
            ("ORCPT=rfc822;a@b", UNKNOWN),
        ],
    );
}

#[test]
fn dsn_parameters_of_rcpt_are_judged() {
    let fits = format!("ORCPT=rfc822;{}", "o".repeat(493));
    rcpt(&[
        ("NOTIFY=NEVER", OK),
        ("NOTIFY=SUCCESS", OK),
        ("notify=failure,DELAY,success", OK),
        ("ORCPT=rfc822;Bob+2Bx@Example.COM", OK),
        ("NOTIFY=DELAY ORCPT=x-kind;y", OK),
        ("ORCPT=utf-8;\u{fc}@b", OK),
        (&fits, OK),
        (&format!("{fits}o"), BAD),
        ("NOTIFY", BAD),
        ("NOTIFY=", BAD),
        ("NOTIFY=ALWAYS", BAD),
        ("NOTIFY=NEVER,SUCCESS", BAD),
        ("NOTIFY=SUCCESS,", BAD),
        ("NOTIFY=,SUCCESS", BAD),
        ("NOTIFY=NEVER NOTIFY=NEVER", BAD),
        ("ORCPT", BAD),
        ("ORCPT=rfc822", BAD),
        ("ORCPT=;a@b", BAD),
        ("ORCPT=rfc822;", BAD),
        ("ORCPT=rfc822;a+b", BAD),
        ("ORCPT=(x);a", BAD),
        ("ORCPT=rfc822;\u{fc}@b", BAD),
        ("ORCPT=rfc822;a ORCPT=rfc822;a", BAD),
        ("RET=FULL", UNKNOWN),
        ("ENVID=x", UNKNOWN),
        ("SIZE=1", UNKNOWN),
        ("BODY=7BIT", UNKNOWN),
        ("BY=1;N", UNKNOWN),
        ("MT-PRIORITY=1", UNKNOWN),
        ("HOLDFOR=1", UNKNOWN),
        ("SMTPUTF8", UNKNOWN),
    ]);
}

#[test]
fn deliverby_is_judged() {
    mail(
        &policy(),
        &[
            ("BY=120;R", OK),
            ("BY=+999999999;RT", OK),
            ("BY=-999999999;N", OK),
            ("BY=0;NT", OK),
            ("by=00;n", OK),
            ("BY", BAD),
            ("BY=", BAD),
            ("BY=120", BAD),
            ("BY=120;", BAD),
            ("BY=;R", BAD),
            ("BY=+;N", BAD),
            ("BY=0;R", BAD),
            ("BY=-1;R", BAD),
            ("BY=1000000000;N", BAD),
            ("BY=--1;N", BAD),
            ("BY=1x;N", BAD),
            ("BY=120;X", BAD),
            ("BY=120;T", BAD),
            ("BY=120;RTT", BAD),
            ("BY=1;N BY=1;N", BAD),
        ],
    );
}

#[test]
fn futurerelease_is_judged() {
    mail(
        &policy(),
        &[
            ("HOLDFOR=1", OK),
            ("HOLDFOR=999999999", OK),
            ("HOLDUNTIL=2030-01-31T12:00:00Z", OK),
            ("HOLDUNTIL=2030-01-31T12:00:60.25Z", OK),
            ("HOLDFOR", BAD),
            ("HOLDFOR=", BAD),
            ("HOLDFOR=0", BAD),
            ("HOLDFOR=01", BAD),
            ("HOLDFOR=-1", BAD),
            ("HOLDFOR=1s", BAD),
            ("HOLDFOR=1000000000", BAD),
            ("HOLDUNTIL", BAD),
            ("HOLDUNTIL=", BAD),
            ("HOLDUNTIL=2030-01-31", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:00", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:00+01:00", BAD),
            ("HOLDUNTIL=2030-13-31T12:00:00Z", BAD),
            ("HOLDUNTIL=2030-00-31T12:00:00Z", BAD),
            ("HOLDUNTIL=2030-01-32T12:00:00Z", BAD),
            ("HOLDUNTIL=2030-01-31T24:00:00Z", BAD),
            ("HOLDUNTIL=2030-01-31T12:60:00Z", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:61Z", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:00.Z", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:005Z", BAD),
            ("HOLDUNTIL=2030-01-31 12:00:00Z", BAD),
            ("HOLDFOR=1 HOLDFOR=1", BAD),
            ("HOLDFOR=1 HOLDUNTIL=2030-01-31T12:00:00Z", BAD),
            ("HOLDUNTIL=2030-01-31T12:00:00Z HOLDFOR=1", BAD),
        ],
    );
}

#[test]
fn a_hold_beyond_what_is_announced_is_refused() {
    let moment = |text: &str| Moment::parse(text.as_bytes()).unwrap();
    let hold = HoldLimits {
        seconds_max: 3_600,
        earliest: moment("2026-05-04T12:00:00Z"),
        latest: moment("2026-05-04T13:00:00Z"),
    };
    let policy = Policy { commands: Commands { hold, ..Commands::default() }, ..policy() };
    let hello = String::from_utf8(run_with(&policy, EHLO).wire).unwrap();
    assert!(hello.contains("250-FUTURERELEASE 3600 2026-05-04T13:00:00Z\r\n"), "{hello}");
    mail(
        &policy,
        &[
            ("HOLDFOR=3600", OK),
            ("HOLDFOR=3601", BAD),
            ("HOLDUNTIL=2026-05-04T12:00:00Z", OK),
            ("HOLDUNTIL=2026-05-04T13:00:00Z", OK),
            ("HOLDUNTIL=2026-05-04T13:00:01Z", BAD),
            ("HOLDUNTIL=2026-05-04T11:59:59Z", BAD),
        ],
    );
}

#[test]
fn mt_priority_is_judged() {
    for good in -9..=9 {
        mail(&policy(), &[(&format!("MT-PRIORITY={good}"), OK)]);
    }
    for bad in ["", "=", "=10", "=-10", "=+1", "=-0", "=01", "=x", "=1.5", "=1 MT-PRIORITY=1"] {
        mail(&policy(), &[(&format!("MT-PRIORITY{bad}"), BAD)]);
    }
}

#[test]
fn requiretls_is_unknown_in_plain_text_whatever_it_says() {
    mail(&policy(), &[("REQUIRETLS", UNKNOWN), ("REQUIRETLS=1", UNKNOWN)]);
}

#[test]
fn the_first_fault_decides_and_a_refused_command_changes_nothing() {
    mail(
        &policy(),
        &[
            ("XFOO=1 RET=X", UNKNOWN),
            ("RET=X XFOO=1", BAD),
            ("RET=FULL ENVID=x BY=1;R MT-PRIORITY=3 HOLDFOR=1 SIZE=1 BODY=8BITMIME SMTPUTF8", OK),
        ],
    );
    let outcome = run(format!(
        "{EHLO}MAIL FROM:<x@y> RET=X\r\nMAIL FROM:<a@b> RET=FULL ENVID=e+20f\r\n\
         RCPT TO:<c@d> NOTIFY=X\r\nRCPT TO:<c@d> NOTIFY=NEVER ORCPT=rfc822;z@d\r\nDATA\r\n.\r\n"
    ));
    let message = &outcome.messages[0];
    assert_eq!((&*message.sender, &*message.sender_params), ("a@b", "RET=FULL ENVID=e+20f"));
    assert_eq!(message.recipients, ["c@d"]);
    assert_eq!(message.recipient_params, ["NOTIFY=NEVER ORCPT=rfc822;z@d"]);
}
