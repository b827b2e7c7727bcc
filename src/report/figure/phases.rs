//! How long the steps of a session took, over time.

use super::{Figure, SECOND_MIN, end, joined, latency, time_axis, unmeasured};
use crate::measure::Phase;
use crate::report::chart::{Chart, Scale, legend};
use crate::report::words::phase_title;
use crate::run::series::{PhaseSecond, Second};

/// Lines of the drawing, each with its class.
const CLASSES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];

/// The mean time of each phase by the second; of many phases those that took longest. `None` where no second
/// has one.
pub(super) fn over_time(phases: &[PhaseSecond], seconds: &[&Second]) -> Option<Figure> {
    let whole = |phase: Phase| matches!(phase, Phase::Message | Phase::Session);
    let timed = || phases.iter().filter(|s| s.seconds >= SECOND_MIN && !whole(s.phase));
    let low = timed().map(|s| s.mean_ns).min_by(f64::total_cmp)?;
    let high = timed().map(|s| s.mean_ns).max_by(f64::total_cmp)?;
    let x = Scale::Linear { from: 0.0, to: end(seconds) };
    let title = "Mean time of each phase, over time";
    let mut chart = Chart::new(title, x, Scale::log_around(low, high));
    unmeasured(&mut chart, seconds);
    chart.y_axis(latency);
    time_axis(&mut chart, seconds);
    let mut keys = String::new();
    for (phase, class) in longest(timed).into_iter().zip(CLASSES) {
        let points = timed().filter(|s| s.phase == phase);
        let points = points.map(|s| (s.start_s, s.seconds, s.mean_ns));
        chart.curve_with_gaps(class, &joined(points));
        keys += &legend(class, phase_title(phase));
    }
    Some(Figure { title: "Phases over time", legend: keys, svg: chart.finish() })
}

/// The phases that took longest, in the order of a session.
fn longest<'a, I: Iterator<Item = &'a PhaseSecond>>(timed: impl Fn() -> I) -> Vec<Phase> {
    let took =
        |phase: Phase| timed().filter(|s| s.phase == phase).map(|s| s.mean_ns).fold(0.0, f64::max);
    let mut phases: Vec<(Phase, f64)> = Phase::ALL
        .into_iter()
        .map(|phase| (phase, took(phase)))
        .filter(|(_, most)| *most > 0.0)
        .collect();
    phases.sort_by(|a, b| b.1.total_cmp(&a.1));
    phases.truncate(CLASSES.len());
    Phase::ALL.into_iter().filter(|phase| phases.iter().any(|(one, _)| one == phase)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_that_took_longest_have_a_line_each_and_a_gap_where_none_was() {
        let second =
            |phase, start_s, mean_ns| PhaseSecond { phase, start_s, seconds: 1.0, mean_ns };
        let mut phases: Vec<PhaseSecond> = Phase::ALL
            .into_iter()
            .enumerate()
            .map(|(index, phase)| second(phase, 0.0, 1e6 * (1.0 + index as f64)))
            .collect();
        phases.push(second(Phase::Rset, 1.0, 2e6));
        phases.push(second(Phase::Rset, 3.0, 2e6));
        let last = Second { start_s: 3.0, seconds: 1.0, ..Second::default() };
        let figure = over_time(&phases, &[&last]).unwrap();
        assert_eq!(figure.legend.matches("<li>").count(), CLASSES.len());
        assert!(!figure.legend.contains(phase_title(Phase::Connect)), "{}", figure.legend);
        assert!(!figure.legend.contains(phase_title(Phase::Session)), "{}", figure.legend);
        let lines: Vec<&str> = figure.svg.split("<path ").skip(1).collect();
        let gaps = lines.iter().filter(|line| line.matches('M').count() == 2).count();
        assert_eq!((lines.len(), gaps), (CLASSES.len(), 1), "{}", figure.svg);
        assert!(over_time(&phases[..0], &[&last]).is_none());
    }
}
