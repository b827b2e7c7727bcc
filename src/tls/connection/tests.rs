//! A server and a client in memory.

use std::ops::ControlFlow::{Break, Continue};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use super::*;
use crate::limits::TLS_RECORD_BYTES_MAX;
use crate::tls::heard_name::HearsName;
use crate::tls::provider;

mod breaks;
mod forged;

const NAME: &str = "sink.example";

#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// Configurations of a server and of a client that trusts it.
fn configs(
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![made.cert.der().clone()];
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let certified = CertifiedKey::from_der(chain, key.into(), &provider).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(HearsName(One(Arc::new(certified)))));
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

pub(super) fn both_versions() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs(provider(), &[&version::TLS13, &version::TLS12])
}

pub(super) fn name() -> ServerName<'static> {
    NAME.try_into().unwrap()
}

/// An end: its connection, and what arrived and was not used.
pub(super) struct End {
    pub(super) tls: Tls,
    wire: Vec<u8>,
    pub(super) plain: Vec<u8>,
    pub(super) state: TlsState,
}

impl End {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, wire: Vec::new(), plain: Vec::new(), state: TlsState::Handshaking }
    }

    /// Takes octets that arrive, until nothing more can be done with them.
    pub(super) fn hear(&mut self, octets: &[u8]) -> Result<(), TlsError> {
        self.wire.extend_from_slice(octets);
        loop {
            let was = self.state;
            let plain = &mut self.plain;
            let (used, state) = self.tls.open(&mut self.wire, |piece| {
                plain.extend_from_slice(piece);
                Continue(())
            })?;
            self.wire.drain(..used);
            self.state = state;
            if state == was {
                return Ok(());
            }
        }
    }

    pub(super) fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.tls.seal(plain, &mut out).unwrap();
        out
    }

    pub(super) fn ready(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.tls.take_ready(&mut out);
        out
    }
}

fn ends((server, client): (Arc<ServerConfig>, Arc<ClientConfig>)) -> (End, End) {
    (End::new(Tls::server(server).unwrap()), End::new(Tls::client(client, name()).unwrap()))
}

/// Two ends after a handshake whose octets arrived in pieces of `step`.
pub(super) fn open_ends(
    configs: (Arc<ServerConfig>, Arc<ClientConfig>),
    step: usize,
) -> (End, End) {
    let (mut server, mut client) = ends(configs);
    let pass = |from: &mut End, to: &mut End| {
        from.ready().chunks(step).for_each(|piece| to.hear(piece).unwrap());
    };
    for _ in 0..4 {
        pass(&mut client, &mut server);
        pass(&mut server, &mut client);
    }
    assert_eq!((server.state, client.state), (TlsState::Open, TlsState::Open));
    (server, client)
}

#[test]
fn both_versions_carry_text_both_ways_wherever_the_wire_is_cut() {
    for (versions, shown) in [([&version::TLS13], "TLSv1.3"), ([&version::TLS12], "TLSv1.2")] {
        let configs = configs(provider(), &versions);
        for step in [1, 2, 3, 5, 6, 7, 100, 1_448, usize::MAX] {
            let (mut server, mut client) = open_ends(configs.clone(), step);
            let pass = |text: &[u8], from: &mut End, to: &mut End| {
                to.plain.clear();
                from.say(text).chunks(step).for_each(|piece| to.hear(piece).unwrap());
                assert!(to.plain == text, "{shown} in pieces of {step}");
                assert!(to.wire.is_empty());
            };
            for text in [&b"EHLO x\r\n"[..], &[b'x'; 40_000]] {
                pass(text, &mut client, &mut server);
                pass(text, &mut server, &mut client);
            }
            let facts = server.tls.facts().unwrap();
            assert_eq!(facts.version, shown);
            assert_eq!(facts.server_name.as_deref(), Some(NAME));
            assert!(facts.suite.contains("_AES_128_GCM_SHA256"), "{}", facts.suite);
            assert_eq!(client.tls.facts().unwrap().suite, facts.suite);
            assert!(client.tls.facts().unwrap().peer.is_some());
            assert_eq!(facts.peer, None, "it was not asked for");
            assert_eq!(client.tls.facts().unwrap().resumed, facts.resumed);
        }
    }
}

