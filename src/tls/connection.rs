//! One side of one TLS connection.

use std::ops::ControlFlow;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError};
use rustls::unbuffered::{UnbufferedStatus, WriteTraffic};
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::error::{TlsError, TlsFault};
use super::facts::TlsFacts;
use super::heard_name;
use crate::limits::{
    TLS_CLIENT_KEPT_BYTES_MAX, TLS_RECORD_OVERHEAD_BYTES_MAX, TLS_RECORD_PLAIN_BYTES_MAX,
    TLS_SERVER_KEPT_BYTES_MAX,
};

/// How a record begins: its type, a version, its length (RFC 8446 §5.1).
pub(super) const RECORD_HEADER_BYTES: usize = 5;

/// A fatal alert `decode_error` before anything is encrypted (RFC 8446 §6): rustls has no way to be told that
/// we keep no more of a handshake.
const PLAIN_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

/// How far a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsState {
    Handshaking,
    /// Plaintext may go both ways.
    Open,
    /// The peer said close_notify. Nothing that it sends counts any more, and octets may still be sealed.
    PeerClosed,
    /// Whoever takes the plaintext has enough for now; there may be more.
    Stopped,
}

/// One side of one connection: octets of the wire in, plaintext out, and the reverse.
#[derive(Debug)]
pub struct Tls {
    side: TlsSide,
    /// Octets that must be sent before anything that is sealed: handshake, tickets, alerts.
    ready: Vec<u8>,
    /// Octets at the start of the wire of the last [`Tls::open`] that rustls has taken and still points to: a
    /// handshake message whose rest has not come.
    ///
    /// INVARIANT: while it is not 0, rustls is never handed a shorter wire; it would panic.
    pending: usize,
    /// The peer said close_notify, or the connection failed: nothing that comes is looked at.
    is_over: bool,
    has_failed: bool,
    /// We said close_notify.
    is_closed: bool,
    /// The name that the client asked for.
    server_name: Option<Box<str>>,
}

enum TlsSide {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl std::fmt::Debug for TlsSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Server(_) => "Server",
            Self::Client(_) => "Client",
        })
    }
}

/// Evaluates one expression on the side that this is.
macro_rules! each_side {
    ($side:expr, $name:pat => $call:expr) => {
        match $side {
            TlsSide::Server($name) => $call,
            TlsSide::Client($name) => $call,
        }
    };
}

