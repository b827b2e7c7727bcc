//! The report at the end of a sink.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::board::{CoreSnapshot, LiveBoard, VerbTimes};
use super::counters::SinkCounters;
use super::deviation_counts::DeviationCounts;
use super::fault_plan::FaultHits;
use super::plan::SinkPlan;
use super::refusal_counts::RefusalTable;
use super::tls_fault_counts::TlsFaultCounts;
use crate::host::{CpuTime, PageFaults};
use crate::human::{self, count, counted};
use crate::relay::RelayTotals;
use crate::spool::{Durability, Recovery, Stats};

/// Messages from which a rate and the CPU time per message are shown: fewer cannot carry them.
const RATED_MESSAGES_MIN: u64 = 100;

/// Kinds of refusals that the text report shows; `--json` has all.
const REFUSALS_SHOWN: usize = 12;

/// The whole run. The JSON names are part of the command line's contract.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub counters: SinkCounters,
    /// From the start of the sink to its end.
    pub elapsed_s: f64,
    /// From the first octet of the first message to the end of the last one; `None` without one.
    pub busy_s: Option<f64>,
    /// Messages per second of `busy_s`; `None` where there are too few of them.
    pub rate_msg_s: Option<f64>,
    /// CPU time of the whole process since the first message, by the kernel's accounting, per message kept;
    /// `None` where there are too few of them.
    pub cpu_ns_per_message: Option<f64>,
    pub engine: &'static str,
    /// `process`, `sync`, or `none` when messages are discarded.
    pub durability: &'static str,
    #[serde(flatten)]
    pub refusals: RefusalTable,
    pub reply_ns: VerbTimes,
    /// How clients strayed from the grammar and were understood.
    pub deviations: DeviationCounts,
    /// The sessions that TLS has failed, by what went wrong.
    pub tls_faults: TlsFaultCounts,
    /// How often each fault struck that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultHits>,
    /// What the relay delivered; `None` without a relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayTotals>,
    pub cores: Vec<CoreSummary>,
    /// What the sink found in the spool at its start, and what it did about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// One core's part.
#[derive(Clone, Debug, Serialize)]
pub struct CoreSummary {
    pub core: usize,
    pub cpu: usize,
    #[serde(flatten)]
    pub counters: SinkCounters,
    /// The most sessions that were open at the same time.
    pub sessions_peak: u64,
    /// Page faults of the core's thread since its first message.
    pub page_faults: PageFaults,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<SpoolSummary>,
}

/// The state of one core's log at the end.
#[derive(Clone, Debug, Serialize)]
pub struct SpoolSummary {
    /// Where the next record would have begun: `<core>-<segment>-<offset>`.
    pub position: String,
    #[serde(flatten)]
    pub stats: Stats,
}

/// The word for what a 250 promises; `none` when nothing is kept.
pub fn durability_name(durability: Option<Durability>) -> &'static str {
    match durability {
        None => "none",
        Some(Durability::Process) => "process",
        Some(Durability::Sync) => "sync",
    }
}

impl CoreSummary {
    pub(super) fn new(
        shown: CoreSnapshot,
        cpu: usize,
        page_faults: PageFaults,
        spool: Option<SpoolSummary>,
    ) -> Self {
        let CoreSnapshot { core, counters, sessions_open: _, sessions_peak } = shown;
        Self { core, cpu, counters, sessions_peak, page_faults, spool }
    }

    /// What the board knows of a core that was left behind.
    pub(super) fn of_one_that_hangs(board: &LiveBoard, core: usize, cpu: usize) -> Self {
        let shown = board.snapshot().cores.swap_remove(core);
        Self::new(shown, cpu, PageFaults::default(), None)
    }
}

