//! What the sessions of one core share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::board::CoreBoard;
use super::connection_limit::ConnectionLimit;
use super::doze::Doze;
use super::fault_plan::FaultPlan;
use super::group_commit::GroupCommit;
use super::hints::Hints;
use super::keep::{Keep, KeepRules};
use super::peer_limit::PeerLimit;
use super::plan::{PeerPolicy, Port, PortTls};
use super::quota::Quota;
use super::replies::TakenMessage;
use super::session_log::{LogPlan, SessionLog};
use super::stop::Stop;
use crate::engine::task::Notify;
use crate::engine::{Loans, Peer, Pool, Watch};
use crate::host::PageFaults;
use crate::limits::TLS_KEPT_BYTES_MAX;
use crate::notice::notice;
use crate::relay::Relay;
use crate::smtp::envelope_memory::EnvelopeMemory;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Policy, Protocol};
use crate::spool::{Durability, SpoolError, Ticket, TicketFate, Writer};
use crate::tls::ServerConfig;

const NOT_SYNCED: Reply = Reply::new(451, 3, 0, "The spool could not be synced");
const NOT_KEPT: Reply = Reply::new(451, 3, 0, "The spool failed");

/// A listener's port as the sessions of one core see it.
pub(super) struct Door {
    pub(super) url: String,
    pub(super) protocol: Protocol,
    /// For sessions that begin; those that are open keep theirs.
    policy: RefCell<Rc<Policy>>,
    /// For handshakes that begin.
    tls: RefCell<Option<PortTls>>,
}

impl Door {
    pub(super) fn new(port: Port) -> Self {
        let Port { url, policy, tls } = port;
        let protocol = policy.protocol;
        let policy = RefCell::new(Rc::new(under(policy, tls.as_ref())));
        Self { url, protocol, policy, tls: RefCell::new(tls) }
    }

    pub(super) fn policy(&self) -> Rc<Policy> {
        self.policy.borrow().clone()
    }

    /// With what a handshake begins; `None` without a certificate.
    pub(super) fn tls_config(&self) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().as_ref().map(|tls| tls.config.clone())
    }

    /// The same where TLS begins with the connection, and else `None`.
    pub(super) fn implicit_tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.borrow().as_ref().filter(|tls| tls.is_implicit).map(|tls| tls.config.clone())
    }

    /// Takes what has changed, for sessions and handshakes that begin.
    pub(super) fn renew(&self, port: Port) {
        let Port { url, policy, tls } = port;
        assert_eq!((policy.protocol, &url), (self.protocol, &self.url), "a listener keeps these");
        self.policy.replace(Rc::new(under(policy, tls.as_ref())));
        self.tls.replace(tls);
    }
}

/// The policy with STARTTLS where the listener has a certificate for it.
fn under(mut policy: Policy, tls: Option<&PortTls>) -> Policy {
    policy.tls.offered = tls.is_some();
    policy
}

/// The parts from which a core is built.
pub(super) struct CoreSetup {
    /// `None` discards.
    pub(super) writer: Option<Writer>,
    pub(super) durability: Option<Durability>,
    pub(super) keep: KeepRules,
    pub(super) peer_policy: PeerPolicy,
    pub(super) peer_limit: PeerLimit,
    pub(super) relay: Option<Relay>,
    pub(super) connections: ConnectionLimit,
    pub(super) quota: Quota,
    pub(super) envelope_memory_bytes: u64,
    pub(super) log: LogPlan,
    pub(super) hints: Hints,
    pub(super) faults: Option<FaultPlan>,
    pub(super) board: CoreBoard,
}

/// The state of one core. One thread owns it; its sessions are tasks of that thread.
pub(super) struct Core {
    /// `None` discards.
    pub(super) writer: Option<RefCell<Writer>>,
    pub(super) group_commit: GroupCommit,
    /// What a 250 promises; `None` when nothing is kept.
    durability: Option<Durability>,
    pub(super) keep: KeepRules,
    pub(super) board: CoreBoard,
    pub(super) pool: Rc<Pool>,
    /// What sessions under TLS wait with beyond a small buffer.
    pub(super) loans: Rc<Loans>,
    /// Room in which a session moves replies. What it holds between two uses has no meaning.
    pub(super) reply_scratch: RefCell<Vec<u8>>,
    pub(super) watch: Rc<Watch>,
    pub(super) quota: Quota,
    pub(super) peer_policy: PeerPolicy,
    pub(super) peer_limit: PeerLimit,
    /// `None`: the sink passes no mail on.
    pub(super) relay: Option<Relay>,
    pub(super) stop: Cell<Stop>,
    pub(super) connections: ConnectionLimit,
    pub(super) envelope_memory: EnvelopeMemory,
    log: LogPlan,
    /// Sessions and callers that have a log so far.
    logged: Cell<u64>,
    pub(super) hints: Hints,
    /// `None` unless the user asked for faults.
    pub(super) faults: Option<FaultPlan>,
    /// Page faults of this thread before its first message.
    faults_before: Cell<Option<PageFaults>>,
    /// Whether the spool refuses mail at the moment.
    lacking: Cell<bool>,
    /// Callers that were turned away and whose connections are still read.
    ///
    /// INVARIANT: at most [`LINGERERS_MAX`](crate::limits::LINGERERS_MAX).
    pub(super) lingerers: Cell<usize>,
    /// Callers that are being turned away. The core waits for their replies before it ends.
    pub(super) farewells: Cell<usize>,
    pub(super) doze: Doze,
    /// Notified when a session ends, or a caller was turned away.
    pub(super) ended: Notify,
}

