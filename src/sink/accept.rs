//! One core from its start to its end: it accepts connections, spawns their sessions, and ends them when
//! the sink stops.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connection_limit::ConnectionPlace;
use super::core::{Core, CoreSetup, Door};
use super::plan::Port;
use super::stop::Stop;
use super::summary::{CoreSummary, SpoolSummary};
use super::{lingering_close, session};
use crate::engine::task::{self, JoinHandle, select};
use crate::engine::{self, BoundListener, Conn, EngineKind, Handle, Listener, Pause, Peer};
use crate::host;
use crate::limits::LINGERERS_MAX;
use crate::notice::notice;
use crate::smtp::server::CloseReason;

/// Pause between two checks of a core whether the segment that it writes is still where readers find it: so
/// long may messages go into a file that was removed.
const SPOOL_LOOK_MS: u64 = 100;

/// As [`SPOOL_LOOK_MS`], while no message comes. The first message after it has a check of its own.
const SPOOL_LOOK_IDLE_MS: u64 = 1_000;

/// Time in which sessions say 421 at the end of the time for open messages.
const LAST_WORDS: Duration = Duration::from_millis(LAST_WORDS_MS);
const LAST_WORDS_MS: u64 = 500;

/// The longest that a core takes after the time for open messages, in milliseconds, but for its own work.
pub(super) const LEAVE_MS_MAX: u64 = LAST_WORDS_MS + CUT_MS;

/// What a core thread is handed at its start.
pub(super) struct Setup {
    pub(super) cpu: usize,
    pub(super) engine: EngineKind,
    pub(super) listeners: Vec<BoundListener>,
    pub(super) ports: Vec<Port>,
    pub(super) drain: Duration,
    pub(super) stop: watch::Receiver<Stop>,
    /// The ports, in their order, each time that they change.
    pub(super) changes: watch::Receiver<Arc<[Port]>>,
    pub(super) core: CoreSetup,
}

/// Time that sessions get to end after their connections were cut, in milliseconds. Those that wait for
/// something else, such as a disk that hangs, stay behind.
const CUT_MS: u64 = 300;

/// Runs one core on this thread until it is told to stop and its sessions are over.
pub(super) fn run(setup: Setup) -> io::Result<CoreSummary> {
    host::pin(setup.cpu)?;
    let engine = setup.engine;
    engine::run_core(engine, serve(setup))?
}

async fn serve(setup: Setup) -> io::Result<CoreSummary> {
    assert_eq!(setup.listeners.len(), setup.ports.len(), "each port has one listener on each core");
    let mut stop = setup.stop;
    let core = Rc::new(Core::new(setup.core));
    let ticker = task::spawn(core.watch.clone().run());
    let look_out = task::spawn(look_out(core.clone()));
    let (mut loops, mut doors) = (Vec::new(), Vec::new());
    for (bound, port) in setup.listeners.into_iter().zip(setup.ports) {
        let door = Rc::new(Door::new(port));
        doors.push(door.clone());
        let listener = bound.attach()?;
        let handle = listener.handle();
        let task = task::spawn(accept_loop(core.clone(), listener, door));
        loops.push((handle, task));
    }
    let follower = task::spawn(follow(setup.changes, doors));
    wait_for(&mut stop, Stop::NoNewSessions).await;
    core.stop.set(*stop.borrow());
    close_doors(loops).await;
    wind_up(&core, stop, setup.drain).await;
    ticker.abort();
    look_out.abort();
    follower.abort();
    Ok(summary(&core, setup.cpu))
}

/// Gives each listener what has changed for it.
async fn follow(mut changes: watch::Receiver<Arc<[Port]>>, doors: Vec<Rc<Door>>) {
    while changes.changed().await.is_ok() {
        let now = changes.borrow_and_update().clone();
        assert_eq!(now.len(), doors.len(), "each port has its listener");
        for (door, port) in doors.iter().zip(&*now) {
            door.renew(port.clone());
        }
    }
}

/// Checks at intervals whether the segment that the core writes is still where readers find it, also while
/// no client sends.
async fn look_out(core: Rc<Core>) {
    let Some(writer) = &core.writer else { return };
    let mut pause = Pause::new();
    loop {
        if core.doze.has_messages() {
            task::sleep(Duration::from_millis(SPOOL_LOOK_MS)).await;
        } else {
            core.doze.begin();
            select! {
                () = pause.wait(Duration::from_millis(SPOOL_LOOK_IDLE_MS)) => {}
                () = core.doze.over() => {}
            }
        }
        // The writer has reported the error, and counts it as a failure.
        let _ = writer.borrow_mut().check_path();
    }
}

/// Waits until the stop has grown to `at_least`, or until the sender is gone, because then the sink ends.
async fn wait_for(stop: &mut watch::Receiver<Stop>, at_least: Stop) {
    let _ = stop.wait_for(|now| *now >= at_least).await;
}

/// Accepts until the listener is stopped. What was accepted by then is served.
async fn accept_loop(core: Rc<Core>, mut listener: Listener, door: Rc<Door>) {
    loop {
        match listener.accept().await {
            Ok((conn, peer)) => admit(&core, conn, peer, &door),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
            Err(error) => {
                notice!("ringpost-sink: {} takes no more connections: {error}", door.url);
                return;
            }
        }
    }
    // Callers in the backlog were promised a listener: each gets a 421 rather than a reset.
    while let Ok(Some((conn, peer))) = listener.accept_waiting().await {
        turn_away(&core, conn, &peer, &door, CloseReason::ShuttingDown);
    }
}

async fn close_doors(loops: Vec<(Handle, JoinHandle<()>)>) {
    for (listener, task) in loops {
        listener.interrupt();
        // A panic in a loop was reported already, and the other loops still have to end.
        let _ = task.await;
    }
}

