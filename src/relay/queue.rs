//! The delivery scheduler, on the thread of the relay: which deliveries run, which wait, and their
//! results.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::{mpsc, oneshot, watch};

use super::allowance::Allowance;
use super::delivery::{DeliveryConnection, DeliverySession, Inputs, Note};
use super::end::RelayEnd;
use super::plan::{RelayPlan, RelaySource};
use super::reading::{Counted, Extract, WaitingMail};
use super::route::{RecipientSelection, Route, Routes};
use super::running::{Ended, RunningDelivery};
use super::settled::Settled;
use super::totals::{DeliveryTally, RelayTotals};
use super::turned::TurnedSession;
use crate::engine::task::{self, JoinHandle, Notify, select};
use crate::engine::{self, Connecting, EngineKind, Pool, Watch};
use crate::human::counted;
use crate::limits::RELAY_NOTES_MAX;
use crate::mailbox::Tracer;
use crate::notice::notice;
use crate::printable::printable;
use crate::smtp::node::Node;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer};
use crate::spool::{DeliveryLog, SpoolError, Watermark};

/// Deliveries of the relay at once, those of ATRN included. More: ETRN waits its turn (250), ATRN gets
/// 450.
const RELAY_RUNS_MAX: usize = 8;

/// Nodes that wait for their turn. More: 458.
const RELAY_LINE_MAX: usize = 64;

/// Time that ETRN waits for the messages to be counted; then it is answered 250 without a number.
const RELAY_COUNT_MS: u64 = 2_000;

/// Time that deliveries get to end after their connections were cut, and then the notes of what they
/// delivered to be written, in milliseconds.
const RELAY_CUT_MS: u64 = 250;

type EtrnReply = oneshot::Sender<EtrnAnswer>;
type AtrnReply = oneshot::Sender<Result<TurnedSession, AtrnAnswer>>;

/// What a core asks of the relay.
#[derive(Debug)]
pub(super) enum RelayRequest {
    /// `known`: the client has logged in.
    Etrn {
        node: Node,
        known: bool,
        answer: EtrnReply,
    },
    Atrn {
        name: String,
        nodes: Vec<Node>,
        answer: AtrnReply,
    },
}

/// What the thread is handed at its start.
pub(super) struct QueueSetup {
    dir: PathBuf,
    watermarks: Arc<[Watermark]>,
    log: DeliveryLog,
    routes: Arc<Routes>,
    tracer: Tracer,
    timeout: Duration,
    engine: EngineKind,
    drain: Duration,
    end: watch::Sender<RelayEnd>,
}

impl QueueSetup {
    pub(super) fn new(
        plan: RelayPlan,
        source: RelaySource,
        end: watch::Sender<RelayEnd>,
    ) -> Result<Self, SpoolError> {
        let RelayPlan { routes, hostname, timeout, .. } = plan;
        let RelaySource { dir, durability, watermarks, engine, cores: _, drain } = source;
        let log = DeliveryLog::open(&dir, durability)?;
        let (routes, watermarks) = (Arc::new(routes), watermarks.into());
        let tracer = Tracer { hostname: hostname.into(), zone: TimeZone::system() };
        Ok(Self { dir, watermarks, log, routes, tracer, timeout, engine, drain, end })
    }
}

/// A delivery that runs, as the queue knows it.
struct RunningEntry {
    id: u64,
    selection: RecipientSelection,
    /// For the operator: `ETRN example.org` or `ATRN of tim`.
    name: String,
}

struct DeliveryQueue {
    dir: PathBuf,
    watermarks: Arc<[Watermark]>,
    routes: Arc<Routes>,
    tracer: Tracer,
    timeout: Duration,
    end: watch::Sender<RelayEnd>,
    notes: mpsc::Sender<Note>,
    ended_sender: mpsc::UnboundedSender<Ended>,
    pool: Rc<Pool>,
    watch: Rc<Watch>,
    /// INVARIANT: no two of them select a recipient in common, so that none is sent a message twice.
    running: RefCell<Vec<RunningEntry>>,
    next_id: Cell<u64>,
    /// Nodes whose delivery begins when there is room for it and no delivery runs that it shares mail
    /// with. INVARIANT: each node once.
    line: RefCell<VecDeque<Node>>,
    /// Where mail for a node may begin to wait.
    settled: RefCell<Settled>,
    /// For clients that have not logged in.
    allowance: Allowance,
    totals: Cell<RelayTotals>,
    /// Notified whenever a delivery has ended.
    ended: Notify,
}

