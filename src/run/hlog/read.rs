//! Reads interval logs, ours and those of any program, a line at a time.
//!
//! A log may come from a stranger, and a few octets of it may stand for gigabytes: a length of four octets,
//! a stream of zeros that was deflated, a histogram of five digits over all numbers. So each line is bounded
//! before it is decoded, and the octets of all lines by the octets that were read of the file.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::OWN_COMMENT;
use crate::printable::printable_octets;

/// Octets of one line: what a histogram of [`CELLS_MAX`] takes, deflated and in base64.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Octets of one histogram, inflated: [`CELLS_MAX`] cells that were all used often.
const HISTOGRAM_BYTES_MAX: u64 = 12 * 1024 * 1024;

/// Cells of one histogram, of 8 octets each: five digits over an hour of nanoseconds take 3.4 million.
const CELLS_MAX: u64 = 3_600_000;

/// Octets that a log may inflate to for each octet of it. Counts are packed before they are deflated, so
/// that a histogram rarely deflates to a third.
const INFLATED_FOR_EACH: u64 = 16;

/// Octets that any log may inflate to.
const INFLATED_LEAST: u64 = 32 * 1024 * 1024;

/// Times beyond this many seconds are none: ten thousand years.
const SECONDS_MAX: u64 = 10_000 * 366 * 86_400;

/// One line of a log, read back.
#[derive(Debug)]
pub struct HlogLine {
    pub tag: Option<String>,
    pub begun: Duration,
    pub lasted: Duration,
    pub histogram: Histogram<u64>,
}

/// Which line of a log cannot be read, and why.
#[derive(Debug)]
pub struct HlogError {
    /// Counting interval lines from 1, not comments.
    pub line: usize,
    pub why: String,
}

impl fmt::Display for HlogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interval {}: {}", self.line, self.why)
    }
}

/// The lines of a log that hold intervals.
pub struct HlogReader<R> {
    log: R,
    line: Vec<u8>,
    /// Intervals before the line.
    intervals: usize,
    /// Octets read of the log, and inflated of its histograms.
    octets: u64,
    inflated: u64,
    deserializer: Deserializer,
}

/// Reads a whole log, ours or that of any program. Blank lines, which some writers add, are passed over.
pub fn read<R: BufRead>(log: R) -> HlogReader<R> {
    let deserializer = Deserializer::new();
    HlogReader { log, line: Vec::new(), intervals: 0, octets: 0, inflated: 0, deserializer }
}

impl<R: BufRead> Iterator for HlogReader<R> {
    type Item = Result<HlogLine, HlogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match next_line(&mut self.log, &mut self.line) {
                Ok(true) => entry(&self.line),
                Ok(false) => return None,
                Err(error) => return Some(Err(self.fail(error.to_string()))),
            };
            self.octets += self.line.len() as u64;
            let why = match entry {
                Ok(Some(LogEntry::Interval(interval))) => {
                    self.intervals += 1;
                    let tag = interval.tag().map(|tag| tag.as_str().to_owned());
                    let (begun, lasted) = (interval.start_timestamp(), interval.duration());
                    let encoded = interval.encoded_histogram().as_bytes().to_vec();
                    if begun.as_secs().max(lasted.as_secs()) > SECONDS_MAX {
                        "its time is beyond all times".to_owned()
                    } else {
                        match self.histogram(&encoded) {
                            Ok(histogram) => {
                                return Some(Ok(HlogLine { tag, begun, lasted, histogram }));
                            }
                            Err(why) => why,
                        }
                    }
                }
                Ok(_) => continue,
                Err(why) => {
                    self.intervals += 1;
                    why
                }
            };
            return Some(Err(HlogError { line: self.intervals, why }));
        }
    }
}

impl<R: BufRead> HlogReader<R> {
    fn fail(&self, why: String) -> HlogError {
        HlogError { line: self.intervals + 1, why }
    }

    fn histogram(&mut self, encoded: &[u8]) -> Result<Histogram<u64>, String> {
        let payload = BASE64.decode(encoded).map_err(|error| error.to_string())?;
        let left = (INFLATED_LEAST + INFLATED_FOR_EACH * self.octets).saturating_sub(self.inflated);
        let mut plain = plain(&payload, left.min(HISTOGRAM_BYTES_MAX))?;
        self.inflated += plain.len() as u64;
        check_head(&plain)?;
        as_of_java(&mut plain);
        self.deserializer.deserialize(&mut plain.as_slice()).map_err(|error| error.to_string())
    }
}

/// Reads a line that is not blank; `false` at the end. The octets of a byte order mark are no part of it.
fn next_line(log: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        line.clear();
        if log.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', line)? == 0 {
            return Ok(false);
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            let why = format!("it is longer than {LINE_BYTES_MAX} octets");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        if !line.trim_ascii().is_empty() {
            // Some writers leave out the end of the last line, which the parser needs.
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            return Ok(true);
        }
    }
}

