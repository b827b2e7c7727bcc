//! A session whose roles have turned round (ATRN, RFC 2645 §4).

use std::rc::Rc;

use super::delivery::{DeliveryConnection, DeliverySession, Inputs};
use super::running::RunningDelivery;
use crate::engine::{Buf, Guard, Pool, Stream};
use crate::smtp::server::Protocol;

/// A delivery to the client of a connection that exists already. When it is dropped, nothing is sent.
#[derive(Debug)]
pub struct TurnedSession {
    pub(super) inputs: Inputs,
    pub(super) running: RunningDelivery,
}

impl TurnedSession {
    /// Is the client on `stream` until its QUIT is answered, and under TLS until close_notify is said.
    /// `said` is what the other end has sent already; `inbox` is what receives fill, under TLS with the
    /// record behind it whose end has not come. When `leave` returns true, no further message begins.
    pub async fn run(
        self,
        stream: &mut Stream,
        guard: &Guard,
        pool: &Rc<Pool>,
        (said, inbox): (&[u8], Buf),
        leave: &dyn Fn() -> bool,
    ) {
        let Self { inputs, running } = self;
        let connection = DeliveryConnection { stream, guard, pool, inbox, security: None };
        let session = DeliverySession::new(inputs, Protocol::Smtp, connection, leave);
        running.finish(session.run(said).await);
    }
}