impl Core {
    pub(super) fn new(setup: CoreSetup) -> Self {
        Self {
            writer: setup.writer.map(RefCell::new),
            group_commit: GroupCommit::new(),
            durability: setup.durability,
            keep: setup.keep,
            board: setup.board,
            pool: Rc::new(Pool::new()),
            loans: Rc::new(Loans::new(TLS_KEPT_BYTES_MAX)),
            reply_scratch: RefCell::default(),
            watch: Watch::new(),
            quota: setup.quota,
            peer_policy: setup.peer_policy,
            peer_limit: setup.peer_limit,
            relay: setup.relay,
            stop: Cell::new(Stop::No),
            connections: setup.connections,
            envelope_memory: EnvelopeMemory::new(setup.envelope_memory_bytes as usize),
            log: setup.log,
            logged: Cell::new(0),
            hints: setup.hints,
            faults: setup.faults,
            faults_before: Cell::new(None),
            lacking: Cell::new(false),
            lingerers: Cell::new(0),
            farewells: Cell::new(0),
            doze: Doze::default(),
            ended: Notify::new(),
        }
    }

    /// Counts a message whose fate is known, because its client gets the reply now.
    ///
    /// # Errors
    /// The reply that takes the place of its 250: it was lost.
    pub(super) fn answer(&self, message: &TakenMessage) -> Result<(), Reply> {
        let counters = &self.board;
        if let (Some(stored), Some(writer)) = (message.stored, &self.writer)
            && let Err(refusal) = self.verdict(stored.ticket, writer)
        {
            self.quota.return_message();
            counters.rejected.add(1);
            return Err(refusal);
        }
        counters.messages.add(1);
        counters.bytes.add(message.bytes);
        counters.recipients.add(message.recipients);
        counters.headers_only.add((message.keep == Keep::Headers).into());
        counters.forgotten.add((message.keep == Keep::Nothing).into());
        if !message.deviations.is_empty() {
            counters.message_deviates(message.deviations);
        }
        self.quota.message_answered();
        Ok(())
    }

    /// What became of a message whose fate is [known](GroupCommit::decided).
    fn verdict(&self, ticket: Ticket, writer: &RefCell<Writer>) -> Result<(), Reply> {
        let fate = writer.borrow_mut().fate(ticket);
        assert!(
            fate != TicketFate::Waiting,
            "a reply is due before the fate of its message is known"
        );
        match (fate, self.durability) {
            (TicketFate::Kept, _) => Ok(()),
            (_, Some(Durability::Sync)) => Err(NOT_SYNCED),
            _ => Err(NOT_KEPT),
        }
    }

    /// The log of a connection from `peer`; `None` where nothing is to be said.
    pub(super) fn log(&self, peer: Peer, door: &Door) -> Option<Box<SessionLog>> {
        let number = self.logged.get();
        self.logged.set(number + 1);
        SessionLog::begin(self.log, (self.board.core(), number), peer, &door.url)
    }

    /// A message has begun.
    pub(super) fn note_message(&self) {
        if self.faults_before.get().is_none() {
            self.faults_before.set(Some(PageFaults::of_thread().unwrap_or_default()));
        }
        if self.doze.message()
            && let Some(writer) = &self.writer
        {
            // The writer has reported the error, and takes the message elsewhere.
            let _ = writer.borrow_mut().check_path();
        }
    }

    /// Reports that the spool stops taking mail, or that it takes mail again: once for each change.
    pub(super) fn note_lack(&self, writer: &RefCell<Writer>, lack: Option<&SpoolError>) {
        if self.lacking.replace(lack.is_some()) == lack.is_some() {
            return;
        }
        let core = writer.borrow().core();
        match lack {
            // The writer has reported these already.
            Some(
                SpoolError::Poisoned { .. } | SpoolError::Torn { .. } | SpoolError::Removed { .. },
            ) => {}
            Some(error) => notice!("ringpost-sink: core {core} refuses mail: {error}"),
            None => notice!("ringpost-sink: core {core} takes mail again"),
        }
    }

    /// Page faults of this thread since its first message.
    pub(super) fn page_faults(&self) -> PageFaults {
        let now = PageFaults::of_thread().unwrap_or_default();
        self.faults_before.get().map_or_else(Default::default, |before| now.since(before))
    }
}