impl Summary {
    pub(super) fn new(
        plan: &SinkPlan,
        cores: Vec<CoreSummary>,
        board: &LiveBoard,
        relay: Option<RelayTotals>,
        elapsed: Duration,
    ) -> Self {
        let cpu = CpuTime::of_process().unwrap_or_default().total();
        let cpu = cpu.saturating_sub(board.cpu_before().unwrap_or_default());
        let shown = board.snapshot();
        let messages = shown.counters.messages;
        let busy_s = board.busy_s();
        let many = messages >= RATED_MESSAGES_MIN;
        Self {
            counters: shown.counters,
            elapsed_s: elapsed.as_secs_f64(),
            busy_s,
            rate_msg_s: busy_s
                .filter(|&busy| many && busy > 0.0)
                .map(|busy| messages as f64 / busy),
            cpu_ns_per_message: many.then(|| cpu.as_nanos() as f64 / messages as f64),
            engine: plan.engine.name(),
            durability: durability_name(plan.store.durability()),
            refusals: shown.refusals,
            reply_ns: shown.reply_ns,
            deviations: shown.deviations,
            tls_faults: shown.tls_faults,
            faults: Vec::new(),
            relay,
            cores,
            recovery: None,
        }
    }
}

/// Segments that failed, by the cause.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FailedSegments {
    /// They could not be made durable.
    pub poisoned: u64,
    /// They were cut from outside or lost pages.
    pub torn: u64,
    /// They were removed, moved away or replaced.
    pub removed: u64,
    /// Messages that had been acknowledged in these.
    pub removed_messages: u64,
    /// Times that no segment could be made, and not for lack of room.
    pub unusable: u64,
}

impl Summary {
    pub fn failed_segments(&self) -> FailedSegments {
        let spools = self.cores.iter().filter_map(|core| core.spool.as_ref());
        spools.fold(FailedSegments::default(), |sum, SpoolSummary { stats, .. }| FailedSegments {
            poisoned: sum.poisoned + stats.poisoned,
            torn: sum.torn + stats.torn,
            removed: sum.removed + stats.removed,
            removed_messages: sum.removed_messages + stats.removed_messages,
            unusable: sum.unusable + stats.unusable,
        })
    }
}

impl Summary {
    /// A line where there was TLS.
    fn write_tls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.counters.tls_sessions + self.counters.tls_failed > 0 {
            writeln!(
                f,
                "TLS      {}, {} resumed, {} failed{}",
                counted(self.counters.tls_sessions, "handshake"),
                count(self.counters.tls_resumed),
                count(self.counters.tls_failed),
                self.tls_faults
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "sink     {}, {}, {}",
            counted(self.counters.messages, "message"),
            human::bytes(self.counters.bytes as f64),
            counted(self.counters.recipients, "recipient")
        )?;
        if let (Some(rate), Some(busy_s)) = (self.rate_msg_s, self.busy_s) {
            writeln!(
                f,
                "         {} messages/s and {}/s, in {} from the first message to the last",
                human::rate(rate),
                human::bytes(self.counters.bytes as f64 / busy_s),
                human::seconds(busy_s)
            )?;
        }
        writeln!(f, "         up for {}", human::seconds(self.elapsed_s))?;
        writeln!(
            f,
            "sessions {} served, {} turned away, {} timed out",
            count(self.counters.connections),
            count(self.counters.turned_away),
            count(self.counters.timeouts)
        )?;
        if self.counters.early_talkers + self.counters.proxy_errors + self.counters.peer_limited > 0
        {
            writeln!(
                f,
                "peers    {}, {}, {} over the limit of one address",
                counted(self.counters.early_talkers, "early talker"),
                counted(self.counters.proxy_errors, "bad PROXY header"),
                count(self.counters.peer_limited)
            )?;
        }
        self.write_tls(f)?;
        writeln!(f, "rejected {} begun and not kept", counted(self.counters.rejected, "message"))?;
        write_refusals(&self.refusals, f)?;
        if self.counters.headers_only > 0
            || (self.counters.forgotten > 0 && self.durability != "none")
        {
            writeln!(
                f,
                "keep     {} with the header block only, {} not at all",
                counted(self.counters.headers_only, "message"),
                count(self.counters.forgotten)
            )?;
        }
        write!(f, "{}", self.deviations)?;
        write_faults(&self.faults, f)?;
        if let Some(relay) = &self.relay {
            writeln!(
                f,
                "relayed  {} in {}: {} delivered, {} refused, {} left",
                counted(relay.messages, "message"),
                counted(relay.runs, "run"),
                counted(relay.delivered, "recipient"),
                count(relay.refused),
                count(relay.left)
            )?;
        }
        writeln!(f, "engine   {}, durability {}", self.engine, self.durability)?;
        if let Some(ns) = self.cpu_ns_per_message {
            writeln!(f, "CPU      {} per message", human::latency(ns.round() as u64))?;
        }
        self.failed_segments().fmt(f)?;
        self.cores.iter().try_for_each(|core| writeln!(f, "{core}"))
    }
}

