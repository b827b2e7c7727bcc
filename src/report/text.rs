//! One screen for a person: what was asked, how fast, how slow, what went wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::bins::bins;
use super::human;
use super::misbehaviour;
use super::shards::outliers;
use super::targets;
use crate::measure::{Mode, Outcome, Phase};
use crate::run::Loaded;
use crate::run::{Latency, Plan, Run, Shard, Verdict};

/// Said instead of a figure that would be made up.
pub const CLOSED_LOOP_NOTE: &str = "closed loop: no intended start, response time is not defined";

/// Share of the cores' time that others had, below which it is not worth a word.
const CPU_WAIT_SHOWN: f64 = 0.01;

const BARS_MAX: usize = 12;
const BAR_WIDTH: usize = 24;

/// Whether to use colours; the caller knows the terminal and `NO_COLOR`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    Plain,
    Ansi,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// Better than before.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Worse than before.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Ok => "1;32",
            Verdict::Failures | Verdict::TargetLimited => "1;33",
            Verdict::ThresholdFailed
            | Verdict::Stopped
            | Verdict::Unreachable
            | Verdict::GeneratorLimited => "1;31",
        };
        self.paint(code, &verdict.name().to_uppercase())
    }
}

/// The whole report, ending in a newline.
pub fn render(loaded: &Loaded, colour: Colour) -> String {
    let run = &loaded.run;
    let mut out = String::new();
    head(&mut out, run, colour);
    facts(&mut out, run);
    percentiles(&mut out, run, loaded.headline.as_ref(), colour);
    phases(&mut out, run, colour);
    troubles(&mut out, run);
    targets::text(&mut out, run, colour);
    misbehaviour::text(&mut out, run, colour);
    shards(&mut out, run, colour);
    out
}

fn head(out: &mut String, run: &Run, colour: Colour) {
    let target = colour.bold(&run.plan.target);
    // A merged run has none of its own; its shards have.
    let id = if run.id.is_empty() { String::new() } else { format!("  run {}", run.id) };
    let _ = writeln!(out, "ringpost {}  {target}  {}{id}", run.versions.ringpost, run.started);
    let _ = writeln!(out, "{}\n", colour.dim(&plan(&run.plan, &run.machine.engine)));
    let bytes_s = if run.elapsed_s > 0.0 { run.bytes as f64 / run.elapsed_s } else { 0.0 };
    let _ = writeln!(
        out,
        "  {}   {}/s   {}",
        colour.bold(&format!("{} msg/s", human::rate(run.rate_msg_s))),
        human::bytes(bytes_s),
        colour.verdict(run.verdict),
    );
    for reason in &run.verdict_reasons {
        let _ = writeln!(out, "  {reason}");
    }
    out.push('\n');
}

/// What was asked for, in one line.
pub fn plan(plan: &Plan, engine: &str) -> String {
    let mut words = vec![load(plan)];
    words.push(plural(plan.connections, "connection"));
    words.push(plural(plan.cores, "core"));
    words.push(engine.to_owned());
    words.push(format!("{} octets", plan.size));
    if plan.recipients != 1 {
        words.push(plural(plan.recipients, "recipient"));
    }
    if let Some(messages) = plan.per_connection {
        words.push(format!("{} per connection", human::count(messages)));
    }
    words.push(format!("pipelining {}", plan.pipelining));
    if plan.chunking {
        words.push(format!("chunking, depth {}", plan.depth));
    }
    if plan.tls != "none" {
        words.push(format!("TLS {}", plan.tls));
    }
    if let Some(mechanism) = &plan.auth {
        words.push(format!("AUTH {mechanism}"));
    }
    if let Some(think) = &plan.think {
        words.push(format!("pauses of {think}"));
    }
    if let Some(misbehave) = &plan.misbehave {
        words.push(format!("misbehaviour {misbehave}"));
    }
    if plan.warmup_s > 0.0 {
        words.push(format!("warm-up {}", human::seconds(plan.warmup_s)));
    }
    if plan.cooldown_s > 0.0 {
        words.push(format!("cool-down {}", human::seconds(plan.cooldown_s)));
    }
    words.join(" · ")
}

