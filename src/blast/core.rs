//! What the sessions of one generator core share.

mod balance;
mod ending;
mod halt;
mod reached;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

pub(super) use self::balance::TargetHold;
pub(super) use self::ending::Ending;
use super::clock::Clock;
use super::connect_options::ConnectOptions;
use super::corpus::{Corpus, Identity, Rendered};
use super::message_log::MessageLog;
use super::plan::Plan;
use super::policy::ErrorPolicy;
use super::security::SecuredSessions;
use super::shared::Shared;
use super::target_state::TargetState;
use super::targets::WeightedTarget;
use super::transcript::Transcript;
use super::work::Work;
use crate::dial::TargetSecurity;
use crate::engine::task::{self, Semaphore, SemaphorePermit};
use crate::engine::{Address, Connecting, EngineKind, Pool, Stream, Watch};
use crate::measure::Recorder;
use crate::run::messages::MessageFate;

/// Connects and TLS handshakes that one generator core makes at the same time: less than a usual listen
/// backlog. Of more handshakes, most of the time would be a wait for the generator's own CPU.
const CONNECTS_AT_ONCE: usize = 128;

/// A session that waits for its next connection looks so often whether it is still wanted.
const RECONNECT_LOOK_MS: u64 = 50;

/// The work of one core.
pub(super) struct Assignment {
    pub(super) id: u16,
    pub(super) cpu: usize,
    pub(super) engine: EngineKind,
    pub(super) connections: usize,
    pub(super) plan: Arc<Plan>,
    /// For each target, how it is secured.
    pub(super) security: Vec<Option<TargetSecurity>>,
    pub(super) corpus: Arc<Corpus>,
    /// Where the run writes what became of each message.
    pub(super) log: Option<MessageLog>,
}

/// What the sessions of one core share.
pub(super) struct LoadCore {
    id: u16,
    connections: usize,
    pub(super) targets: Vec<TargetState>,
    connect_options: ConnectOptions,
    /// Time without a working session after which a target is given up.
    idle_max: Duration,
    /// Connections made; the cores take their sources in turn.
    connected: Cell<u64>,
    /// Connections that were made, which counts them in the stamp.
    numbered: Cell<u32>,
    cores: u64,
    pub(super) work: Work,
    pub(super) corpus: Arc<Corpus>,
    pub(super) clock: Clock,
    pub(super) recorder: RefCell<Recorder>,
    log: RefCell<Option<MessageLog>>,
    pub(super) watch: Rc<Watch>,
    pub(super) pool: Rc<Pool>,
    connecting: Semaphore,
    /// Messages begun and not yet answered.
    pub(super) in_flight: Cell<u32>,
    /// When a message was last decided: the end of the run as far as figures go.
    pub(super) last_ns: Cell<u64>,
    /// Whether the time to end politely is over and we shut the connections that are open.
    pub(super) cut: Cell<bool>,
    drain_ns: u64,
    /// Whether sessions pause between messages.
    pauses: bool,
    /// See [`Plan`].
    pub(super) reply_timeout: Duration,
    seq: Cell<u64>,
    pub(super) policy: ErrorPolicy,
    /// Sessions of all cores whose dialogue is shown.
    transcripts: u64,
    /// Refused messages and failures without a reply.
    errors: Cell<u64>,
    /// The values of `seq` and `errors` that the other cores know.
    shown: Cell<(u64, u64)>,
    pub(super) shared: Arc<Shared>,
}

