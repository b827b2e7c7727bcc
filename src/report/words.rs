//! Words that the text and the page share: the plan in one line, titles, and rows of names and values.

use std::fmt::Write as _;

use super::tls;
use crate::human::{self, counted};
use crate::measure::{Counters, Outcome, Phase};
use crate::run::{Latency, Run, RunPlan};

/// Shown in place of a figure that a closed loop cannot have.
pub(super) const CLOSED_LOOP_NOTE: &str =
    "closed loop: no intended start, response time is not defined";

/// Where other programs had a smaller share of the cores' time, it is not shown.
const CPU_WAIT_SHOWN: f64 = 0.01;

/// Total CPU time from which user and system time are told apart: the kernel divides it by ticks of up to 10 ms.
const CPU_SPLIT_NS_MIN: f64 = 1e8;

/// The most texts of one phase and code that are shown.
const SAID_MAX: usize = 3;

/// What was asked for, in one line.
pub(super) fn plan(plan: &RunPlan, engine: &str) -> String {
    let mut words = vec![load(plan)];
    words.push(counted(plan.connections, "connection"));
    words.push(counted(plan.cores, "core"));
    words.push(engine.to_owned());
    words.push(size(plan));
    if plan.recipients != 1 {
        words.push(counted(plan.recipients, "recipient"));
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

/// `open loop at 3,000 msg/s (poisson)`; ramps and steps follow their mean in brackets.
fn load(plan: &RunPlan) -> String {
    let Some(rate) = plan.rate_msg_s else {
        let of = plan.arrivals_of.as_deref();
        return of.map_or("closed loop", |_| "open loop at no rate").to_owned();
    };
    let sessions = plan.arrivals_of.as_deref() == Some("sessions");
    let unit = if sessions { "sessions/s" } else { "msg/s" };
    let shape = plan.rate.iter().filter(|shape| shape.contains([':', '/']));
    let notes: Vec<&str> = shape.chain(&plan.arrivals).map(String::as_str).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("open loop at {} {unit}{notes}", human::rate(rate))
}

/// Pairs of a name and a value that the text and the page both show.
pub(super) fn fact_rows(run: &Run) -> Vec<(&'static str, String)> {
    let mut rows = count_rows(run);
    rows.extend(tls::rows(run));
    rows.push(("generator CPU", generator_cpu(run)));
    if let Some(own) = run.own_lag_ns.filter(|own| own.count > 0) {
        rows.push((
            "generator lag",
            format!(
                "p50 {}, p99 {}, max {}; the rest of the send lag was a wait for a free session, \
                 its connection and its handshake",
                human::time(own.p50),
                human::time(own.p99),
                human::time(own.max)
            ),
        ));
    }
    rows.extend(run.thresholds.iter().map(|judged| {
        let outcome = if judged.fails() { "failed" } else { "passed" };
        ("fail if", format!("{judged}, {outcome}"))
    }));
    rows
}

/// The size of a message in octets: one, or a distribution as it was asked for.
pub(super) fn size(plan: &RunPlan) -> String {
    plan.size
        .parse()
        .map_or_else(|_| format!("{} octets", plan.size), |size| counted(size, "octet"))
}

/// The counts of the run, and how long it took.
fn count_rows(run: &Run) -> Vec<(&'static str, String)> {
    let counts = &run.counts;
    let total = counts.messages();
    let with_share = |part: u64| match total {
        0 => human::count(part),
        _ => format!("{} ({})", human::count(part), human::percent(part as f64 / total as f64)),
    };
    let mut failed = with_share(counts.messages_failed);
    if counts.messages_unanswered > 0 {
        let _ = write!(failed, ", {} of them unanswered", human::count(counts.messages_unanswered));
    }
    if counts.messages_not_begun > 0 {
        let not_begun = human::count(counts.messages_not_begun);
        let _ = write!(failed, ", of these {not_begun} never begun");
    }
    let octets = human::bytes(counts.bytes as f64);
    let connections = format!(
        "{} opened, {} closed, {} in flight at most",
        human::count(counts.connections_opened),
        human::count(counts.connections_closed),
        counted(run.in_flight_peak, "message")
    );
    let mut accepted = with_share(counts.messages_ok);
    if counts.messages_partly_ok > 0 {
        let partly = human::count(counts.messages_partly_ok);
        let _ = write!(accepted, ", {partly} of them for some recipients only");
    }
    let mut rows = vec![
        ("accepted", accepted),
        ("failed", failed),
        ("octets", format!("{octets}, {}", counted(counts.recipients, "recipient"))),
        ("elapsed", elapsed(run)),
        ("connections", connections),
    ];
    rows.extend(not_counted(run).map(|said| ("not counted", said)));
    if counts.recipients_refused() > 0 {
        rows.insert(2, ("recipients", recipients(counts)));
    }
    rows
}

/// The measured time, and where it is longer the time in which the accepted messages came, over which the
/// rates are.
fn elapsed(run: &Run) -> String {
    let (elapsed, rated) = (human::seconds(run.elapsed_s), human::seconds(run.rate_time_s()));
    if elapsed == rated {
        return elapsed;
    }
    format!("{elapsed}; accepted messages came for {rated}, which rates are over")
}

/// What was left out of the figures: `10 messages in the warm-up; 3 messages and 1 error after the end`.
fn not_counted(run: &Run) -> Option<String> {
    let part = |messages: u64, errors: u64, place: &str| {
        let parts = [(messages, "message"), (errors, "error")];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, noun)| counted(count, noun)).collect();
        (!parts.is_empty()).then(|| format!("{} {place}", parts.join(" and ")))
    };
    let parts = [
        part(run.warmup_messages, run.warmup_errors, "in the warm-up"),
        part(run.cooldown_messages, run.cooldown_errors, "after the measured time"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// `40 asked, 20 accepted (50 %), 20 refused: 15 with 4xx, 5 with 5xx`.
fn recipients(counts: &Counters) -> String {
    let asked = counts.recipients_asked;
    let share = (asked > 0).then(|| counts.recipients as f64 / asked as f64);
    format!(
        "{} asked, {} accepted ({}), {} refused: {} with 4xx, {} with 5xx",
        human::count(asked),
        human::count(counts.recipients),
        human::known(share, human::percent),
        human::count(counts.recipients_refused()),
        human::count(counts.recipients_refused_4xx),
        human::count(counts.recipients_refused_5xx)
    )
}

/// The share of the generator's cores that other programs had while it was ready to run; `None` where that
/// is too little to be shown.
pub(super) fn cpu_lent(run: &Run) -> Option<f64> {
    let wait = run.counts.cpu_wait_ns as f64 / 1e9 / (run.elapsed_s * run.plan.cores as f64);
    (wait.is_finite() && wait >= CPU_WAIT_SHOWN).then(|| wait.min(1.0))
}

/// The CPU time of the generator, and whether something else had its cores.
fn generator_cpu(run: &Run) -> String {
    let time = |ns: f64| human::latency(ns.round() as u64);
    // Where no message was begun, there is none to share the time among.
    let each = run.cpu_per_message_ns.map_or_else(String::new, |cpu| {
        let (user, system) = (time(cpu.user), time(cpu.system));
        let spent_ns = cpu.total() * run.counts.messages_begun() as f64;
        let split = match spent_ns >= CPU_SPLIT_NS_MIN {
            true => format!(" ({user} user, {system} system)"),
            false => String::new(),
        };
        format!("{} per message{split}, ", time(cpu.total()))
    });
    let waited = match cpu_lent(run) {
        Some(wait) => {
            let cores = if run.plan.cores == 1 { "it" } else { "them" };
            format!("; other programs had {cores} for {}", human::percent(wait))
        }
        None => String::new(),
    };
    format!(
        "{each}{} of {}{waited}",
        human::known(run.cpu_busy, human::percent),
        counted(run.plan.cores, "core")
    )
}

/// Percentiles that every table shows, with their names.
pub(super) fn percentile_rows(latency: &Latency) -> [(&'static str, Option<u64>); 8] {
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
pub(super) fn metrics(run: &Run) -> Vec<(&'static str, Latency)> {
    let mut metrics = vec![("service", run.service_ns)];
    if let (Some(response), Some(lag)) = (run.response_ns, run.send_lag_ns) {
        metrics.insert(0, ("response", response));
        metrics.push(("send lag", lag));
    }
    metrics
}

/// How an attempt ended, in a word or two.
pub(super) fn outcome_title(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Refused4xx => "refused 4xx",
        Outcome::Refused5xx => "refused 5xx",
        Outcome::Unanswered => "unanswered",
    }
}

/// The name of a phase in the words of the protocol.
pub(super) fn phase_title(phase: Phase) -> &'static str {
    match phase {
        Phase::Connect => "connect",
        Phase::Banner => "banner",
        Phase::Hello => "EHLO",
        Phase::StartTls => "STARTTLS",
        Phase::Tls => "TLS",
        Phase::TlsResumed => "TLS resumed",
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

/// What a refusal was the answer to, if it was one.
fn refused_what(phase: Phase) -> String {
    match phase {
        Phase::Session => "unasked".to_owned(),
        Phase::Banner => "as the banner".to_owned(),
        command => format!("to {}", phase_title(command)),
    }
}

/// Pairs of a name and a value, only where there is something to say.
pub(super) fn trouble_rows(run: &Run) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if run.refused_ns.count > 0 {
        let refused = &run.refused_ns;
        rows.push((
            "refused after",
            format!(
                "p50 {}, p99 {}, max {}; not in the percentiles above",
                human::time(refused.p50),
                human::time(refused.p99),
                human::time(refused.max)
            ),
        ));
    }
    let negative = |code: &str| code.starts_with(['4', '5']);
    for (phase, result) in &run.phases {
        for (code, count) in result.enhanced.iter().filter(|(code, _)| negative(code)) {
            let count = human::count(*count);
            rows.push(("refusals", format!("{code} {}: {count}", refused_what(*phase))));
        }
    }
    rows.extend(said_rows(run).map(|said| ("server said", said)));
    for (outcome, count) in [
        (Outcome::Refused4xx, run.counts.messages_refused_4xx),
        (Outcome::Refused5xx, run.messages_refused_5xx),
        (Outcome::Unanswered, run.counts.messages_unanswered),
    ] {
        if count > 0 {
            rows.push((outcome_title(outcome), counted(count, "message")));
        }
    }
    if run.counts.connections_never_greeted > 0 {
        let never = counted(run.counts.connections_never_greeted, "connection");
        rows.push(("never greeted", format!("{never}: no banner, or no answer to EHLO")));
    }
    for (kind, count) in &run.errors {
        rows.push(("errors", format!("{}: {}", kind.name(), human::count(*count))));
    }
    if run.replies_odd > 0 {
        let odd = human::count(run.replies_odd);
        rows.push((
            "odd replies",
            format!("{odd} with a code whose second digit is none of RFC 5321"),
        ));
    }
    if run.counts.saturated > 0 {
        let saturated = human::count(run.counts.saturated);
        rows.push(("clamped", format!("{saturated} latencies above one hour count as one hour")));
    }
    rows
}

/// What the server said most often when it refused, by phase and code, and how often it said something
/// else. A run of an older version does not tell.
fn said_rows(run: &Run) -> impl Iterator<Item = String> {
    run.phases.iter().flat_map(|(phase, result)| {
        let told = |count: u64, what: &str| {
            format!("{}, {}: {what}", refused_what(*phase), counted(count, "time"))
        };
        let mut rows = Vec::new();
        for (code, &replies) in &result.replies {
            let digits = code.to_string();
            let of_code = |(line, _): &(&String, &u64)| line.split(' ').next() == Some(&*digits);
            let mut lines: Vec<_> = result.refusals.iter().filter(of_code).collect();
            if lines.is_empty() {
                continue;
            }
            lines.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
            lines.truncate(SAID_MAX);
            let shown: u64 = lines.iter().map(|&(_, &count)| count).sum();
            rows.extend(lines.iter().map(|&(line, &count)| told(count, line)));
            if replies > shown {
                rows.push(told(replies - shown, &format!("{code} in other words")));
            }
        }
        rows
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::CpuPerMessage;

    #[test]
    fn cpu_time_of_a_few_ticks_is_not_told_apart() {
        let cpu = CpuPerMessage { user: 0.0, system: 20_000.0 };
        let mut run = Run { cpu_per_message_ns: Some(cpu), ..Run::default() };
        run.counts.messages_ok = 4_999;
        assert!(
            generator_cpu(&run).starts_with("20.0 µs per message, "),
            "{}",
            generator_cpu(&run)
        );
        run.counts.messages_ok = 5_000;
        let told = generator_cpu(&run);
        assert!(told.starts_with("20.0 µs per message (0 ns user, 20.0 µs system), "), "{told}");
    }
}
