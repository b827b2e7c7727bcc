//! Rates: what was accepted, over the time in which it came.

/// A part of a whole; `None` where the whole is nothing.
pub(super) fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// The time in which accepted messages came, of which `accepted_s` is the first and the last. An open loop asks
/// for them in the measured time; where the server is slower, they go on to come in the drain, and a rate over
/// the measured time alone would be the one that was asked for and not the one of the server. It begins with the
/// first of them, so that a server which takes long for each message and keeps the rate has that rate. Where no
/// time was measured there is none.
pub(super) fn rate_time_s(elapsed_s: f64, accepted_s: Option<(f64, f64)>) -> f64 {
    match accepted_s {
        Some((from, until)) if elapsed_s > 0.0 => elapsed_s.max(until - from),
        _ => elapsed_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_the_time_in_which_accepted_messages_came() {
        assert_eq!(rate_time_s(5.0, None), 5.0, "none was accepted, or it was not told");
        assert_eq!(rate_time_s(5.0, Some((0.1, 4.9))), 5.0, "as they were due");
        assert_eq!(rate_time_s(5.0, Some((0.5, 5.5))), 5.0, "each takes half a second");
        assert_eq!(rate_time_s(5.0, Some((0.5, 13.0))), 12.5, "an overloaded server");
        assert_eq!(rate_time_s(0.0, Some((0.0, 1.0))), 0.0, "all was warm-up");
    }
}
