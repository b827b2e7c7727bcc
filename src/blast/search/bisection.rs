//! The search for the highest rate at which a service level is kept: which rate to try next, and when
//! to believe the answers. This file uses no clock and no socket.
//!
//! The rate doubles until the level is missed (or halves until it is kept), then the bracket between
//! the two is cut in halves of equal ratio until it is narrow enough. What misses is tried again until it has
//! kept the level in more than half of its repeats, or no longer can; what keeps the level on the way up is believed at once,
//! and held to the same majority before the search ends. An end of the bracket that fails then moves.

/// Tries after which a search ends with the bracket it has.
const TRIES_MAX: u32 = 100;
/// Messages a second below which nothing is searched.
const RATE_MIN: f64 = 1.0;

/// A rate and how it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    pub rate: f64,
    /// Runs that kept the level, and those that did not.
    pub kept: u32,
    pub missed: u32,
}

impl Tried {
    fn new(rate: f64) -> Self {
        Self { rate, kept: 0, missed: 0 }
    }
}

/// Options of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    /// Messages a second of the first try, and the most that is tried.
    pub start: f64,
    pub most: f64,
    /// Width of the bracket at the end: 0.05 for upper end 5 % above the lower.
    pub precision: f64,
    /// Runs of one rate at most; a rate that keeps the level does so in more than half of them.
    pub repeats: u32,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Bisection {
    options: SearchOptions,
    /// Rates that kept the level. INVARIANT: they rise, and all are below `high`.
    low: Vec<Tried>,
    /// The lowest rate that missed it.
    high: Option<Tried>,
    now: Option<Tried>,
    tries: u32,
}

impl Bisection {
    /// A search that begins at `options.start`.
    pub fn new(options: SearchOptions) -> Self {
        let options = SearchOptions { most: options.most.max(RATE_MIN), ..options };
        let start = options.start.clamp(RATE_MIN, options.most);
        Self { options, low: Vec::new(), high: None, now: Some(Tried::new(start)), tries: 0 }
    }

    /// The rate to try next; `None` at the end.
    pub fn next(&self) -> Option<f64> {
        self.now.map(|now| now.rate)
    }

    /// Whether a try of that rate kept the level.
    pub fn tell(&mut self, kept: bool) {
        let Some(mut now) = self.now.take() else { return };
        self.tries += 1;
        if kept {
            now.kept += 1;
        } else {
            now.missed += 1;
        }
        let majority = self.options.repeats / 2 + 1;
        // So many that the others cannot be more than half of the repeats.
        if now.missed > self.options.repeats.saturating_sub(majority) {
            self.low.retain(|low| low.rate < now.rate);
            self.high = Some(now);
        } else if now.kept >= majority || (self.high.is_none() && now.missed == 0) {
            self.low.retain(|low| low.rate < now.rate);
            self.low.push(now);
        } else {
            self.now = (self.tries < TRIES_MAX).then_some(now);
            return;
        }
        debug_assert!(
            self.low.last().zip(self.high).is_none_or(|(low, high)| low.rate < high.rate),
            "what kept the level is below what missed it"
        );
        self.now = if self.tries < TRIES_MAX { self.follow(majority) } else { None };
    }

    /// Ends the search: higher rates cannot be tried.
    pub fn end(&mut self) {
        self.now = None;
    }

    /// The highest rate that kept the level and the lowest that missed it.
    pub fn bracket(&self) -> (Option<Tried>, Option<Tried>) {
        (self.low.last().copied(), self.high)
    }

    /// Whether the bracket is as narrow as was asked, both its ends decided by majority.
    pub fn settled(&self) -> bool {
        let majority = self.options.repeats / 2 + 1;
        match self.bracket() {
            (Some(low), Some(high)) => low.kept >= majority && self.is_narrow(low.rate, high.rate),
            _ => false,
        }
    }

    fn is_narrow(&self, low: f64, high: f64) -> bool {
        high / low <= 1.0 + self.options.precision
    }

    fn follow(&mut self, majority: u32) -> Option<Tried> {
        let low = self.low.last().copied();
        let rate = match (low.map(|low| low.rate), self.high.map(|high| high.rate)) {
            (None, None) => self.options.start,
            (Some(low), None) if low < self.options.most => (2.0 * low).min(self.options.most),
            (None, Some(high)) if high > RATE_MIN => (high / 2.0).max(RATE_MIN),
            (None, Some(_)) => return None,
            (Some(low), Some(high)) if !self.is_narrow(low, high) => (low * high).sqrt(),
            // As narrow as asked, or at an end of the range: try the lower end again if it has no majority.
            _ => return self.low.pop_if(|low| low.kept < majority),
        };
        Some(Tried::new(rate))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: SearchOptions =
        SearchOptions { start: 1_000.0, most: 1e6, precision: 0.05, repeats: 3 };

    /// Asks a server until the search ends; answers it and the number of tries.
    fn search(options: SearchOptions, mut keeps: impl FnMut(f64) -> bool) -> (Bisection, u32) {
        let mut search = Bisection::new(options);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            assert!((RATE_MIN..=options.most.max(RATE_MIN)).contains(&rate), "{rate}");
            search.tell(keeps(rate));
            tries += 1;
        }
        (search, tries)
    }

