//! Why a target cannot be worked with, in words for the user.

/// Why a run ended before its time: the target is out of reach, or cannot do what was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("cannot reach {target}: {why}; check that a server listens there")]
    Unreachable { target: String, why: String },
    #[error("{target} refuses to talk: {why}")]
    Refused { target: String, why: String },
    #[error("{target} does not offer {extension}; leave out {cure}")]
    NotOffered { target: String, extension: &'static str, cure: &'static str },
    #[error(
        "{target} does not offer {wanted}; leave out --auth, or name a mechanism that is offered"
    )]
    NoMechanism { target: String, wanted: String },
    #[error("{target} refuses the login with {mechanism}: {why}; check --auth")]
    Login { target: String, mechanism: &'static str, why: String },
    #[error("this machine's timers do not work: {why}")]
    Clock { why: String },
    #[error("{target} went away: {why}; {after_s} s without a connection")]
    Gone { target: String, why: String, after_s: u64 },
}

impl Failure {
    /// The same, of a target that has worked before, and not for so long.
    pub(super) fn after_success(self, after_s: u64) -> Self {
        match self {
            Self::Unreachable { target, why }
            | Self::Refused { target, why }
            | Self::Login { target, why, .. } => Self::Gone { target, why, after_s },
            other => other,
        }
    }
}

/// What a server said, as it may be shown on a terminal.
pub(super) fn words(said: &[u8]) -> String {
    crate::notice::without_controls(&String::from_utf8_lossy(said))
}