/// `open loop at 3,000 msg/s (poisson)`; ramps and steps are named behind their mean.
fn load(plan: &Plan) -> String {
    let Some(rate) = plan.rate_msg_s else { return "closed loop".to_owned() };
    let sessions = plan.arrivals_of.as_deref() == Some("sessions");
    let unit = if sessions { "sessions/s" } else { "msg/s" };
    let shape = plan.rate.iter().filter(|shape| shape.contains([':', '/']));
    let notes: Vec<&str> = shape.chain(&plan.arrivals).map(String::as_str).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("open loop at {} {unit}{notes}", human::rate(rate))
}

/// `1 core`, `2 cores`.
pub fn plural(count: u64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{} {noun}{s}", human::count(count))
}

/// Pairs of a name and a value that the text and the page both show.
pub fn fact_rows(run: &Run) -> Vec<(&'static str, String)> {
    let total = run.messages_ok + run.messages_failed;
    let share = |part: u64| match total {
        0 => String::new(),
        _ => format!(" ({})", human::percent(part as f64 / total as f64)),
    };
    let mut failed = format!("{}{}", human::count(run.messages_failed), share(run.messages_failed));
    if run.messages_unanswered > 0 {
        let _ = write!(failed, ", {} of them unanswered", human::count(run.messages_unanswered));
    }
    if run.messages_not_begun > 0 {
        let _ = write!(failed, "; {} never begun", human::count(run.messages_not_begun));
    }
    let cpu = run.cpu_per_message_ns;
    let wait = run.cpu_wait_ns as f64 / 1e9 / (run.elapsed_s * run.plan.cores as f64);
    let waited = match wait.is_finite() && wait >= CPU_WAIT_SHOWN {
        true => format!("; something else had them for {}", human::percent(wait)),
        false => String::new(),
    };
    let mut rows = vec![
        ("accepted", format!("{}{}", human::count(run.messages_ok), share(run.messages_ok))),
        ("failed", failed),
        (
            "octets",
            format!("{}, {}", human::bytes(run.bytes as f64), plural(run.recipients, "recipient")),
        ),
        ("elapsed", human::seconds(run.elapsed_s)),
        (
            "connections",
            format!(
                "{} opened, {} closed, {} messages in flight at most",
                human::count(run.connections_opened),
                human::count(run.connections_closed),
                human::count(run.in_flight_peak)
            ),
        ),
        (
            "generator CPU",
            format!(
                "{} per message ({} user, {} system), {} of {}{waited}",
                human::latency((cpu.user + cpu.system).round() as u64),
                human::latency(cpu.user.round() as u64),
                human::latency(cpu.system.round() as u64),
                human::percent(run.cpu_busy),
                plural(run.plan.cores, "core")
            ),
        ),
    ];
    if let Some(own) = run.own_lag_ns {
        rows.push((
            "generator lag",
            format!(
                "p50 {}, p99 {}, max {}; the rest of the send lag was a wait for a free session",
                human::latency(own.p50),
                human::latency(own.p99),
                human::latency(own.max)
            ),
        ));
    }
    rows.extend(run.thresholds.iter().map(|judged| {
        let outcome = if judged.fails() { "failed" } else { "passed" };
        ("fail if", format!("{judged}, {outcome}"))
    }));
    rows
}

fn facts(out: &mut String, run: &Run) {
    for (name, value) in fact_rows(run) {
        let _ = writeln!(out, "  {name:<14} {value}");
    }
    out.push('\n');
}

