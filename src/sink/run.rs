//! A sink from its start to its end: it opens the spool, runs one thread for each core, and makes the
//! summary.

use std::io;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::accept;
use super::board::{CoreBoard, LiveBoard};
use super::connection_limit::ConnectionLimit;
use super::core::CoreSetup;
use super::fault_plan::FaultPlan;
use super::hints::Hints;
use super::peer_limit::PeerLimit;
use super::plan::SinkPlan;
use super::port_feed::PortFeed;
use super::quota::Quota;
use super::stop::Stop;
use super::store::Store;
use super::summary::{CoreSummary, Summary};
use crate::engine::task::{self, select};
use crate::engine::{self, EngineKind};
use crate::host;
use crate::notice::notice;
use crate::relay::{self, Relay, RelayThread, RelayTotals};
use crate::spool::{Recovery, Spool, SpoolError, Writer};

/// Time after which a core that should have ended is left behind, in milliseconds: more than it takes to cut
/// its sessions and to take down its ring.
const CORES_LATE_MS: u64 = accept::LEAVE_MS_MAX + 300;

/// Pause between two looks whether the relay has ended, or is to end at once, in milliseconds.
const LOOK_MS: u64 = 25;

/// Time that the relay gets to end after it was cut, in milliseconds.
const RELAY_LATE_MS: u64 = 800;

/// Time that the spool gets to be closed, in milliseconds, and the same where the sink is to end at once.
const SPOOL_CLOSE_MS: u64 = 1_500;
const SPOOL_CLOSE_NOW_MS: u64 = 150;

/// Why a sink could not run.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("core {core} could not start its {engine} engine: {source}")]
    Core { core: usize, engine: &'static str, source: io::Error },
    #[error("core {core} panicked; messages it acknowledged are in the spool")]
    Panicked { core: usize },
}

/// A sink whose spool is open and whose cores have not started.
pub struct Sink {
    plan: SinkPlan,
    writers: Vec<Option<Writer>>,
    /// Held for its lock and its helper thread.
    spool: Option<Spool>,
    board: LiveBoard,
    /// One for each core.
    boards: Vec<CoreBoard>,
    ports: PortFeed,
}

impl Sink {
    /// Opens the spool, if the plan has one, and tells what it found there.
    ///
    /// # Errors
    /// [`SpoolError`] when the directory cannot be used; nothing in it was changed.
    pub fn open(plan: SinkPlan) -> Result<(Self, Option<Recovery>), SinkError> {
        let (board, boards) = LiveBoard::new(plan.cpus.len());
        let ports = PortFeed::new(&plan.ports);
        let Store::Spool { dir, options } = &plan.store else {
            let writers = plan.cpus.iter().map(|_| None).collect();
            return Ok((Self { plan, writers, spool: None, board, boards, ports }, None));
        };
        let (spool, recovery, writers) = Spool::open(dir, *options)?;
        let writers = writers.into_iter().map(Some).collect();
        let spool = Some(spool);
        Ok((Self { plan, writers, spool, board, boards, ports }, Some(recovery)))
    }

    /// The live board. It may be read while the sink runs, and after it.
    pub fn board(&self) -> LiveBoard {
        self.board.clone()
    }

    /// Changes what the listeners allow, also while the sink runs.
    pub fn ports(&self) -> PortFeed {
        self.ports.clone()
    }

