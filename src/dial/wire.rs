//! The client's end of one connection: the socket, its deadline, and the octets on their way.

use std::borrow::{Borrow, BorrowMut};
use std::io;
use std::time::Duration;

use super::error::TalkError;
use crate::engine::{Buf, Conn, Guard, Pool};

/// A connection with the octets that wait to be sent and those that were received.
///
/// It owns its connection and the guard of its deadline, or borrows both (`Wire<&mut Conn, &Guard>`)
/// where the connection outlives the conversation. All octets of all clients go through
/// [`Wire::send`] and [`Wire::exchange`].
#[derive(Debug)]
pub struct Wire<C = Conn, G = Guard> {
    conn: C,
    guard: G,
    /// Time that the server gets for each send and each receive; `None` sets no limit.
    limit: Option<Duration>,
    out: Buf,
    into: Buf,
    /// Octets of `into` that were read. INVARIANT: at most `into.len()`, and equal to it whenever a
    /// receive begins, because a receive replaces what `into` holds.
    read: usize,
    /// Why the send of the last exchange failed.
    unsent: Option<io::Error>,
}

impl<C: BorrowMut<Conn>, G: Borrow<Guard>> Wire<C, G> {
    /// `into` must have room: it is what each receive fills. Both buffers are empty.
    pub fn new(conn: C, guard: G, limit: Duration, out: Buf, into: Buf) -> Self {
        assert!(into.capacity() > 0, "a receive needs room");
        debug_assert!(out.is_empty() && into.is_empty());
        Self { conn, guard, limit: Some(limit), out, into, read: 0, unsent: None }
    }

    /// The connection itself, for anything but sending and receiving.
    pub fn conn(&self) -> &Conn {
        self.conn.borrow()
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
        debug_assert_eq!(self.read, self.into.len());
        self.into.vec_mut().extend_from_slice(said);
    }

    /// All that the last receive brought, read or not.
    pub fn received(&self) -> &[u8] {
        &self.into
    }

    /// What was received and not read. Say with [`Self::read_to`] how much of it is left.
    #[inline]
    pub fn unread(&self) -> &[u8] {
        &self.into[self.read..]
    }

    /// Of [`Self::unread`] the last `left` octets remain.
    #[inline]
    pub fn read_to(&mut self, left: usize) {
        debug_assert!(left <= self.into.len() - self.read, "what was read stays read");
        self.read = self.into.len() - left;
    }

    /// Sets no limit on the time of the server from here on.
    pub fn wait_for_ever(&mut self) {
        self.limit = None;
    }

    /// Stops the deadline while we do something that the server does not wait for.
    pub fn disarm(&self) {
        self.guard.borrow().disarm();
    }

    /// Whether the server missed its deadline.
    pub fn timed_out(&self) -> bool {
        self.guard.borrow().fired()
    }

    /// Starts the time that the server gets; see [`Self::exchange_on`].
    #[inline]
    pub fn arm(&self) {
        match self.limit {
            Some(limit) => self.guard.borrow().arm(limit),
            None => self.guard.borrow().disarm(),
        }
    }

    /// Sends what is written without waiting for replies.
    pub async fn send(&mut self) -> io::Result<()> {
        self.arm();
        let out = std::mem::take(&mut self.out);
        let sent;
        (sent, self.out) = self.conn.borrow_mut().send_all(out).await;
        self.out.clear();
        sent
    }

    /// Sends what is written, if anything is, and receives once. Answers whether the server has said
    /// something: read it then. `false` means that the receive was interrupted for a reason that is
    /// over; call this again.
    ///
    /// Octets that arrived although the send failed still count: read them, and then ask
    /// [`Self::take_unsent`].
    ///
    /// # Errors
    /// [`TalkError`] when nothing was received and nothing will be.
    #[inline]
    pub async fn exchange(&mut self) -> Result<bool, TalkError> {
        self.arm();
        self.exchange_on().await
    }

    /// The same in the time that is left since the last [`Self::arm`]: where that is for a whole reply, a
    /// server gets no more by sending the reply in pieces.
    ///
    /// # Errors
    /// As of [`Self::exchange`].
    #[inline]
    pub async fn exchange_on(&mut self) -> Result<bool, TalkError> {
        debug_assert_eq!(self.read, self.into.len(), "octets that nobody read would be lost");
        let (out, into) = (std::mem::take(&mut self.out), std::mem::take(&mut self.into));
        let (sent, received);
        (sent, self.out, received, self.into) = self.conn.borrow_mut().send_recv(out, into).await;
        self.out.clear();
        self.unsent = sent.err();
        if let Ok(1..) = received {
            self.read = 0;
            return Ok(true);
        }
        self.read = self.into.len();
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

    /// Receives what is there already. Answers whether there was something.
    ///
    /// # Errors
    /// [`TalkError`] when the server has closed the connection, or it has broken.
    pub fn recv_ready(&mut self) -> Result<bool, TalkError> {
        debug_assert_eq!(self.read, self.into.len(), "octets that nobody read would be lost");
        let received = self.conn.borrow_mut().recv_ready(&mut self.into);
        self.read = 0;
        match received {
            Ok(0) => Err(TalkError::Closed),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Why the send of the last exchange failed, if it did.
    #[inline]
    pub fn take_unsent(&mut self) -> Option<io::Error> {
        self.unsent.take()
    }

    /// Ends the conversation and leaves the connection open. The buffers go back to `pool`.
    pub fn release(self, pool: &Pool) -> (C, G) {
        pool.give(self.out);
        pool.give(self.into);
        (self.conn, self.guard)
    }
}

impl Wire {
    /// Closes the connection. The buffers go back to `pool`.
    pub async fn close(self, pool: &Pool) {
        let (conn, guard) = self.release(pool);
        drop(guard);
        conn.close().await;
    }
}