impl Tls {
    /// The side of a server.
    ///
    /// # Errors
    /// [`TlsFault::Internal`] for a configuration that rustls does not take.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        debug_assert_eq!(config.max_early_data_size, 0, "MAIL may be replayed in early data");
        match UnbufferedServerConnection::new(config) {
            Ok(server) => Ok(Self::new(TlsSide::Server(server))),
            Err(error) => Err(TlsError::of(error, &[], true)),
        }
    }

    /// The side of a client that calls the server `name`. Its hello is [ready](Self::take_ready).
    ///
    /// # Errors
    /// [`TlsFault::Internal`] for a configuration that rustls does not take.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let client = UnbufferedClientConnection::new(config, name)
            .map_err(|error| TlsError::of(error, &[], true))?;
        let mut tls = Self::new(TlsSide::Client(client));
        tls.open(&mut [], |_| ControlFlow::Continue(()))?;
        debug_assert!(tls.has_ready(), "a client speaks first");
        Ok(tls)
    }

    fn new(side: TlsSide) -> Self {
        Self {
            side,
            ready: Vec::new(),
            pending: 0,
            is_over: false,
            has_failed: false,
            is_closed: false,
            server_name: None,
        }
    }

    /// Takes the whole records at the start of `wire`, and gives the plaintext of each to `plain`, until that
    /// breaks. Answers how many octets of `wire` are of no further use; those after them must stand at the
    /// start of the next `wire`, unchanged, because messages are kept and decrypted where they are.
    ///
    /// The call that completes the handshake gives no plaintext and answers [`TlsState::Open`]: call again. What
    /// comes after close_notify is not looked at.
    ///
    /// # Errors
    /// [`TlsError`]: the connection is of no further use. Send what is [ready](Self::take_ready) and close.
    pub fn open(
        &mut self,
        wire: &mut [u8],
        mut plain: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(usize, TlsState), TlsError> {
        if self.is_over {
            return Ok((wire.len(), TlsState::PeerClosed));
        }
        debug_assert!(wire.len() >= self.pending, "octets that were to be kept are gone");
        let was_handshaking = self.is_handshaking();
        let fresh = self.common().protocol_version().is_none();
        let mut used = 0;
        let opened = each_side!(&mut self.side, side => {
            open_records(side, &mut self.ready, wire, &mut used, was_handshaking, &mut plain)
        });
        if was_handshaking && self.server_name.is_none() {
            self.server_name = heard_name::take();
        }
        match opened {
            Ok(TlsState::Stopped) => {
                // What was not used was not looked at either: no plaintext comes inside a message of the handshake
                // (RFC 8446 §5.1), so that rustls holds no part of one.
                self.pending = 0;
                Ok((used, if was_handshaking { TlsState::Open } else { TlsState::Stopped }))
            }
            Ok(TlsState::PeerClosed) => {
                (self.is_over, self.pending) = (true, 0);
                Ok((wire.len(), TlsState::PeerClosed))
            }
            Ok(state) => self.keep(&wire[used..]).map(|()| (used, state)),
            Err(error) => {
                (self.is_over, self.has_failed) = (true, true);
                let rest = &mut wire[used..];
                each_side!(&mut self.side, side => take_alert(side, rest, &mut self.ready));
                if was_handshaking && heard_name::take_refused(&mut self.ready) {
                    return Err(TlsFault::WrongName.into());
                }
                Err(TlsError::of(error, rest, fresh))
            }
        }
    }

    /// What was not used has to be kept by the caller, and there is a bound to that: a handshake message may
    /// come in records of one octet each.
    fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        let bound = match self.side {
            TlsSide::Server(_) => TLS_SERVER_KEPT_BYTES_MAX,
            TlsSide::Client(_) => TLS_CLIENT_KEPT_BYTES_MAX,
        };
        if rest.len() > bound {
            (self.is_over, self.has_failed) = (true, true);
            if self.common().protocol_version().is_none() {
                self.ready.extend_from_slice(&PLAIN_ALERT);
            }
            return Err(TlsFault::TooLarge.into());
        }
        self.pending = whole_records(rest);
        Ok(())
    }

    /// Appends to `out` what is ready, and `plain` as records.
    ///
    /// # Errors
    /// [`TlsFault::Internal`] unless [`Self::may_seal`], or when the keys are used up.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        self.take_ready(out);
        if plain.is_empty() {
            return Ok(());
        }
        let records = plain.len().div_ceil(TLS_RECORD_PLAIN_BYTES_MAX);
        let room = plain.len() + records * TLS_RECORD_OVERHEAD_BYTES_MAX;
        self.write(out, room, |traffic, out| traffic.encrypt(plain, out))
    }

    /// Appends to `out` what is ready, and close_notify, once. Nothing can be sealed after it. In a handshake
    /// there is nothing to close.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.take_ready(out);
        if self.may_seal() {
            // Without keys to say it with, the connection ends without it.
            let _ = self.write(out, TLS_RECORD_OVERHEAD_BYTES_MAX, |traffic, out| {
                traffic.queue_close_notify(out)
            });
        }
        self.is_closed = true;
    }

    /// Has rustls write into `room` octets at the end of `out`.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        mut act: impl FnMut(&mut dyn Writes, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        if !self.may_seal() {
            return Err(TlsFault::Internal.into());
        }
        // The deframer skips what it has taken, without a look at it.
        let mut skipped = vec![0; self.pending];
        each_side!(&mut self.side, side => write_on(side, &mut skipped, out, room, &mut act))
    }

    /// Whether there are octets that must be sent even if nothing is to be sealed.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.ready_bytes() > 0
    }

    /// Octets that are ready.
    #[inline]
    pub fn ready_bytes(&self) -> usize {
        self.ready.len()
    }

    /// Moves what is ready to the end of `out`.
    #[inline]
    pub fn take_ready(&mut self, out: &mut Vec<u8>) {
        if !self.ready.is_empty() {
            // Its memory goes too: most connections need it for the handshake alone.
            out.append(&mut std::mem::take(&mut self.ready));
        }
    }

    /// Whether plaintext can be sealed: from the end of the handshake until we have closed, unless the connection
    /// has failed.
    pub fn may_seal(&self) -> bool {
        !self.is_closed && !self.has_failed && !self.is_handshaking()
    }

    pub fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// What was agreed on; `None` before the handshake is complete.
    pub fn facts(&self) -> Option<TlsFacts> {
        TlsFacts::of(self.common(), self.server_name.as_deref())
    }

    fn common(&self) -> &CommonState {
        each_side!(&self.side, side => side)
    }
}

