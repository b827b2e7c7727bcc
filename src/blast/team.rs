//! The threads of a run: one for each core, ready before the clock starts.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::clock::Clock;
use super::core::Assignment;
use super::corpus::Corpus;
use super::error::BlastError;
use super::message_log::MessageLog;
use super::plan::Plan;
use super::shared::Shared;
use super::targets::WeightedTarget;
use super::worker;
use crate::dial::SecurityError;
use crate::measure::Recorder;

/// Threads that are ready and wait for the start.
pub(super) struct Team {
    threads: Vec<JoinHandle<()>>,
    gates: Vec<Sender<Clock>>,
}

impl Team {
    /// Starts one thread per core and waits until each has its engine. If one cannot, the
    /// others see their channel close and end.
    pub(super) fn assemble(
        plan: &Plan,
        corpus: &Arc<Corpus>,
        shared: &Arc<Shared>,
        recorders: Vec<Recorder>,
        logs: Option<Vec<MessageLog>>,
    ) -> Result<Self, BlastError> {
        let (ready, readiness) = channel();
        let mut team = Self { threads: Vec::new(), gates: Vec::new() };
        let cores = recorders.len();
        assert_eq!(cores, plan.cores(), "a core records what it does");
        let plan = Arc::new(plan.clone());
        let mut logs = logs.into_iter().flatten();
        for (index, recorder) in recorders.into_iter().enumerate() {
            let (gate, opening) = channel();
            let assignment = assignment(&plan, corpus, index, logs.next())?;
            let (ready, shared) = (ready.clone(), Arc::clone(shared));
            let thread = std::thread::Builder::new()
                .name(format!("blast-{index}"))
                .spawn(move || worker::run(assignment, shared, recorder, &ready, &opening))?;
            team.threads.push(thread);
            team.gates.push(gate);
        }
        drop(ready);
        for _ in 0..cores {
            let gone = || io::Error::other("its thread ended before the start");
            readiness.recv().map_err(|_| gone())??;
        }
        Ok(team)
    }

    pub(super) fn start(&self) -> Clock {
        let clock = Clock::start();
        for gate in &self.gates {
            // The totals show a core that is gone as lost.
            let _ = gate.send(clock);
        }
        clock
    }

    pub(super) fn join(self) {
        for thread in self.threads {
            // A panic was printed by its thread, and the collector counts the core as lost.
            drop(thread.join());
        }
    }
}

fn assignment(
    plan: &Arc<Plan>,
    corpus: &Arc<Corpus>,
    index: usize,
    log: Option<MessageLog>,
) -> Result<Assignment, SecurityError> {
    let connections = plan.connections_of(index);
    let of_target = |of: &WeightedTarget| match &plan.tls {
        Some(tls) => tls.security.of_target(&of.target, connections),
        None => Ok(None),
    };
    let security = plan.targets.all().iter().map(of_target).collect::<Result<_, _>>()?;
    Ok(Assignment {
        id: index as u16,
        cpu: plan.cpus[index],
        engine: plan.engine,
        connections,
        plan: Arc::clone(plan),
        security,
        corpus: Arc::clone(corpus),
        log,
    })
}
