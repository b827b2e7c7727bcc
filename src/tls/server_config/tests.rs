//! Handshakes of rustls' own connections with our configurations, in memory.

use rustls::pki_types::ServerName;
use rustls::{
    CipherSuite, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection,
};

use super::super::client_config::{ClientConfigs, ClientOptions, Trust};
use super::super::self_signed::{MadePair, SelfSigned, make};
use super::super::settings::{TlsCipher, TlsGroup, TlsVersion};
use super::*;

const HOST: &str = "mx.example";

fn made(kind: SelfSigned) -> MadePair {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    make(kind, HOST, now.as_secs()).unwrap()
}

fn roots(made: &MadePair) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(made.ca.clone()).unwrap();
    roots
}

fn client(trust: Trust, settings: TlsSettings, pair: Option<Pair>) -> ClientConfigs {
    let options = ClientOptions { settings, trust, pair, key_log: None };
    options.configs(HOST, 64).unwrap()
}

fn anybody() -> ClientConfigs {
    client(Trust::Anybody, TlsSettings::default(), None)
}

fn server(options: ServerOptions) -> Arc<ServerConfig> {
    ServerConfigs::new(options).unwrap().config(vec![made(SelfSigned::Good).pair]).unwrap()
}

/// Both ends after a whole handshake, with the tickets that follow it.
fn shake(
    client: &Arc<rustls::ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.handshake_kind(), server.handshake_kind());
    Ok((client, server))
}

