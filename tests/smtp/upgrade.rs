//! STARTTLS, the client's side (RFC 3207): what is said before and after the handshake, at every cut, and
//! what servers may not do.

use std::sync::Arc;

use ringpost::smtp::auth::{Login, Mechanism};
use ringpost::smtp::client::{Client, Fault, Hello, Pipelining, ReplyTo, Settings, Upgrade, Want};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::Protocol;

fn settings(upgrade: Upgrade) -> Settings {
    Settings {
        protocol: Protocol::Smtp,
        pipelining: Pipelining::None,
        chunking: false,
        depth: 1,
        smtputf8: false,
        hello: Hello::Extended,
        name: b"client.example"[..].into(),
        upgrade,
        login: None,
    }
}

/// Gives the client `replies` in pieces of `cut` octets. Answers what it says then, and what it wants.
fn hear(client: &mut Client, replies: &str, cut: usize) -> Result<(String, Want), Fault> {
    for mut piece in replies.as_bytes().chunks(cut) {
        while client.step(&mut piece)?.is_some() {}
    }
    let mut out = Vec::new();
    let want = client.want(&mut out);
    Ok((String::from_utf8(out).unwrap(), want))
}

fn says(text: &str) -> (String, Want) {
    (text.to_owned(), Want::Replies)
}

/// A client that has just been told what the server offers.
fn greeted(settings: Settings, offers: &str) -> (Client, Result<(String, Want), Fault>) {
    let mut client = Client::new(settings);
    hear(&mut client, "220 hi\r\n", 99).unwrap();
    let heard = hear(&mut client, offers, 99);
    (client, heard)
}

const BEFORE: &str =
    "250-hi\r\n250-PIPELINING\r\n250-SIZE 77\r\n250-AUTH PLAIN\r\n250 starttls\r\n";

#[test]
fn the_greeting_is_repeated_and_all_that_was_offered_forgotten_at_every_cut() {
    for (protocol, hello) in [(Protocol::Smtp, "EHLO"), (Protocol::Lmtp, "LHLO")] {
        let hello = says(&format!("{hello} client.example\r\n"));
        for cut in 1..=BEFORE.len() {
            let mut client = Client::new(Settings { protocol, ..settings(Upgrade::Always) });
            assert_eq!(hear(&mut client, "220-hi\r\n220 you\r\n", cut).unwrap(), hello);
            assert_eq!(hear(&mut client, BEFORE, cut).unwrap(), says("STARTTLS\r\n"));
            assert_eq!(client.awaited(), Some(ReplyTo::StartTls));
            let heard = hear(&mut client, "220-2.0.0 get\r\n220 2.0.0 ready\r\n", cut).unwrap();
            assert_eq!(heard, (String::new(), Want::Encrypt));
            // Nothing is said until the handshake is done, however often it is asked.
            assert_eq!(hear(&mut client, "", 1).unwrap(), (String::new(), Want::Encrypt));
            assert!(!client.is_secured() && !client.ready());
            client.secured();
            assert!(client.is_secured() && client.offered().extensions.is_empty());
            assert_eq!(hear(&mut client, "", 1).unwrap(), hello);
            let after = "250-hi\r\n250 CHUNKING\r\n";
            assert_eq!(hear(&mut client, after, cut).unwrap().1, Want::Transaction);
            assert_eq!(client.offered().extensions, Extensions::CHUNKING, "cut every {cut}");
            assert_eq!(client.offered().size, 0);
        }
    }
}

#[test]
fn octets_behind_the_220_are_a_fault_from_the_first_on() {
    let injected = "250-hi\r\n250 AUTH PLAIN\r\n";
    for count in 1..=injected.len() {
        let (mut client, heard) = greeted(settings(Upgrade::Always), BEFORE);
        assert_eq!(heard.unwrap(), says("STARTTLS\r\n"));
        let both = format!("220 ready\r\n{}", &injected[..count]);
        assert_eq!(hear(&mut client, &both, both.len()).unwrap_err(), Fault::BehindStartTls);
    }
}

