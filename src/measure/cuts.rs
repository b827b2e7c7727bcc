//! The begin and end of the measured time, for counters that another program or the kernel keeps.

use std::time::Duration;

/// A counter that only rises, read where the measured time of a run begins and where it ends.
#[derive(Debug)]
pub struct Cuts<T> {
    from: Duration,
    to: Option<Duration>,
    first: Option<T>,
    last: Option<T>,
}

impl<T: Copy> Cuts<T> {
    /// Moments since the start of the run; without `to` the end of the run is the second.
    pub fn at(from: Duration, to: Option<Duration>) -> Self {
        Self { from, to, first: None, last: None }
    }

    /// Reads the counter if one of the two moments has come.
    pub fn pass(&mut self, elapsed: Duration, read: impl Fn() -> Option<T>) {
        if self.first.is_none() && elapsed >= self.from {
            self.first = read();
        }
        if self.last.is_none() && self.to.is_some_and(|to| elapsed >= to) {
            self.last = read();
        }
    }

    /// How long until the next moment, if one is still to come.
    pub fn wait(&self, elapsed: Duration) -> Option<Duration> {
        let moments = [Some(self.from), self.to];
        let left = moments.into_iter().flatten().filter_map(|at| at.checked_sub(elapsed));
        left.filter(|left| !left.is_zero()).min()
    }

    /// Both readings at the end of the run; `None` where it ended before the first.
    pub fn end(self, read: impl Fn() -> Option<T>) -> Option<(T, T)> {
        self.first.zip(self.last.or_else(read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_once_at_each_of_its_moments() {
        let [zero, one, two, three, four] = [0, 1, 2, 3, 4].map(Duration::from_secs);
        let run = |from, to| {
            let mut cuts = Cuts::at(from, to);
            let waits = [zero, one, two, three].map(|now| {
                cuts.pass(now, || Some(now.as_secs()));
                cuts.wait(now)
            });
            (waits, cuts.end(|| Some(9)))
        };
        let waits = [Some(one), Some(two), Some(one), None];
        assert_eq!(run(one, Some(three)), (waits, Some((1, 3))));
        assert_eq!(run(zero, None), ([None; 4], Some((0, 9))));
        assert_eq!(run(four, None).1, None);
    }
}
