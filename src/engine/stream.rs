//! A connection, and TLS on it if that has begun.
//!
//! Without TLS this is a [`Conn`], at the cost of one branch for each receive and each send. With it, the octets
//! of a receive are records, and [`Stream::take`] gives what is in them. A record whose end has not come stays in
//! the buffer, and the next receive goes on behind it; so a session waits with one small buffer for what it
//! receives and one for what it sends, under TLS too, unless more of a record has come.

use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::rc::Rc;

use super::address::Address;
use super::buffer::{Buf, Pool};
use super::conn::{Conn, Handle};
use super::loans::{Loan, Loans};
use crate::limits::{
    RECV_LARGE_BYTES, RECV_RECORD_BYTES, RECV_SMALL_BYTES, TLS_RECORD_OVERHEAD_BYTES_MAX,
    TLS_RECORD_PLAIN_BYTES_MAX,
};
use crate::tls::{Tls, TlsError, TlsFacts, TlsFault, TlsState};

/// Octets that are sealed and sent at once where there are many: what fits a large buffer afterwards.
const SEAL_PIECE_BYTES: usize = RECV_LARGE_BYTES - 8 * TLS_RECORD_OVERHEAD_BYTES_MAX;

/// Room that a receive has at least. A buffer grows with the octets that came: the length in the header of a record
/// is only what the peer says.
const TLS_ROOM_BYTES_MIN: usize = 512;

const _: () = assert!(sealed_bytes_max(SEAL_PIECE_BYTES) <= RECV_LARGE_BYTES);

/// A connection that may be under TLS.
#[derive(Debug)]
pub struct Stream {
    conn: Conn,
    tls: Option<Box<Secure>>,
}

/// TLS on a connection.
#[derive(Debug)]
struct Secure {
    tls: Tls,
    /// Plaintext of a record that was not taken whole.
    rest: Vec<u8>,
    pool: Rc<Pool>,
    /// The buffer with which the session waits, if that is larger than small.
    loan: Loan,
    /// The peer said close_notify.
    is_over: bool,
}

/// How much of what was received has been taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// Receive to get more.
    All,
    /// Whoever takes it broke off.
    Part,
    /// All, and the peer has said that no more will come (close_notify).
    PeerClosed,
}

/// Why a handshake did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// `ErrorKind::Interrupted` says that [`Handle::interrupt`] was called; the handshake can go on.
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Tls(#[from] TlsError),
}

impl From<Conn> for Stream {
    fn from(conn: Conn) -> Self {
        Self { conn, tls: None }
    }
}

impl Stream {
    /// Puts TLS on the connection. What was received before, and not taken, must not count: it came in plain
    /// text (RFC 3207 §4.2). Buffers for records come from `pool`. [`Stream::handshake`] is next.
    ///
    /// # Panics
    ///
    /// When TLS has begun already.
    pub fn begin(&mut self, tls: Tls, pool: Rc<Pool>) {
        assert!(self.tls.is_none(), "TLS begins once");
        // Kernel TLS would begin where the handshake ends: hand its secrets to the socket (TCP_ULP) and forget
        // `tls`, and the stream is plain again. The kernels of common test machines have no such module.
        let secure = Secure { tls, rest: Vec::new(), pool, loan: Loan::default(), is_over: false };
        self.tls = Some(Box::new(secure));
    }

    /// Counts the larger buffers of this stream among those of others. It may be called back where they are too many:
    /// then a receive answers `ErrorKind::OutOfMemory`, and nothing more can be received.
    ///
    /// # Panics
    ///
    /// When TLS has not begun.
    pub fn bound_by(&mut self, loans: Rc<Loans>) {
        let secure = self.tls.as_deref_mut().expect("TLS has begun");
        debug_assert!(!secure.loan.is_some(), "nothing was received yet");
        secure.loan = Loan::new(loans);
    }

    /// Runs the handshake to its end. `buf` holds octets that were received and not looked at, and comes back with
    /// those that came behind the handshake: [`Stream::take`] them before the next receive. Our last part of the
    /// handshake leaves with the next send.
    ///
    /// # Errors
    /// [`HandshakeError`]. The peer has been told of a fault that lies with it.
    ///
    /// # Panics
    ///
    /// When TLS has not begun.
    pub async fn handshake(&mut self, mut buf: Buf) -> (Result<(), HandshakeError>, Buf) {
        loop {
            let secure = self.tls.as_deref_mut().expect("TLS has begun");
            if !secure.tls.is_handshaking() {
                return (Ok(()), buf);
            }
            match secure.greet(&mut buf) {
                Ok(true) => return (Ok(()), buf),
                Ok(false) => {}
                Err(error) => {
                    let _ = self.send_ready().await;
                    return (Err(error.into()), buf);
                }
            }
            if let Err(error) = self.send_ready().await {
                return (Err(error.into()), buf);
            }
            let received;
            (received, buf) = self.recv(buf).await;
            match received {
                Ok(0) => return (Err(TlsError::from(TlsFault::Cut).into()), buf),
                Ok(_) => {}
                Err(error) => return (Err(error.into()), buf),
            }
        }
    }

