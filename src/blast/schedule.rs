//! When work is due: by arithmetic from the start of the run, so that nothing has to be stored for
//! work that waits, and the intended time of each arrival does not depend on when anybody looked.
//!
//! A [`Profile`] is a rate over time. [`Arrivals`] walks the instants at which its integral passes
//! one position after the other: the whole numbers for constant spacing, the sums of exponential
//! steps of mean 1 for Poisson arrivals (the time-rescaling theorem makes them a Poisson process of
//! that rate, ramps included). Each core walks the same arrivals and takes its turn of them, so the
//! cores' arrivals together are exactly those of one core, whatever their number.

use std::fmt;
use std::time::Duration;

use crate::limits::{DURATION_S_MAX, RATE_MAX};

/// A stretch over which the rate changes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    /// Arrivals a second at its begin and at its end.
    pub from: f64,
    pub to: f64,
    pub length: Duration,
}

impl Leg {
    pub fn steady(rate: f64, length: Duration) -> Self {
        Self { from: rate, to: rate, length }
    }

    fn seconds(&self) -> f64 {
        self.length.as_secs_f64()
    }

    /// Arrivals in its first `seconds`: the integral of the rate.
    fn count_at(&self, seconds: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds();
        seconds * (self.from + slope * seconds / 2.0)
    }

    /// Seconds from its begin until the integral is `count`.
    fn time_of(&self, count: f64) -> f64 {
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

/// A pause between two messages of one session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Think {
    Even {
        least: Duration,
        most: Duration,
    },
    /// Of this mean; how long people and retry queues take.
    Exponential(Duration),
}

impl Think {
    pub fn draw(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            Self::Even { least, most } => least + (most - least).mul_f64(random.f64()),
            Self::Exponential(mean) => mean.mul_f64(exponential(random)),
        }
    }
}

impl fmt::Display for Think {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Even { least, most } if least == most => write!(f, "{least:?}"),
            Self::Even { least, most } => write!(f, "{least:?}..{most:?}"),
            Self::Exponential(mean) => write!(f, "exp:{mean:?}"),
        }
    }
}

/// Drawn with mean 1.
fn exponential(random: &mut fastrand::Rng) -> f64 {
    // 1 - u is never 0, so its logarithm is finite.
    -(1.0 - random.f64()).ln()
}

/// A rate over time; after the last leg its final rate goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    legs: Vec<Leg>,
    last: f64,
}

impl Profile {
    /// One rate, for as long as the run takes.
    pub fn constant(rate: f64) -> Result<Self, ProfileError> {
        Self::checked(Vec::new(), rate)
    }

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

    /// The same, behind `time` at its first rate.
    #[must_use]
    pub fn after(&self, time: Duration) -> Self {
        let first = self.legs.first().map_or(self.last, |leg| leg.from);
        let lead = (!time.is_zero()).then(|| Leg::steady(first, time));
        Self { legs: lead.into_iter().chain(self.legs.iter().copied()).collect(), last: self.last }
    }

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

    /// Seconds until the integral of the rate is `count`; not finite where it never gets there.
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

/// How arrivals are spread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spacing {
    /// As evenly as the rate allows.
    Constant,
    /// Independent of one another, as those of many senders are.
    Poisson,
}

impl Spacing {
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

/// Where the arrivals of all cores end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// After so many.
    Count(u64),
    /// None is due at this time or later; nanoseconds since the start.
    At(u64),
}

/// The arrivals of one core, in order. Times are nanoseconds since the start of the run.
#[derive(Clone, Debug)]
pub struct Arrivals {
    schedule: Schedule,
    end: End,
    random: fastrand::Rng,
    cores: u64,
    /// The next arrival of this core: its number among those of all cores, its position on the
    /// integral, and when it is due; `None` behind the last.
    number: u64,
    position: f64,
    due_ns: Option<u64>,
    leg: LegAt,
}

/// The leg that the last arrival fell into; they only go forward.
#[derive(Clone, Copy, Debug, Default)]
struct LegAt {
    index: usize,
    /// Seconds and arrivals before it.
    seconds: f64,
    count: f64,
}

impl Arrivals {
    /// Those of core `core` of `cores`. The same seed makes the same arrivals.
    pub fn of_core(schedule: Schedule, end: End, seed: u64, cores: usize, core: usize) -> Self {
        let mut arrivals = Self {
            schedule,
            end,
            random: fastrand::Rng::with_seed(seed),
            cores: cores as u64,
            number: 0,
            position: 0.0,
            due_ns: None,
            leg: LegAt::default(),
        };
        // A Poisson process does not begin with an arrival.
        arrivals.position = arrivals.first_step();
        arrivals.step(core as u64);
        arrivals
    }

