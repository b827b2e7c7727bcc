//! Hands spooled mail on to other servers: what ETRN begins (RFC 1985) and ATRN asks for (RFC 2645).
//!
//! One thread, beside the cores that take mail, reads the spool and runs the deliveries that ETRN
//! began; those of ATRN run on the core that has their connection, and get their messages from here.
//! Cores ask through a [`Relay`], and wait for an answer without blocking their other sessions.
//!
//! ```text
//!  core --Relay--> [queue] line, runs, counters
//!                     |  +-- [reading] Reader, Deliveries: messages that wait, piece by piece
//!                     |  +-- notes: DeliveryLog, one writer
//!                     v
//!                 [delivery] Conn + smtp::Client, here or on the core
//! ```

mod delivery;
mod queue;
mod reading;
mod route;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use self::delivery::{Courier, Satchel};
use self::queue::{Ask, End, Setup};
pub use self::route::{BadGrant, Grant, Grants, Route, Routes};
use crate::engine::{Conn, EngineKind, Guard, Pool};
use crate::host::unix_ns;
use crate::limits::RELAY_ASKS_MAX;
use crate::smtp::node::Node;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer, Protocol};
use crate::spool::{Durability, Horizon, SpoolError};

/// What a relay is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    pub routes: Routes,
    pub grants: Grants,
    /// Our name in EHLO and in trace fields.
    pub hostname: Box<str>,
    /// Time that a server gets for each reply.
    pub timeout: Duration,
}

/// The spool that it serves, whose lock the caller holds.
#[derive(Clone, Debug)]
pub struct Source {
    pub dir: PathBuf,
    pub durability: Durability,
    /// Of the cores whose messages may be sealed and not acknowledged yet.
    pub horizons: Vec<Horizon>,
}

/// What was handed on.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Deliveries of ETRN and ATRN that had something to send.
    pub runs: u64,
    /// Messages attempted; one for more recipients than a transaction takes counts once for each.
    pub messages: u64,
    /// Recipients whose message the next server took.
    pub delivered: u64,
    /// Recipients that it refused for good.
    pub refused: u64,
    /// Recipients that a delivery was for and that wait on.
    pub left: u64,
}

/// What one delivery came to.
#[derive(Clone, Debug, Default)]
struct Tally {
    messages: u64,
    delivered: u64,
    refused: u64,
    /// The first thing that went wrong.
    why: Option<String>,
}

impl Tally {
    fn note(&mut self, why: impl FnOnce() -> String) {
        self.why.get_or_insert_with(why);
    }
}

/// A core's way to the relay; all of them together keep it alive.
#[derive(Clone, Debug)]
pub struct Relay {
    asks: mpsc::Sender<Ask>,
    grants: Arc<Grants>,
    leaving: Arc<AtomicBool>,
}

/// A relay's thread. It ends when every [`Relay`] is gone.
#[derive(Debug)]
pub struct Office(JoinHandle<Totals>);

impl Office {
    /// What was handed on, once the thread has ended.
    pub fn join(self) -> Totals {
        // A panic has been printed.
        self.0.join().unwrap_or_default()
    }
}

impl Relay {
    /// Starts the relay's thread. At the end its deliveries get `drain` for their open messages.
    ///
    /// # Errors
    /// [`SpoolError`] when the deliveries of the spool cannot be noted, or the thread not be started.
    pub fn open(
        plan: Plan,
        source: Source,
        engine: EngineKind,
        drain: Duration,
    ) -> Result<(Self, Office), SpoolError> {
        let (asks, inbox) = mpsc::channel(RELAY_ASKS_MAX);
        let leaving = Arc::new(AtomicBool::new(false));
        let grants = Arc::new(plan.grants.clone());
        let dir = source.dir.clone();
        let setup = Setup::new(plan, source, drain, leaving.clone())?;
        let thread = thread::Builder::new().name("relay".to_owned());
        let thread = thread.spawn(move || queue::run(engine, setup, inbox));
        let thread = thread.map_err(|cause| SpoolError::io("start the relay of", &dir, cause))?;
        Ok((Self { asks, grants, leaving }, Office(thread)))
    }

    /// Lets no delivery begin another message: the sink is ending.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// ETRN: has the delivery of a node's mail begun.
    pub async fn etrn(&self, node: Node) -> EtrnAnswer {
        let (answer, answered) = oneshot::channel();
        if self.asks.send(Ask::Etrn { node, answer }).await.is_err() {
            return EtrnAnswer::Unable;
        }
        answered.await.unwrap_or(EtrnAnswer::Unable)
    }

    /// ATRN of `user`: the delivery of his mail, which waits for [`Errand::run`].
    ///
    /// # Errors
    /// The answer that says why there is none.
    pub async fn atrn(&self, user: &[u8], asked: &[Node]) -> Result<Errand, AtrnAnswer> {
        let nodes = self.grants.of(user, asked).ok_or(AtrnAnswer::Refused)?;
        let (answer, answered) = oneshot::channel();
        let name = String::from_utf8_lossy(user).into_owned();
        if self.asks.send(Ask::Atrn { name, nodes, answer }).await.is_err() {
            return Err(AtrnAnswer::Unable);
        }
        answered.await.unwrap_or(Err(AtrnAnswer::Unable))
    }
}

/// A delivery down a connection that is there already. One that is dropped sends nothing.
#[derive(Debug)]
pub struct Errand {
    satchel: Satchel,
    end: End,
}

impl Errand {
    /// Is the client on `conn`, whose server has sent `said` already, to the QUIT. `leave` says
    /// whether to begin no further message.
    pub async fn run(
        self,
        conn: &mut Conn,
        guard: &Guard,
        pool: &Pool,
        said: &[u8],
        leave: &dyn Fn() -> bool,
    ) {
        let Self { satchel, end } = self;
        let courier = Courier::new(satchel, Protocol::Smtp, conn, guard, pool, leave);
        end.tell(courier.run(said).await);
    }
}
