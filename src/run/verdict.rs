//! The verdict of a run: whether its figures may be trusted, and what they are about.

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use crate::human;
use crate::limits::SEND_LAG_NOISE_NS;
use crate::measure::{ErrorKind, Mode, OpenTally, Totals};

/// Per cent of the response time that the generator's own lag may be, unless `--lag-limit` says otherwise.
pub const LAG_LIMIT_PERCENT_DEFAULT: f64 = 10.0;

/// How late the oldest waiting message may be at the end without blaming the target, however short the
/// run: any short stall leaves as much.
const BEHIND_NOISE_NS: u64 = 100_000_000;

/// Share of its cores' time above which a generator is called the limit of work that waited.
const CPU_BUSY_MAX: f64 = 0.8;

/// Share of its cores' time above which a generator may be the limit of a closed loop.
const CPU_FULL: f64 = 0.9;

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every message was accepted, and the generator kept up.
    #[default]
    Ok,
    /// The figures stand, and some messages were not accepted or some connections failed.
    Failures,
    /// A `--fail-if` expression held.
    ThresholdFailed,
    /// A refusal or failure ended the run, as `--stop-on`, `--on-error stop` or `--max-errors` asked. The
    /// figures hold what was done before.
    Stopped,
    /// No connection was ever made.
    Unreachable,
    /// The target did not keep the rate: work was due and every session waited for an answer. The
    /// figures stand, and they are those of an overloaded server.
    TargetLimited,
    /// The generator's machine was the limit, so that latencies say more about it than about the
    /// server.
    GeneratorLimited,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failures => "failures",
            Self::ThresholdFailed => "threshold-failed",
            Self::Stopped => "stopped",
            Self::Unreachable => "unreachable",
            Self::TargetLimited => "target-limited",
            Self::GeneratorLimited => "generator-limited",
        }
    }

    /// Exit status that follows from the verdict alone. That of a run also asks whether the rate was kept:
    /// [`Run::exit_code`](super::Run::exit_code).
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Failures | Self::TargetLimited => 0,
            Self::ThresholdFailed | Self::Stopped => 1,
            Self::Unreachable => 3,
            Self::GeneratorLimited => 4,
        }
    }
}

/// Whether work that waited for so long at the end says that the target did not keep up.
pub(super) fn is_backlog(behind_ns: u64, elapsed_ns: u64) -> bool {
    behind_ns > BEHIND_NOISE_NS.max(elapsed_ns / 100)
}

/// Whether a generator that used this share of its cores' time may have been the limit of a closed loop: its sessions
/// ask for all that can be done, and it could hardly do more. An open loop says itself how much it asks for.
pub fn is_full(mode: Mode, cpu_busy: f64) -> bool {
    mode == Mode::Closed && cpu_busy > CPU_FULL
}

/// A verdict with its reasons, the deciding one first.
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) reasons: Vec<String>,
}

impl Judgement {
    /// `cpu_busy` is the share of its cores' time that the generator used; `cpu_wait` is the share that it
    /// was ready to use while something else did. `lag_limit` is the share of the response time that its
    /// own lag may be.
    pub(super) fn of(totals: &Totals, cpu_busy: f64, cpu_wait: f64, lag_limit: f64) -> Self {
        let tally = &totals.tally;
        let mut reasons = Vec::new();
        let unreachable = tally.counts.connections_opened == 0
            && tally.counts.messages_ok == 0
            && totals.warmup_messages == 0
            && tally.errors_total() > 0;
        if unreachable {
            let kinds: Vec<&str> = tally.errors().map(|(kind, _)| kind.name()).collect();
            reasons.push(format!("no connection could be made: {}", kinds.join(", ")));
            return Self { verdict: Verdict::Unreachable, reasons };
        }
        let mut verdict = Verdict::Ok;
        short_of(totals, &mut reasons);
        if let Some(open) = &tally.open {
            reasons.extend(lateness(open, lag_limit));
            if waited(totals, open, lag_limit) {
                reasons.extend(busy_cores(cpu_busy, cpu_wait));
            }
        }
        raise(&mut verdict, Verdict::GeneratorLimited, &reasons);
        limits_of_the_target(totals, &mut reasons);
        raise(&mut verdict, Verdict::TargetLimited, &reasons);
        failures(totals, &mut reasons);
        raise(&mut verdict, Verdict::Failures, &reasons);
        // What was asked for was done: this decides no verdict.
        let mode = if tally.open.is_some() { Mode::Open } else { Mode::Closed };
        reasons.extend(is_full(mode, cpu_busy).then(|| {
            format!(
                "the generator's cores were {} busy: the rate may be the most that they can send, and the server may \
                 take more; give it more --cores, or --pipelining full if the server allows it",
                human::percent(cpu_busy)
            )
        }));
        Self { verdict, reasons }
    }
}

