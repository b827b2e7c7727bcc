//! Records that no client would send, sealed with the keys of one.

use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::kernel::KernelConnection;

use super::*;

/// Seals records of any type with the keys of a client of TLS 1.3.
pub(super) struct Forger {
    kernel: KernelConnection<ClientConnectionData>,
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forger {
    /// Takes over from `client`, whose handshake is complete.
    pub(super) fn of(client: Tls) -> Self {
        let TlsSide::Client(rustls) = client.side else { panic!("a client") };
        let (secrets, kernel) = rustls.dangerous_into_kernel_connection().unwrap();
        let (sequence, encrypter) = Self::encrypter(secrets.tx);
        Self { kernel, encrypter, sequence }
    }

    pub(super) fn encrypter(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> (u64, Box<dyn MessageEncrypter>) {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("another suite")
        };
        let SupportedCipherSuite::Tls13(suite) = provider().cipher_suites[0] else {
            panic!("TLS 1.2")
        };
        (sequence, suite.aead_alg.encrypter(key, iv))
    }

    /// A KeyUpdate in two records.
    pub(super) fn key_update(&mut self, cut: usize) -> [Vec<u8>; 2] {
        let (first, second) = KEY_UPDATE_REQUESTED.split_at(cut);
        let records = [first, second].map(|part| self.record(ContentType::Handshake, part));
        (self.sequence, self.encrypter) = Self::encrypter(self.kernel.update_tx_secret().unwrap());
        records
    }

    pub(super) fn record(&mut self, typ: ContentType, content: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(content);
        let version = ProtocolVersion::TLSv1_2;
        let plain = OutboundPlainMessage { typ, version, payload };
        let record = self.encrypter.encrypt(plain, self.sequence).unwrap();
        self.sequence += 1;
        record.encode()
    }
}

/// A server after the handshake, and somebody who can send it what no client would.
fn forged() -> (End, Forger) {
    let (server, client) = configs(provider(), &[&version::TLS13]);
    let mut client = Arc::unwrap_or_clone(client);
    client.enable_secret_extraction = true;
    let (mut server, client) = open_ends((server, Arc::new(client)), usize::MAX);
    server.ready();
    (server, Forger::of(client.tls))
}

pub(super) const KEY_UPDATE_REQUESTED: [u8; 5] = [24, 0, 0, 1, 1];

#[test]
fn replies_can_be_sealed_while_half_a_message_of_the_handshake_is_kept() {
    for cut in 1..KEY_UPDATE_REQUESTED.len() {
        let (mut server, mut client) = forged();
        let [first, second] = client.key_update(cut);
        server.hear(&first).unwrap();
        assert!(server.tls.pending > 0, "a whole record with a part of a message");
        let before = server.say(b"250 before\r\n").len();
        // Also with a cut record after it.
        server.hear(&second[..7]).unwrap();
        assert_eq!(server.say(b"250 before\r\n").len(), before);
        server.hear(&second[7..]).unwrap();
        assert_eq!((server.tls.pending, server.wire.len()), (0, 0));
        assert!(server.say(b"250 before\r\n").len() > before, "with the answer to the KeyUpdate");
    }
    let (mut server, mut client) = forged();
    server.hear(&client.record(ContentType::Handshake, &KEY_UPDATE_REQUESTED[..1])).unwrap();
    let mut out = Vec::new();
    server.tls.close(&mut out);
    assert!(!out.is_empty(), "close_notify");
    // Nothing but the rest of the message may come then, and the alert is still found.
    let error = server.hear(&client.record(ContentType::ApplicationData, b"x")).unwrap_err();
    assert_eq!(error.fault(), TlsFault::Broken);
}

#[test]
fn no_message_of_the_handshake_is_kept_without_bound_after_it() {
    let (mut server, mut client) = forged();
    let mut refused = None;
    for octet in [24, 0, 0x40, 0].into_iter().chain(std::iter::repeat_n(0, 10_000)) {
        if let Err(error) = server.hear(&client.record(ContentType::Handshake, &[octet])) {
            refused = Some(error.fault());
            break;
        }
        assert!(server.wire.len() <= TLS_SERVER_KEPT_BYTES_MAX);
    }
    assert_eq!(refused, Some(TlsFault::TooLarge));
}

#[test]
fn records_without_octets_are_a_flood() {
    let (mut server, mut client) = forged();
    let mut empty = || client.record(ContentType::ApplicationData, b"");
    let error = (0..64).find_map(|_| server.hear(&empty()).err()).expect("a bound");
    assert_eq!(error.fault(), TlsFault::Flood);
    assert!(server.plain.is_empty());
}

#[test]
fn a_changed_octet_anywhere_ends_the_connection() {
    let configs = both_versions();
    let (mut server, mut client) = open_ends(configs.clone(), usize::MAX);
    let wire = client.say(b"DATA\r\n");
    for at in 5..wire.len() {
        let (mut other, mut sender) = open_ends(configs.clone(), usize::MAX);
        let mut wire = sender.say(b"DATA\r\n");
        wire[at] ^= 1;
        assert_eq!(other.hear(&wire).unwrap_err().fault(), TlsFault::Broken, "octet {at}");
        assert!(other.tls.has_ready(), "an alert");
    }
    server.hear(&wire).unwrap();
    assert_eq!(server.plain, b"DATA\r\n");
    // The same record a second time.
    assert_eq!(server.hear(&wire).unwrap_err().fault(), TlsFault::Broken);
}
