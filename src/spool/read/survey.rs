//! What one pass over a spool found, in numbers.

use std::fmt;

use crate::human::{self, counted, octets};
use crate::spool::error::Doubt;
use crate::spool::format::{Place, file_name};

/// Doubtful places that are listed, of each kind; the others are counted.
const PLACES_TOLD_MAX: usize = 1_000;

/// The sums of one pass over a spool.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Survey {
    pub segments: u64,
    /// Octets of all segment files.
    pub file_bytes: u64,
    /// Whole messages, every checksum right.
    pub messages: u64,
    /// Octets of their bodies.
    pub bytes: u64,
    pub smallest_bytes: Option<u64>,
    pub largest_bytes: Option<u64>,
    /// Time of the first and of the last octet received, Unix nanoseconds.
    pub first_received_ns: Option<u64>,
    pub last_sealed_ns: Option<u64>,
    /// Pieces of messages without an end: the message was discarded, or was open when the writer stopped.
    pub orphaned_fragments: u64,
    /// Segments that end with a record that was being written.
    pub open_records: u64,
    /// Messages whose start has been recycled.
    pub recycled_messages: u64,
    pub cores: Vec<CoreSurvey>,
    /// Doubtful places above what is known to have been on the disk: a power cut may have taken the newest
    /// records there.
    pub torn: Vec<Damage>,
    /// Doubtful places that were on the disk once.
    pub damage: Vec<Damage>,
    /// Doubtful places beyond those that are listed.
    pub untold: u64,
    /// Names of files that look like segments, but are not written as the name of a segment is. They are
    /// passed over.
    pub strangers: Vec<String>,
}

/// The part of one core.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct CoreSurvey {
    pub core: u16,
    pub segments: u64,
    pub messages: u64,
    pub bytes: u64,
}

/// One doubtful place: what a reader finds there is no sound record.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Damage {
    /// Name of the segment file.
    pub file: String,
    /// Where it begins, octets from the start of the file.
    pub offset: u64,
    pub what: Doubt,
    /// Name of the message that is lost by it, if the place is the end of one.
    pub message: Option<String>,
    /// Records after the place whose headers are sound. No reader returns them.
    pub records_beyond: u64,
    /// Octets of the file that were on the disk once and were cut off.
    pub bytes_missing: u64,
    /// Records that were in them. `None` unless the next segment of the core tells it.
    pub records_missing: Option<u64>,
}

impl Damage {
    pub(super) fn new(file: String, offset: u64, what: Doubt) -> Self {
        let (message, records_beyond, bytes_missing, records_missing) = (None, 0, 0, None);
        Self { file, offset, what, message, records_beyond, bytes_missing, records_missing }
    }

    /// The loss of the message that ends at `place`.
    pub(super) fn of_message(place: Place, what: Doubt) -> Self {
        let file = file_name(place.core, place.segment);
        let message = Some(place.to_string());
        Self { message, ..Self::new(file, place.offset.into(), what) }
    }
}

impl Survey {
    pub(super) fn core(&mut self, core: u16) -> &mut CoreSurvey {
        let at = match self.cores.binary_search_by_key(&core, |entry| entry.core) {
            Ok(at) => at,
            Err(at) => {
                self.cores.insert(at, CoreSurvey { core, ..CoreSurvey::default() });
                at
            }
        };
        &mut self.cores[at]
    }

    /// Adds the sums of another part of the spool.
    pub(super) fn add(&mut self, other: &Self) {
        self.segments += other.segments;
        self.file_bytes += other.file_bytes;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.smallest_bytes = lower(self.smallest_bytes, other.smallest_bytes);
        self.largest_bytes = self.largest_bytes.max(other.largest_bytes);
        self.first_received_ns = lower(self.first_received_ns, other.first_received_ns);
        self.last_sealed_ns = self.last_sealed_ns.max(other.last_sealed_ns);
        self.orphaned_fragments += other.orphaned_fragments;
        self.open_records += other.open_records;
        self.recycled_messages += other.recycled_messages;
        for core in &other.cores {
            let entry = self.core(core.core);
            entry.segments += core.segments;
            entry.messages += core.messages;
            entry.bytes += core.bytes;
        }
        self.untold += other.untold;
        other.torn.iter().for_each(|torn| self.note(torn.clone(), true));
        other.damage.iter().for_each(|damage| self.note(damage.clone(), false));
    }

    /// Lists a doubtful place, or counts it where the list is long.
    pub(super) fn note(&mut self, place: Damage, torn: bool) {
        let list = if torn { &mut self.torn } else { &mut self.damage };
        if list.len() < PLACES_TOLD_MAX {
            list.push(place);
        } else {
            self.untold += 1;
        }
    }

    pub(super) fn count_message(
        &mut self,
        core: u16,
        bytes: u64,
        received_ns: u64,
        sealed_ns: u64,
    ) {
        self.messages += 1;
        self.bytes += bytes;
        self.smallest_bytes = lower(self.smallest_bytes, Some(bytes));
        self.largest_bytes = self.largest_bytes.max(Some(bytes));
        self.first_received_ns = lower(self.first_received_ns, Some(received_ns));
        self.last_sealed_ns = self.last_sealed_ns.max(Some(sealed_ns));
        let entry = self.core(core);
        entry.messages += 1;
        entry.bytes += bytes;
    }

    /// Whether nothing is damaged. A torn end is no damage.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = counted(self.messages, "message");
        write!(f, "{messages}, {}, in {}", octets(self.bytes), counted(self.segments, "segment"))?;
        if self.open_records > 0 {
            write!(f, "; {} open", counted(self.open_records, "record"))?;
        }
        if self.orphaned_fragments > 0 {
            let fragments = counted(self.orphaned_fragments, "fragment");
            write!(f, "; {fragments} of messages without an end")?;
        }
        if self.recycled_messages > 0 {
            write!(f, "; {} partly recycled", counted(self.recycled_messages, "message"))?;
        }
        for torn in &self.torn {
            write!(f, "; torn end, as a power cut leaves it: {torn}")?;
        }
        for damage in &self.damage {
            write!(f, "; damage: {damage}")?;
        }
        if self.untold > 0 {
            write!(f, "; and {}", counted(self.untold, "doubtful place"))?;
        }
        for stranger in &self.strangers {
            write!(f, "; passed over {stranger}, which is not named as a segment is")?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.file, self.offset, self.what)?;
        if let Some(message) = &self.message {
            write!(f, ", and message {message} is lost")?;
        }
        if self.bytes_missing > 0 {
            write!(f, ", and {} after it are missing", octets(self.bytes_missing))?;
        }
        if let Some(records) = self.records_missing {
            // A message has one record or more.
            let up_to = if records > 1 { "up to " } else { "" };
            let plural = if records == 1 { "" } else { "s" };
            write!(f, ", which held {up_to}{} message{plural}", human::count(records))?;
        }
        if self.records_beyond > 0 {
            let records = counted(self.records_beyond, "record");
            write!(f, ", and {records} after it cannot be reached")?;
        }
        Ok(())
    }
}

/// The lower of two numbers; `None` counts as higher than any.
fn lower(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