    /// Whether TLS has begun.
    #[inline]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// What was agreed on; `None` without TLS, and before the handshake is complete.
    pub fn facts(&self) -> Option<TlsFacts> {
        self.tls.as_ref()?.tls.facts()
    }

    /// Gives what was received to `taker`: all at once, or each record by itself. `taker` says how many octets it
    /// took if it breaks off; the next call begins with the rest, and until then nothing is received.
    ///
    /// # Errors
    /// [`TlsError`]: the peer broke the protocol, or gave up. [`Stream::send_last`] tells it, and the connection
    /// is of no further use.
    #[inline]
    pub fn take(
        &mut self,
        buf: &mut Buf,
        mut taker: impl FnMut(&[u8]) -> ControlFlow<usize>,
    ) -> Result<Taken, TlsError> {
        if let Some(secure) = &mut self.tls {
            return secure.take(buf, taker);
        }
        Ok(match taker(buf) {
            Continue(()) => {
                buf.clear();
                Taken::All
            }
            Break(taken) => {
                buf.vec_mut().drain(..taken);
                Taken::Part
            }
        })
    }

    /// [`Conn::recv`]. Under TLS, what is received goes behind what `buf` holds, and `buf` may come back as
    /// another buffer. An error of `ErrorKind::OutOfMemory` says that the sessions of the core keep too much, and that
    /// this one has waited longest ([`Stream::bound_by`]).
    #[inline]
    pub async fn recv(&mut self, buf: Buf) -> (io::Result<usize>, Buf) {
        match &mut self.tls {
            None => self.conn.recv(buf).await,
            Some(secure) if secure.is_over => (Ok(0), buf),
            Some(secure) => {
                let buf = secure.with_room(buf, &self.conn);
                let (received, buf) = self.conn.recv_behind(buf).await;
                self.received(received, buf)
            }
        }
    }

    /// What a receive under TLS answers. If its buffer was called back it is empty and small now.
    fn received(&mut self, received: io::Result<usize>, buf: Buf) -> (io::Result<usize>, Buf) {
        match (&mut self.tls, received) {
            (Some(secure), Err(error))
                if error.kind() == io::ErrorKind::Interrupted && secure.loan.is_called_back() =>
            {
                secure.is_over = true;
                secure.loan.set(0, || self.conn.handle());
                secure.pool.give(buf);
                (Err(io::ErrorKind::OutOfMemory.into()), secure.pool.small())
            }
            (Some(secure), received) => {
                if received.is_ok() {
                    secure.loan.renew();
                }
                (received, buf)
            }
            (None, received) => (received, buf),
        }
    }

    /// [`Conn::recv_ready`]. Under TLS, behind what `buf` holds.
    pub fn recv_ready(&mut self, buf: &mut Buf) -> io::Result<usize> {
        match &self.tls {
            None => self.conn.recv_ready(buf),
            Some(secure) if secure.is_over => Ok(0),
            Some(_) if buf.len() == buf.capacity() => Err(io::ErrorKind::WouldBlock.into()),
            Some(_) => self.conn.recv_ready_behind(buf),
        }
    }

    /// [`Conn::send_all`]. Under TLS, `out` may come back as another buffer, and what it holds then has no
    /// meaning.
    pub async fn send_all(&mut self, mut out: Buf) -> (io::Result<()>, Buf) {
        let Some(secure) = &mut self.tls else { return self.conn.send_all(out).await };
        if secure.is_idle(&out) {
            return (Ok(()), out);
        }
        match secure.seal_small(&mut out) {
            Ok(true) => self.conn.send_all(out).await,
            Ok(false) => (self.send_pieces(&out, End::Open).await, out),
            Err(error) => (Err(error), out),
        }
    }

    /// [`Conn::send_recv`]. As with [`Stream::send_all`] and [`Stream::recv`] under TLS.
    #[inline]
    pub async fn send_recv(
        &mut self,
        out: Buf,
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        if self.tls.is_none() {
            return self.conn.send_recv(out, into).await;
        }
        self.send_recv_sealed(out, into).await
    }