/// Percentiles that every table shows, with their names.
pub fn percentile_rows(latency: &Latency) -> [(&'static str, u64); 8] {
    [
        ("p50", latency.p50),
        ("p75", latency.p75),
        ("p90", latency.p90),
        ("p95", latency.p95),
        ("p99", latency.p99),
        ("p99.9", latency.p999),
        ("p99.99", latency.p9999),
        ("max", latency.max),
    ]
}

/// The metrics of the run, the headline first.
pub fn metrics(run: &Run) -> Vec<(&'static str, Latency)> {
    let mut metrics = vec![("service", run.service_ns)];
    if let (Some(response), Some(lag)) = (run.response_ns, run.send_lag_ns) {
        metrics.insert(0, ("response", response));
        metrics.push(("send lag", lag));
    }
    metrics
}

/// The table on the left, the bars of the headline on the right.
fn percentiles(out: &mut String, run: &Run, headline: Option<&Histogram<u64>>, colour: Colour) {
    let metrics = metrics(run);
    let names: String = metrics.iter().map(|(name, _)| format!("{name:>11}")).collect();
    let mut left = vec![format!("{:<8}{names}", "")];
    for row in 0..percentile_rows(&run.service_ns).len() {
        let (name, _) = percentile_rows(&run.service_ns)[row];
        let mut line = format!("{name:<8}");
        for (_, latency) in &metrics {
            let _ = write!(line, "{:>11}", cell(latency, percentile_rows(latency)[row].1));
        }
        left.push(line);
    }
    let width = 8 + 11 * metrics.len();
    let mut right = headline.map_or_else(Vec::new, |histogram| {
        bars(histogram, &format!("{} time of {}", metrics[0].0, plural(histogram.len(), "message")))
    });
    let rows = left.len().max(right.len());
    left.resize(rows, String::new());
    right.resize(rows, String::new());
    for (row, (left, right)) in left.iter().zip(&right).enumerate() {
        let line = format!("  {left:<width$}   {right}");
        let line = line.trim_end();
        let _ = writeln!(out, "{}", if row == 0 { colour.dim(line) } else { line.to_owned() });
    }
    if run.mode() == Mode::Closed {
        let _ = writeln!(out, "\n  {CLOSED_LOOP_NOTE}");
    }
    out.push('\n');
}

fn cell(latency: &Latency, ns: u64) -> String {
    if latency.count == 0 { "-".to_owned() } else { human::latency(ns) }
}

/// A histogram in characters, under what it is of.
pub(super) fn bars(histogram: &Histogram<u64>, what: &str) -> Vec<String> {
    let bins = bins(histogram, BARS_MAX);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1);
    let title = format!("{:>9}  {what}", "from");
    let row = |bin: &super::bins::Bin| {
        let share = bin.count as f64 / histogram.len() as f64;
        let bar = bar(bin.count as f64 / most as f64);
        let share = if bin.count == 0 { String::new() } else { human::percent(share) };
        format!("{:>9}  {bar:<BAR_WIDTH$} {share:>7}", human::latency(bin.from_ns))
    };
    std::iter::once(title).chain(bins.iter().map(row)).collect()
}

/// A bar in eighths of a character; the smallest for anything above nothing.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (BAR_WIDTH * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

fn phases(out: &mut String, run: &Run, colour: Colour) {
    if run.phases.is_empty() {
        return;
    }
    let head = format!(
        "  {:<13}{:>11}{:>10}{:>10}{:>10}{:>10}{:>10}  replies",
        "phase", "count", "p50", "p90", "p99", "p99.9", "max"
    );
    let _ = writeln!(out, "{}", colour.dim(&head));
    for (phase, result) in &run.phases {
        let codes = codes(&result.replies);
        phase_row(out, phase_title(*phase), &result.latency_ns, &codes);
        for (outcome, latency) in &result.outcomes {
            phase_row(out, &format!("  {}", outcome_title(*outcome)), latency, "");
        }
    }
    out.push('\n');
}

fn phase_row(out: &mut String, title: &str, latency: &Latency, codes: &str) {
    let mut line = format!("  {title:<13}{:>11}", human::count(latency.count));
    for ns in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
        let _ = write!(line, "{:>10}", cell(latency, ns));
    }
    let _ = writeln!(out, "{}", format!("{line}  {codes}").trim_end());
}

/// How an attempt ended, in a word or two.
pub fn outcome_title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refused4xx => "refused 4xx",
        Outcome::Refused5xx => "refused 5xx",
        Outcome::Unanswered => "unanswered",
    }
}

