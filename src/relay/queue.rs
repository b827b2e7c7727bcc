//! The relay's thread: which deliveries run, which wait, and what they came to.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot};

use super::delivery::{Courier, Note, Satchel};
use super::reading::{Extract, Waiting};
use super::route::{Routes, Selection};
use super::{Errand, Plan, Source, Tally, Totals, unix_ns};
use crate::dial::Target;
use crate::engine::task::{self, JoinHandle, Notify};
use crate::engine::{self, Connecting, EngineKind, Pool, Watch};
use crate::limits::{RELAY_COUNT_MS, RELAY_LINE_MAX, RELAY_NOTES_MAX, RELAY_RUNS_MAX};
use crate::mailbox::Tracer;
use crate::notice::notice;
use crate::smtp::node::Node;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer};
use crate::spool::{DeliveryLog, Horizon, SpoolError};

/// What a core asks.
#[derive(Debug)]
pub(super) enum Ask {
    Etrn { node: Node, answer: oneshot::Sender<EtrnAnswer> },
    Atrn { name: String, nodes: Vec<Node>, answer: oneshot::Sender<Result<Errand, AtrnAnswer>> },
}

/// What the thread is handed at its start.
pub(super) struct Setup {
    dir: PathBuf,
    horizons: Arc<[Horizon]>,
    log: DeliveryLog,
    routes: Arc<Routes>,
    tracer: Tracer,
    timeout: Duration,
    drain: Duration,
    leaving: Arc<AtomicBool>,
}

impl Setup {
    pub(super) fn new(
        plan: Plan,
        source: Source,
        drain: Duration,
        leaving: Arc<AtomicBool>,
    ) -> Result<Self, SpoolError> {
        let Plan { routes, hostname, timeout, .. } = plan;
        let log = DeliveryLog::open(&source.dir, source.durability)?;
        let (routes, horizons) = (Arc::new(routes), source.horizons.into());
        let tracer = Tracer { hostname: hostname.into(), zone: TimeZone::system() };
        Ok(Self { dir: source.dir, horizons, log, routes, tracer, timeout, drain, leaving })
    }
}

/// The place of a delivery among those that run; its end must be told, and is told when it is
/// dropped.
#[derive(Debug)]
pub(super) struct End {
    id: u64,
    /// What was there to be sent.
    waiting: Waiting,
    ends: mpsc::UnboundedSender<Ended>,
}

/// A run that is over, and what it came to; without that it sent nothing.
type Ended = (u64, Option<(Waiting, Tally)>);

impl End {
    pub(super) fn tell(self, tally: Tally) {
        // The office outlives its runs, unless it has stopped to wait for them.
        let _ = self.ends.send((self.id, Some((self.waiting, tally))));
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // The second word of one that has told is not heard.
        let _ = self.ends.send((self.id, None));
    }
}

struct Run {
    id: u64,
    selection: Selection,
    /// For the operator: `ETRN example.org` or `ATRN of tim`.
    name: String,
}

struct Office {
    dir: PathBuf,
    horizons: Arc<[Horizon]>,
    routes: Arc<Routes>,
    tracer: Tracer,
    timeout: Duration,
    leaving: Arc<AtomicBool>,
    notes: mpsc::Sender<Note>,
    ends: mpsc::UnboundedSender<Ended>,
    pool: Pool,
    watch: Rc<Watch>,
    runs: RefCell<Vec<Run>>,
    next_id: Cell<u64>,
    /// Nodes whose delivery is to begin when there is room, or when one that it shares mail with has
    /// ended.
    line: RefCell<VecDeque<Node>>,
    totals: Cell<Totals>,
    ended: Notify,
}

/// Runs the relay on this thread until all who may ask are gone.
pub(super) fn run(engine: EngineKind, setup: Setup, asks: mpsc::Receiver<Ask>) -> Totals {
    match engine::run_core(engine, serve(setup, asks)) {
        Ok(totals) => totals,
        Err(error) => {
            notice!("ringpost-sink: the relay cannot start: {error}; ETRN gets 458 and ATRN 451");
            Totals::default()
        }
    }
}

