//! What EHLO lists works, and what it does not list is refused.

use std::sync::Arc;

use ringpost::smtp::{
    auth::{AuthPolicy, Credentials, Mechanisms},
    directory::Directory,
    extension::Extensions,
    server::{Commands, Policy, Protocol},
};

use super::harness::{EHLO, MAIL, RCPT, Session, check, policy, run_with};

/// A listener that offers all that can be offered in plain text.
fn full() -> Policy {
    let directory = Directory::parse("mailbox ada@b Ada\nlist all@b ada@b").unwrap();
    let directory = Some(Arc::new(directory));
    let (legacy, etrn, atrn) = (true, true, true);
    let commands = Commands { directory, legacy, etrn, atrn, ..Commands::default() };
    let (credentials, mechanisms) = (Credentials::Any, Mechanisms::ALL);
    let auth = AuthPolicy { credentials, mechanisms, required: false };
    Policy { commands, auth, ..policy() }
}

/// For each keyword: what shows that it works, its answer, and the answer where it is not offered.
/// The lines come behind EHLO, MAIL and RCPT as far as they need these.
const PROOFS: [(&str, &str, &str, &str, &str); 28] = [
    ("SIZE", "", "MAIL FROM:<a@b> SIZE=1\r\n", "250/2.1.0", "555/5.5.4"),
    ("8BITMIME", "", "MAIL FROM:<a@b> BODY=8BITMIME\r\n", "250/2.1.0", "555/5.5.4"),
    ("8BITMIME", "", "MAIL FROM:<a@b> BODY=7BIT\r\n", "250/2.1.0", "555/5.5.4"),
    ("8BITMIME", "", "MAIL FROM:<a@b> SMTPUTF8\r\n", "250/2.1.0", "555/5.5.4"),
    ("SMTPUTF8", "", "MAIL FROM:<a@b> SMTPUTF8\r\n", "250/2.1.0", "555/5.5.4"),
    ("CHUNKING", "MR", "BDAT 1 LAST\r\nx", "250/2.0.0", "502/5.5.1"),
    ("CHUNKING", "", "MAIL FROM:<a@b> BODY=BINARYMIME\r\n", "250/2.1.0", "555/5.5.4"),
    ("BINARYMIME", "", "MAIL FROM:<a@b> BODY=BINARYMIME\r\n", "250/2.1.0", "555/5.5.4"),
    ("DSN", "", "MAIL FROM:<a@b> RET=FULL\r\n", "250/2.1.0", "555/5.5.4"),
    ("DSN", "", "MAIL FROM:<a@b> ENVID=x\r\n", "250/2.1.0", "555/5.5.4"),
    ("DSN", "M", "RCPT TO:<ada@b> NOTIFY=NEVER\r\n", "250/2.1.5", "555/5.5.4"),
    ("DSN", "M", "RCPT TO:<ada@b> ORCPT=rfc822;x\r\n", "250/2.1.5", "555/5.5.4"),
    ("DELIVERBY", "", "MAIL FROM:<a@b> BY=9;N\r\n", "250/2.1.0", "555/5.5.4"),
    ("FUTURERELEASE", "", "MAIL FROM:<a@b> HOLDFOR=9\r\n", "250/2.1.0", "555/5.5.4"),
    (
        "FUTURERELEASE",
        "",
        "MAIL FROM:<a@b> HOLDUNTIL=2030-01-01T00:00:00Z\r\n",
        "250/2.1.0",
        "555/5.5.4",
    ),
    ("MT-PRIORITY", "", "MAIL FROM:<a@b> MT-PRIORITY=-3\r\n", "250/2.1.0", "555/5.5.4"),
    // RFC 5321 §3.5.3: a VRFY that is off still answers, but verifies nothing.
    ("VRFY", "", "VRFY ada\r\n", "250/2.1.5", "252/2.5.2"),
    ("EXPN", "", "EXPN all\r\n", "250/2.1.5", "502/5.5.1"),
    ("SEND", "", "SEND FROM:<a@b>\r\n", "250/2.1.0", "502/5.5.1"),
    ("SOML", "", "SOML FROM:<a@b>\r\n", "250/2.1.0", "502/5.5.1"),
    ("SAML", "", "SAML FROM:<a@b> SIZE=1\r\n", "250/2.1.0", "502/5.5.1"),
    ("HELP", "", "HELP\r\n", "214/2.0.0", "502/5.5.1"),
    ("HELP", "", "HELP STATUS\r\n", "211/2.0.0", "502/5.5.1"),
    ("HELP", "", "HELP mail\r\n", "214/2.0.0", "502/5.5.1"),
    ("AUTH", "", "AUTH PLAIN AGEAYg==\r\n", "235/2.7.0", "502/5.5.1"),
    ("AUTH", "", "MAIL FROM:<a@b> AUTH=<>\r\n", "250/2.1.0", "555/5.5.4"),
    ("ETRN", "", "ETRN d.example\r\n", "458/4.3.2", "502/5.5.1"),
    ("ATRN", "", "ATRN d.example\r\n", "530/5.7.0", "502/5.5.1"),
];

