//! What a relay needs to start.

use std::path::PathBuf;
use std::time::Duration;

use super::route::{Grants, Routes};
use crate::engine::EngineKind;
use crate::spool::{Durability, Watermark};

/// The routes and grants of a relay, and how it speaks.
#[derive(Clone, Debug)]
pub struct RelayPlan {
    pub routes: Routes,
    pub grants: Grants,
    /// Our name in EHLO and in Received fields.
    pub hostname: Box<str>,
    /// Time that a server gets for each reply.
    pub timeout: Duration,
}

/// What a relay has in common with its sink: the spool, whose lock the sink holds, and how it runs.
#[derive(Clone, Debug)]
pub struct RelaySource {
    pub dir: PathBuf,
    pub durability: Durability,
    /// One for each core whose messages may be sealed before they are acknowledged.
    pub watermarks: Vec<Watermark>,
    /// Kernel interface of the relay's thread.
    pub engine: EngineKind,
    /// Cores that have a way to the relay. Each of them has to leave it.
    pub cores: usize,
    /// Time at the end for the messages that deliveries have open.
    pub drain: Duration,
}