/// Octets of the records at the start of `wire` that are whole.
fn whole_records(wire: &[u8]) -> usize {
    let mut octets = 0;
    while let Some(record) = wire.get(octets..).and_then(record_bytes)
        && octets + record <= wire.len()
    {
        octets += record;
    }
    octets
}

/// Octets of the record at the start of `wire`, of which the header is there; `None` without a whole header.
fn record_bytes(wire: &[u8]) -> Option<usize> {
    let header = wire.first_chunk::<RECORD_HEADER_BYTES>()?;
    Some(RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]])))
}

/// What rustls does the same on both sides, under two types.
trait Deframes: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>> {
    type Data;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Deframes for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    #[inline]
    fn process<'c, 'i>(
        &'c mut self,
        wire: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(wire)
    }
}

impl Deframes for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    #[inline]
    fn process<'c, 'i>(
        &'c mut self,
        wire: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(wire)
    }
}

/// Whoever encrypts, on either side.
trait Writes {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError>;
    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError>;
}

impl<D> Writes for WriteTraffic<'_, D> {
    fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::encrypt(self, plain, out)
    }

    fn queue_close_notify(&mut self, out: &mut [u8]) -> Result<usize, EncryptError> {
        WriteTraffic::queue_close_notify(self, out)
    }
}

/// Takes records until there is no whole one left, or `plain` breaks. `used` is how many octets were taken, also
/// after an error.
fn open_records<S: Deframes>(
    side: &mut S,
    ready: &mut Vec<u8>,
    wire: &mut [u8],
    used: &mut usize,
    was_handshaking: bool,
    plain: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<TlsState, rustls::Error> {
    loop {
        let UnbufferedStatus { discard, state } = side.process(&mut wire[*used..]);
        let mut extra = 0;
        let next = match state {
            // The plaintext waits in rustls for the next call.
            Ok(ConnectionState::ReadTraffic(_)) if was_handshaking => Some(TlsState::Stopped),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut flow = ControlFlow::Continue(());
                if let Some(record) = traffic.next_record() {
                    let record = record?;
                    extra = record.discard;
                    flow = plain(record.payload);
                }
                flow.is_break().then_some(TlsState::Stopped)
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, ready)?;
                None
            }
            // The caller sends it: it is ready from here on.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Some(TlsState::PeerClosed),
            Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake) => {
                Some(TlsState::Open)
            }
            // Early data is never accepted, and rustls has no further states.
            Ok(_) => return Err(rustls::Error::General("an unknown state".to_owned())),
            Err(error) => {
                *used += discard;
                return Err(error);
            }
        };
        *used += discard + extra;
        if let Some(state) = next {
            let handshaking = state == TlsState::Open && side.is_handshaking();
            return Ok(if handshaking { TlsState::Handshaking } else { state });
        }
    }
}

/// Appends one piece of a handshake to `ready`.
fn encode<D>(data: &mut EncodeTlsData<'_, D>, ready: &mut Vec<u8>) -> Result<(), rustls::Error> {
    let start = ready.len();
    let mut room = 0;
    loop {
        ready.resize(start + room, 0);
        match data.encode(&mut ready[start..]) {
            Ok(written) => {
                ready.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needs)) if needs.required_size > room => {
                room = needs.required_size;
            }
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}

/// After an error: takes the alert that rustls has for the peer. While it has something to write, it does not
/// look at the wire.
fn take_alert<S: Deframes>(side: &mut S, wire: &mut [u8], ready: &mut Vec<u8>) {
    while side.wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = side.process(wire).state else { return };
        if encode(&mut data, ready).is_err() {
            return;
        }
    }
}

/// Has `act` write at the end of `out`, where it gets `room` octets, or as many as it says that it needs.
fn write_on<S: Deframes>(
    side: &mut S,
    skipped: &mut [u8],
    out: &mut Vec<u8>,
    mut room: usize,
    act: &mut impl FnMut(&mut dyn Writes, &mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    loop {
        let UnbufferedStatus { state, .. } = side.process(skipped);
        match state {
            // A KeyUpdate that answers the peer's, or an alert: before the data.
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, out).map_err(|error| TlsError::of(error, &[], false))?;
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let start = out.len();
                out.resize(start + room, 0);
                match act(&mut traffic, &mut out[start..]) {
                    Ok(written) => {
                        out.truncate(start + written);
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(needs)) if needs.required_size > room => {
                        out.truncate(start);
                        room = needs.required_size;
                    }
                    Err(_) => {
                        out.truncate(start);
                        return Err(TlsFault::Internal.into());
                    }
                }
            }
            _ => return Err(TlsFault::Internal.into()),
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