/// The first reason decides.
fn raise(verdict: &mut Verdict, to: Verdict, reasons: &[String]) {
    if *verdict == Verdict::Ok && !reasons.is_empty() {
        *verdict = to;
    }
}

/// What the machine of the generator had too little of.
fn short_of(totals: &Totals, reasons: &mut Vec<String>) {
    for (kind, count) in totals.tally.errors().filter(|(kind, _)| kind.is_ours()) {
        let what = match kind {
            ErrorKind::Ports => "local ports",
            _ => "file descriptors",
        };
        let times = human::counted(count, "time");
        reasons.push(format!("the generator ran out of {what} {times}"));
    }
}

/// The generator's own lag beside the response time, like with like: at p99, where the samples carry it,
/// and on the mean. The part that any timer of the machine has is not counted.
fn lateness(open: &OpenTally, lag_limit: f64) -> Option<String> {
    let (lag, response) = (Latency::from(&open.own_lag_ns), Latency::from(&open.response_ns));
    let p99 = [lag.p99, response.p99].map(|ns| ns.map(|ns| ns as f64));
    [("p99", p99), ("mean", [lag.mean, response.mean])].into_iter().find_map(|(figure, pair)| {
        let (lag_ns, response_ns) = (pair[0]?, pair[1]?);
        let time = |ns: f64| human::latency(ns.round() as u64);
        (lag_ns > SEND_LAG_NOISE_NS as f64 + lag_limit * response_ns).then(|| {
            format!(
                "the generator was late although a session was free: the {figure} of its own lag is {}, and \
                 that of the response time {}, of which --lag-limit allows {}; give it more --cores, or cores \
                 that nothing else uses",
                time(lag_ns),
                time(response_ns),
                human::percent(lag_limit)
            )
        })
    })
}

/// Whether work waited for a session, so that busy cores may be why none was free. Where none waited, what
/// busy cores delay is in the own lag: a message that is due waits for its core as an answer does.
fn waited(totals: &Totals, open: &OpenTally, lag_limit: f64) -> bool {
    let mean = |histogram| Latency::from(histogram).mean.unwrap_or_default();
    let for_sessions = mean(&open.send_lag_ns) - mean(&open.own_lag_ns);
    is_backlog(open.behind_ns, totals.elapsed.as_nanos() as u64)
        || totals.tally.counts.messages_not_begun > 0
        || for_sessions > SEND_LAG_NOISE_NS as f64 + lag_limit * mean(&open.response_ns)
}

fn busy_cores(cpu_busy: f64, cpu_wait: f64) -> Option<String> {
    if cpu_busy > CPU_BUSY_MAX {
        return Some(format!(
            "messages waited, and the generator's cores were {:.0} % busy; give it more --cores, or ask for less",
            cpu_busy * 100.0
        ));
    }
    (cpu_busy + cpu_wait > CPU_BUSY_MAX).then(|| {
        format!(
            "messages waited, and the generator's cores were {:.0} % busy, and for {:.0} % of the time \
             something else had them: answers that had come waited to be read; keep other programs off its \
             --cores",
            cpu_busy * 100.0,
            cpu_wait * 100.0
        )
    })
}

/// A backlog that is still there at the end means that the target does not keep the rate. A stall from
/// which the target recovers is in the response times and is not a limit.
fn limits_of_the_target(totals: &Totals, reasons: &mut Vec<String>) {
    let Some(open) = &totals.tally.open else { return };
    let elapsed_ns = totals.elapsed.as_nanos() as u64;
    if is_backlog(open.behind_ns, elapsed_ns) {
        reasons.push(format!(
            "the target did not keep the rate: at the end {} {} due while every session waited for an answer, \
             the oldest for {:.1} s; ask for less, or give more --connections if it can do more at once",
            human::counted(open.behind, "message"),
            human::were(open.behind),
            open.behind_ns as f64 / 1e9
        ));
    }
    let not_begun = totals.tally.counts.messages_not_begun;
    if not_begun > 0 {
        let of = human::part(not_begun, totals.tally.counts.messages(), "due message");
        reasons.push(format!("{of} {} never begun", human::were(not_begun)));
    }
}

