//! Everything that a sink needs to know before it starts.

use std::sync::Arc;
use std::time::Duration;

use super::keep::KeepRules;
use super::networks::Networks;
use super::session_log::LogPlan;
use super::store::Store;
use crate::engine::{BoundListener, EngineKind};
use crate::relay;
use crate::rules::FaultRules;
use crate::smtp::server::Policy;
use crate::tls::ServerConfig;

/// The address of a listener, and the protocol there.
#[derive(Clone, Debug)]
pub struct Port {
    /// The URL, as the sink prints it and stores it with each message: `smtp://127.0.0.1:1025`.
    pub url: String,
    pub policy: Policy,
    /// `None`: there is no certificate, and so no TLS.
    pub tls: Option<PortTls>,
}

/// TLS at a listener.
#[derive(Clone, Debug)]
pub struct PortTls {
    pub config: Arc<ServerConfig>,
    /// From the first octet on; otherwise after STARTTLS.
    pub is_implicit: bool,
}

/// What peers may do, and how long they may take.
#[derive(Clone, Debug)]
pub struct PeerPolicy {
    /// Time for one command, even if it arrives in pieces (RFC 5321 §4.5.3.2.7), and the longest pause
    /// in a message.
    pub timeout: Duration,
    /// Minimum rate of message content, in octets per second; 0 means no minimum.
    pub data_rate_min: u64,
    /// Time before the greeting in which a client must not speak; with zero the sink greets at once.
    pub greet_delay: Duration,
    /// Connections of one address at the same time, over all cores.
    pub connections_per_peer_max: Option<usize>,
    /// Peers that must send a PROXY header.
    pub proxies: Networks,
    /// Peers that may use XCLIENT.
    pub xclient: Networks,
}

/// Everything that a sink needs, checked.
pub struct SinkPlan {
    pub engine: EngineKind,
    /// CPU numbers, one per core thread.
    pub cpus: Vec<usize>,
    /// For each core, one listener per port, in the order of `ports`.
    pub listeners: Vec<Vec<BoundListener>>,
    pub ports: Vec<Port>,
    pub store: Store,
    /// How much of each message the spool keeps.
    pub keep: KeepRules,
    pub peer_policy: PeerPolicy,
    /// The deliveries that ETRN and ATRN start; needs a spool.
    pub relay: Option<relay::RelayPlan>,
    /// Time that open messages have after the sink was told to stop.
    pub drain: Duration,
    /// Sessions open at the same time, over all cores. One more gets 421.
    pub connections_max: usize,
    /// Octets of memory for senders and recipients of open transactions, over all cores. Beyond it MAIL and RCPT get
    /// 452.
    pub envelope_memory_bytes: u64,
    pub messages_max: Option<u64>,
    pub sessions_max: Option<u64>,
    /// What is said of each session.
    pub log: LogPlan,
    /// The faults that were asked for, if any.
    pub faults: Option<FaultRules>,
}