/// Keywords without a command or parameter of their own.
const SILENT: [&str; 3] = ["PIPELINING", "ENHANCEDSTATUSCODES", "LIMITS"];

fn lead(what: &str) -> String {
    what.chars().fold(EHLO.to_owned(), |lead, command| match command {
        'M' => lead + MAIL,
        _ => lead + RCPT,
    })
}

fn listed(policy: &Policy) -> Vec<String> {
    let wire = String::from_utf8(run_with(policy, EHLO).wire).unwrap();
    let keyword = |line: &str| line[4..].split(' ').next().unwrap().to_owned();
    wire.lines().skip(1).map(keyword).collect()
}

#[test]
fn what_is_listed_works_and_has_its_proof() {
    let keywords = listed(&full());
    for keyword in &keywords {
        let proven = PROOFS.iter().any(|(name, ..)| name == keyword);
        assert!(proven || SILENT.contains(&&**keyword), "{keyword} is listed and not proven");
    }
    for (keyword, what, input, works, _) in PROOFS {
        assert!(keywords.iter().any(|k| k == keyword), "{keyword} is not listed");
        check(&full(), &lead(what), &[(input, works)]);
    }
}

#[test]
fn what_is_switched_off_is_neither_listed_nor_obeyed() {
    for (keyword, what, input, _, refusal) in PROOFS {
        let extension = Extensions::from_keyword(keyword).unwrap();
        let off = Policy { extensions: Extensions::ALL.difference(extension), ..full() };
        assert!(!listed(&off).iter().any(|k| k == keyword), "{keyword}");
        check(&off, &lead(what), &[(input, refusal)]);
    }
    for keyword in SILENT {
        let extension = Extensions::from_keyword(keyword).unwrap();
        let off = Policy { extensions: Extensions::ALL.difference(extension), ..full() };
        assert!(!listed(&off).iter().any(|k| k == keyword), "{keyword}");
    }
}

#[test]
fn parameters_need_ehlo() {
    for (_, what, input, ..) in PROOFS.iter().filter(|(_, _, input, ..)| input.contains("> ")) {
        let lead = lead(what).replace("EHLO", "HELO");
        check(&full(), &lead, &[(input, "555/5.5.4")]);
    }
}

#[test]
fn nothing_that_stands_on_something_absent_is_listed() {
    let usual = listed(&policy());
    for keyword in
        ["VRFY", "EXPN", "SEND", "SOML", "SAML", "REQUIRETLS", "AUTH", "XCLIENT", "ETRN", "ATRN"]
    {
        assert!(!usual.iter().any(|k| k == keyword), "{keyword}");
    }
    let rows = [
        ("VRFY x\r\n", "252/2.5.2"),
        ("EXPN x\r\n", "502/5.5.1"),
        ("SEND FROM:<a@b>\r\n", "502/5.5.1"),
        ("AUTH PLAIN\r\n", "502/5.5.1"),
        ("MAIL FROM:<a@b> AUTH=<>\r\n", "555/5.5.4"),
        ("TURN\r\n", "502/5.5.1"),
    ];
    check(&policy(), EHLO, &rows);
    check(&full(), EHLO, &[("TURN\r\n", "502/5.5.1")]);
    let vast = Policy { recipients_max: 1_000_000, ..policy() };
    assert!(!listed(&vast).iter().any(|k| k == "LIMITS"), "RFC 9422 gives it six digits");
}