    async fn send_recv_sealed(
        &mut self,
        mut out: Buf,
        into: Buf,
    ) -> (io::Result<()>, Buf, io::Result<usize>, Buf) {
        let secure = self.tls.as_deref_mut().expect("TLS has begun");
        let is_small = !secure.is_idle(&out) && secure.fits_small(&out) && !secure.is_over;
        if is_small {
            let into = secure.with_room(into, &self.conn);
            if let Err(error) = secure.seal_small(&mut out) {
                return (Err(error), out, Err(io::ErrorKind::NotConnected.into()), into);
            }
            let (sent, out, received, into) = self.conn.send_recv_behind(out, into).await;
            let (received, into) = self.received(received, into);
            return (sent, out, received, into);
        }
        // A session that waits for an answer holds no large buffer meanwhile.
        let (sent, out) = self.send_all(out).await;
        if sent.is_err() {
            return (sent, out, Err(io::ErrorKind::NotConnected.into()), into);
        }
        let (received, into) = self.recv(into).await;
        (sent, out, received, into)
    }

    /// Sends `out` as the last octets of our side, and under TLS says that nothing follows (close_notify). The
    /// stream is plain after it, and what is received has no meaning. Where TLS has failed, or its handshake is
    /// not complete, an alert is sent in place of `out`, if there is one.
    pub async fn send_last(&mut self, out: Buf) -> (io::Result<()>, Buf) {
        self.send_to_the_end(out, End::Closed).await
    }

    /// As [`Stream::send_last`], and close_notify is not said: the peer cannot tell it from a connection that was
    /// cut.
    pub async fn send_last_unclosed(&mut self, out: Buf) -> (io::Result<()>, Buf) {
        self.send_to_the_end(out, End::Open).await
    }

    async fn send_to_the_end(&mut self, out: Buf, end: End) -> (io::Result<()>, Buf) {
        let Some(secure) = &self.tls else { return self.conn.send_all(out).await };
        let sent = if secure.tls.may_seal() {
            self.send_pieces(&out, end).await
        } else {
            self.send_ready().await
        };
        self.tls = None;
        (sent, out)
    }

    /// Seals and sends in pieces, each in a buffer that is given back at once.
    async fn send_pieces(&mut self, out: &[u8], end: End) -> io::Result<()> {
        let mut rest = out;
        loop {
            let Some(secure) = &mut self.tls else { return Ok(()) };
            let (piece, later) = rest.split_at(rest.len().min(SEAL_PIECE_BYTES));
            let is_last = later.is_empty();
            let mut wire = secure.pool.large();
            secure.tls.seal(piece, wire.vec_mut()).map_err(io::Error::other)?;
            if is_last && end == End::Closed {
                secure.tls.close(wire.vec_mut());
            }
            let pool = secure.pool.clone();
            let (sent, wire) = self.conn.send_all(wire).await;
            pool.give(wire);
            sent?;
            if is_last {
                return Ok(());
            }
            rest = later;
        }
    }

    /// Sends what TLS has to say by itself: the end of a handshake for one, where nothing follows at once.
    ///
    /// # Errors
    /// Those of [`Conn::send_all`].
    pub async fn send_ready(&mut self) -> io::Result<()> {
        let Some(secure) = &mut self.tls else { return Ok(()) };
        let mut wire = Vec::new();
        secure.tls.take_ready(&mut wire);
        self.conn.send_all(wire.into()).await.0
    }

    /// Moves what [`Stream::take`] left in `from` to `into`, which is empty, and gives `from` back. What comes back
    /// is the smallest buffer that holds it and has room behind it.
    pub fn carry(&mut self, pool: &Pool, from: Buf, into: Buf) -> Buf {
        debug_assert!(into.is_empty(), "there is nothing to overwrite");
        if from.is_empty() {
            pool.give(from);
            return into;
        }
        pool.give(into);
        match &mut self.tls {
            Some(secure) => secure.move_to(from.len() + TLS_ROOM_BYTES_MIN, from, &self.conn),
            None => from,
        }
    }

    /// [`Conn::handle`].
    pub fn handle(&self) -> Handle {
        self.conn.handle()
    }

    /// [`Conn::quickack`].
    #[inline]
    pub fn quickack(&self) {
        self.conn.quickack();
    }

    /// Whether nothing is to be sent.
    #[inline]
    pub fn is_idle(&self, out: &[u8]) -> bool {
        out.is_empty() && self.tls.as_ref().is_none_or(|secure| !secure.tls.has_ready())
    }

    /// [`Conn::reset_on_close`].
    pub fn reset_on_close(&self) -> io::Result<()> {
        self.conn.reset_on_close()
    }

