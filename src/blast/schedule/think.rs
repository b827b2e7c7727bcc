//! Pauses within a session.

use std::fmt;
use std::time::Duration;

use super::spacing::exponential;

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
    /// The length of one pause.
    pub fn draw(self, random: &mut fastrand::Rng) -> Duration {
        match self {
            // A product with a fraction would round, and the two ends would come half as often as the rest.
            Self::Even { least, most } => {
                let span_ns = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
                least + Duration::from_nanos(random.u64(0..=span_ns))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blast::random::tests::assert_even;

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
    fn every_pause_of_a_range_comes_as_often_as_the_next() {
        let mut random = fastrand::Rng::with_seed(5);
        let ns = Duration::from_nanos;
        for most in [1, 4, 99] {
            let think = Think::Even { least: ns(7), most: ns(7 + most) };
            let mut counts = vec![0; most as usize + 1];
            for _ in 0..20_000 {
                counts[(think.draw(&mut random).as_nanos() - 7) as usize] += 1;
            }
            assert_even(&counts, "pauses");
        }
    }
}
