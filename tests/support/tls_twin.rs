//! A server of ours in memory beside one with the buffers of rustls: whatever a client sends, and wherever it is
//! cut, both make the same of it.

use std::io::{Read, Write};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::{Arc, LazyLock};

use ringpost::limits::TLS_SERVER_KEPT_BYTES_MAX;
use ringpost::tls::{Tls, TlsState};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use super::tls::{NAME, configs_for};

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

/// For TLS 1.3 and for TLS 1.2.
static CONFIGS: LazyLock<[Configs; 2]> =
    LazyLock::new(|| [configs_for(&[&TLS13]), configs_for(&[&TLS12])]);

/// Octets in place of a handshake: fewer than a server may have to keep.
const RAW_BYTES_MAX: usize = 20_000;

/// Octets after which a client has sent enough.
const FLIGHT_BYTES_MAX: usize = 60_000;

/// What a record of AES-GCM ends with.
const TAG_BYTES: usize = 16;

/// An alert before anything is encrypted.
const ALERT_BYTES: usize = 7;

/// How a comparison goes.
#[derive(Clone, Copy)]
struct Way {
    /// What comes first is no handshake of a client, but any octets.
    raw: bool,
    tls_1_2: bool,
    /// Our side breaks off after each record, and seals a reply.
    stops: bool,
    /// The last part of the handshake comes with what follows it.
    at_once: bool,
    /// Octets that arrive at a time.
    step: usize,
}

/// Compares the two on `input`: an octet of switches, one for the size of pieces, and what the client does or
/// sends.
pub(crate) fn compare(input: &[u8]) {
    let [switches, step, rest @ ..] = input else { return };
    let is_on = |bit: u8| switches & bit != 0;
    let way = Way {
        raw: is_on(1),
        tls_1_2: is_on(2),
        stops: is_on(4),
        at_once: is_on(8),
        step: 1 + usize::from(*step) * if is_on(16) { 64 } else { 1 },
    };
    let (server, client) = &CONFIGS[usize::from(way.tls_1_2)];
    let (mut fast, mut slow) = (Fast::new(server, way), Slow::new(server));
    if way.raw {
        let wire = &rest[..rest.len().min(RAW_BYTES_MAX)];
        fast.hear(wire);
        slow.hear(wire);
    } else {
        converse(&mut fast, client, way, rest);
        converse(&mut slow, client, way, rest);
    }
    let (ours, theirs) = (fast.seen, slow.seen);
    assert!(ours.plain == theirs.plain, "{} octets, not {}", ours.plain.len(), theirs.plain.len());
    assert_eq!((ours.fails, ours.is_closed), (theirs.fails, theirs.is_closed));
    if way.raw && ours.out.len().max(theirs.out.len()) <= ALERT_BYTES {
        assert_eq!(ours.out, theirs.out, "the alert");
    }
}

/// What a server made of it.
#[derive(Default)]
struct Seen {
    plain: Vec<u8>,
    /// Octets for the client.
    out: Vec<u8>,
    fails: bool,
    is_closed: bool,
}

trait Server {
    fn hear(&mut self, wire: &[u8]);
    fn seen(&mut self) -> &mut Seen;
}

struct Fast {
    tls: Tls,
    way: Way,
    wire: Vec<u8>,
    state: TlsState,
    seen: Seen,
}

impl Fast {
    fn new(config: &Arc<ServerConfig>, way: Way) -> Self {
        let tls = Tls::server(config.clone()).unwrap();
        let (wire, state) = (Vec::new(), TlsState::Handshaking);
        Self { tls, way, wire, state, seen: Seen::default() }
    }

    /// Takes what can be taken.
    fn open(&mut self) {
        loop {
            let (was, plain) = (self.state, &mut self.seen.plain);
            let opened = self.tls.open(&mut self.wire, |piece| {
                plain.extend_from_slice(piece);
                if self.way.stops { Break(()) } else { Continue(()) }
            });
            let Ok((used, state)) = opened else {
                self.seen.fails = true;
                return;
            };
            self.wire.drain(..used);
            self.state = state;
            if state == TlsState::Stopped {
                let sealed = self.tls.seal(b"250 ok\r\n", &mut self.seen.out);
                sealed.expect("a reply may go out between two records");
            } else if state == was {
                return;
            }
        }
    }
}