    /// p99 of a queue with random arrivals and service times, at `rate` of at most `capacity` a
    /// second: ln(100) over the distance of the two.
    fn p99_s(rate: f64, capacity: f64) -> f64 {
        if rate < capacity { 100f64.ln() / (capacity - rate) } else { f64::INFINITY }
    }

    #[test]
    fn the_ends_of_what_can_be_tried_are_ends() {
        let (search_, tries) = search(OPTIONS, |_| true);
        let (low, high) = search_.bracket();
        assert_eq!((low.unwrap().rate, high), (1e6, None));
        assert_eq!((low.unwrap().kept, tries), (2, 12));
        assert!(!search_.settled());
        let (search_, _) = search(OPTIONS, |_| false);
        assert_eq!(search_.bracket().0, None);
        assert_eq!(search_.bracket().1.unwrap().rate, RATE_MIN);
        let (search_, _) = search(SearchOptions { most: 0.5, ..OPTIONS }, |_| true);
        assert_eq!(search_.bracket().0.unwrap().rate, RATE_MIN, "below it nothing is searched");
        let mut early = Bisection::new(OPTIONS);
        early.tell(true);
        early.end();
        assert_eq!((early.next(), early.bracket().0.unwrap().rate), (None, 1_000.0));
    }

    #[test]
    fn a_lower_end_that_was_luck_is_given_up() {
        // 1,000 kept once on the way up, and never again.
        let mut luck = true;
        let (search, _) =
            search(OPTIONS, |rate| rate < 600.0 || (rate == 1_000.0 && std::mem::take(&mut luck)));
        let (low, high) = search.bracket();
        assert!(low.unwrap().rate < 600.0 && high.unwrap().rate >= 600.0, "{search:?}");
        assert!(search.settled());
    }

    #[test]
    fn no_rate_is_run_more_often_than_asked() {
        for repeats in 1..=7 {
            let options = SearchOptions { repeats, ..OPTIONS };
            let mut random = fastrand::Rng::with_seed(7);
            for _ in 0..200 {
                let mut runs = std::collections::BTreeMap::<u64, u32>::new();
                let (found, _) = search(options, |rate| {
                    *runs.entry(rate.to_bits()).or_default() += 1;
                    random.u32(..8_000) > rate as u32
                });
                assert!(runs.values().all(|count| *count <= repeats), "{repeats}: {runs:?}");
                let (low, high) = found.bracket();
                if let Some(high) = high {
                    assert!(2 * high.kept <= repeats, "{high:?} of {repeats}");
                }
                if let Some(low) = low.filter(|_| found.settled()) {
                    assert!(2 * low.kept > repeats, "{low:?} of {repeats}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_limit_of_a_server_is_bracketed(
            capacity in 5.0f64..5e5, bound_s in 0.001f64..1.0, start in 1.0f64..1e5,
            precision in 0.01f64..0.5, repeats in 1u32..6,
        ) {
            let limit = capacity - 100f64.ln() / bound_s;
            prop_assume!(limit > 2.0);
            let options = SearchOptions { start, most: 1e6, precision, repeats };
            let (search, tries) = search(options, |rate| p99_s(rate, capacity) < bound_s);
            let (low, high) = search.bracket();
            let (low, high) = (low.unwrap().rate, high.unwrap().rate);
            prop_assert!(low <= limit * 1.000_001 && limit <= high * 1.000_001, "{low} {limit} {high}");
            prop_assert!(search.settled(), "{low} {high}");
            // Doublings, halvings of the bracket in ratio, each with its repeats.
            let doublings = (limit / start).log2().abs() + 2.0;
            let halvings = (2f64.ln() / precision.ln_1p()).log2().max(0.0) + 2.0;
            let most = (doublings + halvings) * f64::from(repeats / 2 + 1) + f64::from(repeats);
            prop_assert!(f64::from(tries) <= most, "{tries} tries, {most} expected");
        }

        #[test]
        fn noise_near_the_limit_does_not_lead_astray(
            limit in 10.0f64..1e5, seed in any::<u64>(), repeats in 1u32..6,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let options = SearchOptions { repeats, ..OPTIONS };
            let (search, tries) = search(options, |rate| match rate / limit {
                ratio if ratio < 0.9 => true,
                ratio if ratio > 1.1 => false,
                _ => random.bool(),
            });
            prop_assert!(tries <= TRIES_MAX);
            let (low, high) = search.bracket();
            let (low, high) = (low.unwrap(), high.unwrap());
            prop_assert!(low.rate < high.rate);
            prop_assert!(low.rate <= limit * 1.1 && high.rate >= limit * 0.9);
            prop_assert!(high.rate / low.rate <= 1.2 || !search.settled());
        }
    }
}