    /// When the next one is due; `None` when there is none.
    #[inline]
    pub fn peek(&self) -> Option<u64> {
        self.due_ns
    }

    /// Goes on to the one behind the next.
    #[inline]
    pub fn advance(&mut self) {
        self.step(self.cores);
    }

    /// When those that were not taken yet and are due before `until_ns` are due.
    pub fn due_before(&self, until_ns: u64) -> impl Iterator<Item = u64> + use<> {
        let mut ahead = self.clone();
        std::iter::from_fn(move || {
            let due_ns = ahead.peek()?;
            ahead.advance();
            Some(due_ns)
        })
        .take_while(move |&due_ns| due_ns < until_ns)
    }

    fn first_step(&mut self) -> f64 {
        match self.schedule.spacing {
            Spacing::Constant => 0.0,
            Spacing::Poisson => exponential(&mut self.random),
        }
    }

    fn step(&mut self, by: u64) {
        self.number += by;
        match self.schedule.spacing {
            Spacing::Constant => self.position = self.number as f64,
            Spacing::Poisson => {
                for _ in 0..by {
                    self.position += exponential(&mut self.random);
                }
            }
        }
        self.due_ns = self.time_of_position().filter(|&due_ns| match self.end {
            End::Count(count) => self.number < count,
            End::At(end_ns) => due_ns < end_ns,
        });
    }

    fn time_of_position(&mut self) -> Option<u64> {
        let Profile { legs, last } = &self.schedule.profile;
        while let Some(leg) = legs.get(self.leg.index) {
            let count = leg.count_at(leg.seconds());
            let into = self.position - self.leg.count;
            if into < count {
                return nanoseconds(self.leg.seconds + leg.time_of(into).min(leg.seconds()));
            }
            self.leg.index += 1;
            self.leg.seconds += leg.seconds();
            self.leg.count += count;
        }
        nanoseconds(self.leg.seconds + (self.position - self.leg.count) / last)
    }
}

