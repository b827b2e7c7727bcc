//! The live board: what each core has counted so far, and how long its replies took. It may be read while
//! the sink serves, and the summary at the end is made from it too.
//!
//! Each core has its own cells and is their only writer. Readers take no lock, and no core waits for one.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::counters::{Count, CounterCells, SinkCounters};
use super::deviation_counts::{DeviationCells, DeviationCounts};
use super::refusal_counts::{RefusalCells, RefusalTable};
use super::reply_times::{ReplyTimes, TimeCells, TimeHistogram};
use super::tls_fault_counts::{TlsFaultCells, TlsFaultCounts};
use crate::host::CpuTime;
use crate::smtp::deviation::Deviations;
use crate::smtp::server::{Refusal, ReplyCounts, VerbClass};
use crate::tls::TlsFault;

/// The cells of one core, aligned to two cache lines, because the prefetcher fetches pairs: the stores of
/// one core do not disturb another.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct CoreCells {
    pub(super) counters: CounterCells,
    sessions_open: Count,
    sessions_peak: Count,
    /// In the order of [`VerbClass::ALL`].
    times: [TimeCells; VerbClass::ALL.len()],
    refusals: RefusalCells,
    deviations: DeviationCells,
    tls_faults: TlsFaultCells,
    /// Unix nanoseconds of the first octet of the first message, and of the end of the last; 0 before.
    first_ns: Count,
    last_ns: Count,
    /// CPU time that the process had spent when the first message had come, nanoseconds.
    first_cpu_ns: Count,
}

/// The side of the readers. All clones show the same cells, also after the end of the sink.
#[derive(Clone, Debug)]
pub struct LiveBoard {
    cores: Arc<[CoreCells]>,
    since: Instant,
}

/// The side of the writer, for one core.
#[derive(Debug)]
pub(super) struct CoreBoard {
    cores: Arc<[CoreCells]>,
    /// INVARIANT: below the number of cores, and no other `CoreBoard` has it.
    index: usize,
    /// Not `Sync`: one thread writes. The board may move to this thread, and not be shared.
    _one_writer: PhantomData<std::cell::Cell<()>>,
}

impl LiveBoard {
    /// A board, and the sides of its cores.
    pub(super) fn new(cores: usize) -> (Self, Vec<CoreBoard>) {
        assert!(cores > 0, "a sink has a core");
        let cells: Arc<[CoreCells]> = (0..cores).map(|_| CoreCells::default()).collect();
        let of = |index| CoreBoard { cores: cells.clone(), index, _one_writer: PhantomData };
        let writers = (0..cores).map(of).collect();
        (Self { cores: cells, since: Instant::now() }, writers)
    }

    /// What all cores have counted at this moment. Two counters of a core may be a few messages apart;
    /// a total is always the sum of the `cores` beside it, because each cell is read once.
    pub fn snapshot(&self) -> BoardSnapshot {
        let cores: Vec<_> = self.cores.iter().enumerate().map(CoreSnapshot::of).collect();
        let (mut counters, mut sessions_open) = (SinkCounters::default(), 0);
        let mut deviations = DeviationCounts::default();
        for (core, cells) in cores.iter().zip(self.cores.iter()) {
            counters += core.counters;
            sessions_open += core.sessions_open;
            deviations += cells.deviations.read();
        }
        BoardSnapshot {
            elapsed_s: self.since.elapsed().as_secs_f64(),
            counters,
            sessions_open,
            refusals: RefusalTable::read(self.cores.iter().map(|core| &core.refusals)),
            deviations,
            tls_faults: self.tls_faults(),
            reply_ns: self.reply_times(),
            cores,
        }
    }

    /// Seconds from the first octet of the first message to the end of the last one; `None` without one.
    pub(super) fn busy_s(&self) -> Option<f64> {
        let cores = || self.cores.iter().filter(|core| core.last_ns.get() > 0);
        let first = cores().map(|core| core.first_ns.get()).min()?;
        let last = cores().map(|core| core.last_ns.get()).max()?;
        // The wall clock may be set back meanwhile.
        Some(last.saturating_sub(first) as f64 / 1e9)
    }

