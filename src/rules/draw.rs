//! Dice that fall the same way again: a fraction from three numbers.

/// A number in 0..1 that is the same for the same arguments on every machine, and looks like chance
/// otherwise (the mix of SplitMix64).
pub(super) fn fraction(seed: u64, rule: u64, session: u64) -> f64 {
    let mixed = mix(mix(mix(seed) ^ rule) ^ session);
    // As many bits as a f64 holds exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_many_draws_are_even_for_each_seed_and_rule() {
        for (seed, rule) in [(0, 0), (0, 1), (1, 0), (u64::MAX, 7), (1 << 63, 0)] {
            let mut parts = [0_u32; 10];
            for session in 0..100_000 {
                let drawn = fraction(seed, rule, session);
                assert!((0.0..1.0).contains(&drawn));
                parts[(drawn * 10.0) as usize] += 1;
            }
            // Chi-square with nine degrees of freedom: one in 10,000 is above 33.7.
            let chi: f64 = parts.iter().map(|&n| (f64::from(n) - 1e4).powi(2) / 1e4).sum();
            assert!(chi < 33.7, "{seed} {rule}: {parts:?}");
        }
    }

    #[test]
    fn seeds_rules_and_sessions_draw_apart() {
        let drawn = |seed, rule, session| fraction(seed, rule, session).to_bits();
        let all = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0, 0, 0)];
        let mut found: Vec<_> = all.into_iter().map(|(a, b, c)| drawn(a, b, c)).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), all.len());
        // It is what it was, so that a seed of last year means the same today.
        assert_eq!(fraction(7, 0, 0), 5_488_937_907_533_707.0 / (1_u64 << 53) as f64);
    }
}