/// The name of a phase in the words of the protocol.
pub fn phase_title(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect",
        Phase::Banner => "banner",
        Phase::Hello => "EHLO",
        Phase::Auth => "AUTH",
        Phase::Mail => "MAIL",
        Phase::Rcpt => "RCPT",
        Phase::Data => "DATA",
        Phase::EndOfData => "end of data",
        Phase::Rset => "RSET",
        Phase::Quit => "QUIT",
        Phase::Message => "message",
        Phase::Session => "session",
    }
}

/// `250: 213,450   451: 12`; a single code goes without its count, which is the row's.
fn codes(replies: &BTreeMap<u16, u64>) -> String {
    if let (1, Some(code)) = (replies.len(), replies.keys().next()) {
        return code.to_string();
    }
    let each = |(code, count): (&u16, &u64)| format!("{code}: {}", human::count(*count));
    replies.iter().map(each).collect::<Vec<_>>().join("  ")
}

/// Refusals by enhanced code, errors, and figures that are not what they seem.
fn troubles(out: &mut String, run: &Run) {
    let before = out.len();
    for (name, value) in trouble_rows(run) {
        let _ = writeln!(out, "  {name:<14} {value}");
    }
    if out.len() > before {
        out.push('\n');
    }
}

/// The runs that a sum was made from, and what is odd about one.
fn shards(out: &mut String, run: &Run, colour: Colour) {
    if run.shards.is_empty() {
        return;
    }
    let name = |shard: &Shard| shard.name.chars().count();
    let width = run.shards.iter().map(name).max().unwrap_or(0).max(5);
    let head = format!(
        "  {:<width$}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}  verdict",
        "shard", "msg/s", "p50", "p99", "max", "failed", "CPU"
    );
    let _ = writeln!(out, "{}", colour.dim(&head));
    for (shard, odd) in run.shards.iter().zip(outliers(&run.shards)) {
        let latency = shard.run.headline();
        let mut line = format!("  {:<width$}{:>10}", shard.name, human::rate(shard.run.rate_msg_s));
        for ns in [latency.p50, latency.p99, latency.max] {
            let _ = write!(line, "{:>10}", cell(latency, ns));
        }
        let _ = write!(
            line,
            "{:>10}{:>8}  {}",
            human::count(shard.run.messages_failed),
            human::percent(shard.run.cpu_busy),
            shard.run.verdict.name(),
        );
        if !odd.is_empty() {
            let _ = write!(line, "  {}", colour.bold(&format!("odd one out: {}", odd.join(", "))));
        }
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
}

/// Pairs of a name and a value, only where there is something to say.
pub fn trouble_rows(run: &Run) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if run.refused_ns.count > 0 {
        let refused = &run.refused_ns;
        rows.push((
            "refused after",
            format!(
                "p50 {}, p99 {}, max {}; not in the percentiles above",
                human::latency(refused.p50),
                human::latency(refused.p99),
                human::latency(refused.max)
            ),
        ));
    }
    let negative = |code: &str| code.starts_with(['4', '5']);
    for (phase, result) in &run.phases {
        for (code, count) in result.enhanced.iter().filter(|(code, _)| negative(code)) {
            let count = human::count(*count);
            rows.push(("refusals", format!("{code} to {}: {count}", phase_title(*phase))));
        }
    }
    for (outcome, count) in [
        (Outcome::Refused4xx, run.messages_refused_4xx),
        (Outcome::Refused5xx, run.messages_refused_5xx),
        (Outcome::Unanswered, run.messages_unanswered),
    ] {
        if count > 0 {
            rows.push((outcome_title(outcome), plural(count, "message")));
        }
    }
    for (kind, count) in &run.errors {
        rows.push(("errors", format!("{}: {}", kind.name(), human::count(*count))));
    }
    if run.replies_odd > 0 {
        let odd = human::count(run.replies_odd);
        rows.push(("odd replies", format!("{odd} with a code outside 200 to 599")));
    }
    if run.saturated > 0 {
        let saturated = human::count(run.saturated);
        rows.push(("clamped", format!("{saturated} latencies above one hour count as one hour")));
    }
    rows
}