    /// What went wrong with TLS on all cores.
    pub(super) fn tls_faults(&self) -> TlsFaultCounts {
        TlsFaultCounts::read(self.cores.iter().map(|core| &core.tls_faults))
    }

    /// CPU time that the process had spent when the first message came; `None` without one.
    pub(super) fn cpu_before(&self) -> Option<Duration> {
        let cores = self.cores.iter().filter(|core| core.last_ns.get() > 0);
        cores.map(|core| core.first_cpu_ns.get()).min().map(Duration::from_nanos)
    }

    /// How long the replies of all cores took.
    pub(super) fn reply_times(&self) -> VerbTimes {
        let of = |verb: VerbClass| {
            let mut sum = TimeHistogram::default();
            self.cores.iter().for_each(|core| sum.add(&core.times[verb as usize]));
            sum.summary()
        };
        VerbTimes {
            connect: of(VerbClass::Connect),
            mail: of(VerbClass::Mail),
            rcpt: of(VerbClass::Rcpt),
            data: of(VerbClass::Data),
            end_of_data: of(VerbClass::EndOfData),
            other: of(VerbClass::Other),
        }
    }
}

/// The board at one moment. The JSON names are part of the command line's contract.
#[derive(Clone, Debug, Serialize)]
pub struct BoardSnapshot {
    /// Since the sink opened its spool.
    pub elapsed_s: f64,
    #[serde(flatten)]
    pub counters: SinkCounters,
    pub sessions_open: u64,
    #[serde(flatten)]
    pub refusals: RefusalTable,
    pub deviations: DeviationCounts,
    pub tls_faults: TlsFaultCounts,
    pub reply_ns: VerbTimes,
    pub cores: Vec<CoreSnapshot>,
}

/// The part of one core.
#[derive(Clone, Debug, Serialize)]
pub struct CoreSnapshot {
    pub core: usize,
    #[serde(flatten)]
    pub counters: SinkCounters,
    pub sessions_open: u64,
    /// The most that were open at once.
    pub sessions_peak: u64,
}

impl CoreSnapshot {
    fn of((core, cells): (usize, &CoreCells)) -> Self {
        Self {
            core,
            counters: cells.counters.read(),
            sessions_open: cells.sessions_open.get(),
            sessions_peak: cells.sessions_peak.get(),
        }
    }
}

/// Nanoseconds from the receive that completed a command, or the end of a message, until its reply was
/// handed to the kernel; for the greeting, from the accept on. Greetings and ends of messages are all
/// measured, other commands in one round of four and where a message ends in their round.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct VerbTimes {
    pub connect: ReplyTimes,
    pub mail: ReplyTimes,
    pub rcpt: ReplyTimes,
    pub data: ReplyTimes,
    pub end_of_data: ReplyTimes,
    pub other: ReplyTimes,
}

impl Deref for CoreBoard {
    type Target = CounterCells;

    #[inline]
    fn deref(&self) -> &CounterCells {
        &self.cells().counters
    }
}

impl CoreBoard {
    #[inline]
    fn cells(&self) -> &CoreCells {
        &self.cores[self.index]
    }

    /// The number of this core.
    pub(super) fn core(&self) -> usize {
        self.index
    }

    pub(super) fn sessions_open(&self) -> u64 {
        self.cells().sessions_open.get()
    }

    pub(super) fn session_begins(&self) {
        let cells = self.cells();
        cells.counters.connections.add(1);
        cells.sessions_open.add(1);
        let open = cells.sessions_open.get();
        cells.sessions_peak.set(cells.sessions_peak.get().max(open));
    }

    pub(super) fn session_ends(&self) {
        let open = &self.cells().sessions_open;
        assert!(open.get() > 0, "a session ends that never began");
        open.set(open.get() - 1);
    }

