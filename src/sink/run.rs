//! A sink from its start to its end: it opens the spool, runs one thread for each core, and makes the
//! summary.

use std::io;
use std::thread;
use std::time::Instant;

use tokio::sync::watch;

use super::accept;
use super::board::{CoreBoard, LiveBoard};
use super::core::CoreSetup;
use super::hints::Hints;
use super::peer_limit::PeerLimit;
use super::plan::SinkPlan;
use super::policy_feed::PolicyFeed;
use super::quota::Quota;
use super::stop::Stop;
use super::store::Store;
use super::summary::{CoreSummary, Summary};
use crate::engine::EngineKind;
use crate::host::{self, CpuTime};
use crate::relay::{self, Relay};
use crate::spool::{Recovery, Spool, SpoolError, Writer};

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
    policies: PolicyFeed,
}

impl Sink {
    /// Opens the spool, if the plan has one, and tells what it found there.
    ///
    /// # Errors
    /// [`SpoolError`] when the directory cannot be used; nothing in it was changed.
    pub fn open(plan: SinkPlan) -> Result<(Self, Option<Recovery>), SinkError> {
        let (board, boards) = LiveBoard::new(plan.cpus.len());
        let policies = PolicyFeed::new(&plan.ports);
        let Store::Spool { dir, options } = &plan.store else {
            let writers = plan.cpus.iter().map(|_| None).collect();
            return Ok((Self { plan, writers, spool: None, board, boards, policies }, None));
        };
        let (spool, recovery, writers) = Spool::open(dir, *options)?;
        let writers = writers.into_iter().map(Some).collect();
        let spool = Some(spool);
        Ok((Self { plan, writers, spool, board, boards, policies }, Some(recovery)))
    }

    /// The live board. It may be read while the sink runs, and after it.
    pub fn board(&self) -> LiveBoard {
        self.board.clone()
    }

    /// Changes what the listeners allow, also while the sink runs.
    pub fn policies(&self) -> PolicyFeed {
        self.policies.clone()
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
        let Self { mut plan, writers, spool, board, boards, policies } = self;
        assert!(
            [plan.listeners.len(), writers.len(), boards.len()] == [plan.cpus.len(); 3],
            "each core has its listeners, its writer and its part of the board"
        );
        let started = Instant::now();
        let cpu = CpuTime::of_process().unwrap_or_default();
        let quota = Quota::new(plan.messages_max, plan.sessions_max, stop.clone());
        let listeners = std::mem::take(&mut plan.listeners);
        let connections_max = (plan.connections_max / plan.cpus.len()).max(1);
        let peer_limit = PeerLimit::new(plan.peer_policy.connections_per_peer_max);
        let (relay, relay_thread) = open_relay(&mut plan, &writers)?.unzip();
        let hints = Hints::default();
        let mut threads = Vec::new();
        let cores = listeners.into_iter().zip(writers).zip(boards);
        for (index, ((listeners, writer), board)) in cores.enumerate() {
            let core = CoreSetup {
                writer,
                durability: plan.store.durability(),
                keep: plan.keep.clone(),
                peer_policy: plan.peer_policy.clone(),
                peer_limit: peer_limit.clone(),
                relay: relay.clone(),
                connections_max,
                quota: quota.clone(),
                log: plan.log,
                hints: hints.clone(),
                board,
            };
            let setup = accept::Setup {
                cpu: plan.cpus[index],
                engine: plan.engine,
                listeners,
                ports: plan.ports.clone(),
                drain: plan.drain,
                stop: stop.subscribe(),
                policies: policies.follow(),
                core,
            };
            let stop = stop.clone();
            let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
                let outcome = accept::run(setup);
                if outcome.is_err() {
                    stop.send_replace(Stop::Drain);
                }
                outcome
            });
            threads.push(thread.map_err(|source| SinkError::Core {
                core: index,
                engine: plan.engine.name(),
                source,
            })?);
        }
        on_ready();
        // The relay ends when the last core has dropped its handle.
        drop(relay);
        let cores = join(threads, plan.engine);
        let relayed = relay_thread.map(relay::RelayThread::join);
        let cores = cores?;
        drop(spool);
        let cpu = CpuTime::of_process().unwrap_or_default().since(cpu).total();
        Ok(Summary::new(&plan, cores, &board, relayed, started.elapsed(), cpu))
    }
}

/// Starts the relay, if the plan has one, on the open spool.
fn open_relay(
    plan: &mut SinkPlan,
    writers: &[Option<Writer>],
) -> Result<Option<(Relay, relay::RelayThread)>, SpoolError> {
    let (Some(wanted), Store::Spool { dir, options }) = (plan.relay.take(), &plan.store) else {
        return Ok(None);
    };
    let watermarks = writers.iter().flatten().filter_map(Writer::watermark).collect();
    let source = relay::RelaySource {
        dir: dir.clone(),
        durability: options.durability,
        watermarks,
        engine: plan.engine,
        drain: plan.drain,
    };
    Relay::open(wanted, source).map(Some)
}

fn join(
    threads: Vec<thread::JoinHandle<io::Result<CoreSummary>>>,
    engine: EngineKind,
) -> Result<Vec<CoreSummary>, SinkError> {
    let outcomes: Vec<_> = threads.into_iter().map(thread::JoinHandle::join).collect();
    outcomes
        .into_iter()
        .enumerate()
        .map(|(core, outcome)| match outcome {
            Err(_) => Err(SinkError::Panicked { core }),
            Ok(Err(source)) => Err(SinkError::Core { core, engine: engine.name(), source }),
            Ok(Ok(summary)) => Ok(summary),
        })
        .collect()
}

/// Raises the descriptor limit as far as the system allows, and returns how many sessions fit in it, at
/// most `asked`.
pub fn sessions_allowed(asked: Option<usize>) -> usize {
    let descriptors = host::raise_descriptor_limit();
    let fit = descriptors.saturating_sub(crate::limits::DESCRIPTORS_RESERVED) as usize;
    asked.map_or(fit, |asked| asked.min(fit)).max(1)
}