fn is_resumed(client: &Arc<rustls::ClientConfig>, server: &Arc<ServerConfig>) -> bool {
    let (client, _) = shake(client, server, HOST).unwrap();
    client.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn only(version: TlsVersion) -> TlsSettings {
    TlsSettings::new(&[version], &[], &[]).unwrap()
}

#[test]
fn a_ticket_is_good_after_a_reload_and_nowhere_else() {
    for version in TlsVersion::ALL {
        let configs = ServerConfigs::new(ServerOptions::default()).unwrap();
        let before = configs.config(vec![made(SelfSigned::Good).pair]).unwrap();
        let after = configs.config(vec![made(SelfSigned::Good).pair]).unwrap();
        let client = client(Trust::Anybody, only(version), None);
        assert!(!is_resumed(&client.resuming, &before), "{version:?}");
        assert!(is_resumed(&client.resuming, &after), "{version:?}");
        assert!(is_resumed(&client.resuming, &before), "{version:?}");
        assert!(!is_resumed(&client.resuming, &server(ServerOptions::default())), "{version:?}");
    }
}

#[test]
fn tickets_are_good_while_the_cas_of_clients_are_the_same() {
    let ((own, own_ca), (other, other_ca)) = (client_pair(), client_pair());
    let options = ServerOptions {
        client_auth: ClientAuth::Require,
        client_roots: Some(own_ca.clone()),
        ..ServerOptions::default()
    };
    let configs = ServerConfigs::new(options).unwrap();
    let config =
        |configs: &ServerConfigs| configs.config(vec![made(SelfSigned::Good).pair]).unwrap();
    let before = config(&configs);
    let same = config(&configs.for_clients_of(Some(own_ca)).unwrap());
    let changed = config(&configs.for_clients_of(Some(other_ca)).unwrap());
    for version in TlsVersion::ALL {
        let client = |pair: &Pair| client(Trust::Anybody, only(version), Some(pair.clone()));
        let (own, other) = (client(&own), client(&other));
        assert!(!is_resumed(&own.resuming, &before), "{version:?}");
        assert!(is_resumed(&own.resuming, &same), "{version:?}");
        // Its ticket leads past no CA that has gone.
        assert!(shake(&own.resuming, &changed, HOST).is_err(), "{version:?}");
        assert!(shake(&other.resuming, &same, HOST).is_err(), "{version:?}");
        assert!(!is_resumed(&other.resuming, &changed), "{version:?}");
    }
    assert!(configs.for_clients_of(Some(RootCertStore::empty())).is_err());
}

#[test]
fn without_tickets_no_session_is_resumed() {
    for version in TlsVersion::ALL {
        let server = server(ServerOptions { tickets: 0, ..ServerOptions::default() });
        let client = client(Trust::Anybody, only(version), None);
        assert!(!is_resumed(&client.resuming, &server));
        assert!(!is_resumed(&client.resuming, &server), "{version:?}");
    }
}

#[test]
fn as_many_sessions_are_resumed_as_were_opened() {
    let server = server(ServerOptions { tickets: 1, ..ServerOptions::default() });
    let client = anybody();
    // As many as come again together: more than the eight that rustls would keep.
    for _ in 0..64 {
        assert!(!is_resumed(&client.full, &server));
    }
    let again: Vec<_> = (0..64)
        .map(|_| {
            let name = ServerName::try_from(HOST).unwrap();
            ClientConnection::new(Arc::clone(&client.resuming), name).unwrap()
        })
        .collect();
    drop(again);
    // Each of those took its ticket when it began.
    assert!(!is_resumed(&client.resuming, &server));
    assert!(is_resumed(&client.resuming, &server));
    assert!(!is_resumed(&client.full, &server));
}

#[test]
fn a_client_takes_only_what_it_trusts() {
    for (name, kind) in SelfSigned::ALL {
        let made = made(kind);
        let configs = ServerConfigs::new(ServerOptions::default()).unwrap();
        let server = configs.config(vec![made.pair.clone()]).unwrap();
        let checking = client(Trust::Roots(roots(&made)), TlsSettings::default(), None);
        let is_sound = matches!(kind, SelfSigned::Good | SelfSigned::Weak);
        assert_eq!(shake(&checking.full, &server, HOST).is_ok(), is_sound, "{name}");
        assert!(shake(&anybody().full, &server, HOST).is_ok(), "{name}");
    }
    let options = ClientOptions {
        settings: TlsSettings::default(),
        trust: Trust::Roots(RootCertStore::empty()),
        pair: None,
        key_log: None,
    };
    let none = options.configs(HOST, 1);
    assert!(matches!(none, Err(super::super::client_config::ClientConfigError::Roots(_))));
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (first, second) = (made(SelfSigned::WrongName), made(SelfSigned::Good));
    let pairs = || vec![first.pair.clone(), second.pair.clone()];
    let shown = |sni_strict, name: &str| {
        let configs = ServerConfigs::new(ServerOptions { sni_strict, ..ServerOptions::default() });
        let server = configs.unwrap().config(pairs()).unwrap();
        let (client, _) = shake(&client_of(name), &server, name).ok()?;
        let shown = client.peer_certificates().unwrap()[0].clone();
        pairs().iter().position(|pair| *pair.key().end_entity_cert().unwrap() == shown)
    };
    assert_eq!(shown(false, HOST), Some(1));
    assert_eq!(shown(false, "wrong-name.invalid"), Some(0));
    assert_eq!(shown(false, "other.example"), Some(0));
    assert_eq!(shown(false, "127.0.0.1"), Some(0));
    assert_eq!(shown(true, HOST), Some(1));
    assert_eq!(shown(true, "other.example"), None);
    assert_eq!(shown(true, "127.0.0.1"), None);
}

fn client_of(name: &str) -> Arc<rustls::ClientConfig> {
    let options = ClientOptions {
        settings: TlsSettings::default(),
        trust: Trust::Anybody,
        pair: None,
        key_log: None,
    };
    options.configs(name, 1).unwrap().full
}

/// A certificate for clients, with the CA that signed it.
fn client_pair() -> (Pair, RootCertStore) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(params, ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&key, &ca).unwrap();
    let secret = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    (Pair::new(vec![leaf.der().clone()], secret).unwrap(), roots)
}

