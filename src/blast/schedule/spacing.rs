//! How arrivals are spread over the time that a profile gives them.

use super::profile::Profile;

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spacing {
    /// As evenly as the rate allows.
    Constant,
    /// Independent of one another, as those of many senders are.
    Poisson,
}

impl Spacing {
    /// As `--arrivals` names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
        }
    }
}

/// A profile with the spread of its arrivals.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub profile: Profile,
    pub spacing: Spacing,
}

/// Drawn with mean 1.
pub(super) fn exponential(random: &mut fastrand::Rng) -> f64 {
    // 1 - u is never 0, so its logarithm is finite.
    -(1.0 - random.f64()).ln()
}
