//! A session whose roles have turned round (ATRN, RFC 2645 §4).

use super::delivery::{DeliverySession, Inputs};
use super::running::RunningDelivery;
use crate::engine::{Guard, Pool, Stream};
use crate::smtp::server::Protocol;

/// A delivery to the client of a connection that exists already. When it is dropped, nothing is sent.
#[derive(Debug)]
pub struct TurnedSession {
    pub(super) inputs: Inputs,
    pub(super) running: RunningDelivery,
}

impl TurnedSession {
    /// Is the client on `conn` until its QUIT is answered. `said` is what the other end has sent
    /// already. When `leave` returns true, no
    /// further message begins.
    pub async fn run(
        self,
        conn: &mut Stream,
        guard: &Guard,
        pool: &Pool,
        said: &[u8],
        leave: &dyn Fn() -> bool,
    ) {
        let Self { inputs, running } = self;
        let session = DeliverySession::new(inputs, Protocol::Smtp, conn, guard, pool, leave);
        running.finish(session.run(said).await);
    }
}