#[test]
fn there_are_no_facts_before_the_handshake_is_complete_and_the_group_is_told_after_it() {
    let configs = both_versions();
    let (server, client) = ends(configs.clone());
    assert_eq!((server.tls.facts(), client.tls.facts()), (None, None));
    let (server, _) = open_ends(configs.clone(), usize::MAX);
    assert_eq!(server.tls.facts().unwrap().group, Some("X25519MLKEM768".to_owned()));
    let (_, client) = open_ends(configs, usize::MAX);
    assert!(client.tls.facts().unwrap().resumed, "the second session of one store");
}

#[test]
fn the_call_that_completes_a_handshake_gives_no_plaintext_and_loses_none() {
    let (mut server, mut client) = ends(both_versions());
    server.hear(&client.ready()).unwrap();
    client.hear(&server.ready()).unwrap();
    let mut wire = client.say(b"EHLO x\r\n");
    let (used, state) = server.tls.open(&mut wire, |_| panic!("too early")).unwrap();
    assert_eq!(state, TlsState::Open);
    assert!(server.tls.facts().is_some());
    let mut seen = Vec::new();
    let (rest, _) = server
        .tls
        .open(&mut wire[used..], |piece| {
            seen.extend_from_slice(piece);
            Continue(())
        })
        .unwrap();
    assert_eq!((seen.as_slice(), used + rest), (&b"EHLO x\r\n"[..], wire.len()));
    // The tickets and the first replies go out together.
    let out = server.say(b"250 x\r\n");
    assert!(!server.tls.has_ready());
    client.hear(&out).unwrap();
    assert_eq!(client.plain, b"250 x\r\n");
}

#[test]
fn a_break_leaves_the_records_after_it() {
    let (mut server, mut client) = open_ends(both_versions(), usize::MAX);
    let mut wire: Vec<u8> = [&b"a"[..], b"b", b"c"].map(|text| client.say(text)).concat();
    let mut at = 0;
    for expected in [&b"a"[..], b"b", b"c"] {
        let (used, state) = server
            .tls
            .open(&mut wire[at..], |piece| {
                assert_eq!(piece, expected);
                Break(())
            })
            .unwrap();
        assert_eq!(state, TlsState::Stopped);
        at += used;
        // Replies may go out between two records.
        client.hear(&server.say(b"250 ok\r\n")).unwrap();
    }
    assert_eq!(at, wire.len());
}

#[test]
fn records_that_came_with_the_end_of_the_handshake_are_no_part_of_it() {
    for version in [&version::TLS13, &version::TLS12] {
        let (mut server, mut client) = ends(configs(provider(), &[version]));
        server.hear(&client.ready()).unwrap();
        client.hear(&server.ready()).unwrap();
        let mut wire = Vec::new();
        if version.version == ProtocolVersion::TLSv1_2 {
            server.hear(&client.ready()).unwrap();
            client.hear(&server.ready()).unwrap();
        }
        let texts = [&b"MAIL"[..], &[b'x'; 1_000], b"QUIT"];
        texts.iter().for_each(|text| wire.extend_from_slice(&client.say(text)));
        let mut at = 0;
        if version.version == ProtocolVersion::TLSv1_3 {
            let (used, state) = server.tls.open(&mut wire, |_| panic!("too early")).unwrap();
            assert_eq!(state, TlsState::Open);
            at = used;
        }
        for text in texts {
            let taker = |piece: &[u8]| {
                assert_eq!(piece, text);
                Break(())
            };
            let (used, state) = server.tls.open(&mut wire[at..], taker).unwrap();
            assert_eq!(state, TlsState::Stopped);
            at += used;
            client.hear(&server.say(b"250 ok\r\n")).unwrap();
        }
        assert_eq!(at, wire.len());
        let mut out = Vec::new();
        server.tls.close(&mut out);
        client.hear(&out).unwrap();
        assert_eq!(client.state, TlsState::PeerClosed);
    }
}

