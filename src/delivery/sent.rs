//! What a run sent, to whom, and what the server said, with eight octets for each message.

use std::path::{Path, PathBuf};

use crate::measure::Outcome;
use crate::run::artefact::{RUN_JSON, RUN_MSGS};
use crate::run::load::read_run;
use crate::run::messages::{
    FatesEnd, MessageFate, MessagesError, MessagesHead, RunMessages, SentTable,
};
use crate::run::{LoadError, Run};
use crate::smtp::path::domain_of;

/// A number may be so much above what the messages before it ask for: more than are ever in flight.
const AHEAD_MAX: u64 = 1 << 20;
/// Deliveries of one run, and messages: 64 MiB of bits.
const DELIVERIES_MAX: u64 = 1 << 29;

/// Why a run cannot be held against a spool.
#[derive(Debug, thiserror::Error)]
pub enum SentError {
    #[error(transparent)]
    Messages(#[from] MessagesError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: damaged: the numbers of its messages have gaps", .0.display())]
    Gaps(PathBuf),
    #[error("{}: it has more than {DELIVERIES_MAX} recipients of messages", .0.display())]
    Many(PathBuf),
}

/// A fate in eight octets: the time above four bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct PackedFate(u64);

/// What became of a message, as far as the server said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) is_accepted: bool,
    pub(super) is_measured: bool,
    /// Unix nanoseconds.
    pub(super) ended_ns: u64,
    /// Recipients for which it was accepted.
    pub(super) accepted: u64,
    pub(super) target: u8,
}

/// One run.
#[derive(Debug)]
pub struct SentRun {
    pub(super) head: MessagesHead,
    pub(super) table: SentTable,
    /// By core and number.
    fates: Vec<Vec<PackedFate>>,
    /// Where not all recipients were accepted, how many were; by number of the message, in that order.
    partly: Vec<(u64, u16)>,
    /// Of several targets, by core and number; empty for one.
    targets: Vec<Vec<u8>>,
    pub(super) target_names: Vec<String>,
    pub(super) end: FatesEnd,
    /// The longest service time, after which a message that was accepted was surely begun.
    pub(super) service_max_ns: u64,
    /// Where the recipients of each of the different messages begin in a round of them, and how many there
    /// are in a round.
    starts: Vec<u64>,
    round: u64,
    /// Which of `domains` each recipient of a round is of.
    domain_of: Vec<u32>,
    pub(super) domains: Vec<String>,
}

impl PackedFate {
    const TOLD: u64 = 1;
    const ACCEPTED: u64 = 2;
    const MEASURED: u64 = 4;

    fn new(fate: &MessageFate) -> Self {
        let accepted = if fate.outcome == Outcome::Accepted { Self::ACCEPTED } else { 0 };
        let measured = if fate.is_measured { Self::MEASURED } else { 0 };
        Self(fate.ended_ns.min(u64::MAX >> 4) << 4 | Self::TOLD | accepted | measured)
    }
}

impl SentRun {
    /// Reads the run of a directory.
    ///
    /// # Errors
    /// When it has no `run.msgs`, or one that is damaged. One that is torn is read as far as it goes.
    pub fn open(dir: &Path) -> Result<Self, SentError> {
        let path = dir.join(RUN_MSGS);
        let mut file = RunMessages::open(&path)?;
        let run = match dir.join(RUN_JSON).exists() {
            true => Some(read_run(dir)?),
            false => None,
        };
        let mut sent = Self::new(*file.head(), file.take_table());
        let mut told = vec![0; sent.fates.len()];
        let mut fates = Vec::new();
        while let Some(core) = file.next(&mut fates)? {
            for fate in &fates {
                told[usize::from(core)] += 1;
                if fate.seq > told[usize::from(core)] + AHEAD_MAX {
                    return Err(SentError::Gaps(path));
                }
                sent.take(core, fate);
            }
        }
        sent.end = file.end().unwrap_or(FatesEnd::Torn { at: 0 });
        sent.partly.sort_unstable();
        if sent.bits().max(sent.numbers()) > DELIVERIES_MAX {
            return Err(SentError::Many(path));
        }
        if let Some(run) = run {
            sent.name_targets(&run);
        }
        Ok(sent)
    }

    /// A run without any message yet.
    pub fn new(head: MessagesHead, table: SentTable) -> Self {
        let mut sent = Self {
            head,
            table,
            fates: vec![Vec::new(); head.cores as usize],
            partly: Vec::new(),
            targets: Vec::new(),
            target_names: Vec::new(),
            end: FatesEnd::Whole { missed: 0 },
            service_max_ns: 60_000_000_000,
            starts: Vec::with_capacity(head.messages as usize),
            round: 0,
            domain_of: Vec::new(),
            domains: Vec::new(),
        };
        sent.index_recipients();
        sent
    }