impl Server for Fast {
    fn hear(&mut self, wire: &[u8]) {
        for piece in wire.chunks(self.way.step) {
            if !self.seen.fails {
                self.wire.extend_from_slice(piece);
                self.open();
            }
            assert!(self.seen.fails || self.wire.len() <= TLS_SERVER_KEPT_BYTES_MAX);
        }
        self.tls.take_ready(&mut self.seen.out);
        self.seen.is_closed = !self.seen.fails && self.state == TlsState::PeerClosed;
    }

    fn seen(&mut self) -> &mut Seen {
        &mut self.seen
    }
}

struct Slow {
    tls: ServerConnection,
    seen: Seen,
}

impl Slow {
    fn new(config: &Arc<ServerConfig>) -> Self {
        Self { tls: ServerConnection::new(config.clone()).unwrap(), seen: Seen::default() }
    }
}

impl Server for Slow {
    fn hear(&mut self, wire: &[u8]) {
        for octet in wire {
            if self.seen.fails || self.seen.is_closed {
                break;
            }
            self.tls.read_tls(&mut std::slice::from_ref(octet)).unwrap();
            match self.tls.process_new_packets() {
                Ok(state) => self.seen.is_closed = state.peer_has_closed(),
                Err(_) => self.seen.fails = true,
            }
            // Nothing more to read is an error too.
            let _ = self.tls.reader().read_to_end(&mut self.seen.plain);
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.seen.out).unwrap();
        }
    }

    fn seen(&mut self) -> &mut Seen {
        &mut self.seen
    }
}

/// A client shakes hands with `server` and does what `script` says.
fn converse(server: &mut impl Server, config: &Arc<ClientConfig>, way: Way, script: &[u8]) {
    let mut client = ClientConnection::new(config.clone(), NAME.try_into().unwrap()).unwrap();
    while client.is_handshaking() {
        server.hear(&written(&mut client));
        let heard = std::mem::take(&mut server.seen().out);
        assert!(!server.seen().fails && !heard.is_empty(), "a good handshake");
        let mut rest = &heard[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    let mut wire = written(&mut client);
    if !way.at_once {
        server.hear(&wire);
        wire.clear();
    }
    let mut starts = Vec::new();
    for step in script.chunks(2) {
        let (what, how) = (step[0], usize::from(step.get(1).copied().unwrap_or_default()));
        if wire.len() < FLIGHT_BYTES_MAX {
            act(&mut client, (what, how), &mut wire, &mut starts);
        }
    }
    server.hear(&wire);
}

/// One step of a script. Two clients have two keys, so that nothing may depend on what the octets of a record are:
/// none is taken for a header, and never can what follows a cut record be, by chance, what was cut off.
///
/// `starts`: where records begin in `wire`.
fn act(
    client: &mut ClientConnection,
    (what, how): (u8, usize),
    wire: &mut Vec<u8>,
    starts: &mut Vec<usize>,
) {
    match what % 8 {
        0 | 1 => client.writer().write_all(&vec![what; how]).unwrap(),
        // Up to one and a half records.
        2 => client.writer().write_all(&vec![b'x'; how * 97]).unwrap(),
        3 if how < 64 => client.send_close_notify(),
        // TLS 1.2 has no such thing.
        3 => drop(client.refresh_traffic_keys()),
        4 => wire.extend((0..how % 16).map(|octet| octet as u8 ^ what)),
        5 => {
            wire.truncate(wire.len().saturating_sub(how + TAG_BYTES));
            starts.retain(|start| *start < wire.len());
        }
        6 if !starts.is_empty() => wire.extend_from_within(starts[how % starts.len()]..),
        6 => {}
        _ => {
            let at = wire.len().checked_sub(1 + how);
            at.into_iter().for_each(|at| wire[at] ^= 1 << (what >> 5));
        }
    }
    let records = &mut written(client);
    if !records.is_empty() {
        starts.push(wire.len());
    }
    wire.append(records);
}

fn written(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}