#[test]
fn nothing_that_comes_after_close_notify_is_kept_however_much_it_is() {
    let (mut server, mut client) = open_ends(both_versions(), usize::MAX);
    let mut wire = Vec::new();
    client.tls.close(&mut wire);
    wire.resize(wire.len() + 2 * TLS_SERVER_KEPT_BYTES_MAX, b'x');
    assert_eq!(
        server.tls.open(&mut wire, |_| Continue(())).unwrap(),
        (wire.len(), TlsState::PeerClosed)
    );
    assert!(server.say(b"221 bye\r\n").len() > 9);
}

#[test]
fn the_largest_record_is_taken_and_a_larger_one_refused_with_an_alert() {
    let (mut server, mut client) = open_ends(both_versions(), usize::MAX);
    let wire = client.say(&[b'x'; TLS_RECORD_PLAIN_BYTES_MAX]);
    assert_eq!(record_bytes(&wire), Some(wire.len()));
    server.hear(&wire).unwrap();
    assert_eq!(server.plain.len(), TLS_RECORD_PLAIN_BYTES_MAX);
    let wire = client.say(&[b'x'; TLS_RECORD_PLAIN_BYTES_MAX + 1]);
    assert!(record_bytes(&wire).unwrap() < wire.len(), "two records");
    let mut too_long = vec![23, 3, 3];
    too_long.extend_from_slice(&(TLS_RECORD_BYTES_MAX as u16 - 4).to_be_bytes());
    let error = server.hear(&[wire, too_long].concat()).unwrap_err();
    assert_eq!(error.fault(), TlsFault::TooLarge);
    assert!(client.hear(&server.ready()).is_err(), "told in an alert");
}

#[test]
fn strangers_are_told_apart_and_get_an_alert() {
    let tls_1_0 = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x01\
        0123456789abcdef0123456789abcdef\x00\x00\x02\xc0\x13\x01\x00";
    let cases: [(&[u8], TlsFault); 6] = [
        (b"EHLO x\r\n", TlsFault::PlainText),
        (b"GET / HTTP/1.1\r\n\r\n", TlsFault::PlainText),
        (b"\r\n\r\n\0", TlsFault::PlainText),
        (b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00", TlsFault::Broken),
        (b"\x16\x03\x01\xff\xff\x01", TlsFault::TooLarge),
        (tls_1_0, TlsFault::NoCommonVersion),
    ];
    for (wire, fault) in cases {
        let (mut server, _) = ends(both_versions());
        let error = server.hear(wire).unwrap_err();
        assert_eq!(error.fault(), fault, "{error}");
        let alert = server.ready();
        assert_eq!((alert.len(), alert[0], alert[5]), (7, 21, 2), "{error}");
        server.hear(b"more").unwrap();
        assert_eq!(server.state, TlsState::PeerClosed, "nothing is looked at any more");
        let mut out = Vec::new();
        server.tls.close(&mut out);
        assert!(out.is_empty(), "there are no keys to say close_notify with");
        assert!(server.tls.seal(b"x", &mut out).is_err());
    }
    let (_, mut client) = ends(both_versions());
    client.ready();
    let error = client.hear(b"454 4.7.0 TLS not available\r\n").unwrap_err();
    assert_eq!(error.fault(), TlsFault::PlainText);
}

#[test]
fn each_side_hears_why_the_other_gives_up() {
    let (server, _) = both_versions();
    let stranger = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let (mut server, mut client) = ends((server, Arc::new(stranger)));
    server.hear(&client.ready()).unwrap();
    let found = client.hear(&server.ready()).unwrap_err();
    let told = server.hear(&client.ready()).unwrap_err();
    assert_eq!((found.fault(), told.fault()), (TlsFault::UnknownCa, TlsFault::UnknownCa));

    let (server, client) = both_versions();
    let mut client = End::new(Tls::client(client, "other.example".try_into().unwrap()).unwrap());
    let mut server = End::new(Tls::server(server).unwrap());
    server.hear(&client.ready()).unwrap();
    let found = client.hear(&server.ready()).unwrap_err();
    assert_eq!(found.fault(), TlsFault::WrongName, "{found}");

    let (server, _) = configs(provider(), &[&version::TLS13]);
    let (_, client) = configs(provider(), &[&version::TLS12]);
    let (mut server, mut client) = ends((server, client));
    let found = server.hear(&client.ready()).unwrap_err();
    let told = client.hear(&server.ready()).unwrap_err();
    assert_eq!(
        (found.fault(), told.fault()),
        (TlsFault::NoCommonVersion, TlsFault::NoCommonVersion)
    );
}

/// A record without encryption.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend_from_slice(&(content.len() as u16).to_be_bytes());
    record.extend_from_slice(content);
    record
}

