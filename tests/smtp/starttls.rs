//! STARTTLS, the server's side (RFC 3207): when it is taken, what is forgotten, and what is refused before.

use std::rc::Rc;

use ringpost::smtp::auth::{AuthPolicy, Credentials, Mechanisms};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{
    BareNewline, Commands, Event, Flags, Policy, Protocol, Server, Syntax, TlsPolicy,
};

fn policy(tls: TlsPolicy) -> Policy {
    Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: 1_000,
        recipients_max: 10,
        syntax: Syntax::Lenient,
        bare_newline: BareNewline::Keep,
        extensions: Extensions::ALL,
        commands: Commands::default(),
        auth: AuthPolicy {
            credentials: Credentials::Any,
            mechanisms: Mechanisms::ALL,
            required: false,
        },
        tls,
    }
}

const OFFERED: TlsPolicy = TlsPolicy { offered: true, required: false, auth_under_tls: false };

struct Session {
    server: Server,
    /// Whether STARTTLS gets 220, and the handshake follows at once.
    is_ready: bool,
    replies: Vec<u8>,
    flags: Option<Flags>,
    is_closed: bool,
}

impl Session {
    fn new(policy: Policy) -> Self {
        let server = Server::new(Rc::new(policy));
        Self { server, is_ready: true, replies: Vec::new(), flags: None, is_closed: false }
    }

    /// The replies to `wire`: their last lines, without what stands behind the codes.
    fn say(&mut self, wire: &str) -> String {
        self.say_cut(wire, wire.len())
    }

    fn say_cut(&mut self, wire: &str, octets: usize) -> String {
        for mut piece in wire.as_bytes().chunks(octets.max(1)) {
            while let Some(event) = self.server.step(&mut piece, &mut self.replies) {
                match event {
                    Event::StartTls => {
                        self.server.answer_starttls(self.is_ready, &mut self.replies);
                        if self.is_ready {
                            assert!(self.server.step(&mut piece, &mut self.replies).is_none());
                            self.server.secured();
                        }
                    }
                    Event::End(flags) => {
                        self.flags = Some(flags);
                        self.server.accept("x", &mut self.replies);
                    }
                    Event::Close => self.is_closed = true,
                    _ => {}
                }
            }
        }
        let text = String::from_utf8(std::mem::take(&mut self.replies)).unwrap();
        let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        let codes = text.lines().filter(last).map(|line| {
            let enhanced = line
                .split(' ')
                .nth(1)
                .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
            enhanced.map_or(line[..3].to_owned(), |code| format!("{}/{code}", &line[..3]))
        });
        codes.collect::<Vec<_>>().join(" ")
    }

    fn announces(&mut self) -> String {
        let mut input = &b"EHLO me\r\n"[..];
        assert!(self.server.step(&mut input, &mut self.replies).is_none());
        String::from_utf8(std::mem::take(&mut self.replies)).unwrap()
    }
}

#[test]
fn it_is_offered_before_tls_where_there_is_a_certificate() {
    let mut session = Session::new(policy(OFFERED));
    let before = session.announces();
    assert!(before.contains("-STARTTLS\r\n") && !before.contains("REQUIRETLS"), "{before}");
    assert_eq!(session.say("STARTTLS\r\n"), "220/2.0.0");
    let after = session.announces();
    assert!(!after.contains("STARTTLS") && after.contains("REQUIRETLS\r\n"), "{after}");
    assert!(!Session::new(policy(TlsPolicy::default())).announces().contains("STARTTLS"));
    let mut implicit = Session::new(policy(OFFERED));
    implicit.server.secured();
    assert!(!implicit.announces().contains("STARTTLS"));
    let without = Extensions::ALL.difference(Extensions::STARTTLS);
    let mut off = Session::new(Policy { extensions: without, ..policy(OFFERED) });
    assert!(!off.announces().contains("STARTTLS"));
    assert_eq!(off.say("STARTTLS\r\n"), "502/5.5.1");
}

#[test]
fn each_wrong_moment_has_its_reply() {
    let mail = "MAIL FROM:<a@b.example>\r\n";
    for (lead, line, codes) in [
        ("", "STARTTLS\r\n", "503/5.5.1"),
        ("HELO me\r\n", "STARTTLS\r\n", "503/5.5.1"),
        ("EHLO me\r\n", "STARTTLS now\r\n", "501/5.5.4"),
        ("EHLO me\r\n", "starttls \r\n", "220/2.0.0"),
        (&format!("EHLO me\r\n{mail}"), "STARTTLS\r\n", "503/5.5.1"),
        (&format!("EHLO me\r\n{mail}RSET\r\n"), "STARTTLS\r\n", "220/2.0.0"),
    ] {
        let mut session = Session::new(policy(OFFERED));
        session.say(lead);
        assert_eq!(session.say(line), codes, "{lead:?} {line:?}");
    }
    let mut session = Session::new(policy(OFFERED));
    assert_eq!(session.say("EHLO me\r\n"), "250");
    assert_eq!(session.say("STARTTLS\r\n"), "220/2.0.0");
    assert_eq!(session.say("STARTTLS\r\n"), "554/5.5.1");
    assert_eq!(session.say("EHLO me\r\n"), "250");
    assert_eq!(session.say("STARTTLS\r\n"), "554/5.5.1");
    let mut busy = Session::new(policy(OFFERED));
    busy.is_ready = false;
    busy.say("EHLO me\r\n");
    assert_eq!(busy.say("STARTTLS\r\n"), "454/4.7.0");
    assert_eq!(busy.say(&format!("{mail}NOOP\r\n")), "250/2.1.0 250/2.0.0");
    assert!(!busy.server.is_secured());
}