fn admit(core: &Rc<Core>, conn: Conn, peer: Peer, door: &Rc<Door>) {
    let place = if peer.crowded { None } else { core.connections.take() };
    let Some(place) = place else {
        return turn_away(core, conn, &peer, door, CloseReason::Overloaded);
    };
    if !core.quota.take_session() {
        return turn_away(core, conn, &peer, door, CloseReason::ShuttingDown);
    }
    let (session, door) = (OpenSession::begin(core.clone(), place), door.clone());
    task::spawn(async move {
        session::serve(&session.core, conn, peer, &door).await;
    });
}

/// A session that is counted as open until this is dropped, also when its task panics: otherwise the
/// end of the sink would wait for it until the time of the drain is over.
struct OpenSession {
    core: Rc<Core>,
    _place: ConnectionPlace,
}

impl OpenSession {
    fn begin(core: Rc<Core>, place: ConnectionPlace) -> Self {
        core.board.session_begins();
        Self { core, _place: place }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.core.board.session_ends();
        self.core.ended.notify_waiters();
    }
}

fn turn_away(core: &Rc<Core>, conn: Conn, peer: &Peer, door: &Rc<Door>, why: CloseReason) {
    core.board.turned_away.add(1);
    // A connection that took the last descriptor must be closed before the next can be accepted.
    let linger = !peer.crowded && core.lingerers.get() < LINGERERS_MAX;
    let count = usize::from(linger);
    core.lingerers.set(core.lingerers.get() + count);
    core.farewells.set(core.farewells.get() + 1);
    let (core, door, peer) = (core.clone(), door.clone(), *peer);
    task::spawn(async move {
        lingering_close::turn_away(&core, conn, peer, &door, why, linger).await;
        let less = |cell: &Cell<usize>, count| {
            let left = cell.get().checked_sub(count);
            cell.set(left.expect("each caller was counted when it was turned away"));
        };
        less(&core.lingerers, count);
        less(&core.farewells, 1);
        core.ended.notify_waiters();
    });
}

/// Lets the open sessions end in the way that `stop` asks for.
async fn wind_up(core: &Core, mut stop: watch::Receiver<Stop>, drain: Duration) {
    sessions_end(core, wait_for(&mut stop, Stop::Drain)).await;
    core.stop.set(core.stop.get().max(*stop.borrow()).max(Stop::Drain));
    if let Some(relay) = &core.relay {
        relay.leave();
    }
    core.watch.interrupt_all();
    let out_of_time = async {
        select! {
            () = task::sleep(drain) => {}
            () = wait_for(&mut stop, Stop::Now) => {}
        }
    };
    sessions_end(core, out_of_time).await;
    core.stop.set(Stop::Now);
    // Each session says 421 before it closes (RFC 5321 §3.8), also in the middle of a message.
    core.watch.interrupt_all();
    sessions_end(core, task::sleep(LAST_WORDS)).await;
    core.watch.shutdown_all();
    sessions_end(core, task::sleep(Duration::from_millis(CUT_MS))).await;
}

/// Waits until no session is left, and nobody who is turned away, or until `limit` is over.
async fn sessions_end(core: &Core, limit: impl Future<Output = ()>) {
    let mut limit = pin!(limit);
    while core.board.sessions_open() > 0 || core.farewells.get() > 0 {
        select! {
            () = core.ended.notified() => {}
            () = &mut limit => return,
        }
    }
}

fn summary(core: &Core, cpu: usize) -> CoreSummary {
    let spool = core.writer.as_ref().map(|writer| {
        let mut writer = writer.borrow_mut();
        // A loss since the last check counts too.
        let _ = writer.check_path();
        SpoolSummary { position: writer.position().to_string(), stats: writer.stats() }
    });
    CoreSummary::new(core.board.snapshot(), cpu, core.page_faults(), spool)
}

#[cfg(test)]
mod tests {
    use super::super::board::LiveBoard;
    use super::super::connection_limit::ConnectionLimit;
    use super::super::hints::Hints;
    use super::super::keep::KeepRules;
    use super::super::networks::Networks;
    use super::super::peer_limit::PeerLimit;
    use super::super::plan::PeerPolicy;
    use super::super::quota::Quota;
    use super::super::session_log::LogPlan;
    use super::*;

    fn core() -> Core {
        let peer_policy = PeerPolicy {
            timeout: Duration::from_secs(9),
            data_rate_min: 0,
            greet_delay: Duration::ZERO,
            connections_per_peer_max: None,
            proxies: Networks::default(),
            xclient: Networks::default(),
        };
        let (_, mut boards) = LiveBoard::new(1);
        Core::new(CoreSetup {
            writer: None,
            durability: None,
            keep: KeepRules::default(),
            peer_policy,
            peer_limit: PeerLimit::new(None),
            relay: None,
            connections: ConnectionLimit::new(1),
            quota: Quota::new(None, None, watch::channel(Stop::No).0),
            envelope_memory_bytes: 0,
            log: LogPlan::default(),
            hints: Hints::default(),
            faults: None,
            board: boards.remove(0),
        })
    }

    #[test]
    fn a_core_waits_for_sessions_and_for_those_who_are_turned_away() {
        let ended = engine::run_core(EngineKind::Epoll, async {
            let core = core();
            let is_over = async |core: &Core| {
                let over = sessions_end(core, std::future::pending());
                task::timeout(Duration::from_millis(1), over).await.is_ok()
            };
            assert!(is_over(&core).await);
            core.farewells.set(1);
            assert!(!is_over(&core).await);
            core.farewells.set(0);
            core.board.session_begins();
            assert!(!is_over(&core).await);
            core.board.session_ends();
            assert!(is_over(&core).await);
        });
        ended.unwrap();
    }
}
