//! The time of a sum: that of its runs, without the time between runs that were not at the same time.

/// Spans of time, from and to in nanoseconds since 1970, in their order, with a gap between any two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Timeline(Vec<(i64, i64)>);

impl Timeline {
    /// All time that is in one of `spans`.
    pub(super) fn of(spans: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut spans: Vec<(i64, i64)> = spans.collect();
        spans.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
        for (from, to) in spans {
            debug_assert!(from <= to, "a run ends after it began");
            match joined.last_mut() {
                Some((_, end)) if from <= *end => *end = to.max(*end),
                _ => joined.push((from, to)),
            }
        }
        Self(joined)
    }

    /// How much of it has passed at `at_ns`.
    pub(super) fn passed_ns(&self, at_ns: i64) -> u64 {
        let passed = |&(from, to): &(i64, i64)| (at_ns.min(to) - from).max(0) as u64;
        self.0.iter().map(passed).sum()
    }

    pub(super) fn length_ns(&self) -> u64 {
        self.passed_ns(i64::MAX)
    }
}

/// The most of something that the runs of these `spans` had at the same time.
pub(super) fn most_at_once(spans: &[(i64, i64)], of: impl Fn(usize) -> u64) -> u64 {
    let at = |moment: i64| {
        let runs = spans.iter().enumerate();
        let on = runs.filter(|(_, (from, to))| (*from..=*to).contains(&moment));
        on.map(|(index, _)| of(index)).sum()
    };
    // It grows only where one begins.
    spans.iter().map(|(from, _)| at(*from)).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_runs_is_no_time_of_their_sum() {
        let of = |spans: &[(i64, i64)]| Timeline::of(spans.iter().copied());
        assert_eq!(of(&[(5, 15), (0, 10)]), Timeline(vec![(0, 15)]), "at the same time");
        assert_eq!(of(&[(0, 10), (10, 12), (3, 4)]).length_ns(), 12, "one behind the other");
        let apart = of(&[(100, 110), (0, 10), (102, 105)]);
        assert_eq!(apart.length_ns(), 20);
        assert_eq!(
            [-5, 0, 7, 10, 50, 100, 104, 999].map(|at| apart.passed_ns(at)),
            [0, 0, 7, 10, 10, 10, 14, 20]
        );
        assert_eq!(of(&[]).length_ns(), 0);
    }

    #[test]
    fn what_runs_had_one_after_the_other_they_did_not_have_at_once() {
        let of = |spans: &[(i64, i64)]| most_at_once(spans, |index| [7, 5, 3][index]);
        assert_eq!(of(&[(0, 10), (1, 11), (9, 20)]), 15);
        assert_eq!(of(&[(0, 10), (20, 30), (25, 40)]), 8);
        assert_eq!(of(&[(0, 1), (2, 3), (4, 5)]), 7);
        assert_eq!(of(&[]), 0);
    }
}
