//! The client's end of one connection: the socket, its deadline, and the octets on their way.

use std::borrow::{Borrow, BorrowMut};
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

use super::error::TalkError;
use crate::engine::{Buf, Guard, HandshakeError, Pool, Stream, Taken};
use crate::tls::{Tls, TlsError, TlsFacts};

/// A connection with the octets that wait to be sent and those that were received.
///
/// It owns its connection and the guard of its deadline, or borrows both (`Wire<&mut Stream, &Guard>`)
/// where the connection outlives the conversation. All octets of all clients go through
/// [`Wire::send`] and [`Wire::exchange`].
#[derive(Debug)]
pub struct Wire<C = Stream, G = Guard> {
    stream: C,
    guard: G,
    /// Time that the server gets for each send and for each reply; `None` sets no limit.
    limit: Option<Duration>,
    /// Whether the time for a reply begins with the next receive: the last receive did not leave a part of one.
    fresh: Cell<bool>,
    out: Buf,
    /// What was received; under TLS the record whose end has not come.
    into: Buf,
    /// Under TLS what stood in the records of the last receive.
    opened: Option<Box<Opened>>,
    /// Octets of what was received that were read. INVARIANT: at most all of them, and all of them whenever a
    /// receive begins, because a receive replaces them.
    read: usize,
    /// Why the send of the last exchange failed.
    unsent: Option<io::Error>,
}

/// The plaintext of the records of one receive.
#[derive(Debug, Default)]
struct Opened {
    plain: Vec<u8>,
    /// Whether the server has said something under the new keys that could be opened, and was no close.
    heard: bool,
    /// Why the record after them could not be opened: what came before it is read first.
    broken: Option<TlsError>,
}

impl<C: BorrowMut<Stream>, G: Borrow<Guard>> Wire<C, G> {
    /// `into` must have room: it is what each receive fills. Both buffers are empty, except that under TLS `into`
    /// may hold a record whose end has not come.
    pub fn new(stream: C, guard: G, limit: Duration, out: Buf, into: Buf) -> Self {
        assert!(into.capacity() > 0, "a receive needs room");
        debug_assert!(out.is_empty() && (into.is_empty() || stream.borrow().is_secure()));
        let opened = stream.borrow().is_secure().then(Box::default);
        let (limit, fresh) = (Some(limit), Cell::new(true));
        Self { stream, guard, limit, fresh, out, into, opened, read: 0, unsent: None }
    }

    /// The connection itself, for anything but sending and receiving.
    pub fn stream(&self) -> &Stream {
        self.stream.borrow()
    }

    /// Octets that the next send takes. Writers append to it.
    #[inline]
    pub fn out_mut(&mut self) -> &mut Vec<u8> {
        self.out.vec_mut()
    }

    /// What is written and not sent.
    #[inline]
    pub fn out(&self) -> &[u8] {
        &self.out
    }

    /// Has `octets` sent next, in place of what is written, without a copy of them.
    pub fn set_out(&mut self, octets: Vec<u8>) {
        self.out = octets.into();
    }

    /// Takes what the server has sent already, ahead of the first receive.
    pub fn preload(&mut self, said: &[u8]) {
        debug_assert_eq!(self.read, self.received().len());
        match &mut self.opened {
            Some(opened) => opened.plain.extend_from_slice(said),
            None => self.into.vec_mut().extend_from_slice(said),
        }
    }

    /// All that the last receive brought, read or not.
    #[inline]
    pub fn received(&self) -> &[u8] {
        match &self.opened {
            None => &self.into,
            Some(opened) => &opened.plain,
        }
    }