    /// Runs until `stop` is raised, or a quota is used up.
    ///
    /// # Errors
    /// [`SinkError`] when a core cannot start or dies; the others are stopped first.
    pub fn run(
        self,
        stop: watch::Sender<Stop>,
        on_ready: impl FnOnce(),
    ) -> Result<Summary, SinkError> {
        let Self { mut plan, writers, spool, board, boards, ports } = self;
        assert!(
            [plan.listeners.len(), writers.len(), boards.len()] == [plan.cpus.len(); 3],
            "each core has its listeners, its writer and its part of the board"
        );
        let started = Instant::now();
        let quota = Quota::new(plan.messages_max, plan.sessions_max, stop.clone());
        let listeners = std::mem::take(&mut plan.listeners);
        let connections = ConnectionLimit::new(plan.connections_max.max(1));
        let peer_limit = PeerLimit::new(plan.peer_policy.connections_per_peer_max);
        let (relay, relay_thread) = open_relay(&mut plan, &writers)?.unzip();
        let hints = Hints::default();
        let faults = plan.faults.take().map(FaultPlan::new);
        let (ends, mut ended) = mpsc::unbounded_channel();
        let mut stopped = stop.subscribe();
        let cores = listeners.into_iter().zip(writers).zip(boards);
        for (index, ((listeners, writer), board)) in cores.enumerate() {
            let core = CoreSetup {
                writer,
                durability: plan.store.durability(),
                keep: plan.keep.clone(),
                peer_policy: plan.peer_policy.clone(),
                peer_limit: peer_limit.clone(),
                relay: relay.clone(),
                connections: connections.clone(),
                quota: quota.clone(),
                envelope_memory_bytes: plan.envelope_memory_bytes / plan.cpus.len() as u64,
                log: plan.log,
                hints: hints.clone(),
                faults: faults.clone(),
                board,
            };
            let setup = accept::Setup {
                cpu: plan.cpus[index],
                engine: plan.engine,
                listeners,
                ports: plan.ports.clone(),
                drain: plan.drain,
                stop: stop.subscribe(),
                changes: ports.follow(),
                core,
            };
            let end = CoreEnd { index, outcome: None, ends: ends.clone(), stop: stop.clone() };
            let thread = thread::Builder::new().name(format!("core-{index}"));
            let thread = thread.spawn(move || end.note(accept::run(setup)));
            thread.map_err(|source| SinkError::Core {
                core: index,
                engine: plan.engine.name(),
                source,
            })?;
        }
        drop(ends);
        on_ready();
        drop(relay);
        let outcomes = await_cores(&mut ended, &mut stopped, &plan);
        let relayed = relay_thread.map(|relay| end_relay(&relay, &stopped, plan.drain));
        let cores = summaries(outcomes, &plan, &board)?;
        if let Some(spool) = spool {
            close(spool, &stopped);
        }
        let faults = faults.as_ref().map_or_else(Vec::new, FaultPlan::hits);
        Ok(Summary { faults, ..Summary::new(&plan, cores, &board, relayed, started.elapsed()) })
    }
}

/// Starts the relay, if the plan has one, on the open spool.
fn open_relay(
    plan: &mut SinkPlan,
    writers: &[Option<Writer>],
) -> Result<Option<(Relay, RelayThread)>, SpoolError> {
    let (Some(wanted), Store::Spool { dir, options }) = (plan.relay.take(), &plan.store) else {
        return Ok(None);
    };
    let watermarks = writers.iter().flatten().filter_map(Writer::watermark).collect();
    let source = relay::RelaySource {
        dir: dir.clone(),
        durability: options.durability,
        watermarks,
        engine: plan.engine,
        cores: plan.cpus.len(),
        drain: plan.drain,
    };
    Relay::open(wanted, source).map(Some)
}

/// The end of a core, told when this is dropped, so that a panic is told too.
struct CoreEnd {
    index: usize,
    outcome: Option<io::Result<CoreSummary>>,
    ends: mpsc::UnboundedSender<(usize, CoreOutcome)>,
    stop: watch::Sender<Stop>,
}

/// How a core ended. `None`: it panicked.
type CoreOutcome = Option<io::Result<CoreSummary>>;

impl CoreEnd {
    fn note(mut self, outcome: io::Result<CoreSummary>) {
        self.outcome = Some(outcome);
    }
}

impl Drop for CoreEnd {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        if !matches!(outcome, Some(Ok(_))) {
            self.stop.send_if_modified(|now| now.grow(Stop::Drain));
        }
        // Where a core is late, nobody waits for it any more.
        let _ = self.ends.send((self.index, outcome));
    }
}

