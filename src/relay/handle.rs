//! The way of a core to the relay, and the relay's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::end::RelayEnd;
use super::plan::{RelayPlan, RelaySource};
use super::queue::{self, QueueSetup, RelayRequest};
use super::route::Grants;
use super::totals::RelayTotals;
use super::turned::TurnedSession;
use crate::limits::RELAY_ASKS_MAX;
use crate::smtp::node::Node;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer};
use crate::spool::SpoolError;

/// The way of one core to the relay. The relay ends when the last of them is dropped, or when it is told to.
#[derive(Clone, Debug)]
pub struct Relay {
    requests: mpsc::Sender<RelayRequest>,
    grants: Arc<Grants>,
    /// Cores that have not left.
    staying: Arc<AtomicUsize>,
    end: watch::Sender<RelayEnd>,
}

/// The thread of a relay.
#[derive(Debug)]
pub struct RelayThread {
    end: watch::Sender<RelayEnd>,
    totals: std_mpsc::Receiver<RelayTotals>,
}

impl RelayThread {
    /// Ends the relay, also if there is still a core that has not left: open messages are finished within
    /// the time of the drain, which began when the last core left, or else begins now.
    pub fn drain(&self) {
        self.end.send_if_modified(|now| now.grow(RelayEnd::Drain));
    }

    /// Ends the relay at once.
    pub fn cut(&self) {
        self.end.send_if_modified(|now| now.grow(RelayEnd::Now));
    }

    /// What was handed on, if the thread ends within `limit`. Ask no more after that.
    pub fn ended_within(&self, limit: Duration) -> Option<RelayTotals> {
        match self.totals.recv_timeout(limit) {
            Ok(totals) => Some(totals),
            Err(std_mpsc::RecvTimeoutError::Timeout) => None,
            // It panicked, and the panic has been printed.
            Err(std_mpsc::RecvTimeoutError::Disconnected) => Some(RelayTotals::default()),
        }
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
        let (end, _) = watch::channel(RelayEnd::No);
        let (ended, totals) = std_mpsc::channel();
        let (grants, staying) = (Arc::new(plan.grants.clone()), Arc::new(source.cores.into()));
        let dir = source.dir.clone();
        let setup = QueueSetup::new(plan, source, end.clone())?;
        let thread = thread::Builder::new().name("relay".to_owned());
        let thread = thread.spawn(move || {
            // The sink may wait no more.
            let _ = ended.send(queue::run(setup, inbox));
        });
        thread.map_err(|cause| SpoolError::io("start the relay of", &dir, cause))?;
        let relay_thread = RelayThread { end: end.clone(), totals };
        Ok((Self { requests, grants, staying, end }, relay_thread))
    }

    /// This core is ending. When the last core leaves, no delivery begins another message. A core calls
    /// this once.
    pub fn leave(&self) {
        let before = self.staying.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a core leaves once");
        if before == 1 {
            self.end.send_if_modified(|now| now.grow(RelayEnd::Drain));
        }
    }

    /// ETRN (RFC 1985): asks for the delivery of a node's mail to begin.
    /// `known`: the client has logged in. Of the others only so many are listened to.
    pub async fn etrn(&self, node: Node, known: bool) -> EtrnAnswer {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(RelayRequest::Etrn { node, known, answer }).await.is_err() {
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

#[cfg(test)]
mod tests {
    use super::super::route::{Route, Routes};
    use super::*;
    use crate::dial::Target;
    use crate::engine::{EngineKind, run_core};
    use crate::spool::{Durability, Options, Spool};

    #[test]
    fn a_relay_serves_until_the_last_core_has_left() {
        let dir = tempfile::tempdir().unwrap();
        let (_spool, _, _writers) = Spool::open(dir.path(), Options::default()).unwrap();
        let target = Target::parse("smtp://127.0.0.1:9", &[]).unwrap();
        let route = Route { node: Node::parse(b"a.example").unwrap(), target, security: None };
        let plan = RelayPlan {
            routes: Routes::new(vec![route.clone()]).unwrap(),
            grants: Grants::default(),
            hostname: "sink.example".into(),
            timeout: Duration::from_secs(9),
        };
        let source = RelaySource {
            dir: dir.path().to_owned(),
            durability: Durability::Process,
            watermarks: Vec::new(),
            engine: EngineKind::Epoll,
            cores: 2,
            drain: Duration::from_secs(1),
        };
        let (relay, thread) = Relay::open(plan, source).unwrap();
        let idle = relay.clone();
        let asked = run_core(EngineKind::Epoll, async {
            let mut answers = vec![relay.etrn(route.node.clone(), false).await];
            idle.leave();
            drop(idle);
            answers.push(relay.etrn(route.node.clone(), false).await);
            relay.leave();
            answers.push(relay.etrn(route.node.clone(), false).await);
            answers
        });
        let expected = [EtrnAnswer::Nothing, EtrnAnswer::Nothing, EtrnAnswer::Unable];
        assert_eq!(asked.unwrap(), expected);
        drop(relay);
        assert!(thread.ended_within(Duration::from_secs(20)).is_some());
    }
}
