//! One message, as a core records it when it has ended.

use super::kind::Outcome;

/// Whether arrivals have an intended start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// The next message starts when the last one is answered: no intended start, so no response
    /// time and no send lag.
    Closed,
    /// Arrivals are scheduled; late work is never dropped.
    Open,
}

/// What became of the recipients of one message. INVARIANT: the parts are together at most `asked`; the
/// rest got no answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecipientCounts {
    pub asked: u32,
    pub accepted: u32,
    pub refused_4xx: u32,
    pub refused_5xx: u32,
}

impl RecipientCounts {
    /// All of `asked` recipients share the outcome of their message.
    pub fn of(outcome: Outcome, asked: u32) -> Self {
        Self::new(outcome, asked, [0; 3])
    }

    /// `told` recipients were accepted, refused with 4xx and refused in any other way by themselves; the
    /// others share the outcome of their message.
    pub fn new(outcome: Outcome, asked: u32, told: [u32; 3]) -> Self {
        let [accepted, refused_4xx, refused_5xx] = told;
        let accepted = accepted.min(asked);
        let refused_4xx = refused_4xx.min(asked - accepted);
        let refused_5xx = refused_5xx.min(asked - accepted - refused_4xx);
        let mut counts = Self { asked, accepted, refused_4xx, refused_5xx };
        let rest = asked - accepted - refused_4xx - refused_5xx;
        match outcome {
            Outcome::Accepted => counts.accepted += rest,
            Outcome::Refused4xx => counts.refused_4xx += rest,
            Outcome::Refused5xx => counts.refused_5xx += rest,
            Outcome::Unanswered => {}
        }
        counts
    }

    pub fn refused(&self) -> u32 {
        self.refused_4xx + self.refused_5xx
    }
}

/// One finished message transaction.
#[derive(Clone, Copy, Debug)]
pub struct MessageSample {
    pub outcome: Outcome,
    /// Octets of the message before dot-stuffing.
    pub bytes: u64,
    pub recipients: RecipientCounts,
    /// When it was due, or in a closed loop when a session decided to send it; in nanoseconds since the
    /// start of the run. It decides whether the message is in the figures.
    pub start_ns: u64,
    /// When the last octet of its final reply came, or it was given up; since the start of the run.
    pub ended_ns: u64,
    /// First octet of the transaction sent to the last octet of its final reply.
    pub service_ns: u64,
    /// `Some` in an open loop, `None` in a closed one.
    pub open: Option<OpenLoop>,
}

/// Times that count from the intended start.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    /// Intended start to the last octet of the final reply.
    pub response_ns: u64,
    /// Intended start to the first octet handed to the kernel.
    pub send_lag_ns: u64,
    /// The part of the send lag while a session was free for it: the generator's own share.
    pub own_lag_ns: u64,
}