async fn serve(setup: Setup, mut asks: mpsc::Receiver<Ask>) -> Totals {
    let Setup { dir, horizons, mut log, routes, tracer, timeout, drain, leaving } = setup;
    let (notes, mut to_note) = mpsc::channel::<Note>(RELAY_NOTES_MAX);
    let (ends, mut ended) = mpsc::unbounded_channel();
    let office = Rc::new(Office {
        dir,
        horizons,
        routes,
        tracer,
        timeout,
        leaving,
        notes,
        ends,
        pool: Pool::new(),
        watch: Watch::new(),
        runs: RefCell::default(),
        next_id: Cell::new(0),
        line: RefCell::default(),
        totals: Cell::default(),
        ended: Notify::new(),
    });
    let ticker = task::spawn(office.watch.clone().run());
    let writer = task::spawn_blocking(move || {
        while let Some((deliveries, answer)) = to_note.blocking_recv() {
            // The delivery that waited for it may have been cut.
            let _ = answer.send(log.append(&deliveries));
        }
    });
    let ears = office.clone();
    let listener = task::spawn(async move {
        while let Some((id, outcome)) = ended.recv().await {
            ears.end(id, outcome);
        }
    });
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Etrn { node, answer } => office.etrn(node, answer),
            Ask::Atrn { name, nodes, answer } => office.atrn(name, nodes, answer),
        }
    }
    office.wind_up(drain).await;
    listener.abort();
    ticker.abort();
    let totals = office.totals.get();
    let _ = listener.await;
    drop(office);
    // What is noted is written before the thread ends; a delivery that hangs in a connect still holds
    // its way to the writer.
    let _ = task::timeout(Duration::from_secs(1), writer).await;
    totals
}