    fn name_targets(&mut self, run: &Run) {
        self.target_names = run.plan.targets.iter().map(|to| to.target.clone()).collect();
        self.service_max_ns = run.service_ns.max.unwrap_or(self.service_max_ns);
    }

    /// Adds what became of a message.
    pub fn take(&mut self, core: u16, fate: &MessageFate) {
        let at = (fate.seq - 1) as usize;
        let row = &mut self.fates[usize::from(core)];
        if row.len() <= at {
            row.resize(at + 1, PackedFate::default());
        }
        row[at] = PackedFate::new(fate);
        if fate.target > 0 || !self.targets.is_empty() {
            self.targets.resize(self.fates.len(), Vec::new());
            let row = &mut self.targets[usize::from(core)];
            if row.len() <= at {
                row.resize(at + 1, 0);
            }
            row[at] = fate.target;
        }
        let asked = self.recipients(core, fate.seq);
        if fate.outcome == Outcome::Accepted && u64::from(fate.accepted) != asked {
            self.partly.push((self.head.number(core, fate.seq), fate.accepted));
        }
    }

    fn index_recipients(&mut self) {
        let mut known = std::collections::HashMap::new();
        for message in &self.table.messages {
            self.starts.push(self.round);
            let recipients = &self.table.envelopes[message.envelope as usize].recipients;
            self.round += recipients.len() as u64;
            for path in recipients {
                let domain = domain_of(&path.octets).to_ascii_lowercase();
                let next = known.len() as u32;
                let index = *known.entry(domain).or_insert(next);
                self.domain_of.push(index);
            }
        }
        let mut named: Vec<_> = known.into_iter().collect();
        named.sort_unstable_by_key(|(_, index)| *index);
        let text = |(name, _): (Vec<u8>, u32)| String::from_utf8_lossy(&name).into_owned();
        self.domains = named.into_iter().map(text).collect();
    }

    /// Recipients of a message.
    pub(super) fn recipients(&self, core: u16, seq: u64) -> u64 {
        self.table.of(&self.head, core, seq).1.len() as u64
    }

    /// The bit of the first recipient of a message; those of the others follow.
    pub(super) fn bit(&self, core: u16, seq: u64) -> u64 {
        let (number, messages) = (self.head.number(core, seq), u64::from(self.head.messages));
        let round = (number / messages).saturating_mul(self.round);
        round.saturating_add(self.starts[(number % messages) as usize])
    }

    /// The domain of recipient `index` of a message, as an index of `domains`.
    pub(super) fn domain(&self, core: u16, seq: u64, index: u64) -> u32 {
        let start = self.starts[self.head.index(core, seq) as usize];
        self.domain_of[(start + index) as usize]
    }

    /// Numbers of messages: all are below this.
    pub(super) fn numbers(&self) -> u64 {
        let longest = self.fates.iter().map(Vec::len).max().unwrap_or(0) as u64;
        longest.saturating_mul(u64::from(self.head.cores))
    }

    /// Bits of all recipients.
    pub(super) fn bits(&self) -> u64 {
        let rounds = self.numbers().div_ceil(u64::from(self.head.messages));
        rounds.saturating_mul(self.round)
    }

    /// Whether a message with such a stamp may be of this run.
    pub(super) fn knows(&self, core: u16, seq: u64) -> bool {
        let known = self.fates.get(usize::from(core)).is_some_and(|row| seq <= row.len() as u64);
        seq > 0 && known
    }

    /// What the server said of a message; `None` where the file does not tell.
    pub(super) fn told(&self, core: u16, seq: u64) -> Option<Told> {
        let at = seq.checked_sub(1)? as usize;
        let PackedFate(packed) = *self.fates.get(usize::from(core))?.get(at)?;
        let is_accepted = packed & PackedFate::ACCEPTED != 0;
        let number = self.head.number(core, seq);
        let accepted = match self.partly.binary_search_by_key(&number, |(number, _)| *number) {
            _ if !is_accepted => 0,
            Ok(found) => u64::from(self.partly[found].1),
            Err(_) => self.recipients(core, seq),
        };
        let target = self.targets.get(usize::from(core)).and_then(|row| row.get(at));
        (packed & PackedFate::TOLD != 0).then(|| Told {
            is_accepted,
            is_measured: packed & PackedFate::MEASURED != 0,
            ended_ns: self.head.start_unix_ns.saturating_add(packed >> 4),
            accepted,
            target: target.copied().unwrap_or(0),
        })
    }

    /// Core and number of every message whose fate may be told.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, u64)> {
        let rows = self.fates.iter().enumerate();
        rows.flat_map(|(core, row)| (1..=row.len() as u64).map(move |seq| (core as u16, seq)))
    }

    /// Messages of one core.
    pub(super) fn messages_of(&self, core: u16) -> u64 {
        self.fates.get(usize::from(core)).map_or(0, |row| row.len() as u64)
    }
}
