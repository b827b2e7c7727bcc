//! Everything that a sink needs to know before it starts.

use std::time::Duration;

use super::keep::KeepRules;
use super::networks::Networks;
use super::store::Store;
use crate::engine::{BoundListener, EngineKind};
use crate::relay;
use crate::smtp::server::Policy;

/// A listener's address and what is spoken there.
#[derive(Clone, Debug)]
pub struct Port {
    /// As it is printed and stored with each message: `smtp://127.0.0.1:1025`.
    pub url: String,
    pub policy: Policy,
}

/// What peers may do, and how long they may take.
#[derive(Clone, Debug)]
pub struct PeerPolicy {
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
    /// What ETRN and ATRN begin; needs a spool.
    pub relay: Option<relay::RelayPlan>,
    /// Time that open messages get after a stop was asked for.
    pub drain: Duration,
    /// Sessions open at once, over all cores. More get 421.
    pub connections_max: usize,
    pub messages_max: Option<u64>,
    pub sessions_max: Option<u64>,
}
