//! One core: its listeners, its watch over deadlines, its sessions, its end.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use super::group_commit::Gate;
use super::keep::KeepRules;
use super::peer_limit::Crowd;
use super::quota::{Counters, Quota, Stop};
use super::summary::{CoreSummary, SpoolSummary};
use super::{Port, Rules, lingering_close, session};
use crate::engine::task::{self, JoinHandle, Notify, select};
use crate::engine::{self, BoundListener, Conn, EngineKind, Handle, Listener, Peer, Pool, Watch};
use crate::host::{self, PageFaults};
use crate::limits::{LINGERERS_MAX, SPOOL_LOOK_MS};
use crate::notice::notice;
use crate::relay::Relay;
use crate::smtp::server::{CloseReason, Policy};
use crate::spool::{Durability, SpoolError, Ticket, TicketFate, Writer};

/// What a core thread is handed at its start.
pub(super) struct Setup {
    pub(super) index: usize,
    pub(super) cpu: usize,
    pub(super) engine: EngineKind,
    pub(super) listeners: Vec<BoundListener>,
    pub(super) ports: Vec<Port>,
    pub(super) writer: Option<Writer>,
    pub(super) durability: Option<Durability>,
    pub(super) keep: KeepRules,
    pub(super) rules: Rules,
    pub(super) crowd: Crowd,
    pub(super) relay: Option<Relay>,
    pub(super) drain: Duration,
    pub(super) connections_max: usize,
    pub(super) quota: Quota,
    pub(super) stop: watch::Receiver<Stop>,
}

/// A listener's port as the sessions of one core see it.
pub(super) struct Door {
    pub(super) url: String,
    pub(super) policy: Rc<Policy>,
}

/// What the sessions of one core share.
pub(super) struct Core {
    /// `None` discards.
    pub(super) writer: Option<RefCell<Writer>>,
    pub(super) gate: Gate,
    pub(super) durability: Option<Durability>,
    pub(super) keep: KeepRules,
    pub(super) counters: RefCell<Counters>,
    pub(super) pool: Pool,
    pub(super) watch: Rc<Watch>,
    pub(super) quota: Quota,
    pub(super) rules: Rules,
    pub(super) crowd: Crowd,
    /// `None`: nothing is handed on.
    pub(super) relay: Option<Relay>,
    pub(super) stop: Cell<Stop>,
    /// Page faults of this thread before its first message.
    faults_before: Cell<Option<PageFaults>>,
    /// The spool takes no mail for now.
    lacking: Cell<bool>,
    /// Callers turned away who are still listened to.
    lingerers: Cell<usize>,
    connections_max: usize,
    /// Told when a session ends.
    ended: Notify,
}

/// Runs one core on this thread until it is told to stop and its sessions are over.
pub(super) fn run(setup: Setup) -> io::Result<CoreSummary> {
    host::pin(setup.cpu)?;
    let engine = setup.engine;
    engine::run_core(engine, serve(setup))?
}

async fn serve(setup: Setup) -> io::Result<CoreSummary> {
    let mut stop = setup.stop;
    let core = Rc::new(Core {
        writer: setup.writer.map(RefCell::new),
        gate: Gate::default(),
        durability: setup.durability,
        keep: setup.keep,
        counters: RefCell::default(),
        pool: Pool::new(),
        watch: Watch::new(),
        quota: setup.quota,
        rules: setup.rules,
        crowd: setup.crowd,
        relay: setup.relay,
        stop: Cell::new(Stop::No),
        faults_before: Cell::new(None),
        lacking: Cell::new(false),
        lingerers: Cell::new(0),
        connections_max: setup.connections_max,
        ended: Notify::new(),
    });
    let ticker = task::spawn(core.watch.clone().run());
    let look_out = task::spawn(look_out(core.clone()));
    let mut loops = Vec::new();
    for (bound, port) in setup.listeners.into_iter().zip(setup.ports) {
        let door = Rc::new(Door { url: port.url, policy: Rc::new(port.policy) });
        let listener = bound.attach()?;
        let handle = listener.handle();
        let task = task::spawn(accept_loop(core.clone(), listener, door));
        loops.push((handle, task));
    }
    wait_for(&mut stop, Stop::NoNewSessions).await;
    core.stop.set(*stop.borrow());
    close_doors(loops).await;
    core.wind_up(stop, setup.drain).await;
    ticker.abort();
    look_out.abort();
    Ok(core.summary(setup.index, setup.cpu))
}

/// Looks now and then whether the segment that is written is still where readers find it, also while nobody
/// sends.
async fn look_out(core: Rc<Core>) {
    let Some(writer) = &core.writer else { return };
    let mut interval = task::interval(Duration::from_millis(SPOOL_LOOK_MS));
    loop {
        interval.tick().await;
        // An error has been told, and counts as a failure.
        let _ = writer.borrow_mut().look();
    }
}

/// Waits until the stop has grown to `at_least`. A sink whose sender is gone is being torn down.
async fn wait_for(stop: &mut watch::Receiver<Stop>, at_least: Stop) {
    let _ = stop.wait_for(|now| *now >= at_least).await;
}