/// Runs the relay on this thread until every [`Relay`](super::Relay) is dropped.
pub(super) fn run(setup: QueueSetup, requests: mpsc::Receiver<RelayRequest>) -> RelayTotals {
    match engine::run_core(setup.engine, serve(setup, requests)) {
        Ok(totals) => totals,
        Err(error) => {
            notice!("ringpost-sink: the relay cannot start: {error}; ETRN gets 458 and ATRN 451");
            RelayTotals::default()
        }
    }
}

async fn serve(setup: QueueSetup, mut requests: mpsc::Receiver<RelayRequest>) -> RelayTotals {
    let QueueSetup { dir, watermarks, mut log, routes, tracer, timeout, engine: _, drain, end } =
        setup;
    let (notes, mut to_note) = mpsc::channel::<Note>(RELAY_NOTES_MAX);
    let (ended_sender, mut ended) = mpsc::unbounded_channel();
    let queue = Rc::new(DeliveryQueue {
        dir,
        watermarks,
        routes,
        tracer,
        timeout,
        end,
        notes,
        ended_sender,
        pool: Rc::new(Pool::new()),
        watch: Watch::new(),
        running: RefCell::default(),
        next_id: Cell::new(0),
        line: RefCell::default(),
        settled: RefCell::default(),
        allowance: Allowance::new(),
        totals: Cell::default(),
        ended: Notify::new(),
    });
    let ticker = task::spawn(queue.watch.clone().run());
    let writer = task::spawn_blocking(move || {
        while let Some((deliveries, answer)) = to_note.blocking_recv() {
            // The delivery that waited for the answer may have been cut.
            let _ = answer.send(log.append(&deliveries));
        }
    });
    let listening = queue.clone();
    let listener = task::spawn(async move {
        while let Some((id, outcome)) = ended.recv().await {
            listening.end(id, outcome);
        }
    });
    let mut over = pin!(out_of_time(queue.end.subscribe(), drain));
    let in_time = loop {
        select! {
            request = requests.recv() => match request {
                Some(RelayRequest::Etrn { node, known, answer }) => queue.etrn(node, known, answer),
                Some(RelayRequest::Atrn { name, nodes, answer }) => queue.atrn(name, nodes, answer),
                None => break true,
            },
            // A core that hangs still has its way to the relay.
            () = &mut over => break false,
        }
    };
    if in_time {
        queue.wind_up(over).await;
    }
    queue.cut().await;
    listener.abort();
    ticker.abort();
    let totals = queue.totals.get();
    let _ = listener.await;
    drop(queue);
    // All notes are written before the thread ends. The limit is for a delivery that hangs in a
    // connect, because it still holds its way to the writer, and for a disk that hangs.
    let _ = task::timeout(Duration::from_millis(RELAY_CUT_MS), writer).await;
    totals
}

/// Returns when the time of the drain is over, or the relay has to end at once.
async fn out_of_time(mut end: watch::Receiver<RelayEnd>, drain: Duration) {
    // The queue holds a sender, so that these do not fail.
    let _ = end.wait_for(|end| *end >= RelayEnd::Drain).await;
    select! {
        () = task::sleep(drain) => {}
        _ = end.wait_for(|end| *end >= RelayEnd::Now) => {}
    }
}

impl DeliveryQueue {
    fn leaves(&self) -> bool {
        *self.end.borrow() >= RelayEnd::Drain
    }

