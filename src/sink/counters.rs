//! What a core counts while it serves. Only its own thread writes; any thread may read at any time.
//!
//! Loads and stores are relaxed, and there is no read-modify-write, because a counter has one writer. So a
//! reader may see one counter a few messages ahead of another, and no core waits for a reader.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// INVARIANT: only the thread that owns the core calls this; two writers would lose counts.
    #[inline]
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// As [`Count::add`], for the one writer.
    #[inline]
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Declares the counters once: as numbers, and as cells.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a core, or all of them, counted. The JSON names are part of the command line's contract.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
        pub struct SinkCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign for SinkCounters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }

        /// The cells of one core.
        #[derive(Debug, Default)]
        pub(super) struct CounterCells {
            $(pub(super) $name: Count,)*
        }

        impl CounterCells {
            pub(super) fn read(&self) -> SinkCounters {
                SinkCounters { $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Messages answered with 250 (for LMTP: once, however many recipients).
    messages,
    /// Octets of those messages, dot-unstuffed.
    bytes,
    /// Recipients of those messages.
    recipients,
    /// Messages of which the spool keeps the header block only (`--keep`).
    headers_only,
    /// Messages counted and not kept at all (`--keep`, `--discard`).
    forgotten,
    /// Connections that got a session.
    connections,
    /// Messages begun and not kept.
    rejected,
    /// Connections turned away with 421 because the sink was full or at its end.
    turned_away,
    /// Sessions ended because the peer took too long, to send or to read.
    timeouts,
    /// Clients that spoke before the greeting.
    early_talkers,
    /// Connections from a proxy without a good PROXY header.
    proxy_errors,
    /// Connections beyond those that one address may have.
    peer_limited,
    /// Handshakes of TLS that came to their end.
    tls_sessions,
    /// Those that resumed an earlier session.
    tls_resumed,
    /// Sessions that ended because TLS failed, in the handshake or after it.
    tls_failed,
    /// Sessions whose client closed under TLS without saying so (close_notify).
    tls_truncated,
    /// Replies by the first digit of their code.
    replies_2xx,
    replies_3xx,
    replies_4xx,
    replies_5xx,
}