/// What stands on a line; `None` for a comment.
fn entry(line: &[u8]) -> Result<Option<LogEntry<'_>>, String> {
    let wrong = |_| format!("this is not a line of an interval log: '{}'", excerpt(line));
    IntervalLogIterator::new(line).next().transpose().map_err(wrong)
}

/// The payload without its compression, of at most `most` octets.
fn plain(payload: &[u8], most: u64) -> Result<Vec<u8>, String> {
    const COOKIE_DEFLATED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
    const COMPRESSED_HEAD: usize = 8;
    if !payload.starts_with(&COOKIE_DEFLATED) {
        return Ok(payload.to_vec());
    }
    let deflated = payload.get(COMPRESSED_HEAD..).unwrap_or_default();
    let mut plain = Vec::new();
    let inflated = ZlibDecoder::new(deflated).take(most + 1).read_to_end(&mut plain);
    inflated.map_err(|error| error.to_string())?;
    if plain.len() as u64 > most {
        return Err(format!("its histogram inflates to more than {most} octets"));
    }
    Ok(plain)
}

/// Refuses a histogram whose head asks for more memory than there are octets, or than any needs.
fn check_head(plain: &[u8]) -> Result<(), String> {
    const HEAD: usize = 40;
    let number =
        |at: Range<usize>| plain[at].iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    if plain.len() < HEAD {
        return Err("its histogram has no head".to_owned());
    }
    let (counts, digits) = (number(4..8), number(12..16));
    if counts > (plain.len() - HEAD) as u64 {
        return Err(format!(
            "its histogram says that it has {counts} octets of counts, and has fewer"
        ));
    }
    let cells = cells(digits, number(16..24), number(24..32));
    if cells > CELLS_MAX {
        return Err(format!(
            "its histogram has {digits} digits from low to high, more than memory holds"
        ));
    }
    Ok(())
}

/// Cells of a histogram with these bounds, by the rule of HdrHistogram. What is no histogram has none here,
/// and is refused when it is decoded.
fn cells(digits: u64, low: u64, high: u64) -> u64 {
    let (Ok(digits @ 0..=5), Some(unit)) = (u32::try_from(digits), low.checked_ilog2()) else {
        return 0;
    };
    let in_bucket = (2 * 10_u64.pow(digits)).next_power_of_two();
    let bits = u64::from(high.checked_ilog2().unwrap_or(0) + 1);
    let first = u64::from(unit) + u64::from(in_bucket.ilog2());
    (bits.saturating_sub(first) + 2) * (in_bucket / 2)
}

/// hdr-histogram-js writes the integer one where an offset of zero and a ratio of 1.0 belong; its counts are
/// as they are without. Puts those there.
fn as_of_java(plain: &mut [u8]) {
    const OFFSET: Range<usize> = 8..12;
    const RATIO: Range<usize> = 32..40;
    if plain[OFFSET] == 1u32.to_be_bytes() && plain[RATIO] == 1u64.to_be_bytes() {
        plain[OFFSET].fill(0);
        plain[RATIO].copy_from_slice(&1f64.to_be_bytes());
    }
}

/// The start of a line, as it may be shown on a terminal.
fn excerpt(line: &[u8]) -> String {
    const SHOWN: usize = 40;
    let line = line.trim_ascii_end();
    let text = printable_octets(&line[..line.len().min(SHOWN)]);
    let dots = if line.len() > SHOWN { "…" } else { "" };
    text + dots
}

/// What a log says of itself before its intervals.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogHead {
    /// When it was begun, since 1970.
    pub start: Option<Duration>,
    /// Whether this program wrote it.
    pub own: bool,
}