#[test]
fn half_a_handshake_is_kept_within_its_bound_only() {
    let (mut server, _) = ends(both_versions());
    // A hello that announces more than there ever is, one octet in each record.
    let mut refused = None;
    for (count, octet) in [1, 0, 0x40, 0].into_iter().chain(std::iter::repeat(0)).enumerate() {
        if let Err(error) = server.hear(&record(22, &[octet])) {
            refused = Some((count, error.fault()));
            break;
        }
        assert!(server.wire.len() <= TLS_SERVER_KEPT_BYTES_MAX);
    }
    assert_eq!(refused, Some((TLS_SERVER_KEPT_BYTES_MAX / 6, TlsFault::TooLarge)));
    assert_eq!(server.ready(), PLAIN_ALERT);
}

#[test]
fn key_updates_without_data_are_a_flood() {
    // The 33rd KeyUpdate without data between them.
    let (mut server, mut client) = open_ends(both_versions(), usize::MAX);
    let update = |client: &mut End| {
        let TlsSide::Client(rustls) = &mut client.tls.side else { panic!("a client") };
        let mut out = Vec::new();
        loop {
            match rustls.process_tls_records(&mut []).state.unwrap() {
                ConnectionState::WriteTraffic(traffic) if out.is_empty() => {
                    traffic.refresh_traffic_keys().unwrap();
                }
                ConnectionState::WriteTraffic(_) => return out,
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, &mut out).unwrap(),
                ConnectionState::TransmitTlsData(data) => data.done(),
                state => panic!("{state:?}"),
            }
        }
    };
    for _ in 0..32 {
        let wire = update(&mut client);
        server.hear(&wire).unwrap();
    }
    let wire = client.say(b"NOOP\r\n");
    server.hear(&wire).unwrap();
    assert_eq!(server.plain, b"NOOP\r\n");
    // Each is answered at most once, with the next data.
    let out = server.say(b"250 ok\r\n");
    assert!(out.len() < 100, "{} octets", out.len());
    client.hear(&out).unwrap();
    assert_eq!(client.plain, b"250 ok\r\n");
    let wire: Vec<u8> = (0..33).flat_map(|_| update(&mut client)).collect();
    assert_eq!(server.hear(&wire).unwrap_err().fault(), TlsFault::Flood);
}

#[test]
fn close_notify_is_said_once_and_what_comes_after_it_is_never_looked_at() {
    let (mut server, mut client) = open_ends(both_versions(), usize::MAX);
    let mut wire = client.say(b"QUIT\r\n");
    client.tls.close(&mut wire);
    let closed = wire.len();
    wire.extend_from_slice(b"MAIL FROM:<>\r\n\xff\xff\xff\xff\xff\xff");
    server.hear(&wire).unwrap();
    assert_eq!((server.state, server.plain.as_slice()), (TlsState::PeerClosed, &b"QUIT\r\n"[..]));
    server.hear(b"BDAT 5\r\n").unwrap();
    assert_eq!(server.plain, b"QUIT\r\n");
    let mut again = Vec::new();
    client.tls.close(&mut again);
    assert!(again.is_empty() && closed > 0);
    assert!(client.tls.seal(b"x", &mut again).is_err(), "nothing follows close_notify");
    // The server may still answer.
    let mut out = server.say(b"221 bye\r\n");
    server.tls.close(&mut out);
    client.hear(&out).unwrap();
    assert_eq!(
        (client.state, client.plain.as_slice()),
        (TlsState::PeerClosed, &b"221 bye\r\n"[..])
    );
}