    fn etrn(self: &Rc<Self>, node: Node, known: bool, answer: EtrnReply) {
        let answered = match RecipientSelection::of_route(&node, &self.routes) {
            None => EtrnAnswer::NotAllowed("there is no route for it here"),
            Some(_) if self.leaves() => EtrnAnswer::Unable,
            Some(_) if !known && !self.allowance.take() => EtrnAnswer::Unable,
            Some((selection, route)) => {
                let in_line = self.line.borrow().contains(&node);
                match (in_line, self.overlaps_running(&selection), self.is_full()) {
                    (true, _, _) => EtrnAnswer::Pending,
                    (false, true, _) => self.line_up(node, EtrnAnswer::Pending),
                    (false, false, true) => self.line_up(node, EtrnAnswer::Queued),
                    (false, false, false) => {
                        self.start(node, selection, route, Some(answer));
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
        debug_assert!(!line.contains(&node), "each node waits once");
        line.push_back(node);
        answer
    }

    /// Whether a delivery runs that may have a recipient in common with `selection`.
    fn overlaps_running(&self, selection: &RecipientSelection) -> bool {
        self.running.borrow().iter().any(|entry| entry.selection.overlaps(selection))
    }

    fn is_full(&self) -> bool {
        self.running.borrow().len() >= RELAY_RUNS_MAX
    }

    /// Takes a place among the deliveries that run.
    fn enter(&self, selection: RecipientSelection, name: String) -> (Extract, RunningDelivery) {
        assert!(!self.is_full() && !self.overlaps_running(&selection), "a place that is taken");
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let entry = RunningEntry { id, selection: selection.clone(), name };
        self.running.borrow_mut().push(entry);
        let running = RunningDelivery::new(id, self.ended_sender.clone());
        let (watermarks, end) = (self.watermarks.clone(), self.end.subscribe());
        (Extract { selection, since: Arc::default(), until: None, watermarks, end }, running)
    }

    fn end(self: &Rc<Self>, id: u64, outcome: Option<(WaitingMail, DeliveryTally)>) {
        let entry = {
            let mut running = self.running.borrow_mut();
            let Some(at) = running.iter().position(|entry| entry.id == id) else { return };
            running.swap_remove(at)
        };
        if let Some((waiting, tally)) = outcome {
            self.count(&entry.name, waiting, &tally);
        }
        self.start_those_in_line();
        self.ended.notify_waiters();
    }

    fn count(&self, name: &str, waiting: WaitingMail, tally: &DeliveryTally) {
        let mut totals = self.totals.get();
        let left_before = totals.left;
        totals.add(waiting.recipients, tally);
        self.totals.set(totals);
        let left = totals.left - left_before;
        let DeliveryTally { messages, delivered, refused, why } = tally;
        let why = why.as_ref().map(|why| format!(" ({})", printable(why))).unwrap_or_default();
        notice!(
            "ringpost-sink: {name}: {}; {} delivered, {refused} refused, {left} left{why}",
            counted(*messages, "message"),
            counted(*delivered, "recipient"),
        );
    }

    fn start_those_in_line(self: &Rc<Self>) {
        let mut at = 0;
        while !self.leaves() && !self.is_full() {
            let Some(node) = self.line.borrow().get(at).cloned() else { return };
            let Some((selection, route)) = RecipientSelection::of_route(&node, &self.routes) else {
                return;
            };
            if self.overlaps_running(&selection) {
                at += 1;
                continue;
            }
            self.line.borrow_mut().remove(at);
            self.start(node, selection, route, None);
        }
    }

    /// Begins the delivery of a node's mail. The client that asked for it is answered as soon as the
    /// messages are counted, or when counting takes longer than `RELAY_COUNT_MS`.
    fn start(
        self: &Rc<Self>,
        node: Node,
        selection: RecipientSelection,
        route: Route,
        mut answer: Option<EtrnReply>,
    ) {
        let name = format!("ETRN {node} to {}", route.target.url);
        let (mut extract, mut running) = self.enter(selection, name);
        extract.since = self.settled.borrow().of(&node);
        let queue = self.clone();
        task::spawn(async move {
            let mut counting = queue.count_waiting(&extract);
            let limit = Duration::from_millis(RELAY_COUNT_MS);
            let counted = match task::timeout(limit, &mut counting).await {
                Ok(counted) => counted,
                Err(_) => {
                    tell(&mut answer, EtrnAnswer::Queued);
                    counting.await
                }
            };
            match counted.unwrap_or_else(|_| Ok(Counted::default())) {
                // Not all was counted.
                Ok(_) if queue.leaves() => tell(&mut answer, EtrnAnswer::Unable),
                Ok((WaitingMail { messages: 0, .. }, until)) => {
                    queue.settled.borrow_mut().note(node, until);
                    tell(&mut answer, EtrnAnswer::Nothing);
                }
                Ok((waiting, until)) => {
                    tell(&mut answer, EtrnAnswer::Counted(waiting.messages));
                    (running.waiting, extract.until) = (waiting, Some(until));
                    running.finish(queue.deliver(extract, &route).await);
                }
                Err(error) => {
                    notice!("ringpost-sink: ETRN {node}: {error}");
                    tell(&mut answer, EtrnAnswer::Unable);
                }
            }
        });
    }

    fn count_waiting(&self, extract: &Extract) -> JoinHandle<Result<Counted, SpoolError>> {
        let (extract, dir) = (extract.clone(), self.dir.clone());
        task::spawn_blocking(move || extract.count(&dir))
    }

    /// Begins to read the messages that wait.
    fn read_out(&self, extract: Extract) -> Inputs {
        let (sender, messages) = mpsc::channel(1);
        let dir = self.dir.clone();
        task::spawn_blocking(move || {
            if let Err(error) = extract.read_out(&dir, &sender) {
                notice!("ringpost-sink: the relay cannot read the spool any further: {error}");
            }
        });
        let (tracer, timeout) = (self.tracer.clone(), self.timeout);
        Inputs { messages, notes: self.notes.clone(), tracer, timeout }
    }

    async fn deliver(&self, extract: Extract, route: &Route) -> DeliveryTally {
        let Route { node: _, target, security } = route;
        let mut stream = match target.connect(0, |_| Connecting::default()).await {
            Ok((stream, _)) => stream,
            Err(error) => {
                let why = Some(format!("no connection: {error}"));
                return DeliveryTally { why, ..DeliveryTally::default() };
            }
        };
        let guard = self.watch.register(stream.handle());
        let inputs = self.read_out(extract);
        let leave = || self.leaves();
        let connection = DeliveryConnection {
            stream: &mut stream,
            guard: &guard,
            pool: &self.pool,
            inbox: self.pool.small(),
            security: security.as_ref(),
        };
        let session = DeliverySession::new(inputs, target.protocol, connection, &leave);
        let tally = session.run(b"").await;
        drop(guard);
        stream.close().await;
        tally
    }

    fn atrn(self: &Rc<Self>, name: String, nodes: Vec<Node>, answer: AtrnReply) {
        let selection = RecipientSelection::Nodes(nodes);
        if self.leaves() || self.is_full() || self.overlaps_running(&selection) {
            // A client that does not wait for its answer is gone.
            let _ = answer.send(Err(AtrnAnswer::Refused));
            return;
        }
        let (mut extract, mut running) = self.enter(selection, format!("ATRN of {name}"));
        let queue = self.clone();
        task::spawn(async move {
            let counted = queue.count_waiting(&extract).await;
            let session = match counted.unwrap_or_else(|_| Ok(Counted::default())) {
                Ok(_) if queue.leaves() => Err(AtrnAnswer::Refused),
                Ok((WaitingMail { messages: 0, .. }, _)) => Err(AtrnAnswer::Nothing),
                Ok((waiting, until)) => {
                    (running.waiting, extract.until) = (waiting, Some(until));
                    Ok(TurnedSession { inputs: queue.read_out(extract), running })
                }
                Err(error) => {
                    notice!("ringpost-sink: ATRN of {name}: {error}");
                    Err(AtrnAnswer::Unable)
                }
            };
            let _ = answer.send(session);
        });
    }

    /// Waits for the deliveries that run, until `over`. Each of them finishes its open message.
    async fn wind_up(&self, over: impl Future<Output = ()>) {
        self.end.send_if_modified(|now| now.grow(RelayEnd::Drain));
        select! {
            () = self.idle() => {}
            () = over => {}
        }
    }

    /// Cuts the connections of the deliveries that still run.
    async fn cut(&self) {
        self.watch.shutdown_all();
        // One that waits for something else than its connection stays behind.
        let _ = task::timeout(Duration::from_millis(RELAY_CUT_MS), self.idle()).await;
    }

    async fn idle(&self) {
        while !self.running.borrow().is_empty() {
            self.ended.notified().await;
        }
    }
}

fn tell(answer: &mut Option<EtrnReply>, words: EtrnAnswer) {
    if let Some(answer) = answer.take() {
        // A client that does not wait for its answer is gone.
        let _ = answer.send(words);
    }
}