/// Reads the comments before the first interval.
pub fn begins(mut log: impl BufRead) -> LogHead {
    let (mut line, mut head) = (Vec::new(), LogHead::default());
    while next_line(&mut log, &mut line).is_ok_and(|read| read) {
        head.own |=
            line.strip_prefix(b"#").is_some_and(|said| said.starts_with(OWN_COMMENT.as_bytes()));
        match entry(&line) {
            Ok(Some(LogEntry::StartTime(start))) => {
                head.start = head.start.or(Some(start)).filter(|s| s.as_secs() <= SECONDS_MAX);
            }
            Ok(Some(LogEntry::Interval(_))) | Err(_) => break,
            Ok(_) => {}
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer, V2Serializer};
    use proptest::prelude::*;

    use super::*;

    fn line_of(payload: &[u8]) -> Vec<u8> {
        format!("0.0,1.0,1.0,{}\n", BASE64.encode(payload)).into_bytes()
    }

    /// A histogram in the plain form.
    fn plain_of(digits: u8, high: u64) -> Vec<u8> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, high, digits).unwrap();
        histogram.record(7).unwrap();
        let mut plain = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut plain).unwrap();
        plain
    }

    fn why(log: &[u8]) -> String {
        read(log).next().unwrap().unwrap_err().why
    }

    /// The octets as a payload that is deflated, with its head.
    fn deflated(plain: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
        let octets: Vec<u8> = plain.collect();
        out.write_all(&octets).unwrap();
        let body = out.finish().unwrap();
        [&0x1c84_9314_u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
    }

    #[test]
    fn a_torn_line_is_named_and_not_skipped() {
        let torn = b"#[comment]\n0.000,1.000,5,HISTFAAAA\n";
        assert_eq!(read(&torn[..]).next().unwrap().unwrap_err().line, 1);
        let good = String::from_utf8(line_of(&plain_of(3, 1_000))).unwrap();
        let log = format!("\u{feff}#[x]\n\n{good}\r\n#[y]\n{good}\nnonsense");
        let mut lines = read(log.as_bytes());
        assert!(lines.next().unwrap().is_ok() && lines.next().unwrap().is_ok());
        assert_eq!(lines.next().unwrap().unwrap_err().line, 3);
    }

    #[test]
    fn what_a_head_says_is_not_believed() {
        let mut plain = plain_of(3, 1_000);
        assert_eq!(read(&line_of(&plain)[..]).next().unwrap().unwrap().histogram.len(), 1);
        plain[4..8].fill(0xff);
        assert!(why(&line_of(&plain)).contains("4294967295 octets"));
        assert!(why(&line_of(&deflated(plain.into_iter()))).contains("4294967295 octets"));
        let wide = plain_of(5, u64::MAX / 2);
        assert!(why(&line_of(&wide)).contains("5 digits"));
        assert!(why(&line_of(b"\x1c\x84\x93\x13")).contains("no head"));
        assert!(why(b"18446744073709551615.0,1.0,1.0,AAAA\n").contains("beyond all times"));
        let head = &b"#[StartTime: 18446744073709551615.000 (seconds since epoch)]\n"[..];
        assert_eq!(begins(head), LogHead::default());
    }

    #[test]
    fn the_cells_are_those_of_the_histogram() {
        for digits in 1..=5 {
            for high in [2, 1_000, 1 << 20, (1 << 20) - 1, 3_600_000_000_000, u64::MAX / 2] {
                for low in [1, 2, 1_000] {
                    let Ok(made) = Histogram::<u64>::new_with_bounds(low, high, digits) else {
                        continue;
                    };
                    assert_eq!(
                        cells(digits.into(), low, high),
                        made.distinct_values() as u64,
                        "{digits} {low} {high}"
                    );
                }
            }
        }
        assert!(cells(5, 1, 3_600_000_000_000) <= CELLS_MAX);
    }

    #[test]
    fn a_log_inflates_to_a_bounded_multiple_of_its_octets() {
        let bomb = line_of(&deflated(std::iter::repeat_n(0, 64 * 1024 * 1024)));
        assert!(why(&bomb).contains("inflates to more than"), "{}", why(&bomb));
        // Each alone is small enough.
        let head = plain_of(5, 3_600_000_000_000);
        let zeros = std::iter::repeat_n(1, 10 * 1024 * 1024);
        let line = line_of(&deflated(head.into_iter().chain(zeros)));
        let log = line.repeat(50);
        let mut reader = read(&log[..]);
        let lines =
            reader.by_ref().filter(|line| line.as_ref().is_err_and(|e| e.why.contains("inflates")));
        assert!(lines.count() > 10, "some line is one too many");
        let most = INFLATED_LEAST + INFLATED_FOR_EACH * log.len() as u64;
        assert!(reader.inflated <= most, "{} of {most}", reader.inflated);
    }

    proptest! {
        #[test]
        fn whatever_a_log_holds_is_read_or_told(
            kept in 0..200usize,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            deflate in any::<bool>(),
        ) {
            let mut payload = Vec::new();
            let mut histogram = Histogram::<u64>::new(3).unwrap();
            (1..kept as u64 + 2).for_each(|value| histogram.record(value * value).unwrap());
            if deflate {
                V2DeflateSerializer::new().serialize(&histogram, &mut payload).unwrap();
            } else {
                V2Serializer::new().serialize(&histogram, &mut payload).unwrap();
            }
            for (at, octet) in flips {
                let at = at.index(payload.len());
                payload[at] = octet;
            }
            let mut log = line_of(&payload);
            log.truncate(log.len().saturating_sub(kept % 3));
            prop_assert!(read(&log[..]).count() <= 1);
        }
    }
}