fn failures(totals: &Totals, reasons: &mut Vec<String>) {
    let tally = &totals.tally;
    let messages = tally.counts.messages();
    if tally.counts.messages_failed > 0 {
        let failed = tally.counts.messages_failed;
        let of = human::part(failed, messages, "due message");
        reasons.push(format!("{of} {} not accepted", human::were(failed)));
    } else if messages == 0 {
        reasons.push(match totals.warmup_messages {
            0 => "no message was answered".to_owned(),
            n => {
                let all = human::counted(n, "message");
                format!("all there was fell into the warm-up, {all}; make the run longer")
            }
        });
    }
    if tally.counts.messages_partly_ok > 0 {
        let (partly, ok) = (tally.counts.messages_partly_ok, tally.counts.messages_ok);
        let of = human::part(partly, ok, "accepted message");
        reasons.push(format!("{of} {} refused for some recipients", human::were(partly)));
    }
    let of = |wanted: fn(ErrorKind) -> bool| -> u64 {
        tally.errors().filter(|&(kind, _)| wanted(kind)).map(|(_, count)| count).sum()
    };
    let turned_away = of(ErrorKind::has_reply);
    if turned_away > 0 {
        let (sessions, were) = (human::counted(turned_away, "session"), human::were(turned_away));
        reasons.push(format!("{sessions} {were} turned away at the greeting or at AUTH"));
    }
    let errors = of(|kind| !kind.is_ours() && !kind.has_reply());
    if errors > 0 {
        let errors = human::counted(errors, "failure");
        reasons.push(format!("{errors} without a reply, of connections or commands"));
    }
    if totals.cores_lost > 0 {
        let lost = human::counted(totals.cores_lost.into(), "generator core");
        reasons.push(format!("{lost} died, and with it the figures of its last second"));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Tally;

    fn totals(mode: Mode) -> Totals {
        let mut tally = Tally::new(mode);
        tally.counts.connections_opened = 1;
        tally.counts.messages_ok = 100;
        Totals {
            tally,
            elapsed: Duration::from_secs(1),
            accepted_ns: None,
            in_flight_peak: 1,
            cpu_busy: None,
            cores_lost: 0,
            warmup_messages: 0,
            cooldown_messages: 0,
            warmup_errors: 0,
            cooldown_errors: 0,
        }
    }

    fn judge(totals: &Totals, cpu_busy: f64, cpu_wait: f64) -> Judgement {
        Judgement::of(totals, cpu_busy, cpu_wait, LAG_LIMIT_PERCENT_DEFAULT / 100.0)
    }

    fn verdict(totals: &Totals, cpu_busy: f64) -> Verdict {
        let judgement = judge(totals, cpu_busy, 0.0);
        let full = totals.tally.open.is_none() && cpu_busy > CPU_FULL;
        let reasons = judgement.reasons.len() - usize::from(full);
        assert_eq!(reasons == 0, judgement.verdict == Verdict::Ok, "{:?}", judgement.reasons);
        judgement.verdict
    }

    #[test]
    fn a_clean_run_is_ok_and_a_closed_loop_may_keep_its_cores_busy() {
        assert_eq!(verdict(&totals(Mode::Closed), 0.99), Verdict::Ok);
        assert_eq!(verdict(&totals(Mode::Open), 0.5), Verdict::Ok);
        // Then it is said that the rate may be the generator's.
        let said = |mode, cpu_busy| judge(&totals(mode), cpu_busy, 0.0).reasons.join("; ");
        assert!(
            said(Mode::Closed, 0.97).contains("cores were 97 % busy"),
            "{}",
            said(Mode::Closed, 0.97)
        );
        assert_eq!(
            (said(Mode::Closed, 0.9), said(Mode::Open, 0.97)),
            (String::new(), String::new())
        );
    }

    #[test]
    fn failed_messages_errors_lost_cores_and_silence_are_failures() {
        let mut run = totals(Mode::Closed);
        run.tally.counts.messages_failed = 1;
        assert_eq!(verdict(&run, 0.1), Verdict::Failures);
        let mut run = totals(Mode::Closed);
        run.tally.count_error(ErrorKind::Reset);
        assert_eq!(verdict(&run, 0.1), Verdict::Failures);
        let mut run = totals(Mode::Closed);
        run.cores_lost = 1;
        assert_eq!(verdict(&run, 0.1), Verdict::Failures);
        let mut run = totals(Mode::Closed);
        run.tally.counts.messages_ok = 0;
        assert_eq!(verdict(&run, 0.1), Verdict::Failures);
        run.warmup_messages = 7;
        assert!(judge(&run, 0.1, 0.0).reasons[0].contains("warm-up"));
    }

    #[test]
    fn a_target_that_never_answered_a_connect_is_unreachable() {
        let mut run = totals(Mode::Open);
        run.tally = Tally::new(Mode::Open);
        run.tally.count_error(ErrorKind::Refused);
        assert_eq!(verdict(&run, 1.0), Verdict::Unreachable);
    }

    #[test]
    fn a_schedule_that_the_generator_did_not_keep_is_said_before_failures() {
        let mut late = totals(Mode::Open);
        late.tally.counts.messages_failed = 1;
        let open = late.tally.open.as_mut().unwrap();
        open.response_ns.record_n(20_000_000, 100).unwrap();
        open.own_lag_ns.record_n(5_000_000, 100).unwrap();
        assert_eq!(verdict(&late, 0.1), Verdict::GeneratorLimited);
        assert!(judge(&late, 0.1, 0.0).reasons[0].contains("late"));
        assert_eq!(
            verdict(&totals(Mode::Open), 0.9),
            Verdict::Ok,
            "no message waited for its cores"
        );
        let mut waiting = totals(Mode::Open);
        let open = waiting.tally.open.as_mut().unwrap();
        open.response_ns.record_n(20_000_000, 100).unwrap();
        open.send_lag_ns.record_n(15_000_000, 100).unwrap();
        assert_eq!(verdict(&waiting, 0.9), Verdict::GeneratorLimited);
        assert_eq!(verdict(&waiting, 0.7), Verdict::Ok);
        let shared = judge(&waiting, 0.4, 0.5);
        assert_eq!(shared.verdict, Verdict::GeneratorLimited);
        assert!(shared.reasons[0].contains("something else"), "{:?}", shared.reasons);
        let mut short = totals(Mode::Closed);
        short.tally.count_error(ErrorKind::Descriptors);
        assert_eq!(verdict(&short, 0.1), Verdict::GeneratorLimited);
    }

    /// So many messages, of which one in 25 has the second of each pair of times: the first is that of the rest.
    fn spread(messages: u64, [lag, response]: [(u64, u64); 2]) -> Totals {
        let mut run = totals(Mode::Open);
        let open = run.tally.open.as_mut().unwrap();
        for (histogram, (most, few)) in
            [(&mut open.own_lag_ns, lag), (&mut open.response_ns, response)]
        {
            histogram.record_n(most, messages - messages / 25).unwrap();
            histogram.record_n(few, messages / 25).unwrap();
        }
        run
    }

    #[test]
    fn lag_is_held_against_the_response_time_at_the_same_percentile_and_on_the_mean() {
        // More than a tenth of the median, which says nothing: at p99 it is a tenth.
        let tail = spread(1_000, [(20_000, 3_500_000), (1_000_000, 34_600_000)]);
        assert_eq!(verdict(&tail, 0.1), Verdict::Ok);
        assert_eq!(Judgement::of(&tail, 0.1, 0.0, 0.05).verdict, Verdict::GeneratorLimited);
        let late = spread(1_000, [(20_000, 9_000_000), (1_000_000, 34_600_000)]);
        let told = judge(&late, 0.1, 0.0);
        assert_eq!(told.verdict, Verdict::GeneratorLimited);
        for part in
            ["the p99 of its own lag is 9.", "response time 34.6 ms", "--lag-limit allows 10 %"]
        {
            assert!(told.reasons[0].contains(part), "{part}: {:?}", told.reasons);
        }
        // Too few for a p99, so that the mean alone decides.
        let few = spread(50, [(4_000_000, 4_000_000), (9_000_000, 9_000_000)]);
        let told = judge(&few, 0.1, 0.0);
        assert!(told.reasons[0].contains("the mean of its own lag is 4."), "{:?}", told.reasons);
        let sound = spread(50, [(20_000, 20_000), (9_000_000, 9_000_000)]);
        assert_eq!(verdict(&sound, 0.95), Verdict::Ok, "busy cores that nothing waited for");
    }

    #[test]
    fn a_wait_for_the_targets_answers_is_not_the_generators_lateness() {
        let mut stalled = totals(Mode::Open);
        let open = stalled.tally.open.as_mut().unwrap();
        open.response_ns.record_n(20_000_000, 100).unwrap();
        open.send_lag_ns.record_n(15_000_000, 100).unwrap();
        open.own_lag_ns.record_n(10_000, 100).unwrap();
        assert_eq!(verdict(&stalled, 0.1), Verdict::Ok);
        stalled.tally.counts.messages_failed = 1;
        stalled.tally.open.as_mut().unwrap().behind_ns = 500_000_000;
        assert_eq!(verdict(&stalled, 0.1), Verdict::TargetLimited);
        assert_eq!(verdict(&stalled, 0.9), Verdict::GeneratorLimited);
        stalled.tally.open.as_mut().unwrap().behind_ns = 0;
        stalled.tally.counts.add_not_begun(1);
        assert_eq!(verdict(&stalled, 0.1), Verdict::TargetLimited);
    }

    #[test]
    fn lateness_that_any_timer_has_is_no_verdict() {
        let mut quick = totals(Mode::Open);
        let open = quick.tally.open.as_mut().unwrap();
        open.response_ns.record_n(100_000, 100).unwrap();
        open.own_lag_ns.record_n(900_000, 100).unwrap();
        assert_eq!(verdict(&quick, 0.1), Verdict::Ok);
    }
}
