//! What the planner draws and deals, in large samples and without a network: when work is due, how large the
//! messages are, and whether one depends on the other.

use std::time::Duration;

use jiff::Timestamp;
use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::corpus::Corpus;
use ringpost::blast::plan::Plan;
use ringpost::blast::schedule::{Arrivals, Leg, Profile, Schedule, ScheduleEnd, Spacing, Think};
use ringpost::dial::Target;
use ringpost::engine::EngineKind;
use statrs::distribution::{ContinuousCDF, LogNormal};

use super::conservation::number;
use super::statistics::{
    assert_usual, chi_square, dispersion, kolmogorov_smirnov, mean, rank_correlation,
};

const COUNT: u64 = 20_000;

pub(crate) fn seeds() -> std::ops::Range<u64> {
    let seed = number("FIGURES_SEED", 1);
    seed..seed + 3
}

/// Due times in seconds of core `core` of `cores`.
pub(crate) fn dues(
    profile: &Profile,
    seed: u64,
    cores: usize,
    core: usize,
    count: u64,
) -> Vec<f64> {
    let schedule = Schedule { profile: profile.clone(), spacing: Spacing::Poisson };
    let end = ScheduleEnd::Count(count);
    let arrivals = Arrivals::of_core(schedule, end, seed, cores, core);
    arrivals.due_before(u64::MAX).map(|due_ns| due_ns as f64 / 1e9).collect()
}

pub(crate) fn gaps(dues: &[f64]) -> Vec<f64> {
    dues.windows(2).map(|two| two[1] - two[0]).collect()
}

#[test]
fn gaps_are_exponential_and_counts_scatter_as_those_of_a_poisson_process() {
    let rate = 500.0;
    let profile = Profile::constant(rate).unwrap();
    for seed in seeds() {
        let dues = dues(&profile, seed, 1, 0, COUNT);
        let gaps = gaps(&dues);
        let exponential = |gap: f64| 1.0 - (-gap * rate).exp();
        assert_usual(kolmogorov_smirnov(&gaps, exponential), "gaps");
        assert_usual(rank_correlation(&gaps[1..], &gaps[..gaps.len() - 1]), "a gap and the next");
        for window_s in [0.02, 0.1, 0.5] {
            let mut counts = vec![0; (dues[dues.len() - 1] / window_s) as usize];
            for due in &dues {
                if let Some(count) = counts.get_mut((due / window_s) as usize) {
                    *count += 1;
                }
            }
            assert_usual(dispersion(&counts), "counts of a window");
        }
    }
}

/// Of two cores each takes every second arrival: a sum of two exponential gaps.
#[test]
fn two_cores_share_one_process() {
    let rate = 500.0;
    let profile = Profile::constant(rate).unwrap();
    for seed in seeds() {
        let cores = [0, 1].map(|core| dues(&profile, seed, 2, core, COUNT));
        for dues in &cores {
            let erlang = |gap: f64| 1.0 - (-gap * rate).exp() * (1.0 + gap * rate);
            assert_usual(kolmogorov_smirnov(&gaps(dues), erlang), "gaps of a core");
        }
        let mut both = cores.concat();
        both.sort_by(f64::total_cmp);
        assert_eq!(both, dues(&profile, seed, 1, 0, COUNT));
    }
}

/// Where the rate changes, the integral of the rate between two arrivals is exponential.
#[test]
fn a_ramp_is_a_poisson_process_of_its_rate() {
    let leg = |from, to, s| Leg { from, to, length: Duration::from_secs(s) };
    let legs = vec![leg(50.0, 1_000.0, 10), leg(1_000.0, 1_000.0, 5), leg(1_000.0, 100.0, 20)];
    let profile = Profile::of(legs).unwrap();
    for seed in seeds() {
        let dues = dues(&profile, seed, 1, 0, 15_000);
        let positions: Vec<f64> = dues.iter().map(|&due| profile.count_at(due)).collect();
        assert_usual(kolmogorov_smirnov(&gaps(&positions), |gap| 1.0 - (-gap).exp()), "a ramp");
    }
}

#[test]
fn pauses_follow_their_law() {
    let ms = Duration::from_millis;
    for seed in seeds() {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut draw = |think: Think| -> Vec<f64> {
            (0..COUNT).map(|_| think.draw(&mut random).as_secs_f64() * 1e3).collect()
        };
        let exponential = draw(Think::Exponential(ms(20)));
        assert_usual(kolmogorov_smirnov(&exponential, |pause| 1.0 - (-pause / 20.0).exp()), "exp");
        let even = draw(Think::Even { least: ms(10), most: ms(30) });
        let law = |pause: f64| ((pause - 10.0) / 20.0).clamp(0.0, 1.0);
        assert_usual(kolmogorov_smirnov(&even, law), "even");
    }
}