/// One line for each cause.
impl fmt::Display for FailedSegments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { poisoned, torn, removed, removed_messages, unusable } = *self;
        let segments = |count| counted(count, "segment");
        if poisoned > 0 {
            writeln!(
                f,
                "disk     FAILED: {}, which could not be synced, see stderr",
                segments(poisoned)
            )?;
        }
        if torn > 0 {
            writeln!(f, "disk     FAILED: {} cut or without pages, see stderr", segments(torn))?;
        }
        if removed > 0 {
            writeln!(
                f,
                "disk     FAILED: {} removed or moved away, with {} acknowledged in them, see stderr",
                segments(removed),
                counted(removed_messages, "message")
            )?;
        }
        if unusable > 0 {
            writeln!(
                f,
                "disk     FAILED: {} no segment could be made, and mail was refused, see stderr",
                counted(unusable, "time")
            )?;
        }
        Ok(())
    }
}

/// How often each fault struck, one on each line.
fn write_faults(faults: &[FaultHits], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (place, FaultHits { rule, hits }) in faults.iter().enumerate() {
        let label = if place == 0 { "faults" } else { "" };
        writeln!(f, "{label:<8} {} × {rule}", count(*hits))?;
    }
    Ok(())
}

/// The most frequent refusals, one on each line, and what is left of them in one line.
fn write_refusals(table: &RefusalTable, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut left = table.total();
    for (place, refusal) in table.refusals.iter().take(REFUSALS_SHOWN).enumerate() {
        let label = if place == 0 { "refused" } else { "" };
        writeln!(f, "{label:<8} {} × {}", count(refusal.count), refusal.what())?;
        left -= refusal.count;
    }
    if left > 0 {
        writeln!(f, "         {} × others", count(left))?;
    }
    Ok(())
}

impl fmt::Display for CoreSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (messages, sessions) = (self.counters.messages, self.counters.connections);
        let (messages, sessions) = (counted(messages, "message"), counted(sessions, "session"));
        write!(f, "core {:<3} CPU {}: {messages}, {sessions}", self.core, self.cpu)?;
        let faults = counted(self.page_faults.minor + self.page_faults.major, "page fault");
        write!(f, ", peak {}, {faults}", count(self.sessions_peak))?;
        if let Some(spool) = &self.spool {
            let rolls = counted(spool.stats.rolls, "segment change");
            let waits = counted(spool.stats.roll_waits, "wait");
            write!(f, ", spool at {}, {rolls}, {waits} for one", spool.position)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_the_generator_tells_them() {
        let counters = SinkCounters {
            messages: 1_234_567,
            bytes: 3 << 30,
            recipients: 1,
            connections: 65_536,
            ..SinkCounters::default()
        };
        let core = CoreSummary {
            core: 0,
            cpu: 1,
            counters,
            sessions_peak: 1_000,
            page_faults: PageFaults { minor: 1, major: 0 },
            spool: None,
        };
        let told = Summary {
            counters,
            elapsed_s: 125.0,
            busy_s: Some(100.0),
            rate_msg_s: Some(12_345.67),
            cpu_ns_per_message: Some(21_300.4),
            engine: "uring",
            durability: "none",
            refusals: RefusalTable::default(),
            reply_ns: VerbTimes::default(),
            tls_faults: TlsFaultCounts::default(),
            deviations: DeviationCounts::default(),
            faults: vec![FaultHits { rule: "starttls:454".to_owned(), hits: 3 }],
            relay: None,
            cores: vec![core],
            recovery: None,
        };
        let told = told.to_string();
        for part in [
            "sink     1,234,567 messages, 3 GiB, 1 recipient\n",
            "12,346 messages/s and 30.7 MiB/s, in 1 m 40 s from the first message to the last\n",
            "up for 2 m 05 s\n",
            "sessions 65,536 served, 0 turned away, 0 timed out\n",
            "faults   3 × starttls:454\n",
            "CPU      21.3 µs per message\n",
            "core 0   CPU 1: 1,234,567 messages, 65,536 sessions, peak 1,000, 1 page fault\n",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
