//! Reads what the sinks stored, in the order in which it came.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::alteration::alteration;
use super::bounce::bounce;
use super::content::StoredContent;
use super::join::{Join, JoinOptions, StampedArrival};
use super::sent::SentRun;
use super::sums::DeliveryTimes;
use crate::run::delivery::DeliveryResult;
use crate::run::hlog::HlogWriter;
use crate::spool::{CopyError, Listing, Message, Reader, RecordFlags, SpoolError};
use crate::stamp::Stamp;

/// Between two looks whether more has come, at least so long, and so many times as long as a look takes.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_TIMES: u32 = 3;

/// What became of the messages of runs.
#[derive(Debug)]
pub struct Joined {
    pub result: DeliveryResult,
    /// How long deliveries took, and whole messages.
    pub deliveries: DeliveryTimes,
    pub messages: DeliveryTimes,
}

/// Holds `runs` against the spools of these directories. Looks again until everything has come, or nothing
/// came for as long as `wait`.
///
/// # Errors
/// When a spool cannot be read.
pub fn join(
    runs: &[SentRun],
    spools: &[PathBuf],
    options: &JoinOptions,
    wait: Duration,
) -> Result<Joined, SpoolError> {
    let mut since = Instant::now();
    let mut came = None;
    loop {
        let begun = Instant::now();
        let joined = join_once(runs, spools, options)?;
        let counts = &joined.result.deliveries.counts;
        let now = (counts.delivered, counts.bounced, counts.doubled, joined.result.others);
        if came != Some(now) {
            (came, since) = (Some(now), begun);
        }
        if counts.lost == 0 || since.elapsed() >= wait {
            return Ok(joined);
        }
        std::thread::sleep((begun.elapsed() * LOOK_TIMES).max(LOOK).min(wait));
    }
}

/// The same with what is there now.
///
/// # Errors
/// When a spool cannot be read.
pub fn join_once(
    runs: &[SentRun],
    spools: &[PathBuf],
    options: &JoinOptions,
) -> Result<Joined, SpoolError> {
    let open = |dir: &PathBuf| Reader::open(Path::new(dir));
    let readers = spools.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut join = Join::new(runs, options);
    let mut ring = Ring::default();
    let mut sources: Vec<Source<'_>> = Vec::new();
    for (spool, reader) in readers.iter().enumerate() {
        ring.add(spool, reader);
        sources.push(Source { spool, listing: reader.oldest_first(), head: None, ended: false });
    }
    let mut content = StoredContent::default();
    while let Some((source, message)) = next(&mut sources)? {
        ring.saw(source.spool, &message);
        content.clear();
        match source.listing.copy_body(&message, u64::MAX, &mut content) {
            Ok(()) => take(&mut join, &message, &content),
            Err(error) if error.is_recycled() => {}
            Err(CopyError::Spool(error)) => return Err(error),
            Err(CopyError::Out(error)) => unreachable!("memory takes all octets: {error}"),
        }
    }
    let [deliveries, messages] = join.times();
    Ok(Joined { result: join.settle(ring.until_ns()), deliveries, messages })
}

/// A spool, and its next message.
struct Source<'r> {
    spool: usize,
    listing: Listing<'r>,
    head: Option<Message>,
    ended: bool,
}

/// The next message of all spools by the time of its end, and its spool, whose listing has its octets.
fn next<'a, 'r>(
    sources: &'a mut [Source<'r>],
) -> Result<Option<(&'a mut Source<'r>, Message)>, SpoolError> {
    for source in sources.iter_mut() {
        if source.head.is_none() && !source.ended {
            source.head = source.listing.next().transpose()?;
            source.ended = source.head.is_none();
        }
    }
    let first = sources.iter_mut().filter(|source| source.head.is_some());
    let first = first
        .min_by_key(|source| source.head.as_ref().map_or(u64::MAX, |head| head.envelope.sealed_ns));
    Ok(first.and_then(|source| source.head.take().map(|message| (source, message))))
}

/// Takes in one stored message.
fn take(join: &mut Join<'_>, message: &Message, content: &StoredContent) {
    let octets = &content.octets;
    let Some((stamp, after)) = Stamp::find_with_rest(octets) else {
        return match bounce(octets) {
            Some(bounce) => join.bounce(&bounce),
            None => join.other(),
        };
    };
    let headers_only = message.envelope.flags.contains(RecordFlags::HEADERS_ONLY);
    let sent_bytes = join.size_of(&stamp);
    join.arrive(&StampedArrival {
        stamp,
        header: &octets[..octets.len() - after.len()],
        alteration: alteration(content, &stamp, after, (sent_bytes, headers_only)),
        at_ns: message.envelope.sealed_ns,
        recipients: &message.envelope.recipients,
    });
}

/// What the rings of the spools may have recycled.
#[derive(Default)]
struct Ring {
    /// Spools and their cores whose first segment is gone, and when the first message that is left was whole.
    recycled: Vec<((usize, u16), Option<u64>)>,
}

impl Ring {
    fn add(&mut self, spool: usize, reader: &Reader) {
        let cores = reader.recycled_cores();
        self.recycled.extend(cores.map(|core| ((spool, core), None)));
    }

    fn saw(&mut self, spool: usize, message: &Message) {
        let place = (spool, message.place.core);
        let found = self.recycled.iter_mut().find(|(known, _)| *known == place);
        if let Some((_, first @ None)) = found {
            *first = Some(message.envelope.sealed_ns);
        }
    }

    /// What arrived up to this time may be gone; `None` where nothing is.
    fn until_ns(&self) -> Option<u64> {
        self.recycled.iter().map(|(_, first)| first.unwrap_or(u64::MAX)).max()
    }
}

impl Joined {
    /// Writes the times of deliveries as an HdrHistogram log: the time from due without a tag, that from the
    /// reply that accepted as `transit`.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write_log(&self, out: &mut dyn Write) -> io::Result<()> {
        let seconds = &self.result.seconds;
        let from_s = seconds.first().map_or(0, |first| first.from_s);
        let until_s = seconds.last().map_or(from_s, |last| last.from_s + last.seconds);
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(from_s);
        let mut log = HlogWriter::begin(out, started, "delivery")?;
        let whole = (Duration::ZERO, Duration::from_secs(until_s - from_s));
        log.histogram(whole, &self.deliveries.delivery_ns, None)?;
        log.histogram(whole, &self.deliveries.transit_ns, Some("transit"))?;
        log.flush()
    }
}