/// `None` for a time that never comes: at a rate of zero.
fn nanoseconds(seconds: f64) -> Option<u64> {
    seconds.is_finite().then(|| (seconds * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: f64 = 1e9;

    fn schedule(profile: &Profile, spacing: Spacing) -> Schedule {
        Schedule { profile: profile.clone(), spacing }
    }

    fn all(profile: &Profile, spacing: Spacing, end: End, cores: usize) -> Vec<Vec<u64>> {
        let of = |core| {
            let arrivals = Arrivals::of_core(schedule(profile, spacing), end, 7, cores, core);
            arrivals.due_before(u64::MAX).collect()
        };
        (0..cores).map(of).collect()
    }

    fn one(profile: &Profile, spacing: Spacing, end: End) -> Vec<u64> {
        all(profile, spacing, end, 1).remove(0)
    }

    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), 1.0..3_000.0, (1..2_000u32).prop_map(f64::from)]
    }

    fn profile() -> impl Strategy<Value = Profile> {
        let leg =
            (rate(), rate(), any::<bool>(), 1..3_000u64).prop_map(|(from, to, steady, ms)| {
                let to = if steady { from } else { to };
                Leg { from, to, length: Duration::from_millis(ms) }
            });
        prop::collection::vec(leg, 1..5)
            .prop_filter_map("nothing at all", |legs| Profile::of(legs).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_arrival_stands_where_the_integral_of_the_rate_says(profile in profile()) {
            let end = profile.length().unwrap().as_nanos() as u64;
            let dues = one(&profile, Spacing::Constant, End::At(end));
            for (n, &due_ns) in dues.iter().enumerate() {
                let count = profile.count_at(due_ns as f64 / S);
                // A nanosecond is this much of an arrival, and so much is lost in sums of legs.
                let grain = profile.peak() / S + 1e-6;
                prop_assert!((count - n as f64).abs() <= grain, "{} at {} ns: {}", n, due_ns, count);
            }
            if let (Some(&last), count) = (dues.last(), dues.len()) {
                prop_assert!((profile.time_of(count as f64 - 1.0) * S - last as f64).abs() < 1e3);
            }
            let whole = profile.count_at(end as f64 / S);
            prop_assert!((dues.len() as f64 - whole).abs() <= 1.0, "{} of {}", dues.len(), whole);
        }

        #[test]
        fn cores_share_the_arrivals_of_one_exactly(
            profile in profile(), cores in 1..9usize, poisson in any::<bool>(), count in 0..500u64,
        ) {
            let spacing = if poisson { Spacing::Poisson } else { Spacing::Constant };
            let end = profile.length().unwrap().as_nanos() as u64;
            for end in [End::At(end), End::Count(count)] {
                let shares = all(&profile, spacing, end, cores);
                let (most, least) = (shares.iter().map(Vec::len).max(), shares.iter().map(Vec::len).min());
                prop_assert!(most.unwrap() - least.unwrap() <= 1);
                let mut together = shares.concat();
                together.sort_unstable();
                prop_assert_eq!(together, one(&profile, spacing, end));
            }
        }

        #[test]
        fn a_window_of_a_constant_rate_holds_rate_times_length(
            rate in 1..100_000u64, seconds in 1..4u64,
        ) {
            let profile = Profile::constant(rate as f64).unwrap();
            let dues = one(&profile, Spacing::Constant, End::At(seconds * 1_000_000_000));
            prop_assert_eq!(dues.len() as u64, rate * seconds);
        }
    }

    #[test]
    fn times_are_exact_to_the_nanosecond_far_into_a_run() {
        let profile = Profile::constant(20_000.0).unwrap();
        let schedule = schedule(&profile, Spacing::Constant);
        let mut arrivals = Arrivals::of_core(schedule, End::Count(u64::MAX), 0, 1, 0);
        arrivals.step(20_000 * 3_600 * 24);
        assert_eq!(arrivals.peek(), Some(24 * 3_600 * 1_000_000_000));
        arrivals.advance();
        assert_eq!(arrivals.peek(), Some(24 * 3_600 * 1_000_000_000 + 50_000));
    }

    #[test]
    fn poisson_gaps_are_exponential_and_of_the_right_mean() {
        let profile = Profile::constant(1_000.0).unwrap();
        let dues = one(&profile, Spacing::Poisson, End::Count(200_000));
        let mut gaps: Vec<f64> = dues.windows(2).map(|two| (two[1] - two[0]) as f64 / S).collect();
        gaps.sort_by(f64::total_cmp);
        let count = gaps.len() as f64;
        // Kolmogorov and Smirnov: 1.63/√n is passed by one seed in a hundred.
        let apart = gaps.iter().enumerate().map(|(n, gap)| {
            let exact = 1.0 - (-gap * 1_000.0).exp();
            (exact - n as f64 / count).abs().max((exact - (n + 1) as f64 / count).abs())
        });
        assert!(apart.fold(0.0, f64::max) < 1.63 / count.sqrt());
        let mean = gaps.iter().sum::<f64>() / count;
        assert!((mean * 1_000.0 - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn poisson_counts_of_a_second_scatter_as_much_as_they_should() {
        let profile = Profile::constant(100.0).unwrap();
        let dues = one(&profile, Spacing::Poisson, End::At(2_000_000_000_000));
        let mut counts = vec![0.0; 2_000];
        dues.iter().for_each(|due_ns| counts[(due_ns / 1_000_000_000) as usize] += 1.0);
        let mean = counts.iter().sum::<f64>() / 2_000.0;
        let variance = counts.iter().map(|n| (n - mean) * (n - mean)).sum::<f64>() / 2_000.0;
        assert!((mean - 100.0).abs() < 1.0, "{mean}");
        assert!((variance / mean - 1.0).abs() < 0.1, "variance {variance}, mean {mean}");
    }

    #[test]
    fn the_seed_makes_the_arrivals() {
        let profile = Profile::constant(100.0).unwrap();
        let of = |seed| {
            let schedule = schedule(&profile, Spacing::Poisson);
            let arrivals = Arrivals::of_core(schedule, End::Count(50), seed, 1, 0);
            arrivals.due_before(u64::MAX).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_ramp_down_to_nothing_ends_the_arrivals_and_a_pause_does_not() {
        let leg = |from, to| Leg { from, to, length: Duration::from_secs(1) };
        let down = Profile::of(vec![leg(100.0, 0.0)]).unwrap();
        assert_eq!(one(&down, Spacing::Constant, End::Count(u64::MAX)).len(), 50);
        let pause = Profile::of(vec![leg(10.0, 10.0), leg(0.0, 0.0), leg(10.0, 10.0)]).unwrap();
        let dues = one(&pause, Spacing::Constant, End::At(3_000_000_000));
        assert_eq!((dues.len(), dues[9], dues[10]), (20, 900_000_000, 2_000_000_000));
    }

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
    fn pauses_have_the_mean_that_was_asked_for_and_keep_their_bounds() {
        let mut random = fastrand::Rng::with_seed(3);
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(30));
        let mut mean = |think: Think| {
            let drawn: Vec<Duration> = (0..10_000).map(|_| think.draw(&mut random)).collect();
            if let Think::Even { .. } = think {
                assert!(drawn.iter().all(|pause| (least..=most).contains(pause)));
            }
            drawn.iter().sum::<Duration>().as_secs_f64() / 10_000.0
        };
        assert!((mean(Think::Even { least, most }) - 0.020).abs() < 0.0005);
        assert!((mean(Think::Exponential(most)) - 0.030).abs() < 0.001);
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