/// Waits for the cores, and after the time of the drain no longer than [`CORES_LATE_MS`]: a core may hang in
/// a call to the kernel. Such a core has no outcome.
fn await_cores(
    ended: &mut mpsc::UnboundedReceiver<(usize, CoreOutcome)>,
    stop: &mut watch::Receiver<Stop>,
    plan: &SinkPlan,
) -> Vec<Option<CoreOutcome>> {
    let mut outcomes: Vec<_> = plan.cpus.iter().map(|_| None).collect();
    let waiting = async {
        let mut late = pin!(late(stop, plan.drain));
        loop {
            select! {
                end = ended.recv() => match end {
                    Some((index, outcome)) => outcomes[index] = Some(outcome),
                    None => return,
                },
                () = &mut late => return,
            }
        }
    };
    if engine::run_core(EngineKind::Epoll, waiting).is_err() {
        // There is no descriptor left to wait with a limit.
        while let Some((index, outcome)) = ended.blocking_recv() {
            outcomes[index] = Some(outcome);
        }
    }
    outcomes
}

/// Returns when the cores should have ended.
async fn late(stop: &mut watch::Receiver<Stop>, drain: Duration) {
    // Without a sender there is nobody who could want the end earlier.
    let _ = stop.wait_for(|stop| *stop >= Stop::Drain).await;
    select! {
        () = task::sleep(drain) => {}
        _ = stop.wait_for(|stop| *stop >= Stop::Now) => {}
    }
    task::sleep(Duration::from_millis(CORES_LATE_MS)).await;
}

fn summaries(
    outcomes: Vec<Option<CoreOutcome>>,
    plan: &SinkPlan,
    board: &LiveBoard,
) -> Result<Vec<CoreSummary>, SinkError> {
    let engine = plan.engine.name();
    let of = |(core, outcome): (usize, Option<CoreOutcome>)| match outcome {
        Some(Some(Ok(summary))) => Ok(summary),
        Some(Some(Err(source))) => Err(SinkError::Core { core, engine, source }),
        Some(None) => Err(SinkError::Panicked { core }),
        None => {
            notice!(
                "ringpost-sink: core {core} hangs, as with a disk that does not answer, and is left behind; \
                 the report has what it had counted"
            );
            Ok(CoreSummary::of_one_that_hangs(board, core, plan.cpus[core]))
        }
    };
    outcomes.into_iter().enumerate().map(of).collect()
}

/// Waits for the relay, which has the time of the drain since the last core left it.
fn end_relay(relay: &RelayThread, stop: &watch::Receiver<Stop>, drain: Duration) -> RelayTotals {
    relay.drain();
    let until = Instant::now() + drain;
    while Instant::now() < until && *stop.borrow() < Stop::Now {
        if let Some(totals) = relay.ended_within(Duration::from_millis(LOOK_MS)) {
            return totals;
        }
    }
    relay.cut();
    relay.ended_within(Duration::from_millis(RELAY_LATE_MS)).unwrap_or_else(|| {
        notice!("ringpost-sink: the relay hangs, and is left behind; the report has nothing of it");
        RelayTotals::default()
    })
}

/// Waits until the helper of the spool has cut its segments to their length and written them back.
fn close(spool: Spool, stop: &watch::Receiver<Stop>) {
    let is_now = *stop.borrow() >= Stop::Now;
    let limit_ms = if is_now { SPOOL_CLOSE_NOW_MS } else { SPOOL_CLOSE_MS };
    if !spool.close_within(Duration::from_millis(limit_ms)) {
        notice!(
            "ringpost-sink: the disk is too slow to close the spool in time; the next start closes it"
        );
    }
}

/// Raises the descriptor limit as far as the system allows, and returns how many sessions fit in it, at
/// most `asked`.
pub fn sessions_allowed(asked: Option<usize>) -> usize {
    let descriptors = host::raise_descriptor_limit();
    let fit = descriptors.saturating_sub(crate::limits::DESCRIPTORS_RESERVED) as usize;
    asked.map_or(fit, |asked| asked.min(fit)).max(1)
}