    /// [`Conn::shutdown_write`].
    pub fn shutdown_write(&self) -> io::Result<()> {
        self.conn.shutdown_write()
    }

    /// [`Conn::local_address`].
    pub fn local_address(&self) -> io::Result<Address> {
        self.conn.local_address()
    }

    /// [`Conn::close`], without a word: [`Stream::send_last`] says close_notify.
    pub async fn close(self) {
        self.conn.close().await;
    }
}

/// Whether close_notify follows what is sent.
#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    Open,
    Closed,
}

impl Secure {
    /// One step of the handshake. Answers whether it is complete.
    fn greet(&mut self, buf: &mut Buf) -> Result<bool, TlsError> {
        let (used, state) = self.tls.open(buf.vec_mut(), |_| Continue(()))?;
        buf.vec_mut().drain(..used);
        match state {
            TlsState::Handshaking => Ok(false),
            TlsState::Open => Ok(true),
            // Who says that it leaves behind the end of the handshake has been there: the next take tells.
            TlsState::PeerClosed if !self.tls.is_handshaking() => Ok(true),
            TlsState::PeerClosed | TlsState::Stopped => Err(TlsFault::Cut.into()),
        }
    }

    fn take(
        &mut self,
        buf: &mut Buf,
        mut taker: impl FnMut(&[u8]) -> ControlFlow<usize>,
    ) -> Result<Taken, TlsError> {
        debug_assert!(!self.tls.is_handshaking(), "the handshake comes first");
        if !self.rest.is_empty() {
            if let Break(taken) = taker(&self.rest) {
                self.rest.drain(..taken);
                return Ok(Taken::Part);
            }
            self.rest = Vec::new();
        }
        let rest = &mut self.rest;
        let (used, state) = self.tls.open(buf.vec_mut(), |piece| match taker(piece) {
            Continue(()) => Continue(()),
            Break(taken) => {
                rest.extend_from_slice(&piece[taken..]);
                Break(())
            }
        })?;
        buf.vec_mut().drain(..used);
        Ok(match state {
            TlsState::Stopped => Taken::Part,
            TlsState::PeerClosed => {
                self.is_over = true;
                Taken::PeerClosed
            }
            TlsState::Open | TlsState::Handshaking => Taken::All,
        })
    }

    /// A buffer with the octets of `buf` and room behind them.
    fn with_room(&mut self, buf: Buf, conn: &Conn) -> Buf {
        debug_assert!(self.rest.is_empty(), "plaintext that nobody took");
        let wanted = buf.len() + TLS_ROOM_BYTES_MIN;
        let is_too_large = self.loan.is_some() && wanted <= RECV_SMALL_BYTES;
        if wanted > buf.capacity() || is_too_large {
            return self.move_to(wanted, buf, conn);
        }
        buf
    }

    /// Moves what `buf` holds to the smallest buffer with room for `wanted` octets.
    fn move_to(&mut self, wanted: usize, buf: Buf, conn: &Conn) -> Buf {
        let mut larger = if wanted <= RECV_SMALL_BYTES {
            self.pool.small()
        } else if wanted <= RECV_RECORD_BYTES {
            self.pool.record()
        } else if wanted <= RECV_LARGE_BYTES {
            self.pool.large()
        } else {
            Buf::with_capacity(wanted.next_power_of_two())
        };
        larger.vec_mut().extend_from_slice(&buf);
        self.pool.give(buf);
        let lent = if wanted <= RECV_SMALL_BYTES { 0 } else { larger.capacity() };
        self.loan.set(lent, || conn.handle());
        larger
    }

    fn is_idle(&self, out: &[u8]) -> bool {
        out.is_empty() && !self.tls.has_ready()
    }

    /// Whether `out` and what TLS has to say fit a small buffer.
    fn fits_small(&self, out: &[u8]) -> bool {
        self.tls.ready_bytes() + sealed_bytes_max(out.len()) <= RECV_SMALL_BYTES
    }

    /// Seals `out` in a small buffer, which takes its place; `false` when it does not fit.
    fn seal_small(&mut self, out: &mut Buf) -> io::Result<bool> {
        if !self.fits_small(out) {
            return Ok(false);
        }
        let mut wire = self.pool.small();
        self.tls.seal(out, wire.vec_mut()).map_err(io::Error::other)?;
        self.pool.give(std::mem::replace(out, wire));
        Ok(true)
    }
}

/// Octets that so much plaintext has at most when it is sealed.
const fn sealed_bytes_max(plain: usize) -> usize {
    plain + (plain / TLS_RECORD_PLAIN_BYTES_MAX + 1) * TLS_RECORD_OVERHEAD_BYTES_MAX
}
