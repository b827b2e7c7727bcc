//! What the sessions of clients that misbehave share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use crate::blast::corpus::Corpus;
use crate::blast::plan::Plan;
use crate::dial::{SecurityError, Target, TargetSecurity};
use crate::engine::task::{self, Notify};
use crate::engine::{Pool, Watch};
use crate::measure::Misbehaviour;
use crate::smtp::ending::WouldBeEnd;
use crate::smtp::offered::Offered;

/// Time that a server may take for a reply to a client that misbehaves: silence has its own count.
const MISBEHAVIOUR_REPLY_S_MAX: u64 = 10;

/// What each session needs of the plan.
pub(super) struct DialogueParts {
    pub(super) targets: Vec<Target>,
    /// For each target, how it is secured.
    pub(super) security: Vec<Option<TargetSecurity>>,
    pub(super) helo: String,
    /// MAIL and RCPT of a message, each with its CRLF.
    pub(super) mail: Vec<u8>,
    pub(super) rcpt: Vec<u8>,
}

impl DialogueParts {
    /// # Errors
    /// A target that cannot be secured as the plan wants it.
    pub(super) fn new(plan: &Plan, corpus: &Corpus) -> Result<Self, SecurityError> {
        let (core, seq) = (0, 1);
        let filling = corpus.filling(core, seq);
        let outgoing = corpus.outgoing(corpus.pick(core, seq), filling);
        let (mut mail, mut rcpt) = (Vec::new(), Vec::new());
        outgoing.write_mail(&mut mail, &Offered::default());
        outgoing.recipients.write_one(0, &mut rcpt, filling);
        debug_assert!(mail.ends_with(b"\r\n") && rcpt.ends_with(b"\r\n"));
        let targets: Vec<Target> = plan.targets.all().iter().map(|of| of.target.clone()).collect();
        let of_target = |target: &Target| match &plan.tls {
            Some(tls) => tls.security.of_target(target, 1),
            None => Ok(None),
        };
        let security = targets.iter().map(of_target).collect::<Result<_, _>>()?;
        Ok(Self { targets, security, helo: plan.helo.clone(), mail, rcpt })
    }
}

/// What the sessions share.
pub(super) struct MisbehaverState {
    pub(super) parts: DialogueParts,
    /// Time that a server may take for each reply.
    pub(super) reply_limit: Duration,
    /// Connections made; they take the targets in turn.
    connected: Cell<usize>,
    pub(super) watch: Rc<Watch>,
    pub(super) pool: Rc<Pool>,
    over: Cell<bool>,
    /// Wakes the sessions that pause, at the end of the run.
    ending: Notify,
    /// The would-be ends of data. INVARIANT: not empty.
    endings: Vec<WouldBeEnd>,
    /// How many of them were sent; they are sent in turn.
    smuggled: Cell<usize>,
    /// What was met with: one entry for each kind, in the order of the plan.
    pub(super) met: RefCell<Vec<Misbehaviour>>,
}

impl MisbehaverState {
    pub(super) fn new(
        parts: DialogueParts,
        endings: Vec<WouldBeEnd>,
        met: Vec<Misbehaviour>,
    ) -> Self {
        assert!(!parts.targets.is_empty() && !endings.is_empty(), "both are taken in turn");
        Self {
            parts,
            reply_limit: Duration::from_secs(MISBEHAVIOUR_REPLY_S_MAX),
            connected: Cell::new(0),
            watch: Watch::new(),
            pool: Rc::new(Pool::new()),
            over: Cell::new(false),
            ending: Notify::new(),
            endings,
            smuggled: Cell::new(0),
            met: RefCell::new(met),
        }
    }

    /// Whether the run is over.
    pub(super) fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Ends the run: wakes the sessions that pause and shuts the connections.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.ending.notify_waiters();
        self.watch.shutdown_all();
    }

    /// Pauses, at most to the end of the run.
    pub(super) async fn pause(&self, pause: Duration) {
        if !self.is_over() {
            // The caller looks whether the run is over, so that it is no matter what ended the pause.
            drop(task::timeout(pause, self.ending.notified()).await);
        }
    }

    /// The target of the next session, and how it is secured.
    pub(super) fn next_target(&self) -> (&Target, Option<&TargetSecurity>) {
        let n = self.connected.get();
        self.connected.set(n + 1);
        let DialogueParts { targets, security, .. } = &self.parts;
        let index = n % targets.len();
        (&targets[index], security[index].as_ref())
    }

    pub(super) fn next_ending(&self) -> WouldBeEnd {
        let n = self.smuggled.get();
        self.smuggled.set(n + 1);
        self.endings[n % self.endings.len()]
    }
}