    /// What was received and not read. Say with [`Self::read_to`] how much of it is left.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.received()[self.read..]
    }

    /// Of [`Self::unread`] the last `left` octets remain.
    #[inline]
    pub fn read_to(&mut self, left: usize) {
        debug_assert!(left <= self.received().len() - self.read, "what was read stays read");
        self.read = self.received().len() - left;
    }

    /// Sets no limit on the time of the server from here on.
    pub fn wait_for_ever(&mut self) {
        self.limit = None;
    }

    /// Gives the server at most `limit` for each send and each receive from here on.
    pub fn wait_at_most(&mut self, limit: Duration) {
        self.limit = Some(self.limit.map_or(limit, |before| before.min(limit)));
    }

    /// Stops the deadline while we do something that the server does not wait for.
    pub fn disarm(&self) {
        self.guard.borrow().disarm();
        self.fresh.set(true);
    }

    /// Says that a whole reply was read: the server gets the same time again for the next.
    #[inline]
    pub fn replied(&self) {
        self.fresh.set(true);
    }

    /// Whether the server missed its deadline.
    pub fn timed_out(&self) -> bool {
        self.guard.borrow().fired()
    }

    /// Starts the time that the server gets; see [`Self::exchange_on`].
    #[inline]
    pub fn arm(&self) {
        self.fresh.set(false);
        match self.limit {
            Some(limit) => self.guard.borrow().arm(limit),
            None => self.guard.borrow().disarm(),
        }
    }

    /// Puts the connection under TLS, whose client side `tls` is. The server gets the time of one reply for all
    /// of the handshake. What it sent behind the handshake is there to be read. Buffers come from `pool`.
    ///
    /// # Errors
    /// [`TalkError`]: the connection must be closed, and nothing may be said on it in plain text.
    pub async fn secure(&mut self, tls: Tls, pool: &Rc<Pool>) -> Result<TlsFacts, TalkError> {
        debug_assert!(self.out.is_empty(), "it would be sent under TLS");
        debug_assert!(self.unread().is_empty(), "it came in plain text");
        self.arm();
        self.into.clear();
        self.opened = Some(Box::default());
        self.stream.borrow_mut().begin(tls, Rc::clone(pool));
        loop {
            let into = std::mem::take(&mut self.into);
            let done;
            (done, self.into) = self.stream.borrow_mut().handshake(into).await;
            match done {
                Ok(()) => break,
                Err(_) if self.timed_out() => return Err(TalkError::Timeout),
                // Interrupted for an earlier deadline, or by the owner of the connection.
                Err(HandshakeError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(HandshakeError::Io(error)) => return Err(error.into()),
                Err(HandshakeError::Tls(error)) => return Err(error.into()),
            }
        }
        self.fresh.set(true);
        let facts = self.stream().facts().ok_or(TalkError::Closed)?;
        self.open()?;
        Ok(facts)
    }

    /// Opens the records that were received. Answers whether the server has said something in them: tickets for
    /// later sessions, or new keys, are no reply.
    fn open(&mut self) -> Result<bool, TalkError> {
        self.read = 0;
        let Some(opened) = &mut self.opened else { return Ok(true) };
        opened.plain.clear();
        let before = self.into.len();
        let taken = self.stream.borrow_mut().take(&mut self.into, |piece| {
            opened.plain.extend_from_slice(piece);
            ControlFlow::Continue(())
        });
        let is_empty = opened.plain.is_empty();
        opened.heard |= !is_empty || matches!(taken, Ok(Taken::All) if self.into.len() < before);
        match taken {
            Ok(Taken::PeerClosed) if is_empty => Err(TalkError::Closed),
            Ok(_) => Ok(!is_empty),
            Err(error) if is_empty => Err(error.into()),
            Err(error) => {
                opened.broken = Some(error);
                Ok(true)
            }
        }
    }

    /// Whether the server has said something since the handshake, be it only a ticket: before it does, a client
    /// that had the last word there does not know whether the server took it.
    pub fn has_heard(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.heard)
    }

    /// Fails if the last receive ended in a record that could not be opened.
    fn check_opened(&mut self) -> Result<(), TalkError> {
        match self.opened.as_mut().and_then(|opened| opened.broken.take()) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Sends what is written without waiting for replies.
    pub async fn send(&mut self) -> io::Result<()> {
        self.arm();
        let out = std::mem::take(&mut self.out);
        let sent;
        (sent, self.out) = self.stream.borrow_mut().send_all(out).await;
        self.out.clear();
        self.fresh.set(true);
        sent
    }

    /// Sends what is written, if anything is, and receives once. Answers whether the server has said
    /// something: read it then. `false` means that the receive was interrupted for a reason that is
    /// over, or that it brought nothing that is to be read; call this again.
    ///
    /// The time of the server begins with what is sent, and anew where [`Self::replied`] was called since the last
    /// receive: it has that for the whole of a reply (RFC 5321 §4.5.3.2), in however many pieces it sends it.
    ///
    /// Octets that arrived although the send failed still count: read them, and then ask
    /// [`Self::take_unsent`].
    ///
    /// # Errors
    /// [`TalkError`] when nothing was received and nothing will be.
    #[inline]
    pub async fn exchange(&mut self) -> Result<bool, TalkError> {
        if self.fresh.get() || !self.out.is_empty() {
            self.arm();
        }
        self.exchange_on().await
    }

    /// The same in the time that is left since the last [`Self::arm`]: where that is for a whole reply, a
    /// server gets no more by sending the reply in pieces.
    ///
    /// # Errors
    /// As of [`Self::exchange`].
    #[inline]
    pub async fn exchange_on(&mut self) -> Result<bool, TalkError> {
        debug_assert!(self.unread().is_empty(), "octets that nobody read would be lost");
        self.check_opened()?;
        let (out, into) = (std::mem::take(&mut self.out), std::mem::take(&mut self.into));
        let (sent, received);
        (sent, self.out, received, self.into) = self.stream.borrow_mut().send_recv(out, into).await;
        self.out.clear();
        self.unsent = sent.err();
        if let Ok(1..) = received {
            return self.open();
        }
        self.read = self.received().len();
        if self.timed_out() {
            return Err(TalkError::Timeout);
        }
        if let Some(error) = self.unsent.take() {
            return Err(error.into());
        }
        match received {
            Ok(_) => Err(TalkError::Closed),
            // Interrupted for an earlier deadline, or by the owner of the connection.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives what is there already. Answers whether there was something to read.
    ///
    /// # Errors
    /// [`TalkError`] when the server has closed the connection, or it has broken.
    pub fn recv_ready(&mut self) -> Result<bool, TalkError> {
        debug_assert!(self.unread().is_empty(), "octets that nobody read would be lost");
        self.check_opened()?;
        let received = self.stream.borrow_mut().recv_ready(&mut self.into);
        match received {
            Ok(0) => Err(TalkError::Closed),
            Ok(_) => self.open(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.read = self.received().len();
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why the send of the last exchange failed, if it did.
    #[inline]
    pub fn take_unsent(&mut self) -> Option<io::Error> {
        self.unsent.take()
    }

    /// Under TLS, says that nothing follows (close_notify).
    pub async fn part(&mut self) {
        if self.stream().is_secure() {
            self.arm();
            self.out.clear();
            let out = std::mem::take(&mut self.out);
            // Whether the server hears it makes no difference any more.
            (_, self.out) = self.stream.borrow_mut().send_last(out).await;
        }
    }

    /// Ends the conversation and leaves the connection open. The buffers go back to `pool`.
    pub fn release(self, pool: &Pool) -> (C, G) {
        pool.give(self.out);
        pool.give(self.into);
        (self.stream, self.guard)
    }
}

impl Wire {
    /// Closes the connection, under TLS with close_notify. The buffers go back to `pool`.
    pub async fn close(mut self, pool: &Pool) {
        self.part().await;
        let (stream, guard) = self.release(pool);
        drop(guard);
        stream.close().await;
    }
}
