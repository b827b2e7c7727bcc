//! The course of a rate over time, and its integral.

use std::fmt;
use std::time::Duration;

use crate::limits::DURATION_S_MAX;

/// Arrivals a second that a schedule may ask for: beyond it the gap is less than the resolution of
/// the clock is worth, and no machine sends that much.
const RATE_MAX: f64 = 1e8;

/// A stretch over which the rate changes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    /// Arrivals a second at its begin and at its end.
    pub from: f64,
    pub to: f64,
    pub length: Duration,
}

impl Leg {
    /// One rate, in arrivals a second, for `length`.
    pub fn steady(rate: f64, length: Duration) -> Self {
        Self { from: rate, to: rate, length }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.length.as_secs_f64()
    }

    /// Arrivals in its first `seconds`: the integral of the rate.
    pub(super) fn count_at(&self, seconds: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds();
        seconds * (self.from + slope * seconds / 2.0)
    }

    /// Seconds from its begin until the integral is `count`.
    pub(super) fn time_of(&self, count: f64) -> f64 {
        if count == 0.0 {
            return 0.0;
        }
        let slope = (self.to - self.from) / self.seconds();
        // The root of slope/2 t² + from t = count in the form that loses no digits where the slope
        // is small. Below zero only by rounding, at the end of a ramp down to nothing.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root)
    }
}

/// Why a profile is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    #[error("a rate must be from 0 to {RATE_MAX} a second")]
    Rate,
    #[error("a stretch of no length has no rate")]
    Length,
    #[error("the stretches are longer than {DURATION_S_MAX} s together")]
    Long,
    #[error("a rate of nothing at all makes no load")]
    Nothing,
}

/// A rate over time; after the last leg its final rate goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub(super) legs: Vec<Leg>,
    pub(super) last: f64,
}

impl Profile {
    /// One rate, for as long as the run takes.
    pub fn constant(rate: f64) -> Result<Self, ProfileError> {
        Self::checked(Vec::new(), rate)
    }

    /// The profile that goes through `legs` one after the other.
    ///
    /// # Errors
    /// A rate or a length that is out of range.
    pub fn of(legs: Vec<Leg>) -> Result<Self, ProfileError> {
        let last = legs.last().map_or(0.0, |leg| leg.to);
        Self::checked(legs, last)
    }

    fn checked(legs: Vec<Leg>, last: f64) -> Result<Self, ProfileError> {
        let rates = || legs.iter().flat_map(|leg| [leg.from, leg.to]).chain([last]);
        if !rates().all(|rate| (0.0..=RATE_MAX).contains(&rate)) {
            return Err(ProfileError::Rate);
        }
        if legs.iter().any(|leg| leg.length.is_zero()) {
            return Err(ProfileError::Length);
        }
        let length =
            legs.iter().map(|leg| leg.length).fold(Duration::ZERO, Duration::saturating_add);
        if length > Duration::from_secs(DURATION_S_MAX) {
            return Err(ProfileError::Long);
        }
        if rates().all(|rate| rate == 0.0) {
            return Err(ProfileError::Nothing);
        }
        Ok(Self { legs, last })
    }

    /// The legs together; `None` where one rate was given without a length.
    pub fn length(&self) -> Option<Duration> {
        (!self.legs.is_empty()).then(|| self.legs.iter().map(|leg| leg.length).sum())
    }

    /// The same profile after `time` at its first rate.
    #[must_use]
    pub fn after(&self, time: Duration) -> Self {
        let first = self.legs.first().map_or(self.last, |leg| leg.from);
        let lead = (!time.is_zero()).then(|| Leg::steady(first, time));
        Self { legs: lead.into_iter().chain(self.legs.iter().copied()).collect(), last: self.last }
    }

    /// The highest rate, in arrivals a second.
    pub fn peak(&self) -> f64 {
        self.legs.iter().flat_map(|leg| [leg.from, leg.to]).fold(self.last, f64::max)
    }

    /// The integral of the rate up to `seconds`.
    pub fn count_at(&self, seconds: f64) -> f64 {
        let (mut left, mut count) = (seconds, 0.0);
        for leg in &self.legs {
            if left < leg.seconds() {
                return count + leg.count_at(left);
            }
            count += leg.count_at(leg.seconds());
            left -= leg.seconds();
        }
        count + left * self.last
    }

    /// All arrivals of a profile that ends at a rate of nothing; `None` where they go on for ever.
    pub fn total(&self) -> Option<f64> {
        let length = self.length().filter(|_| self.last == 0.0)?;
        Some(self.count_at(length.as_secs_f64()))
    }

    /// Seconds until the integral of the rate is `count`; infinite or NaN if it never is.
    pub fn time_of(&self, count: f64) -> f64 {
        let (mut left, mut seconds) = (count, 0.0);
        for leg in &self.legs {
            let whole = leg.count_at(leg.seconds());
            if left < whole {
                return seconds + leg.time_of(left);
            }
            left -= whole;
            seconds += leg.seconds();
        }
        seconds + left / self.last
    }
}

/// `1000`, `1000..20000/60s`, or several of the latter with commas.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.legs.is_empty() {
            return write!(f, "{}", self.last);
        }
        for (n, leg) in self.legs.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            match leg.from == leg.to {
                true => write!(f, "{comma}{}:{:?}", leg.from, leg.length)?,
                false => write!(f, "{comma}{}..{}/{:?}", leg.from, leg.to, leg.length)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_holds_the_first_rate_and_moves_the_rest() {
        let leg = Leg { from: 10.0, to: 30.0, length: Duration::from_secs(2) };
        let led = Profile::of(vec![leg]).unwrap().after(Duration::from_secs(3));
        assert_eq!(led.length(), Some(Duration::from_secs(5)));
        assert_eq!((led.count_at(3.0), led.count_at(5.0)), (30.0, 70.0));
        assert_eq!((led.count_at(6.0), led.peak()), (100.0, 30.0));
        let constant = Profile::constant(5.0).unwrap();
        assert_eq!(constant.after(Duration::from_secs(1)).count_at(4.0), 20.0);
    }

    #[test]
    fn a_profile_is_written_as_it_can_be_read() {
        let leg = Leg { from: 1e3, to: 2e4, length: Duration::from_secs(60) };
        let steady = Leg::steady(20.5, Duration::from_millis(1_500));
        assert_eq!(Profile::constant(1_000.0).unwrap().to_string(), "1000");
        assert_eq!(
            Profile::of(vec![leg, steady]).unwrap().to_string(),
            "1000..20000/60s,20.5:1.5s"
        );
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(Profile::constant(0.0), Err(ProfileError::Nothing));
        assert_eq!(Profile::constant(-1.0), Err(ProfileError::Rate));
        assert_eq!(Profile::constant(f64::NAN), Err(ProfileError::Rate));
        assert_eq!(Profile::constant(2.0 * RATE_MAX), Err(ProfileError::Rate));
        assert_eq!(Profile::of(Vec::new()), Err(ProfileError::Nothing));
        assert_eq!(Profile::of(vec![Leg::steady(0.0, second)]), Err(ProfileError::Nothing));
        assert_eq!(Profile::of(vec![Leg::steady(1.0, Duration::ZERO)]), Err(ProfileError::Length));
        assert_eq!(Profile::of(vec![Leg::steady(1.0, Duration::MAX); 2]), Err(ProfileError::Long));
    }
}
