//! The slow twin: rustls' own buffers in place of ours, on the same octets.

use proptest::prelude::*;
use rustls::ServerConnection;

use super::tests::{End, both_versions, name, open_ends};
use super::*;

/// Hands `wire` over in pieces of so many octets, over and over, until it fails or all is heard; whether it
/// failed.
fn fails_in_pieces(server: &mut End, wire: &[u8], steps: &[usize]) -> bool {
    let mut rest = wire;
    for step in steps.iter().cycle() {
        let (piece, left) = rest.split_at(rest.len().min(*step));
        let fails = server.hear(piece).is_err();
        rest = left;
        if fails || rest.is_empty() {
            return fails;
        }
    }
    unreachable!("there is a step")
}

/// What a slow server makes of `wire`: rustls' own buffers in place of ours.
fn slow(mut server: ServerConnection, wire: &[u8]) -> (Vec<u8>, bool, bool) {
    let (mut plain, mut fails, mut input) = (Vec::new(), false, wire);
    while !input.is_empty() && !fails {
        let mut piece = &input[..1];
        if server.read_tls(&mut piece).is_err() {
            break;
        }
        input = &input[1..];
        fails = server.process_new_packets().is_err();
        let _ = std::io::Read::read_to_end(&mut server.reader(), &mut plain);
        let mut sink = Vec::new();
        let _ = server.write_tls(&mut sink);
    }
    let closed = server.process_new_packets().is_ok_and(|state| state.peer_has_closed());
    (plain, fails, closed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The first flight of a client, changed at random and cut at random, is taken or refused as by rustls' own
    /// buffers.
    #[test]
    fn a_hello_fares_as_with_the_buffers_of_rustls(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..40),
        steps in prop::collection::vec(1usize..700, 1..6),
    ) {
        let (config, client) = both_versions();
        let mut client = Tls::client(client, name()).unwrap();
        let mut wire = Vec::new();
        client.take_ready(&mut wire);
        for (at, value) in edits {
            let at = at.index(wire.len());
            wire[at] = value;
        }
        wire.extend_from_slice(&tail);
        let (_, slow_fails, _) = slow(ServerConnection::new(config.clone()).unwrap(), &wire);
        let mut server = End::new(Tls::server(config).unwrap());
        let fails = fails_in_pieces(&mut server, &wire, &steps);
        prop_assert_eq!(fails, slow_fails);
    }

    /// So do records after the handshake.
    #[test]
    fn records_fare_as_with_the_buffers_of_rustls(
        texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..5),
        closes in any::<bool>(),
        edit in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
        steps in prop::collection::vec(1usize..400, 1..6),
    ) {
        let (config, client) = both_versions();
        let mut slow_server = ServerConnection::new(config.clone()).unwrap();
        let mut slow_client = End::new(Tls::client(client.clone(), name()).unwrap());
        for _ in 0..4 {
            slow_server.read_tls(&mut slow_client.ready().as_slice()).unwrap();
            slow_server.process_new_packets().unwrap();
            let mut out = Vec::new();
            while slow_server.wants_write() {
                slow_server.write_tls(&mut out).unwrap();
            }
            slow_client.hear(&out).unwrap();
        }
        let (mut server, mut fast_client) = open_ends((config, client), usize::MAX);
        let flight = |client: &mut End| {
            let mut wire: Vec<u8> = texts.iter().flat_map(|text| client.say(text)).collect();
            if closes {
                client.tls.close(&mut wire);
                wire.extend_from_slice(&wire.clone());
            }
            if let Some((at, change)) = &edit && !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] ^= change;
            }
            wire
        };
        let (slow_plain, slow_fails, slow_closed) = slow(slow_server, &flight(&mut slow_client));
        let wire = flight(&mut fast_client);
        let fails = fails_in_pieces(&mut server, &wire, &steps);
        prop_assert_eq!(&server.plain, &slow_plain);
        prop_assert_eq!(fails, slow_fails);
        prop_assert_eq!(server.state == TlsState::PeerClosed, slow_closed);
    }
}