impl LoadCore {
    pub(super) fn new(
        assignment: Assignment,
        shared: Arc<Shared>,
        recorder: Recorder,
        clock: Clock,
    ) -> Self {
        let plan = &assignment.plan;
        let utf8 = assignment.corpus.needs_smtputf8();
        let target = |(of, security): (&WeightedTarget, Option<TargetSecurity>)| {
            let secured = security.zip(plan.tls.as_ref());
            let secured = secured.map(|(security, tls)| SecuredSessions::new(security, tls));
            TargetState::new(of.target.clone(), plan.settings(&of.target, utf8), secured)
        };
        let security = assignment.security;
        debug_assert_eq!(security.len(), plan.targets.all().len(), "each target has its own");
        Self {
            id: assignment.id,
            connections: assignment.connections,
            targets: plan.targets.all().iter().zip(security).map(target).collect(),
            connect_options: plan.connect.clone(),
            idle_max: plan.idle_max(),
            connected: Cell::new(u64::from(assignment.id)),
            numbered: Cell::new(0),
            cores: plan.cores() as u64,
            work: Work::new(plan, usize::from(assignment.id), clock, Arc::clone(&shared.exchange)),
            reply_timeout: plan.reply_timeout,
            drain_ns: plan.drain.as_nanos() as u64,
            pauses: plan.think.is_some(),
            corpus: assignment.corpus,
            clock,
            recorder: RefCell::new(recorder),
            log: RefCell::new(assignment.log),
            watch: Watch::new(),
            pool: Rc::new(Pool::new()),
            connecting: Semaphore::new(CONNECTS_AT_ONCE),
            in_flight: Cell::new(0),
            last_ns: Cell::new(0),
            cut: Cell::new(false),
            seq: Cell::new(0),
            policy: plan.policy.clone(),
            transcripts: plan.transcripts,
            errors: Cell::new(0),
            shown: Cell::new((0, 0)),
            shared,
        }
    }

    /// Whether figures are kept for each target.
    #[inline]
    pub(super) fn tells_targets(&self) -> bool {
        self.targets.len() > 1
    }

    /// Connects to the target, at the address that answered last if it can.
    pub(super) async fn connect(&self, target: usize) -> io::Result<Stream> {
        let TargetState { target, address, .. } = &self.targets[target];
        let ConnectOptions { recv_buffer, send_buffer, .. } = self.connect_options;
        let how = |to: &Address| {
            let from = self.source(to);
            Connecting { from, recv_buffer, send_buffer, ..Connecting::default() }
        };
        let (stream, index) = target.connect(address.get(), how).await?;
        if self.connect_options.reset {
            stream.reset_on_close()?;
        }
        address.set(index);
        Ok(stream)
    }

    /// Waits until it is a session's turn to connect or to shake hands, which it holds until it drops what
    /// this answers.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.connecting.acquire().await.ok()
    }

    /// The transcript of a session, for the first sessions of a run.
    pub(super) fn transcript(&self) -> Option<Transcript> {
        if self.transcripts == 0 {
            return None;
        }
        let number = self.shared.transcripts.fetch_add(1, Relaxed) + 1;
        (number <= self.transcripts).then(|| Transcript::new(number, self.transcripts))
    }

    /// The source address of the next connection; `None` lets the kernel choose.
    fn source(&self, to: &Address) -> Option<IpAddr> {
        let Address::Tcp(to) = to else { return None };
        let n = self.connected.get();
        self.connected.set(n + self.cores);
        self.connect_options.source(n, to.is_ipv6())
    }

    /// The number of a connection that was made.
    pub(super) fn next_connection(&self) -> u32 {
        // After four thousand million connections the numbers begin again.
        self.numbered.set(self.numbered.get().wrapping_add(1));
        self.numbered.get()
    }

    /// The next message of this core, for its connection `conn`.
    #[inline]
    pub(super) fn next_message(&self, conn: u32, due_ns: u64) -> (&Rendered, Identity) {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        if seq == 1 {
            self.shared.begun.store(true, Relaxed);
        }
        let (core, due_unix_ns) = (self.id, self.clock.unix_ns(due_ns));
        let filling = self.corpus.filling(core, seq);
        let identity = Identity { core, conn, seq, due_unix_ns, filling };
        (self.corpus.pick(core, seq), identity)
    }

    /// Notes what became of a message, where that is wanted.
    #[inline]
    pub(super) fn note_fate(&self, fate: MessageFate) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.note(fate);
        }
    }

    /// Hands over everything that it recorded.
    pub(super) fn hand_over(self) {
        let end_ns = self.end_ns();
        // Before the recorder, whose end says that all is there.
        if let Some(log) = self.log.into_inner() {
            log.finish();
        }
        self.recorder.into_inner().finish(end_ns);
    }

    /// Pauses before another connection is made, unless none is wanted any more.
    pub(super) async fn pause(&self, pause: Duration) {
        let end = self.clock.started() + Duration::from_nanos(self.clock.elapsed_ns()) + pause;
        while !self.work.over(self.clock.elapsed_ns()) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            task::sleep(left.min(Duration::from_millis(RECONNECT_LOOK_MS))).await;
            self.notice_stop();
        }
    }
}
