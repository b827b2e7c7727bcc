//! Whoever takes the plaintext breaks off anywhere, and answers.

use proptest::prelude::*;

use super::forged::{Forger, KEY_UPDATE_REQUESTED};
use super::*;

/// What the client sends.
#[derive(Clone, Debug)]
enum Sent {
    Text(Vec<u8>),
    /// A KeyUpdate in two records; the first has so many octets of it.
    KeyUpdate(usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Sent::Text),
        1 => (1..KEY_UPDATE_REQUESTED.len()).prop_map(Sent::KeyUpdate),
    ]
}

/// A server that has the hello of a client, and the flight with which that client ends the handshake.
fn halfway() -> (End, Tls, Vec<u8>) {
    let (server, client) = configs(provider(), &[&version::TLS13]);
    let mut client = Arc::unwrap_or_clone(client);
    client.enable_secret_extraction = true;
    let (mut server, mut client) = ends((server, Arc::new(client)));
    server.hear(&client.ready()).unwrap();
    client.hear(&server.ready()).unwrap();
    let finished = client.ready();
    (server, client.tls, finished)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// However the end of a handshake and what follows it are cut, and wherever the plaintext is left: an answer
    /// can always be sealed, and nothing is lost.
    #[test]
    fn an_answer_can_be_sealed_after_every_break(
        flight in prop::collection::vec(sent(), 0..8),
        steps in prop::collection::vec(prop_oneof![1usize..400, Just(usize::MAX)], 1..4),
        breaks in prop::collection::vec(any::<bool>(), 1..6),
    ) {
        let (mut server, client, mut wire) = halfway();
        let (mut forger, mut texts) = (Forger::of(client), Vec::new());
        for sent in &flight {
            match sent {
                Sent::Text(text) => {
                    wire.extend(forger.record(ContentType::ApplicationData, text));
                    texts.extend_from_slice(text);
                }
                Sent::KeyUpdate(cut) => wire.extend(forger.key_update(*cut).concat()),
            }
        }
        let (mut breaks, mut heard) = (breaks.iter().cycle(), Vec::new());
        let (mut rest, mut steps) = (wire.as_slice(), steps.iter().cycle());
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(rest.len().min(*steps.next().unwrap()));
            rest = later;
            server.wire.extend_from_slice(piece);
            loop {
                let was_handshaking = server.tls.is_handshaking();
                let (used, state) = server.tls.open(&mut server.wire, |text| {
                    heard.extend_from_slice(text);
                    if *breaks.next().unwrap() { Break(()) } else { Continue(()) }
                }).unwrap();
                server.wire.drain(..used);
                match state {
                    TlsState::Handshaking => break,
                    // What came with the end of the handshake is taken first.
                    TlsState::Open if was_handshaking => continue,
                    _ => {}
                }
                prop_assert!(server.tls.seal(b"250 ok\r\n", &mut Vec::new()).is_ok());
                if state == TlsState::Open {
                    break;
                }
            }
        }
        prop_assert_eq!(heard, texts);
    }
}

#[test]
fn whole_records_that_wait_are_not_counted_as_kept() {
    let (mut server, client, mut wire) = halfway();
    let mut forger = Forger::of(client);
    let large = [b'x'; TLS_RECORD_PLAIN_BYTES_MAX];
    let records = TLS_SERVER_KEPT_BYTES_MAX / large.len() + 1;
    for _ in 0..records {
        wire.extend(forger.record(ContentType::ApplicationData, &large));
    }
    wire.extend(forger.record(ContentType::Alert, &[1, 0]));
    wire.extend_from_slice(&[b'x'; 2 * TLS_SERVER_KEPT_BYTES_MAX]);
    server.hear(&wire).unwrap();
    assert_eq!(server.plain.len(), records * large.len());
    assert_eq!(server.state, TlsState::PeerClosed);
}
