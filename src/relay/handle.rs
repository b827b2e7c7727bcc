//! The way of a core to the relay, and the relay's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::plan::{RelayPlan, RelaySource};
use super::queue::{self, QueueSetup, RelayRequest};
use super::route::Grants;
use super::totals::RelayTotals;
use super::turned::TurnedSession;
use crate::limits::RELAY_ASKS_MAX;
use crate::smtp::node::Node;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer};
use crate::spool::SpoolError;

/// The way of one core to the relay. The relay ends when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct Relay {
    requests: mpsc::Sender<RelayRequest>,
    grants: Arc<Grants>,
    leaving: Arc<AtomicBool>,
}

/// The thread of a relay. It ends when every [`Relay`] is gone.
#[derive(Debug)]
pub struct RelayThread(JoinHandle<RelayTotals>);

impl RelayThread {
    /// Waits until the thread has ended. Answers what was handed on.
    pub fn join(self) -> RelayTotals {
        // Where it panicked, the panic has been printed.
        self.0.join().unwrap_or_default()
    }
}

impl Relay {
    /// Starts the thread of the relay.
    ///
    /// # Errors
    /// [`SpoolError`] when the file that notes deliveries cannot be opened, or the thread cannot be
    /// started.
    pub fn open(plan: RelayPlan, source: RelaySource) -> Result<(Self, RelayThread), SpoolError> {
        let (requests, inbox) = mpsc::channel(RELAY_ASKS_MAX);
        let leaving = Arc::new(AtomicBool::new(false));
        let grants = Arc::new(plan.grants.clone());
        let dir = source.dir.clone();
        let setup = QueueSetup::new(plan, source, leaving.clone())?;
        let thread = thread::Builder::new().name("relay".to_owned());
        let thread = thread.spawn(move || queue::run(setup, inbox));
        let thread = thread.map_err(|cause| SpoolError::io("start the relay of", &dir, cause))?;
        Ok((Self { requests, grants, leaving }, RelayThread(thread)))
    }

    /// Lets no delivery begin another message, because the sink is ending.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// ETRN (RFC 1985): asks for the delivery of a node's mail to begin.
    pub async fn etrn(&self, node: Node) -> EtrnAnswer {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(RelayRequest::Etrn { node, answer }).await.is_err() {
            return EtrnAnswer::Unable;
        }
        answered.await.unwrap_or(EtrnAnswer::Unable)
    }

    /// ATRN (RFC 2645) of `user`: the delivery of the user's mail, which waits for
    /// [`TurnedSession::run`].
    ///
    /// # Errors
    /// The answer that says why there is no delivery.
    pub async fn atrn(&self, user: &[u8], asked: &[Node]) -> Result<TurnedSession, AtrnAnswer> {
        let nodes = self.grants.of(user, asked).ok_or(AtrnAnswer::Refused)?;
        let (answer, answered) = oneshot::channel();
        let name = String::from_utf8_lossy(user).into_owned();
        if self.requests.send(RelayRequest::Atrn { name, nodes, answer }).await.is_err() {
            return Err(AtrnAnswer::Unable);
        }
        answered.await.unwrap_or(Err(AtrnAnswer::Unable))
    }
}
