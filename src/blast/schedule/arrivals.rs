//! The instants at which work is due on one core.

use super::profile::Profile;
use super::spacing::{Schedule, Spacing, exponential};
use crate::blast::random::{RandomPurpose, stream};

/// Where the arrivals of all cores end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScheduleEnd {
    /// After so many arrivals.
    Count(u64),
    /// None is due at this time or later; nanoseconds since the start.
    At(u64),
}

/// The arrivals of one core, in order. Times are nanoseconds since the start of the run.
#[derive(Clone, Debug)]
pub struct Arrivals {
    schedule: Schedule,
    end: ScheduleEnd,
    random: fastrand::Rng,
    cores: u64,
    /// The next arrival of this core: its number among those of all cores, its position on the
    /// integral, and when it is due; `None` after the last.
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
    pub fn of_core(
        schedule: Schedule,
        end: ScheduleEnd,
        seed: u64,
        cores: usize,
        core: usize,
    ) -> Self {
        let mut arrivals = Self {
            schedule,
            end,
            random: stream(seed, RandomPurpose::Arrivals, 0),
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

    /// Takes the next arrival.
    #[inline]
    pub fn advance(&mut self) {
        self.step(self.cores);
    }

    /// The due times before `until_ns` of the arrivals that were not taken yet.
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
        let before_ns = self.due_ns;
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
            ScheduleEnd::Count(count) => self.number < count,
            ScheduleEnd::At(end_ns) => due_ns < end_ns,
        });
        debug_assert!(
            self.due_ns.is_none_or(|due_ns| before_ns.is_none_or(|before_ns| before_ns <= due_ns)),
            "arrivals come in order"
        );
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
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::blast::schedule::Leg;

    const S: f64 = 1e9;

    fn schedule(profile: &Profile, spacing: Spacing) -> Schedule {
        Schedule { profile: profile.clone(), spacing }
    }

    fn all(profile: &Profile, spacing: Spacing, end: ScheduleEnd, cores: usize) -> Vec<Vec<u64>> {
        let of = |core| {
            let arrivals = Arrivals::of_core(schedule(profile, spacing), end, 7, cores, core);
            arrivals.due_before(u64::MAX).collect()
        };
        (0..cores).map(of).collect()
    }

    fn one(profile: &Profile, spacing: Spacing, end: ScheduleEnd) -> Vec<u64> {
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
            let dues = one(&profile, Spacing::Constant, ScheduleEnd::At(end));
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
            for end in [ScheduleEnd::At(end), ScheduleEnd::Count(count)] {
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
            let dues = one(&profile, Spacing::Constant, ScheduleEnd::At(seconds * 1_000_000_000));
            prop_assert_eq!(dues.len() as u64, rate * seconds);
        }
    }

    #[test]
    fn times_are_exact_to_the_nanosecond_far_into_a_run() {
        let profile = Profile::constant(20_000.0).unwrap();
        let schedule = schedule(&profile, Spacing::Constant);
        let mut arrivals = Arrivals::of_core(schedule, ScheduleEnd::Count(u64::MAX), 0, 1, 0);
        arrivals.step(20_000 * 3_600 * 24);
        assert_eq!(arrivals.peek(), Some(24 * 3_600 * 1_000_000_000));
        arrivals.advance();
        assert_eq!(arrivals.peek(), Some(24 * 3_600 * 1_000_000_000 + 50_000));
    }

    #[test]
    fn poisson_gaps_are_exponential_and_of_the_right_mean() {
        let profile = Profile::constant(1_000.0).unwrap();
        let dues = one(&profile, Spacing::Poisson, ScheduleEnd::Count(200_000));
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
        let dues = one(&profile, Spacing::Poisson, ScheduleEnd::At(2_000_000_000_000));
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
            let arrivals = Arrivals::of_core(schedule, ScheduleEnd::Count(50), seed, 1, 0);
            arrivals.due_before(u64::MAX).collect::<Vec<_>>()
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn a_ramp_down_to_nothing_ends_the_arrivals_and_a_pause_does_not() {
        let leg = |from, to| Leg { from, to, length: Duration::from_secs(1) };
        let down = Profile::of(vec![leg(100.0, 0.0)]).unwrap();
        assert_eq!(one(&down, Spacing::Constant, ScheduleEnd::Count(u64::MAX)).len(), 50);
        let pause = Profile::of(vec![leg(10.0, 10.0), leg(0.0, 0.0), leg(10.0, 10.0)]).unwrap();
        let dues = one(&pause, Spacing::Constant, ScheduleEnd::At(3_000_000_000));
        assert_eq!((dues.len(), dues[9], dues[10]), (20, 900_000_000, 2_000_000_000));
    }
}