#[test]
fn what_stands_behind_it_is_never_carried_out() {
    for behind in ["MAIL FROM:<evil@b.example>\r\n", "N", "\r\n", "\u{16}\u{3}\u{1}"] {
        let mut session = Session::new(policy(OFFERED));
        session.say("EHLO me\r\n");
        let codes = session.say(&format!("STARTTLS\r\n{behind}"));
        assert_eq!((codes.as_str(), session.is_closed), ("554/5.5.0", true), "{behind:?}");
        assert!(!session.server.is_secured());
    }
    // Those that come with the octets before it, in whatever pieces, are judged with the last piece alone.
    for octets in 1..40 {
        let mut session = Session::new(policy(OFFERED));
        let codes = session.say_cut("EHLO me\r\nSTARTTLS\r\n", octets);
        assert_eq!(codes, "250 220/2.0.0", "{octets}");
    }
}

#[test]
fn all_that_was_said_before_is_forgotten() {
    let mut session = Session::new(policy(OFFERED));
    session.server.trust_xclient(true);
    let login = "AUTH PLAIN AG1lAHB3\r\n";
    session.say("EHLO me\r\n");
    assert_eq!(session.say("XCLIENT ADDR=192.0.2.1 LOGIN=x HELO=y PROTO=ESMTP\r\n"), "220");
    session.say("EHLO me\r\n");
    assert_eq!(session.say(login), "235/2.7.0");
    assert_eq!(session.say("STARTTLS\r\n"), "220/2.0.0");
    let server = &session.server;
    assert!(server.is_secured() && server.hello().is_empty());
    assert!(server.identity().is_none() && server.relayed().is_none() && !server.extended());
    assert_eq!(session.say("MAIL FROM:<a@b.example>\r\n"), "503/5.5.1");
    session.say("EHLO me\r\n");
    assert_eq!(session.say(login), "235/2.7.0");
    let message = "MAIL FROM:<a@b.example> REQUIRETLS\r\nRCPT TO:<c@d.example>\r\nDATA\r\n.\r\n";
    assert_eq!(session.say(message), "250/2.1.0 250/2.1.5 354 250/2.0.0");
    assert!(session.flags.unwrap().contains(Flags::TLS));
}

#[test]
fn where_tls_is_required_nothing_else_works_before() {
    let required = TlsPolicy { required: true, ..OFFERED };
    let mut session = Session::new(policy(required));
    for (line, codes) in [
        ("HELO me\r\n", "530/5.7.0"),
        ("EHLO me\r\n", "250"),
        ("NOOP\r\n", "250/2.0.0"),
        ("RSET\r\n", "530/5.7.0"),
        ("VRFY x\r\n", "530/5.7.0"),
        ("HELP\r\n", "530/5.7.0"),
        ("AUTH PLAIN\r\n", "530/5.7.0"),
        ("XYZZY\r\n", "500/5.5.2"),
        (
            "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
            "530/5.7.0 530/5.7.0 530/5.7.0",
        ),
        ("BDAT 6 LAST\r\nQUIT\r\n", "503/5.5.1"),
        ("STARTTLS\r\n", "220/2.0.0"),
        ("EHLO me\r\n", "250"),
        ("MAIL FROM:<a@b.example>\r\n", "250/2.1.0"),
    ] {
        assert_eq!(session.say(line), codes, "{line}");
    }
    assert_eq!(Session::new(policy(required)).say("QUIT\r\n"), "221/2.0.0");
    let mut implicit = Session::new(policy(required));
    implicit.server.secured();
    assert_eq!(implicit.say("HELO me\r\nMAIL FROM:<a@b.example>\r\n"), "250 250/2.1.0");
    // A flight of hundreds of recipients is one error.
    for verb in ["MAIL", "SEND", "SOML", "SAML"] {
        let mut session = Session::new(policy(required));
        session.say("EHLO me\r\n");
        session.say(&format!("{verb} FROM:<>\r\n{}", "RCPT TO:<c@d.example>\r\n".repeat(500)));
        assert!(!session.is_closed, "{verb}");
    }
}

#[test]
fn auth_may_wait_for_tls() {
    let mut session = Session::new(policy(TlsPolicy { auth_under_tls: true, ..OFFERED }));
    assert!(!session.announces().contains("AUTH"));
    let login = "AUTH PLAIN AG1lAHB3\r\n";
    assert_eq!(session.say(login), "538/5.7.11");
    assert_eq!(session.say("MAIL FROM:<a@b.example>\r\n"), "250/2.1.0");
    assert_eq!(session.say("RSET\r\nSTARTTLS\r\n"), "250/2.0.0 220/2.0.0");
    assert!(session.announces().contains("AUTH "));
    assert_eq!(session.say(login), "235/2.7.0");
}

#[test]
fn lmtp_has_it_too() {
    let lmtp = Policy { protocol: Protocol::Lmtp, ..policy(OFFERED) };
    let mut session = Session::new(lmtp);
    assert_eq!(session.say("STARTTLS\r\n"), "503/5.5.1");
    assert_eq!(session.say("LHLO me\r\n"), "250");
    assert_eq!(session.say("STARTTLS\r\n"), "220/2.0.0");
    assert_eq!(session.say("LHLO me\r\nMAIL FROM:<>\r\n"), "250 250/2.1.0");
}
