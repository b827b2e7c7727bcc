//! A run in a few sentences, for readers who have never seen a report.

use super::words::{cpu_lent, phase_title};
use crate::human::{self, counted};
use crate::measure::{Mode, Phase};
use crate::run::verdict::is_full;
use crate::run::{Latency, Run, Verdict};

/// The steps of one message's dialogue.
const STEPS: [Phase; 4] = [Phase::Mail, Phase::Rcpt, Phase::Data, Phase::EndOfData];

/// From this share of its cores' time on that other programs had, times are not the server's own.
const CPU_LENT_TOLD: f64 = 0.05;

/// A good run on cores that other programs used as well: its times include waits for them.
fn shared(run: &Run, lent: f64) -> String {
    let here = ["//127.", "//localhost", "//[::1]", "+unix:"];
    let beside = match here.iter().any(|place| run.plan.target.contains(place)) {
        true => " The server runs on the same machine, so each takes time from the other.",
        false => "",
    };
    format!(
        "Verdict: every message was accepted. Other programs had the generator's cores for {} of the time, and \
         all times include the waits for them: the server alone may be faster.{beside}",
        human::percent(lent)
    )
}

/// A few sentences: how much, how fast, where the time goes, what the verdict means.
pub fn sentences(run: &Run) -> Vec<String> {
    let mut sentences = vec![amount(run)];
    let latency = run.headline();
    if latency.count > 0 {
        sentences.push(how_long(run, latency));
    }
    sentences.extend(slowest_step(run));
    let busy = run.cpu_busy.filter(|busy| is_full(run.mode(), *busy));
    match cpu_lent(run).filter(|lent| run.verdict == Verdict::Ok && *lent >= CPU_LENT_TOLD) {
        Some(lent) => sentences.push(shared(run, lent)),
        None if run.verdict == Verdict::Ok && busy.is_some() => sentences.push(format!(
            "Verdict: every message was accepted. The generator's cores were {} busy, so the rate may be the most that \
             they can send: the server may take more.",
            human::known(busy, human::percent)
        )),
        None if run.verdict == Verdict::Failures && run.counts.messages_ok == 0 => {
            sentences.push(NOTHING_ACCEPTED.to_owned());
        }
        None => sentences.push(meaning(run.verdict).to_owned()),
    }
    sentences
}

fn amount(run: &Run) -> String {
    let messages = run.counts.messages();
    let rate = human::known(run.rate_msg_s, human::rate);
    let elapsed = human::seconds(run.rate_time_s());
    if messages == 0 {
        return "No message was answered.".to_owned();
    }
    if run.counts.messages_failed == 0 {
        let all = match messages {
            1 => "the one message".to_owned(),
            _ => format!("all {}", counted(messages, "message")),
        };
        return format!("The server accepted {all} in {elapsed}: {rate} a second.");
    }
    if run.counts.messages_ok == 0 {
        return format!(
            "The server accepted none of {} in {elapsed}.",
            counted(messages, "message")
        );
    }
    format!(
        "The server accepted {} in {elapsed}: {rate} a second. {} ({}) {} not accepted.",
        human::part(run.counts.messages_ok, messages, "message"),
        human::count(run.counts.messages_failed),
        human::percent(run.counts.messages_failed as f64 / messages as f64),
        human::were(run.counts.messages_failed),
    )
}

/// Nothing of what the sample does not carry.
fn how_long(run: &Run, latency: &Latency) -> String {
    let spread: Vec<String> = [
        ("half took no longer than", latency.p50),
        ("99 in 100 no longer than", latency.p99),
        ("the slowest", latency.max),
    ]
    .into_iter()
    .filter_map(|(words, ns)| Some(format!("{words} {}", human::latency(ns?))))
    .collect();
    let spread = spread.join(", ");
    match run.mode() {
        Mode::Open => format!(
            "Messages were due on a schedule, whether the server kept up or not, and times count \
             from when each was due: {spread}."
        ),
        Mode::Closed => format!(
            "Each of {} sent its next message when the last was answered: {spread}. Such a load \
             waits for the server, so mail that comes by itself would wait longer than this in a \
             stall; a run with a rate shows that.",
            counted(run.plan.connections, "connection")
        ),
    }
}

/// Where the time of a message goes; nothing where several steps share one round trip.
fn slowest_step(run: &Run) -> Option<String> {
    if run.plan.pipelining != "none" {
        return None;
    }
    let timed = STEPS
        .into_iter()
        .filter_map(|phase| Some((phase, run.phases.get(&phase)?.latency_ns.mean?)));
    let (phase, mean) = timed.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let why = match phase {
        Phase::EndOfData => ", where the server stores the message and takes responsibility for it",
        _ => "",
    };
    Some(format!(
        "Of the steps of a message, {} took longest: {} on average{why}.",
        phase_title(phase),
        human::latency(mean.round() as u64)
    ))
}

