//! What a relay is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use super::route::{Grants, Routes};
use crate::spool::{Durability, Watermark};

/// What a relay is to do.
#[derive(Clone, Debug)]
pub struct RelayPlan {
    pub routes: Routes,
    pub grants: Grants,
    /// Our name in EHLO and in Received fields.
    pub hostname: Box<str>,
    /// Time that a server gets for each reply.
    pub timeout: Duration,
}

/// The spool that a relay reads. The caller holds the lock of the spool.
#[derive(Clone, Debug)]
pub struct RelaySource {
    pub dir: PathBuf,
    pub durability: Durability,
    /// One for each core whose messages may be sealed before they are acknowledged.
    pub watermarks: Vec<Watermark>,
}