    /// Counts a message that strayed from the grammar.
    #[cold]
    pub(super) fn message_deviates(&self, seen: Deviations) {
        self.cells().deviations.add_message(seen);
    }

    /// Counts in which way a session strayed, for the first time each.
    #[cold]
    pub(super) fn session_deviates(&self, seen: Deviations) {
        self.cells().deviations.add_session(seen);
    }

    /// Counts a session that TLS has failed.
    #[cold]
    pub(super) fn tls_failed(&self, fault: TlsFault) {
        self.cells().counters.tls_failed.add(1);
        self.cells().tls_faults.add(fault);
    }

    /// Counts replies that go to the kernel now. `took_ns` is how long they took, where that was
    /// measured.
    #[inline]
    pub(super) fn replies(&self, counts: &ReplyCounts, took_ns: Option<u64>) {
        let cells = self.cells();
        let classes = [
            &cells.counters.replies_2xx,
            &cells.counters.replies_3xx,
            &cells.counters.replies_4xx,
            &cells.counters.replies_5xx,
        ];
        for (class, &count) in classes.into_iter().zip(&counts.by_class) {
            if count > 0 {
                class.add(count.into());
            }
        }
        let Some(took_ns) = took_ns else { return };
        for (times, &count) in cells.times.iter().zip(&counts.by_verb) {
            if count > 0 {
                times.record(took_ns, count.into());
            }
        }
    }

    /// A message was taken whose octets came between these times, in Unix nanoseconds.
    #[inline]
    pub(super) fn took_message(&self, first_ns: u64, last_ns: u64) {
        let cells = self.cells();
        if cells.first_ns.get() == 0 {
            cells.first_ns.set(first_ns);
            // Once in the life of the core.
            let cpu = CpuTime::of_process().unwrap_or_default();
            cells.first_cpu_ns.set(cpu.total().as_nanos() as u64);
        }
        cells.last_ns.set(last_ns);
    }

    /// Counts refusals that go to the kernel now.
    pub(super) fn refused(&self, refusals: impl IntoIterator<Item = (Refusal, u32)>) {
        for (refusal, times) in refusals {
            self.cells().refusals.add(refusal, times.into());
        }
    }

    /// What this core has counted at this moment.
    pub(super) fn snapshot(&self) -> CoreSnapshot {
        CoreSnapshot::of((self.index, self.cells()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cores_count_adds_up() {
        let (board, writers) = LiveBoard::new(2);
        for (core, writer) in writers.iter().enumerate() {
            writer.session_begins();
            writer.session_begins();
            writer.session_ends();
            writer.messages.add(10 + core as u64);
            let mut counts = ReplyCounts::default();
            counts.count(VerbClass::EndOfData, b'2', 3);
            counts.count(VerbClass::Mail, b'4', 1);
            writer.replies(&counts, Some(5));
            writer.replies(&counts, None);
        }
        assert_eq!((board.busy_s(), board.cpu_before()), (None, None));
        let spent = || CpuTime::of_process().unwrap().total();
        let before = spent();
        writers[1].took_message(1, 2);
        // Of what was spent until the first message, and not of what later ones find.
        while spent() <= before {}
        let cpu = board.cpu_before();
        writers[1].took_message(3, 4);
        writers[0].took_message(5, 6);
        assert!(cpu.unwrap() >= before && board.cpu_before() == cpu, "{before:?} {cpu:?}");
        let shown = board.snapshot();
        assert_eq!((shown.counters.messages, shown.counters.connections), (21, 4));
        assert_eq!((shown.counters.replies_2xx, shown.counters.replies_4xx), (12, 4));
        assert_eq!((shown.reply_ns.end_of_data.count, shown.reply_ns.mail.count), (6, 2));
        assert_eq!((shown.reply_ns.mail.max, shown.reply_ns.rcpt.max), (Some(5), None));
        assert_eq!((shown.sessions_open, shown.cores[1].sessions_peak), (2, 2));
        assert_eq!(shown.cores[1].counters, writers[1].snapshot().counters);
    }
}