/// Accepts until the listener is stopped. What was accepted by then is served.
async fn accept_loop(core: Rc<Core>, mut listener: Listener, door: Rc<Door>) {
    loop {
        match listener.accept().await {
            Ok((conn, peer)) => core.clone().admit(conn, peer, door.clone()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
            Err(error) => {
                notice!("ringpost-sink: {} takes no more connections: {error}", door.url);
                return;
            }
        }
    }
    // Callers in the backlog were promised a listener: each gets a 421 rather than a reset.
    while let Ok(Some((conn, peer))) = listener.accept_waiting().await {
        core.clone().turn_away(conn, &peer, door.clone(), CloseReason::ShuttingDown);
    }
}

async fn close_doors(loops: Vec<(Handle, JoinHandle<()>)>) {
    for (listener, task) in loops {
        listener.interrupt();
        // A loop that panicked has said so; the others still have to end.
        let _ = task.await;
    }
}

impl Core {
    /// Whether a message that was sealed is not kept, and may not be acknowledged.
    pub(super) fn is_lost(&self, ticket: Option<Ticket>) -> bool {
        let (Some(ticket), Some(writer)) = (ticket, &self.writer) else { return false };
        writer.borrow_mut().fate(ticket) == TicketFate::Lost
    }

    fn admit(self: Rc<Self>, conn: Conn, peer: Peer, door: Rc<Door>) {
        let full = peer.crowded || self.counters.borrow().active >= self.connections_max;
        if full {
            return self.turn_away(conn, &peer, door, CloseReason::Overloaded);
        }
        if !self.quota.take_session() {
            return self.turn_away(conn, &peer, door, CloseReason::ShuttingDown);
        }
        {
            let mut counters = self.counters.borrow_mut();
            counters.connections += 1;
            counters.active += 1;
            counters.active_peak = counters.active_peak.max(counters.active);
        }
        task::spawn(async move {
            session::serve(&self, conn, peer, &door).await;
            self.counters.borrow_mut().active -= 1;
            self.ended.notify_waiters();
        });
    }

    /// A message has begun.
    pub(super) fn note_message(&self) {
        if self.faults_before.get().is_none() {
            self.faults_before.set(Some(PageFaults::of_thread().unwrap_or_default()));
        }
    }

    /// Tells the user when the spool stops taking mail, and when it takes it again: once each.
    pub(super) fn note_lack(&self, writer: &RefCell<Writer>, lack: Option<&SpoolError>) {
        if self.lacking.replace(lack.is_some()) == lack.is_some() {
            return;
        }
        let core = writer.borrow().core();
        match lack {
            // What failed has been told already.
            Some(
                SpoolError::Poisoned { .. } | SpoolError::Torn { .. } | SpoolError::Removed { .. },
            ) => {}
            Some(error) => notice!("ringpost-sink: core {core} refuses mail: {error}"),
            None => notice!("ringpost-sink: core {core} takes mail again"),
        }
    }

    fn turn_away(self: Rc<Self>, conn: Conn, peer: &Peer, door: Rc<Door>, why: CloseReason) {
        self.counters.borrow_mut().turned_away += 1;
        // One who has the last descriptor must be gone before the next can be accepted.
        let linger = !peer.crowded && self.lingerers.get() < LINGERERS_MAX;
        let count = usize::from(linger);
        self.lingerers.set(self.lingerers.get() + count);
        task::spawn(async move {
            lingering_close::turn_away(&self, conn, &door, why, linger).await;
            self.lingerers.set(self.lingerers.get() - count);
        });
    }

    /// Lets the open sessions end in the way that `stop` asks for.
    async fn wind_up(&self, mut stop: watch::Receiver<Stop>, drain: Duration) {
        self.until(wait_for(&mut stop, Stop::Drain)).await;
        self.stop.set(self.stop.get().max(*stop.borrow()).max(Stop::Drain));
        if let Some(relay) = &self.relay {
            relay.leave();
        }
        self.watch.interrupt_all();
        let out_of_time = async {
            select! {
                () = task::sleep(drain) => {}
                () = wait_for(&mut stop, Stop::Now) => {}
            }
        };
        self.until(out_of_time).await;
        self.stop.set(Stop::Now);
        self.watch.shutdown_all();
        self.until(task::sleep(Duration::from_secs(2))).await;
    }

    /// Waits until no session is left, or `limit` is over.
    async fn until(&self, limit: impl Future<Output = ()>) {
        let mut limit = pin!(limit);
        while self.counters.borrow().active > 0 {
            select! {
                () = self.ended.notified() => {}
                () = &mut limit => return,
            }
        }
    }

    fn summary(&self, index: usize, cpu: usize) -> CoreSummary {
        let spool = self.writer.as_ref().map(|writer| {
            let mut writer = writer.borrow_mut();
            // What happened since the last look counts too.
            let _ = writer.look();
            SpoolSummary { position: writer.position().to_string(), stats: writer.stats() }
        });
        let faults = PageFaults::of_thread().unwrap_or_default();
        let faults = self.faults_before.get().map_or_else(Default::default, |f| faults.since(f));
        CoreSummary::new(index, cpu, *self.counters.borrow(), faults, spool)
    }
}
