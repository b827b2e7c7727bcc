//! One generator core: a pinned thread that keeps its sessions open.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use super::clock::Clock;
use super::core::{Assignment, Ending, LoadCore};
use super::failure::Failure;
use super::policy::Pauses;
use super::session::{LoadSession, SessionEnd};
use super::shared::Shared;
use super::work::LoadModel;
use crate::dial::TargetSecurity;
use crate::engine;
use crate::engine::task::{self, JoinSet, select};
use crate::host::{self, waited_by_thread};
use crate::limits::PROGRESS_MS;
use crate::measure::Recorder;

/// Runs one core on this thread to the end of the run. Says on `ready` that its engine is up, and
/// starts when `opening` gives the clock.
pub(super) fn run(
    assignment: Assignment,
    shared: Arc<Shared>,
    recorder: Recorder,
    ready: &Sender<io::Result<()>>,
    opening: &Receiver<Clock>,
) {
    // An unpinned core is slower, and otherwise works as well.
    drop(host::pin(assignment.cpu));
    let engine = assignment.engine;
    assignment.security.iter().flatten().for_each(TargetSecurity::warm_up);
    let ended = engine::run_core(engine, async move {
        drop(ready.send(Ok(())));
        // No clock comes if another core could not start.
        if let Ok(clock) = opening.recv() {
            sessions(assignment, shared, recorder, clock).await;
        }
    });
    if let Err(error) = ended {
        drop(ready.send(Err(error)));
    }
}

async fn sessions(assignment: Assignment, shared: Arc<Shared>, recorder: Recorder, clock: Clock) {
    let connections = assignment.connections;
    let mut waits = assignment.plan.busy_cuts();
    let core = Rc::new(LoadCore::new(assignment, shared, recorder, clock));
    let watch = task::spawn(Rc::clone(&core.watch).run());
    let pacer = task::spawn(pace(Rc::clone(&core)));
    let mut sessions = JoinSet::new();
    for _ in 0..connections {
        sessions.spawn_local(keep_open(Rc::clone(&core)));
    }
    let mut beat = task::interval(Duration::from_millis(PROGRESS_MS));
    let mut ending = Ending::default();
    loop {
        select! {
            Some(_) = sessions.join_next() => {
                if sessions.is_empty() {
                    core.work.forsake(core.clock.elapsed_ns());
                    if !core.work.still_gives() { break }
                }
            }
            _ = beat.tick() => {
                waits.pass(clock.started().elapsed(), waited_by_thread);
                core.beat(&mut ending);
                if sessions.is_empty() && !core.work.still_gives() { break }
            }
        }
    }
    core.finish();
    if let Some((before, after)) = waits.end(waited_by_thread) {
        core.recorder.borrow_mut().note_cpu_wait(after - before);
    }
    watch.abort();
    pacer.abort();
    // The pacer lets go of the core when it is dropped.
    drop(pacer.await);
    if let Some(core) = Rc::into_inner(core) {
        core.hand_over();
    }
}

async fn pace(core: Rc<LoadCore>) {
    if core.work.model == LoadModel::Closed {
        return;
    }
    if let Err(error) = core.work.pace().await {
        core.shared.give_up(Failure::Clock { why: error.to_string() });
    }
}

/// Opens a session again whenever it has ended, as long as there are messages to send.
async fn keep_open(core: Rc<LoadCore>) {
    let mut pauses = Pauses::new(core.policy.reconnect);
    let slot = core.work.new_slot();
    let mut is_first = true;
    while let Some(task) = core.work.next_session(&slot).await {
        let asked_ns = core.clock.elapsed_ns();
        let start_ns = task.first.map_or(asked_ns, |arrival| arrival.due_ns);
        core.work.pledge(&slot, task, asked_ns);
        let hold = core.deal(asked_ns, std::mem::take(&mut is_first));
        let target = hold.target;
        let end = {
            let opened = {
                let turn = core.turn().await;
                // Otherwise every session in the queue would try a target that lets connects time out.
                core.notice_stop();
                if core.work.over(core.clock.elapsed_ns()) {
                    core.work.abandon(&slot);
                    core.let_go(hold);
                    break;
                }
                LoadSession::open(&core, &hold, &slot, (asked_ns, start_ns), turn).await
            };
            match opened {
                Ok(session) => session.run().await,
                Err(why) => {
                    core.work.abandon(&slot);
                    match core.work.was_cut(&slot) {
                        true => SessionEnd::NeverGreeted(why),
                        false => SessionEnd::Useless(why),
                    }
                }
            }
        };
        core.let_go(hold);
        let useful = match end {
            SessionEnd::Worked => {
                pauses.reset();
                core.notice_stop();
                continue;
            }
            SessionEnd::Broken => true,
            SessionEnd::Useless(why) => {
                core.failed(target, why);
                false
            }
            SessionEnd::NeverGreeted(why) => {
                core.never_greeted(target, why);
                false
            }
            SessionEnd::Unfit(why) => {
                debug_assert!(why.is_unfit(), "{why}");
                core.unfit(target, why);
                false
            }
        };
        core.notice_stop();
        if core.work.over(core.clock.elapsed_ns()) {
            continue;
        }
        let Some(pause) = pauses.after_break(useful) else {
            core.shared.not_reopened.fetch_add(1, Relaxed);
            break;
        };
        core.pause(pause).await;
    }
}