#[test]
fn without_esmtp_there_is_the_smtp_of_rfc_821() {
    let old = Policy { commands: Commands { esmtp: false, ..full().commands }, ..full() };
    let mut session = Session::new(old.clone());
    let mut greeting = Vec::new();
    session.server.greet(&mut greeting);
    assert_eq!(greeting, b"220 sink.example SMTP ringpost\r\n");
    session.feed(
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nHELO x\r\nBDAT 1 LAST\r\nxMAIL FROM:<a@b> SIZE=1\r\nSOML FROM:<a@b>\r\n\
          RCPT TO:<ada@b>\r\nVRFY ada\r\nEXPN all\r\nHELP EHLO\r\nDATA\r\nhi\r\n.\r\n",
    );
    let wire = String::from_utf8(session.into_wire()).unwrap();
    let codes: Vec<_> = wire.lines().map(|line| &line[..3]).collect();
    let expected = "502 503 250 502 555 250 250 250 250 504 354 250";
    assert_eq!(codes.join(" "), expected, "{wire}");
    assert!(wire.lines().all(|line| !line[4..].starts_with(['2', '5'])), "{wire}");
    assert_eq!(old.protocol, Protocol::Smtp);
}

#[test]
fn help_lists_what_works_here_and_nothing_else() {
    let help = |policy: &Policy, topic: &str| {
        String::from_utf8(run_with(policy, format!("HELP{topic}\r\n")).wire).unwrap()
    };
    let first = |policy: &Policy| help(policy, "").lines().next().unwrap().to_owned();
    assert_eq!(
        first(&full()),
        "214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT AUTH RSET NOOP QUIT VRFY EXPN ETRN ATRN SEND SOML SAML HELP"
    );
    assert_eq!(
        first(&Policy { protocol: Protocol::Lmtp, ..policy() }),
        "214-2.0.0 Commands: LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP"
    );
    assert_eq!(
        help(&policy(), " rcpt"),
        "214-2.0.0 RCPT TO:<address> [parameters]\r\n214-2.0.0 Adds a recipient\r\n\
         214 2.0.0 Parameters: NOTIFY ORCPT\r\n"
    );
    for word in first(&full()).split(' ').skip(2) {
        assert!(help(&full(), &format!(" {word}")).starts_with("214-2.0.0 "), "{word}");
    }
    check(
        &policy(),
        "",
        &[
            ("HELP EXPN\r\n", "504/5.5.4"),
            ("HELP AUTH\r\n", "504/5.5.4"),
            ("HELP XCLIENT\r\n", "504/5.5.4"),
            ("HELP ETRN\r\n", "504/5.5.4"),
            ("HELP XYZZY\r\n", "504/5.5.4"),
            ("HELP MAIL RCPT\r\n", "504/5.5.4"),
            ("HELP  \r\n", "214/2.0.0"),
            ("HELP status\r\n", "211/2.0.0"),
        ],
    );
}

#[test]
fn a_trusted_peer_is_told_of_xclient() {
    let mut session = Session::new(policy());
    session.server.trust_xclient(true);
    session.feed(b"HELP\r\nHELP xclient\r\n");
    let wire = String::from_utf8(session.into_wire()).unwrap();
    assert!(wire.starts_with(
        "214-2.0.0 Commands: HELO EHLO MAIL RCPT DATA BDAT XCLIENT RSET NOOP QUIT VRFY HELP\r\n"
    ));
    assert!(wire.contains("214-2.0.0 XCLIENT <name>=<value>...\r\n"), "{wire}");
}

#[test]
fn a_limit_that_there_is_not_is_announced_as_zero() {
    let unlimited = Policy { message_bytes_max: u64::MAX, ..policy() };
    let wire = String::from_utf8(run_with(&unlimited, EHLO).wire).unwrap();
    assert!(wire.contains("250-SIZE 0\r\n"), "{wire}");
}

#[test]
fn status_tells_how_the_session_is() {
    let wire = run_with(&policy(), format!("{EHLO}{MAIL}{RCPT}{RCPT}HELP STATUS\r\n")).wire;
    let wire = String::from_utf8(wire).unwrap();
    assert!(
        wire.ends_with(
            "211-2.0.0 ringpost at sink.example, speaking SMTP\r\n\
             211-2.0.0 You are client.example\r\n\
             211 2.0.0 A message is open, for 2 recipients\r\n"
        ),
        "{wire}"
    );
}