/// What it means that all failed.
const NOTHING_ACCEPTED: &str = "Verdict: nothing was accepted, so the figures tell only how fast the server says no, \
                                if it answered; what it said is listed below.";

/// What the verdict means for a reader of the figures.
fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => {
            "Verdict: every message was accepted and the generator kept up, so the figures are the \
             server's own."
        }
        Verdict::Failures => {
            "Verdict: the figures stand, and what failed is listed below; a server at its limit often \
             refuses before it slows down."
        }
        Verdict::ThresholdFailed => "Verdict: a --fail-if condition held; it is named above.",
        Verdict::Stopped => {
            "Verdict: the run was stopped early, as an option asked; the figures cover the time until \
             then."
        }
        Verdict::Unreachable => "Verdict: there was no server to measure.",
        Verdict::TargetLimited => {
            "Verdict: the server did not keep up with what was asked of it; the times are those of a \
             queue that grows, so look for the highest rate that it keeps."
        }
        Verdict::GeneratorLimited => {
            "Verdict: the generator's machine was the limit. The times say more about it than about \
             the server, which may do better: use more cores, another machine or a lower rate."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Counters;
    use crate::run::{PhaseResult, RunPlan};

    #[test]
    fn a_run_is_told_in_sentences_that_name_its_figures() {
        let latency = |mean, p50, p99, max| {
            let (mean, p50, p99, max) = (Some(mean), Some(p50), Some(p99), Some(max));
            Latency { mean, p50, p99, max, count: 900, ..Latency::default() }
        };
        let phase =
            |mean| PhaseResult { latency_ns: latency(mean, 1, 1, 1), ..PhaseResult::default() };
        let mut run = Run {
            counts: Counters { messages_ok: 995, messages_failed: 5, ..Counters::default() },
            elapsed_s: 2.0,
            rate_msg_s: Some(497.5),
            service_ns: latency(2e6, 2_000_000, 9_000_000, 30_000_000),
            phases: [(Phase::Mail, phase(1e5)), (Phase::EndOfData, phase(3e6))].into(),
            plan: RunPlan { connections: 4, pipelining: "none".to_owned(), ..RunPlan::default() },
            verdict: Verdict::Failures,
            ..Run::default()
        };
        let told = sentences(&run).join(" ");
        for part in [
            "accepted 995 of 1,000 messages in 2.00 s: 498 a second",
            "5 (0.50 %) were not accepted",
            "Each of 4 connections",
            "half took no longer than 2.00 ms, 99 in 100 no longer than 9.00 ms, the slowest 30.0 ms",
            "end of data took longest: 3.00 ms on average",
            "what failed is listed below",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let none =
            Run { counts: Counters { messages_failed: 5, ..Counters::default() }, ..run.clone() };
        let told = sentences(&none).join(" ");
        assert!(told.contains("accepted none of 5 messages in 2.00 s. "), "{told}");
        assert!(told.contains("nothing was accepted") && !told.contains("at its limit"), "{told}");
        run.service_ns.p99 = None;
        let told = sentences(&run).join(" ");
        assert!(told.contains("no longer than 2.00 ms, the slowest 30.0 ms"), "{told}");
        run.response_ns = Some(run.service_ns);
        run.plan.pipelining = "full".to_owned();
        let told = sentences(&run).join(" ");
        assert!(told.contains("times count from when each was due"), "{told}");
        assert!(!told.contains("took longest"), "{told}");
        run.verdict = Verdict::Ok;
        run.plan.cores = 1;
        run.plan.target = "smtp://127.0.0.1:25".to_owned();
        assert!(sentences(&run).join(" ").contains("the server's own"));
        run.cpu_busy = Some(0.97);
        assert!(sentences(&run).join(" ").contains("the server's own"), "an open loop");
        let closed = Run { response_ns: None, ..run.clone() };
        let told = sentences(&closed).join(" ");
        assert!(told.contains("97 % busy") && !told.contains("the server's own"), "{told}");
        run.counts.cpu_wait_ns = 800_000_000;
        let told = sentences(&run).join(" ");
        assert!(told.contains("for 40 % of the time") && told.contains("same machine"), "{told}");
        assert!(!told.contains("the server's own"), "{told}");
        run.plan.target = "smtp://192.0.2.1:25".to_owned();
        assert!(!sentences(&run).join(" ").contains("same machine"));
        assert_eq!(sentences(&Run::default())[0], "No message was answered.");
    }
}