#[test]
fn clients_are_asked_for_certificates_as_it_was_wanted() {
    let ((own, ca), (strange, _)) = (client_pair(), client_pair());
    for version in TlsVersion::ALL {
        for (client_auth, with_ca, [nothing, signed, unsigned]) in [
            (ClientAuth::None, true, [true, true, true]),
            (ClientAuth::Request, true, [true, true, false]),
            (ClientAuth::Require, true, [false, true, false]),
            (ClientAuth::Request, false, [true, true, true]),
            (ClientAuth::Require, false, [false, true, true]),
        ] {
            let client_roots = with_ca.then(|| ca.clone());
            let options = ServerOptions { client_auth, client_roots, ..ServerOptions::default() };
            let server = server(options);
            let shown = [(None, nothing), (Some(&own), signed), (Some(&strange), unsigned)];
            for (pair, taken) in shown {
                let client = client(Trust::Anybody, only(version), pair.cloned());
                let case = format!("{version:?} {client_auth:?} {with_ca} {}", pair.is_some());
                let Ok((_, ended)) = shake(&client.full, &server, HOST) else {
                    assert!(!taken, "{case}");
                    continue;
                };
                assert!(taken, "{case}");
                let is_asked = client_auth != ClientAuth::None;
                assert_eq!(
                    ended.peer_certificates().is_some(),
                    is_asked && pair.is_some(),
                    "{case}"
                );
                // What it showed is known again when the session is resumed.
                let (_, again) = shake(&client.resuming, &server, HOST).unwrap();
                assert_eq!(again.handshake_kind(), Some(HandshakeKind::Resumed), "{case}");
                assert_eq!(again.peer_certificates(), ended.peer_certificates(), "{case}");
            }
        }
    }
    let empty = ServerOptions {
        client_auth: ClientAuth::Require,
        client_roots: Some(RootCertStore::empty()),
        ..ServerOptions::default()
    };
    assert!(matches!(ServerConfigs::new(empty), Err(ServerConfigError::ClientRoots(_))));
}

#[test]
fn a_ticket_leads_past_no_client_certificate() {
    let lax = server(ServerOptions::default());
    let strict =
        server(ServerOptions { client_auth: ClientAuth::Require, ..ServerOptions::default() });
    let client = anybody();
    assert!(!is_resumed(&client.resuming, &lax));
    assert!(shake(&client.resuming, &strict, HOST).is_err());
}

#[test]
fn versions_ciphers_and_groups_are_those_that_were_chosen() {
    let chosen = |version, cipher, group| {
        let cipher = TlsCipher::from_name(cipher).unwrap();
        let group = TlsGroup::from_name(group).unwrap();
        TlsSettings::new(&[version], &[cipher], &[group]).unwrap()
    };
    let (v12, v13) = (TlsVersion::V12, TlsVersion::V13);
    for (settings, version, suite, group) in [
        (
            TlsSettings::default(),
            ProtocolVersion::TLSv1_3,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            NamedGroup::X25519MLKEM768,
        ),
        (
            chosen(v13, "TLS_CHACHA20_POLY1305_SHA256", "P-384"),
            ProtocolVersion::TLSv1_3,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
            NamedGroup::secp384r1,
        ),
        (
            chosen(v12, "ECDHE-ECDSA-AES256-GCM-SHA384", "x25519"),
            ProtocolVersion::TLSv1_2,
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            NamedGroup::X25519,
        ),
    ] {
        let server = server(ServerOptions { settings, ..ServerOptions::default() });
        let (client, _) = shake(&anybody().full, &server, HOST).unwrap();
        assert_eq!(client.protocol_version(), Some(version));
        assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), suite);
        assert_eq!(client.negotiated_key_exchange_group().unwrap().name(), group);
    }
    // One that signs for RSA keys alone leaves a server with an ECDSA key nothing.
    let rsa = TlsCipher::from_name("ECDHE-RSA-AES128-GCM-SHA256").unwrap();
    let settings = TlsSettings::new(&[], &[rsa], &[]).unwrap();
    let configs = ServerConfigs::new(ServerOptions { settings, ..ServerOptions::default() });
    let configs = configs.unwrap();
    let unfit = configs.config(vec![made(SelfSigned::Good).pair]);
    assert!(matches!(unfit, Err(ServerConfigError::NoSuite)));
    assert!(configs.config(vec![made(SelfSigned::Weak).pair]).is_ok());
    // The order is ours, whatever the client prefers.
    let late = ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"]
        .map(|name| TlsCipher::from_name(name).unwrap());
    let settings = TlsSettings::new(&[v13], &late, &[]).unwrap();
    let client = client(Trust::Anybody, settings, None);
    let (client, _) = shake(&client.full, &server(ServerOptions::default()), HOST).unwrap();
    let suite = client.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn secrets_go_to_the_file_and_only_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let file = std::fs::File::create(&path).unwrap();
    let key_log = Some(Arc::new(SecretsFile::new(file, |error| panic!("{error}"))));
    let server = server(ServerOptions { key_log, ..ServerOptions::default() });
    shake(&anybody().full, &server, HOST).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "] {
        assert_eq!(text.matches(label).count(), 1, "{text}");
    }
}
