//! The client's AUTH against our own server in memory, and against servers that misbehave.

use std::rc::Rc;
use std::sync::Arc;

use ringpost::limits::MESSAGE_BYTES_DEFAULT;
use ringpost::smtp::auth::{self, Accounts, AuthPolicy, Credentials, Login, Mechanism, Mechanisms};
use ringpost::smtp::client::{Client, Fault, Hello, Pipelining, ReplyTo, Settings, Upgrade, Want};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{BareNewline, Commands, Policy, Protocol, Server, Syntax, TlsPolicy};

fn client(password: &str, mechanism: Option<Mechanism>) -> Client {
    let login = Login::new("tim".to_owned(), password.to_owned(), mechanism);
    let mut client = Client::new(Settings {
        protocol: Protocol::Smtp,
        pipelining: Pipelining::None,
        chunking: false,
        depth: 1,
        smtputf8: false,
        hello: Hello::Extended,
        name: b"client.example"[..].into(),
        upgrade: Upgrade::Never,
        login: Some(Arc::new(login)),
    });
    client.set_auth_seed(7);
    client
}

fn server(credentials: Credentials, mechanisms: Mechanisms) -> Server {
    let mut server = Server::new(Rc::new(Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        recipients_max: 10,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Reject,
        extensions: Extensions::ALL,
        auth: AuthPolicy { credentials, mechanisms, required: true },
        tls: TlsPolicy::default(),
        commands: Commands::default(),
    }));
    server.set_auth_seed(8);
    server
}

fn accounts(text: &str) -> Credentials {
    Credentials::Listed(Accounts::parse(text.as_bytes(), 1).unwrap().into())
}

/// Lets both talk, in pieces of `cut` octets, until a transaction may begin or the session is over.
fn converse(client: &mut Client, server: &mut Server, cut: usize) -> Result<(), Fault> {
    let (mut said, mut out) = (Vec::new(), Vec::new());
    server.greet(&mut said);
    for _ in 0..20 {
        for mut piece in said.chunks(cut) {
            while client.step(&mut piece)?.is_some() {}
        }
        said.clear();
        match client.want(&mut out) {
            Want::Replies => {}
            Want::Transaction | Want::Close => return Ok(()),
            want => panic!("{want:?}"),
        }
        for mut piece in out.chunks(cut) {
            while server.step(&mut piece, &mut said).is_some() {}
        }
        out.clear();
    }
    panic!("no end");
}

#[test]
fn every_mechanism_lets_in_who_knows_the_password_at_every_cut() {
    let good = accounts("tim:tanstaaftanstaaf");
    for mechanism in Mechanism::ALL {
        for cut in [1, 2, 7, 4096] {
            let mut client = client("tanstaaftanstaaf", Some(mechanism));
            let mut server = server(good.clone(), Mechanisms::ALL);
            converse(&mut client, &mut server, cut).unwrap();
            assert!(client.ready() && !client.login_failed(), "{mechanism:?} by {cut}");
            assert_eq!(server.identity(), Some(&b"tim"[..]), "{mechanism:?} by {cut}");
        }
    }
}

#[test]
fn every_mechanism_keeps_out_who_does_not() {
    for mechanism in Mechanism::ALL {
        let mut client = client("wrong", Some(mechanism));
        let mut server = server(accounts("tim:tanstaaftanstaaf"), Mechanisms::ALL);
        converse(&mut client, &mut server, 4096).unwrap();
        assert!(!client.ready() && client.login_failed() && client.over(), "{mechanism:?}");
        assert_eq!((server.identity(), client.login_fault()), (None, None), "{mechanism:?}");
    }
}

#[test]
fn the_best_of_what_is_offered_is_taken() {
    for (offered, expected) in [
        (Mechanisms::ALL, Mechanism::ScramSha256),
        (Mechanisms::ALL.without(Mechanism::ScramSha256), Mechanism::CramMd5),
        ([Mechanism::Login, Mechanism::Plain].into_iter().collect(), Mechanism::Plain),
        (
            [Mechanism::Xoauth2, Mechanism::OauthBearer, Mechanism::Login].into_iter().collect(),
            Mechanism::Login,
        ),
    ] {
        let mut client = client("x", None);
        converse(&mut client, &mut server(accounts("tim:x"), offered), 4096).unwrap();
        assert_eq!((client.mechanism(), client.ready()), (Some(expected), true));
    }
}

#[test]
fn a_server_without_a_fitting_mechanism_is_a_fault() {
    for (credentials, mechanism) in
        [(Credentials::None, None), (Credentials::Any, Some(Mechanism::ScramSha256))]
    {
        let mut client = client("x", mechanism);
        let fault = converse(&mut client, &mut server(credentials, Mechanisms::ALL), 4096);
        assert_eq!(fault, Err(Fault::NoMechanism));
    }
}

#[test]
fn an_initial_response_too_long_for_a_command_waits_for_its_challenge() {
    let password = "x".repeat(2_000);
    for (mechanism, length) in [(Mechanism::Plain, 2_000), (Mechanism::Plain, 10)] {
        let mut client = client(&password[..length], Some(mechanism));
        let mut server = server(Credentials::Any, Mechanisms::ALL);
        converse(&mut client, &mut server, 4096).unwrap();
        assert!(client.ready(), "{length}");
    }
}

/// What the client says to each of these replies.
fn answers(client: &mut Client, replies: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    for reply in replies {
        let octets = format!("{reply}\r\n").into_bytes();
        let mut rest = &octets[..];
        while client.step(&mut rest).unwrap().is_some() {}
        let mut out = Vec::new();
        client.want(&mut out);
        said.push(String::from_utf8(out).unwrap());
    }
    said
}

const GREETING: [&str; 2] = ["220 hi", "250-hi\r\n250 AUTH SCRAM-SHA-256 PLAIN CRAM-MD5"];

#[test]
fn a_challenge_that_is_none_is_cancelled() {
    for (mechanism, challenges) in [
        (Mechanism::CramMd5, &["334 !"][..]),
        (Mechanism::CramMd5, &["334 PDE+", "334 PDE+"]),
        (Mechanism::Plain, &["334 "]),
        (Mechanism::ScramSha256, &["334 "]),
        (Mechanism::ScramSha256, &["334 cj14LHM9QUFBQSxpPTE="]),
    ] {
        let mut client = client("x", Some(mechanism));
        answers(&mut client, &GREETING);
        let said = answers(&mut client, challenges);
        assert_eq!(said.last().unwrap(), "*\r\n", "{mechanism:?}");
        assert_eq!(answers(&mut client, &["501 5.7.0 so be it"]), ["QUIT\r\n"]);
        assert!(client.login_failed() && !client.ready());
        assert_eq!(client.login_fault(), Some(auth::LoginFault::Challenge));
    }
}

#[test]
fn a_server_that_consents_without_a_proof_is_left() {
    let mut client = client("x", Some(Mechanism::ScramSha256));
    answers(&mut client, &GREETING);
    assert_eq!(answers(&mut client, &["235 2.7.0 welcome"]), ["QUIT\r\n"]);
    assert_eq!(client.login_fault(), Some(auth::LoginFault::Impostor));
    assert!(client.login_failed() && !client.ready());
}

#[test]
fn replies_to_auth_are_events_of_its_phase() {
    let mut client = client("x", Some(Mechanism::Plain));
    answers(&mut client, &GREETING);
    let event = client.step(&mut &b"454 4.7.0 later\r\n"[..]).unwrap().unwrap();
    assert_eq!((event.phase, event.code, event.verdict), (ReplyTo::Auth, 454, None));
    assert_eq!(client.refusal(), b"4.7.0 later");
}