#[test]
fn what_must_be_and_is_not_offered_ends_the_session() {
    for offers in ["250 hi\r\n", "250-hi\r\n250 PIPELINING\r\n"] {
        let (_, heard) = greeted(settings(Upgrade::Always), offers);
        assert_eq!(heard.unwrap_err(), Fault::NotOffered("STARTTLS"));
        let (client, heard) = greeted(settings(Upgrade::IfOffered), offers);
        assert_eq!(heard.unwrap().1, Want::Transaction);
        assert!(client.ready() && !client.is_secured());
    }
    let (client, heard) = greeted(settings(Upgrade::Never), BEFORE);
    assert_eq!(heard.unwrap().1, Want::Transaction);
    assert!(client.offered().has(Extensions::STARTTLS));
    // HELO brings no offer.
    let plain = Settings { hello: Hello::Plain, ..settings(Upgrade::Always) };
    assert_eq!(greeted(plain, "250 hi\r\n").1.unwrap_err(), Fault::NotOffered("STARTTLS"));
    let (mut client, heard) = greeted(settings(Upgrade::Always), "502 5.5.1 EHLO?\r\n");
    assert_eq!(heard.unwrap(), says("HELO client.example\r\n"));
    let heard = hear(&mut client, "250 hi\r\n", 99);
    assert_eq!(heard.unwrap_err(), Fault::NotOffered("STARTTLS"));
}

#[test]
fn a_refusal_of_starttls_ends_the_session_or_leaves_it_in_plain_text_as_was_asked() {
    for code in [454, 501, 502] {
        let refusal = format!("{code} 4.7.0 not now\r\n");
        let (mut client, _) = greeted(settings(Upgrade::Always), BEFORE);
        assert_eq!(hear(&mut client, &refusal, 3).unwrap(), says("QUIT\r\n"));
        let refused = client.last_refusal().unwrap();
        assert_eq!((refused.command, refused.code), ("STARTTLS", code));

        let (mut client, _) = greeted(settings(Upgrade::IfOffered), BEFORE);
        assert_eq!(hear(&mut client, &refusal, 3).unwrap(), (String::new(), Want::Transaction));
        assert!(client.ready() && !client.is_secured());
        assert!(client.offered().has(Extensions::PIPELINING), "what was offered holds");
    }
    let (mut client, _) = greeted(settings(Upgrade::IfOffered), BEFORE);
    let heard = hear(&mut client, "421 4.3.2 going\r\n", 99).unwrap();
    assert_eq!(heard, (String::new(), Want::Close));
    for code in [250, 354] {
        let (mut client, _) = greeted(settings(Upgrade::IfOffered), BEFORE);
        let heard = hear(&mut client, &format!("{code} go\r\n"), 99);
        let phase = ReplyTo::StartTls;
        assert_eq!(heard.unwrap_err(), Fault::OutOfPlace { phase, code });
    }
}

#[test]
fn extensions_are_asked_for_after_the_handshake_and_the_login_waits_for_it() {
    let login = Login::new("tim".to_owned(), "secret".to_owned(), None);
    let asked = Settings {
        pipelining: Pipelining::Full,
        chunking: true,
        login: Some(Arc::new(login)),
        ..settings(Upgrade::Always)
    };
    // Many servers offer less before it, AUTH above all.
    let (mut client, heard) = greeted(asked.clone(), "250-hi\r\n250 STARTTLS\r\n");
    assert_eq!(heard.unwrap(), says("STARTTLS\r\n"));
    hear(&mut client, "220 go\r\n", 99).unwrap();
    client.secured();
    hear(&mut client, "", 1).unwrap();
    let offers = "250-hi\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n";
    let (said, _) = hear(&mut client, offers, 99).unwrap();
    assert!(said.starts_with("AUTH PLAIN "), "{said}");
    assert_eq!(client.mechanism(), Some(Mechanism::Plain));
    // A server that offers STARTTLS again is not asked again.
    let (mut client, _) = greeted(settings(Upgrade::Always), BEFORE);
    hear(&mut client, "220 go\r\n", 99).unwrap();
    client.secured();
    hear(&mut client, "", 1).unwrap();
    assert_eq!(hear(&mut client, BEFORE, 99).unwrap(), (String::new(), Want::Transaction));
}
