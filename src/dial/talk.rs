//! A conversation that keeps to the protocol: a wire, and the client that knows what may be written.

use std::borrow::{Borrow, BorrowMut};
use std::rc::Rc;

use super::error::TalkError;
use super::wire::Wire;
use crate::engine::{Guard, Pool, Stream};
use crate::smtp::client::{Client, Fault, Pipelining, ReplyEvent, Want};
use crate::smtp::outgoing::Outgoing;
use crate::tls::{Tls, TlsFacts};

/// One session with a server, client's side.
///
/// Its user does what [`Talk::want`] asks for until that is replies, calls [`Talk::exchange`], and
/// takes the replies with [`Talk::read`] until there are no more. What must happen at the moment of
/// the send or the receive, such as a reading of the clock, stands before and after the call.
#[derive(Debug)]
pub struct Talk<C = Stream, G = Guard> {
    /// The connection. Message octets are appended to its [`Wire::out_mut`].
    pub wire: Wire<C, G>,
    client: Client,
}

impl<C: BorrowMut<Stream>, G: Borrow<Guard>> Talk<C, G> {
    /// A conversation over `wire` that has not begun.
    pub fn new(wire: Wire<C, G>, client: Client) -> Self {
        Self { wire, client }
    }

    /// The state of the session.
    #[inline]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What the caller must write next. What needs nothing from the caller is written here.
    #[inline]
    pub fn want(&mut self) -> Want {
        self.client.want(self.wire.out_mut())
    }

    /// Begins the transaction that [`Want::Transaction`] asked for.
    #[inline]
    pub fn begin(&mut self, envelope: &Outgoing<'_>) {
        self.client.begin(self.wire.out_mut(), envelope);
    }

    /// Writes the next line of the envelope that [`Want::Envelope`] asked for.
    #[inline]
    pub fn resume(&mut self, envelope: &Outgoing<'_>) {
        self.client.resume(self.wire.out_mut(), envelope);
    }

    /// Ends the body that was asked for.
    #[inline]
    pub fn body_done(&mut self) {
        self.client.body_done(self.wire.out_mut());
    }

    /// Writes QUIT; nothing may follow it.
    pub fn quit(&mut self) {
        self.client.quit(self.wire.out_mut());
    }

    /// Runs the handshake; see [`Wire::secure`]. The client goes on with its greeting where
    /// [`Want::Encrypt`] asked for the handshake.
    ///
    /// # Errors
    /// As of [`Wire::secure`].
    pub async fn secure(&mut self, tls: Tls, pool: &Rc<Pool>) -> Result<TlsFacts, TalkError> {
        let facts = self.wire.secure(tls, pool).await?;
        if self.client.is_at_handshake() {
            self.client.secured();
        }
        Ok(facts)
    }

    /// Changes how the transactions to come are written; see [`Client::adapt`].
    pub fn adapt(&mut self, pipelining: Pipelining, chunking: bool) {
        self.client.adapt(pipelining, chunking);
    }

    /// Sends what is written without waiting for replies.
    ///
    /// # Errors
    /// [`TalkError::Io`] when not all of it could be sent.
    pub async fn send(&mut self) -> Result<(), TalkError> {
        Ok(self.wire.send().await?)
    }

    /// Sends what is written and receives once; see [`Wire::exchange`].
    #[inline]
    pub fn exchange(&mut self) -> impl Future<Output = Result<bool, TalkError>> {
        self.wire.exchange()
    }

    /// Takes the next whole reply of those received; `None` when there is none left.
    ///
    /// # Errors
    /// The session is of no further use after a [`Fault`].
    #[inline]
    pub fn read(&mut self) -> Result<Option<ReplyEvent>, Fault> {
        let mut input = self.wire.unread();
        let event = self.client.step(&mut input)?;
        let left = input.len();
        self.wire.read_to(left);
        if event.is_some() {
            self.wire.replied();
        }
        Ok(event)
    }

    /// Fails if the send of the last exchange failed. After the end of the session a failed send
    /// does not matter.
    ///
    /// # Errors
    /// [`TalkError::Io`] when the send failed and the session goes on.
    #[inline]
    pub fn sent(&mut self) -> Result<(), TalkError> {
        match self.wire.take_unsent() {
            Some(error) if !self.client.over() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends the conversation and leaves the connection open. The buffers go back to `pool`.
    pub fn release(self, pool: &Pool) -> (C, G) {
        self.wire.release(pool)
    }
}

impl Talk {
    /// Closes the connection. The buffers go back to `pool`.
    pub async fn close(self, pool: &Pool) {
        self.wire.close(pool).await;
    }
}