pub(crate) fn corpus(sizes: Spread, recipients: Spread, seed: u64, cores: usize) -> Corpus {
    let content = Content::plain(sizes, "a@client.example", "b@server.example");
    let content = Content { recipients, seed, ..content };
    let targets = Target::parse("smtp://127.0.0.1:1", &[]).unwrap().into();
    let plan = Plan::new(targets, content, (0..cores).collect(), EngineKind::Epoll);
    Corpus::render(&plan, seed, Timestamp::UNIX_EPOCH).unwrap()
}

/// Sizes and recipients of the first messages, as the cores take them in turn.
fn sent(corpus: &Corpus, cores: u64, count: u64) -> (Vec<f64>, Vec<f64>) {
    let message = |n: u64| {
        let rendered = corpus.pick((n % cores) as u16, n / cores + 1);
        (rendered.size as f64, f64::from(corpus.recipients(rendered)))
    };
    (0..count).map(message).unzip()
}

/// How many of `values` lie below each of `edges` and not below the one before.
fn classes(values: &[f64], edges: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; edges.len()];
    values.iter().for_each(|value| counts[edges.partition_point(|edge| edge <= value)] += 1);
    counts
}

#[test]
fn sizes_and_recipients_have_the_shares_that_were_asked_for_and_nothing_to_do_with_each_other() {
    let recipients = Spread::List(vec![(1, 80), (5, 15), (50, 5)]);
    for seed in seeds() {
        for cores in [1, 2] {
            let even = corpus(Spread::Even(1_000, 2_999), recipients.clone(), seed, cores);
            let (sizes, counts) = sent(&even, cores as u64, 8_192);
            let edges = [1_250.0, 1_500.0, 1_750.0, 2_000.0, 2_250.0, 2_500.0, 2_750.0, 3_000.0];
            assert_usual(chi_square(&classes(&sizes, &edges), &[1.0; 8]), "even sizes");
            let shares = classes(&counts, &[2.0, 6.0, 51.0]);
            assert_usual(chi_square(&shares, &[80.0, 15.0, 5.0]), "recipients");
            assert_usual(rank_correlation(&sizes, &counts), "size and recipients");
            assert_usual(rank_correlation(&sizes[1..], &sizes[..8_191]), "a size and the next");
            assert_usual(
                rank_correlation(&counts[1..], &counts[..8_191]),
                "recipients and the next",
            );

            let list = Spread::List(vec![(1_000, 70), (2_000, 25), (4_000, 5)]);
            let (sizes, _) = sent(&corpus(list, Spread::one(1), seed, cores), cores as u64, 4_200);
            let shares = classes(&sizes, &[1_001.0, 2_001.0, 4_001.0]);
            assert_usual(chi_square(&shares, &[70.0, 25.0, 5.0]), "sizes of a list");
        }
    }
}

/// The sizes of messages follow the gaps before them in no way, on one core and on two.
#[test]
fn sizes_do_not_depend_on_gaps() {
    let profile = Profile::constant(100.0).unwrap();
    for seed in seeds() {
        for cores in [1, 2] {
            let corpus = corpus(Spread::Even(1_000, 2_999), Spread::Even(1, 5), seed, cores);
            let (sizes, counts) = sent(&corpus, cores as u64, 4_001);
            let gaps = gaps(&dues(&profile, seed, 1, 0, 4_001));
            assert_usual(rank_correlation(&gaps, &sizes[1..]), "a gap and the size behind it");
            assert_usual(rank_correlation(&gaps, &sizes[..4_000]), "a gap and the size before it");
            assert_usual(
                rank_correlation(&gaps, &counts[1..]),
                "a gap and the recipients behind it",
            );
        }
    }
}

/// The body of a lognormal law; its tail is held by a test of its own.
#[test]
fn lognormal_sizes_follow_their_law() {
    for seed in seeds() {
        let (median, sigma) = (20_000.0_f64, 0.8);
        let spread = Spread::Lognormal { median: 20_000, sigma };
        let corpus = corpus(spread.clone(), Spread::one(1), seed, 1);
        let count = corpus.messages().len() as u64;
        let (sizes, _) = sent(&corpus, 1, count);
        let law = LogNormal::new(median.ln(), sigma).unwrap();
        assert_usual(kolmogorov_smirnov(&sizes, |size| law.cdf(size)), "lognormal sizes");
        let apart = mean(&sizes) / spread.mean();
        assert!((0.97..1.03).contains(&apart), "the mean is {apart} of what was asked for");
    }
}
