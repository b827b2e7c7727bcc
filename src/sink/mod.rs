//! The sink: cores that take mail over SMTP or LMTP and keep it in the spool, or count it.
//!
//! One thread per core, each with its own listeners, sessions, spool segments and counters. Cores
//! share nothing while they run; they hear of the end through a watch channel and hand their
//! numbers over when they are joined.

mod core;
mod deadline;
mod group_commit;
mod keep;
mod lingering_close;
mod networks;
mod odmr;
mod peer_limit;
mod pregreet;
pub mod proxy;
mod quota;
mod session;
mod summary;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use self::keep::{BadKeepRule, Keep, KeepRule, KeepRules};
pub use self::networks::{NetworkError, Networks};
use self::peer_limit::Crowd;
pub use self::quota::{Quota, Stop};
pub use self::summary::{CoreSummary, Failed, SpoolSummary, Summary, durability_name};
use crate::engine::{BoundListener, EngineKind};
use crate::host::{self, CpuTime};
use crate::relay::{self, Relay};
use crate::smtp::server::Policy;
use crate::spool::{self, Durability, Recovery, Spool, SpoolError, Writer};

/// Where messages go.
#[derive(Clone, Debug)]
pub enum Store {
    /// Counted and forgotten.
    Discard,
    /// Appended to the spool in this directory.
    Spool { dir: PathBuf, options: spool::Options },
}

impl Store {
    /// What a 250 promises; `None` when nothing is kept.
    pub fn durability(&self) -> Option<Durability> {
        match self {
            Self::Discard => None,
            Self::Spool { options, .. } => Some(options.durability),
        }
    }
}

/// A listener's address and what is spoken there.
#[derive(Clone, Debug)]
pub struct Port {
    /// As it is printed and stored with each message: `smtp://127.0.0.1:1025`.
    pub url: String,
    pub policy: Policy,
}

/// What peers may do, and how long they may take.
#[derive(Clone, Debug)]
pub struct Rules {
    /// For a command, whatever the pieces it comes in (RFC 5321 §4.5.3.2.7), and for a pause within
    /// a message.
    pub timeout: Duration,
    /// Octets per second of message content that a peer must keep; 0 for none.
    pub data_rate_min: u64,
    /// Time before the greeting in which a client must keep silent; zero greets at once.
    pub greet_delay: Duration,
    /// Connections of one address at once, over all cores.
    pub connections_per_peer_max: Option<usize>,
    /// Peers that must send a PROXY header.
    pub proxies: Networks,
    /// Peers that may say XCLIENT.
    pub xclient: Networks,
}

/// Everything a sink needs, checked.
pub struct Plan {
    pub engine: EngineKind,
    /// CPU numbers, one per core thread.
    pub cpus: Vec<usize>,
    /// For each core, one listener per port, in the order of `ports`.
    pub listeners: Vec<Vec<BoundListener>>,
    pub ports: Vec<Port>,
    pub store: Store,
    /// How much of each message the spool keeps.
    pub keep: KeepRules,
    pub rules: Rules,
    /// What ETRN and ATRN begin; needs a spool.
    pub relay: Option<relay::Plan>,
    /// Time that open messages get after a stop was asked for.
    pub drain: Duration,
    /// Sessions open at once, over all cores. More get 421.
    pub connections_max: usize,
    pub messages_max: Option<u64>,
    pub sessions_max: Option<u64>,
}

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
    plan: Plan,
    writers: Vec<Option<Writer>>,
    /// Held for its lock and its helper thread.
    spool: Option<Spool>,
}

impl Sink {
    /// Opens the spool, if there is one, and says what was found in it.
    ///
    /// # Errors
    /// [`SpoolError`] when the directory cannot be used; nothing in it was changed.
    pub fn open(plan: Plan) -> Result<(Self, Option<Recovery>), SinkError> {
        let Store::Spool { dir, options } = &plan.store else {
            let writers = plan.cpus.iter().map(|_| None).collect();
            return Ok((Self { plan, writers, spool: None }, None));
        };
        let (spool, recovery, writers) = Spool::open(dir, *options)?;
        let writers = writers.into_iter().map(Some).collect();
        Ok((Self { plan, writers, spool: Some(spool) }, Some(recovery)))
    }

    /// Runs until `stop` says so, or a quota is used up.
    ///
    /// # Errors
    /// [`SinkError`] when a core cannot start or dies; the others are stopped first.
    pub fn run(
        self,
        stop: watch::Sender<Stop>,
        on_ready: impl FnOnce(),
    ) -> Result<Summary, SinkError> {
        let Self { mut plan, writers, spool } = self;
        let started = Instant::now();
        let cpu = CpuTime::of_process().unwrap_or_default();
        let quota = Quota::new(plan.messages_max, plan.sessions_max, stop.clone());
        let listeners = std::mem::take(&mut plan.listeners);
        let connections_max = (plan.connections_max / plan.cpus.len()).max(1);
        let crowd = Crowd::new(plan.rules.connections_per_peer_max);
        let (relay, office) = open_relay(&mut plan, &writers)?.unzip();
        let mut threads = Vec::new();
        for (index, (listeners, writer)) in listeners.into_iter().zip(writers).enumerate() {
            let setup = core::Setup {
                index,
                cpu: plan.cpus[index],
                engine: plan.engine,
                listeners,
                ports: plan.ports.clone(),
                writer,
                durability: plan.store.durability(),
                keep: plan.keep.clone(),
                rules: plan.rules.clone(),
                crowd: crowd.clone(),
                relay: relay.clone(),
                drain: plan.drain,
                connections_max,
                quota: quota.clone(),
                stop: stop.subscribe(),
            };
            let stop = stop.clone();
            let thread = thread::Builder::new().name(format!("core-{index}")).spawn(move || {
                let outcome = core::run(setup);
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
        // Those of the cores keep the office open.
        drop(relay);
        let cores = join(threads, plan.engine);
        let relayed = office.map(relay::Office::join);
        let cores = cores?;
        drop(spool);
        let cpu = CpuTime::of_process().unwrap_or_default().since(cpu).total();
        Ok(Summary::new(&plan, cores, relayed, started.elapsed(), cpu))
    }
}

/// Starts the relay, if there is one, on the spool that is open.
fn open_relay(
    plan: &mut Plan,
    writers: &[Option<Writer>],
) -> Result<Option<(Relay, relay::Office)>, SpoolError> {
    let (Some(wanted), Store::Spool { dir, options }) = (plan.relay.take(), &plan.store) else {
        return Ok(None);
    };
    let horizons = writers.iter().flatten().filter_map(Writer::horizon).collect();
    let source = relay::Source { dir: dir.clone(), durability: options.durability, horizons };
    Relay::open(wanted, source, plan.engine, plan.drain).map(Some)
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

/// Raises the descriptor limit to what the system allows and returns how many sessions fit in it.
pub fn sessions_allowed(asked: Option<usize>) -> usize {
    let descriptors = host::raise_descriptor_limit();
    let fit = descriptors.saturating_sub(crate::limits::DESCRIPTORS_RESERVED) as usize;
    asked.map_or(fit, |asked| asked.min(fit)).max(1)
}
