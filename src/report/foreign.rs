//! The figures of a log alone, as text.

use std::fmt::Write as _;

use super::colour::Colour;
use super::columns::Width;
use super::text::bars;
use super::words::percentile_rows;
use crate::human::{self, counted};
use crate::run::{Loaded, ReportOrigin};

/// What a log is called; `None` for a run.
pub(super) fn log_name(origin: ReportOrigin) -> Option<&'static str> {
    match origin {
        ReportOrigin::Run => None,
        ReportOrigin::Log { own: true } => Some("the log of a run of ringpost"),
        ReportOrigin::Log { own: false } => Some("a log of another program"),
    }
}

/// The whole report of a log, for a terminal.
pub fn text(name: &str, loaded: &Loaded, colour: Colour, width: Width) -> String {
    let run = &loaded.run;
    let what = log_name(loaded.origin).unwrap_or_default();
    let mut out = format!("{}  {what}", colour.bold(name));
    if !run.started.is_empty() {
        let _ = write!(out, ", begun {}", run.started);
    }
    let _ = writeln!(
        out,
        "\n\n  {} values in {}, {} a second\n",
        human::count(run.counts.messages_ok),
        human::seconds(run.elapsed_s),
        human::known(run.rate_msg_s, human::rate)
    );
    let rows = percentile_rows(&run.service_ns);
    let mut left: Vec<String> = vec![format!("{:<8}{:>11}", "", "latency")];
    left.extend(rows.map(|(name, ns)| format!("{name:<8}{:>11}", human::time(ns))));
    let mut right = loaded.headline.as_ref().map_or_else(Vec::new, |headline| {
        let what = format!("latency of {}", counted(headline.len(), "value"));
        bars(headline, &what, width.columns().saturating_sub(2 + 19 + 3))
    });
    let most = left.len().max(right.len());
    left.resize(most, String::new());
    right.resize(most, String::new());
    for (left, right) in left.iter().zip(&right) {
        let _ = writeln!(out, "{}", format!("  {left:<19}   {right}").trim_end());
    }
    out
}
