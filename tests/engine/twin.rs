//! TLS in memory against the buffers of its library, on random clients. `tests/fuzz` has the same guided by coverage.
//!
//! `FUZZ_RUNS` says how many, `FUZZ_SEED` where to start; a failure prints the seed of the run that shows it.

use fastrand::Rng;

use super::tls_twin::compare;

const RUNS_DEFAULT: u64 = 1_000;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_is_opened_is_what_the_buffers_of_the_library_open() {
    let first = from_environment("FUZZ_SEED", 1);
    for seed in first..first + from_environment("FUZZ_RUNS", RUNS_DEFAULT) {
        let mut random = Rng::with_seed(seed);
        let mut input = vec![0; random.usize(2..60)];
        random.fill(&mut input);
        // Most clients shake hands, and make no mistakes at first.
        if random.u8(..8) > 0 {
            input[0] &= !1;
            let good = random.usize(..=input.len() / 2);
            input[2..].iter_mut().step_by(2).take(good).for_each(|what| *what %= 3);
        } else {
            input[2..].iter_mut().zip([22, 3, 1, 0]).for_each(|(octet, lead)| *octet = lead);
        }
        let told = std::panic::catch_unwind(|| compare(&input));
        assert!(told.is_ok(), "FUZZ_SEED={seed} FUZZ_RUNS=1 shows it: {input:?}");
    }
}