impl Office {
    fn leaves(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    fn etrn(self: &Rc<Self>, node: Node, answer: oneshot::Sender<EtrnAnswer>) {
        let answered = match Selection::of_route(&node, &self.routes) {
            None => EtrnAnswer::NotAllowed("there is no route for it here"),
            Some(_) if self.leaves() => EtrnAnswer::Unable,
            Some((selection, target)) => {
                let in_line = self.line.borrow().contains(&node);
                match (in_line, self.busy_with(&selection), self.is_full()) {
                    (true, _, _) => EtrnAnswer::Pending,
                    (false, true, _) => self.line_up(node, EtrnAnswer::Pending),
                    (false, false, true) => self.line_up(node, EtrnAnswer::Queued),
                    (false, false, false) => {
                        self.start(node, selection, target, Some(answer));
                        return;
                    }
                }
            }
        };
        // A client that does not wait for its answer is gone.
        let _ = answer.send(answered);
    }

    fn line_up(&self, node: Node, answer: EtrnAnswer) -> EtrnAnswer {
        let mut line = self.line.borrow_mut();
        if line.len() >= RELAY_LINE_MAX {
            return EtrnAnswer::Unable;
        }
        line.push_back(node);
        answer
    }

    fn busy_with(&self, selection: &Selection) -> bool {
        self.runs.borrow().iter().any(|run| run.selection.overlaps(selection))
    }

    fn is_full(&self) -> bool {
        self.runs.borrow().len() >= RELAY_RUNS_MAX
    }

    /// Takes a place among the runs.
    fn enter(&self, selection: Selection, name: String) -> (Extract, End) {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        self.runs.borrow_mut().push(Run { id, selection: selection.clone(), name });
        let end = End { id, waiting: Waiting::default(), ends: self.ends.clone() };
        (Extract { selection, until_ns: unix_ns(), horizons: self.horizons.clone() }, end)
    }

    fn end(self: &Rc<Self>, id: u64, outcome: Option<(Waiting, Tally)>) {
        let run = {
            let mut runs = self.runs.borrow_mut();
            let Some(at) = runs.iter().position(|run| run.id == id) else { return };
            runs.swap_remove(at)
        };
        if let Some((waiting, tally)) = outcome {
            self.count(&run.name, waiting, &tally);
        }
        self.start_those_that_wait();
        self.ended.notify_waiters();
    }

    fn count(&self, name: &str, waiting: Waiting, tally: &Tally) {
        let Tally { messages, delivered, refused, why } = tally;
        let left = waiting.recipients.saturating_sub(delivered + refused);
        let totals = self.totals.get();
        self.totals.set(Totals {
            runs: totals.runs + 1,
            messages: totals.messages + messages,
            delivered: totals.delivered + delivered,
            refused: totals.refused + refused,
            left: totals.left + left,
        });
        let why = why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        notice!(
            "ringpost-sink: {name}: {messages} messages; {delivered} recipients delivered, {refused} \
             refused, {left} left{why}"
        );
    }

    fn start_those_that_wait(self: &Rc<Self>) {
        let mut at = 0;
        while !self.leaves() && !self.is_full() {
            let Some(node) = self.line.borrow().get(at).cloned() else { return };
            let Some((selection, target)) = Selection::of_route(&node, &self.routes) else {
                return;
            };
            if self.busy_with(&selection) {
                at += 1;
                continue;
            }
            self.line.borrow_mut().remove(at);
            self.start(node, selection, target, None);
        }
    }

    /// Begins the delivery of a node's mail, and answers who asked for it as soon as the messages are
    /// counted, or counting takes too long.
    fn start(
        self: &Rc<Self>,
        node: Node,
        selection: Selection,
        target: Target,
        mut answer: Option<oneshot::Sender<EtrnAnswer>>,
    ) {
        let (extract, mut end) = self.enter(selection, format!("ETRN {node} to {}", target.url));
        let office = self.clone();
        task::spawn(async move {
            let mut counting = office.count_waiting(&extract);
            let limit = Duration::from_millis(RELAY_COUNT_MS);
            let counted = match task::timeout(limit, &mut counting).await {
                Ok(counted) => counted,
                Err(_) => {
                    tell(&mut answer, EtrnAnswer::Queued);
                    counting.await
                }
            };
            match counted.unwrap_or_else(|_| Ok(Waiting::default())) {
                Ok(Waiting { messages: 0, .. }) => tell(&mut answer, EtrnAnswer::Nothing),
                Ok(waiting) => {
                    tell(&mut answer, EtrnAnswer::Counted(waiting.messages));
                    end.waiting = waiting;
                    end.tell(office.deliver(extract, &target).await);
                }
                Err(error) => {
                    notice!("ringpost-sink: ETRN {node}: {error}");
                    tell(&mut answer, EtrnAnswer::Unable);
                }
            }
        });
    }

    fn count_waiting(&self, extract: &Extract) -> JoinHandle<Result<Waiting, SpoolError>> {
        let (extract, dir) = (extract.clone(), self.dir.clone());
        task::spawn_blocking(move || extract.count(&dir))
    }

    /// Begins to read what waits.
    fn satchel(&self, extract: Extract) -> Satchel {
        let (sender, letters) = mpsc::channel(1);
        let dir = self.dir.clone();
        task::spawn_blocking(move || {
            if let Err(error) = extract.read_out(&dir, &sender) {
                notice!("ringpost-sink: the relay cannot read the spool any further: {error}");
            }
        });
        let (tracer, timeout) = (self.tracer.clone(), self.timeout);
        Satchel { letters, notes: self.notes.clone(), tracer, timeout }
    }

    async fn deliver(&self, extract: Extract, target: &Target) -> Tally {
        let mut conn = match target.connect(0, |_| Connecting::default()).await {
            Ok((conn, _)) => conn,
            Err(error) => {
                let why = Some(format!("no connection: {error}"));
                return Tally { why, ..Tally::default() };
            }
        };
        let guard = self.watch.register(conn.handle());
        let satchel = self.satchel(extract);
        let leave = || self.leaves();
        let courier = Courier::new(satchel, target.protocol, &mut conn, &guard, &self.pool, &leave);
        let tally = courier.run(b"").await;
        drop(guard);
        conn.close().await;
        tally
    }

    fn atrn(
        self: &Rc<Self>,
        name: String,
        nodes: Vec<Node>,
        answer: oneshot::Sender<Result<Errand, AtrnAnswer>>,
    ) {
        let selection = Selection::Nodes(nodes);
        if self.leaves() || self.is_full() || self.busy_with(&selection) {
            let _ = answer.send(Err(AtrnAnswer::Refused));
            return;
        }
        let (extract, mut end) = self.enter(selection, format!("ATRN of {name}"));
        let office = self.clone();
        task::spawn(async move {
            let counted = office.count_waiting(&extract).await;
            let errand = match counted.unwrap_or_else(|_| Ok(Waiting::default())) {
                Ok(Waiting { messages: 0, .. }) => Err(AtrnAnswer::Nothing),
                Ok(waiting) => {
                    end.waiting = waiting;
                    Ok(Errand { satchel: office.satchel(extract), end })
                }
                Err(error) => {
                    notice!("ringpost-sink: ATRN of {name}: {error}");
                    Err(AtrnAnswer::Unable)
                }
            };
            let _ = answer.send(errand);
        });
    }

    /// Waits for the deliveries that run: each finishes its open message.
    async fn wind_up(&self, drain: Duration) {
        self.leaving.store(true, Ordering::Relaxed);
        self.until_idle(drain).await;
        self.watch.shutdown_all();
        self.until_idle(Duration::from_secs(1)).await;
    }

    async fn until_idle(&self, limit: Duration) {
        let idle = async {
            while !self.runs.borrow().is_empty() {
                self.ended.notified().await;
            }
        };
        // What is still there is cut next.
        let _ = task::timeout(limit, idle).await;
    }
}

fn tell(answer: &mut Option<oneshot::Sender<EtrnAnswer>>, words: EtrnAnswer) {
    if let Some(answer) = answer.take() {
        // A client that does not wait for its answer is gone.
        let _ = answer.send(words);
    }
}
