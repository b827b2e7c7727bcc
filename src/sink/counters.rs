//! What a core counts.

/// Counters of one core; nobody else touches them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Messages answered with 250 (for LMTP: once, however many recipients).
    pub(super) messages: u64,
    /// Octets of those messages, dot-unstuffed.
    pub(super) bytes: u64,
    pub(super) recipients: u64,
    /// Messages of which the spool keeps the header block only, and none of all (`--keep`).
    pub(super) headers_only: u64,
    pub(super) forgotten: u64,
    /// Messages read to their end, or given up, and not kept.
    pub(super) rejected: u64,
    pub(super) connections: u64,
    /// Connections turned away with 421 because the limit was reached.
    pub(super) turned_away: u64,
    /// Sessions ended because the peer took too long, to send or to read.
    pub(super) timeouts: u64,
    /// Clients that spoke before the greeting.
    pub(super) early_talkers: u64,
    /// Connections from a proxy without a good PROXY header.
    pub(super) proxy_errors: u64,
    /// Connections beyond those that one address may have.
    pub(super) peer_limited: u64,
    pub(super) active: usize,
    pub(super) active_peak: usize,
}
