//! The live line on stderr: rewritten in place on a terminal, one line a second elsewhere.

use std::io::Write;
use std::time::Duration;

use super::figure::SECOND_MIN;
use crate::human;
use crate::measure::{Interval, Snapshot};
use crate::run::Latency;

/// Shows how a run is going. A failed write is ignored: a closed stderr must not end a run.
pub struct ProgressLine<W: Write> {
    out: W,
    /// Rewrite one line with a carriage return.
    in_place: bool,
    /// Characters of the line that is shown now.
    shown: usize,
    /// `None` before the first.
    last: Option<Recent>,
}

/// The figures of the last whole second.
#[derive(Clone, Copy, Debug)]
struct Recent {
    warmup: bool,
    after: bool,
    messages_s: f64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
}

impl<W: Write> ProgressLine<W> {
    pub fn new(out: W, in_place: bool) -> Self {
        Self { out, in_place, shown: 0, last: None }
    }

    /// Takes in a second that is complete. Away from a terminal this prints the line.
    pub fn interval(&mut self, elapsed: Duration, interval: &Interval, totals: Snapshot) {
        let tally = &interval.tally;
        let headline = Latency::from(tally.headline());
        let seconds = interval.seconds();
        if seconds < SECOND_MIN {
            return;
        }
        self.last = Some(Recent {
            warmup: interval.warmup,
            after: interval.after,
            messages_s: tally.counts.messages_ok as f64 / seconds,
            p50_ns: headline.p50,
            p99_ns: headline.p99,
        });
        self.print(elapsed, totals);
    }

    /// Between two seconds: refreshes the totals where the line is rewritten, else says nothing.
    pub fn refresh(&mut self, elapsed: Duration, totals: Snapshot) {
        if self.in_place {
            self.print(elapsed, totals);
        }
    }

    /// Leaves the terminal on a clean line.
    pub fn finish(&mut self) {
        if self.in_place && self.shown > 0 {
            drop(write!(self.out, "\r{:width$}\r", "", width = self.shown));
            drop(self.out.flush());
            self.shown = 0;
        }
    }

    fn print(&mut self, elapsed: Duration, totals: Snapshot) {
        let line = line(elapsed, self.last, totals);
        let written = if self.in_place {
            let width = std::mem::replace(&mut self.shown, line.chars().count());
            write!(self.out, "\r{line:width$}")
        } else {
            writeln!(self.out, "{line}")
        };
        drop(written.and_then(|()| self.out.flush()));
    }
}

fn line(elapsed: Duration, last: Option<Recent>, totals: Snapshot) -> String {
    let mut line = format!("{:>7.1} s", elapsed.as_secs_f64());
    if let Some(last) = last {
        line += &format!("  {} msg/s", human::rate(last.messages_s));
    }
    line += &format!("  {} ok", human::count(totals.messages_ok));
    if totals.messages_failed > 0 {
        line += &format!("  {} failed", human::count(totals.messages_failed));
    }
    if totals.errors > 0 {
        line += &format!("  {}", human::counted(totals.errors, "error"));
    }
    let Some(last) = last else { return line };
    if last.p50_ns.is_some() {
        line += &format!("  p50 {}  p99 {}", human::time(last.p50_ns), human::time(last.p99_ns));
    }
    if last.warmup {
        line += "  (warm-up)";
    }
    if last.after {
        line += "  (after the measured time)";
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Mode, Tally};

    fn totals(messages_ok: u64, errors: u64) -> Snapshot {
        Snapshot { messages_ok, errors, ..Snapshot::default() }
    }

    fn interval() -> Interval {
        let mut tally = Box::new(Tally::new(Mode::Closed));
        tally.counts.messages_ok = 2_000;
        tally.service_ns.record_n(1_500_000, 2_000).unwrap();
        Interval {
            warmup: true,
            after: false,
            begun_ns: 0,
            ended_ns: 2_000_000_000,
            in_flight_peak: 1,
            connections: 1,
            tally,
        }
    }

    #[test]
    fn before_the_first_second_is_over_there_is_no_rate() {
        let mut out = Vec::new();
        ProgressLine::new(&mut out, true).refresh(Duration::from_millis(300), totals(5_000, 0));
        assert_eq!(String::from_utf8(out).unwrap(), "\r    0.3 s  5,000 ok");
    }

    #[test]
    fn the_last_milliseconds_of_a_run_show_no_rate() {
        let mut out = Vec::new();
        let mut progress = ProgressLine::new(&mut out, false);
        let rest = Interval { ended_ns: 50_000_000, ..interval() };
        progress.interval(Duration::from_secs(2), &rest, totals(2_000, 0));
        progress.finish();
        assert!(out.is_empty());
    }

    #[test]
    fn away_from_a_terminal_there_is_one_line_a_second() {
        let mut out = Vec::new();
        let mut progress = ProgressLine::new(&mut out, false);
        progress.refresh(Duration::from_millis(500), totals(1, 0));
        progress.interval(Duration::from_secs(2), &interval(), totals(2_000, 3));
        progress.finish();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "    2.0 s  1,000 msg/s  2,000 ok  3 errors  p50 1.50 ms  p99 1.50 ms  \
             (warm-up)\n"
        );
    }

    #[test]
    fn on_a_terminal_the_line_is_rewritten_and_wiped_whole() {
        let mut out = Vec::new();
        let mut progress = ProgressLine::new(&mut out, true);
        progress.refresh(Duration::from_secs(1), totals(1_000_000, 7));
        progress.refresh(Duration::from_secs(2), totals(5, 0));
        progress.finish();
        let text = String::from_utf8(out).unwrap();
        let shown: Vec<&str> = text.split('\r').collect();
        assert_eq!(shown.len(), 5);
        assert!(shown[2].trim_end().ends_with("5 ok"));
        assert_eq!(shown[1].chars().count(), shown[2].chars().count(), "no rest of the old line");
        assert_eq!(shown[3].trim(), "");
    }
}
