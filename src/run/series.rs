//! `run.csv`: one row a second, for spreadsheets, plots and the page of the report.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use super::latency::Latency;
use crate::limits::DURATION_S_MAX;
use crate::measure::{Interval, Phase};

/// Names and order of the columns. Latencies are of the headline metric: response time in an open
/// loop, service time in a closed one.
pub const COLUMNS: &str = "start_s,seconds,warmup,messages_ok,messages_failed,bytes,errors,\
    connections,in_flight_peak,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,send_lag_p99_ns,after,recipients,recipients_refused";

/// The columns that earlier files lack, from the newest on.
const LATER_COLUMNS: [&str; 2] = [",recipients,recipients_refused", ",after"];

/// Rows that are kept in memory for a report: more than four days.
const ROWS_MAX: usize = 400_000;

/// Octets of a row: numbers, of which none has more than twenty digits.
const ROW_BYTES_MAX: u64 = 1_024;

/// No run lasts longer: a greater time means that the file is damaged.
const SECONDS_MAX: f64 = 4.0 * DURATION_S_MAX as f64;

/// One row: a second of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Since the start of the run.
    pub start_s: f64,
    /// How long it lasted: about one, less at the end of the warm-up and of the run.
    pub seconds: f64,
    pub warmup: bool,
    pub messages_ok: u64,
    pub messages_failed: u64,
    pub bytes: u64,
    pub errors: u64,
    pub connections: u64,
    pub in_flight_peak: u64,
    /// Latencies that the messages of the second carry.
    pub p50_ns: Option<u64>,
    pub p90_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub p999_ns: Option<u64>,
    pub max_ns: Option<u64>,
    /// `None` in a closed loop.
    pub send_lag_p99_ns: Option<u64>,
    /// After the measured time: only messages that were due in it and ended later.
    pub after: bool,
    /// Recipients that were accepted, and refused.
    pub recipients: u64,
    pub recipients_refused: u64,
}

/// A phase in one second of the run, from `run.hlog`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseSecond {
    pub phase: Phase,
    /// Since the start of the run.
    pub start_s: f64,
    pub seconds: f64,
    /// Of all outcomes.
    pub mean_ns: f64,
}

/// Which line of a `run.csv` cannot be read. Lines count from 1, the head included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeriesError {
    /// The first line names other columns; another version wrote it.
    OtherColumns,
    Malformed {
        line: usize,
    },
    /// More rows than are kept in memory.
    TooMany,
}

impl fmt::Display for SeriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherColumns => f.write_str("line 1 does not name the columns of this version"),
            Self::TooMany => write!(f, "it has more than {ROWS_MAX} rows"),
            Self::Malformed { line } => write!(f, "line {line} is not a row of numbers"),
        }
    }
}

impl From<&Interval> for Second {
    fn from(interval: &Interval) -> Self {
        let tally = &interval.tally;
        let latency = Latency::from(tally.headline());
        let lag = tally.open.as_ref().and_then(|open| Latency::from(&open.send_lag_ns).p99);
        Self {
            start_s: interval.begun_ns as f64 / 1e9,
            seconds: interval.seconds(),
            warmup: interval.warmup,
            messages_ok: tally.counts.messages_ok,
            messages_failed: tally.counts.messages_failed,
            bytes: tally.counts.bytes,
            errors: tally.errors_total(),
            connections: interval.connections,
            in_flight_peak: interval.in_flight_peak,
            p50_ns: latency.p50,
            p90_ns: latency.p90,
            p99_ns: latency.p99,
            p999_ns: latency.p999,
            max_ns: latency.max,
            send_lag_p99_ns: lag,
            after: interval.after,
            recipients: tally.counts.recipients,
            recipients_refused: tally.counts.recipients_refused(),
        }
    }
}

impl Second {
    /// What was not measured is an empty field.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let time = |ns: Option<u64>| ns.map_or_else(String::new, |ns| ns.to_string());
        writeln!(
            out,
            "{:.6},{:.6},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            self.start_s,
            self.seconds,
            u8::from(self.warmup),
            self.messages_ok,
            self.messages_failed,
            self.bytes,
            self.errors,
            self.connections,
            self.in_flight_peak,
            time(self.p50_ns),
            time(self.p90_ns),
            time(self.p99_ns),
            time(self.p999_ns),
            time(self.max_ns),
            time(self.send_lag_p99_ns),
            u8::from(self.after),
            self.recipients,
            self.recipients_refused,
        )
    }

    /// `missing` is how many groups of [`LATER_COLUMNS`] the file lacks.
    fn parse(row: &str, missing: usize) -> Option<Self> {
        let mut fields = row.split(',');
        let mut float = || {
            fields
                .next()?
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))
        };
        let (start_s, seconds) = (float()?, float()?);
        // Empty where nothing was measured.
        let mut optional = || match fields.next()? {
            "" => Some(None),
            number => number.parse::<u64>().ok().map(Some),
        };
        let mut int = || optional()?;
        let second = Self {
            start_s,
            seconds,
            warmup: int()? != 0,
            messages_ok: int()?,
            messages_failed: int()?,
            bytes: int()?,
            errors: int()?,
            connections: int()?,
            in_flight_peak: int()?,
            p50_ns: optional()?,
            p90_ns: optional()?,
            p99_ns: optional()?,
            p999_ns: optional()?,
            max_ns: optional()?,
            send_lag_p99_ns: optional()?,
            after: missing < 2 && optional()?? != 0,
            recipients: if missing < 1 { optional()?? } else { 0 },
            recipients_refused: if missing < 1 { optional()?? } else { 0 },
        };
        fields.next().is_none().then_some(second.carried())
    }

    /// Files of earlier versions have zeros where nothing was measured.
    fn carried(self) -> Self {
        match self.max_ns {
            None | Some(0) => Self {
                p50_ns: None,
                p90_ns: None,
                p99_ns: None,
                p999_ns: None,
                max_ns: None,
                send_lag_p99_ns: None,
                ..self
            },
            Some(_) => self,
        }
    }
}

/// The rows of a `run.csv`, read one at a time.
pub struct SeriesReader<R> {
    csv: R,
    /// Lines so far.
    line: usize,
    /// How many groups of [`LATER_COLUMNS`] the file lacks.
    missing: usize,
    row: Vec<u8>,
}

impl<R: BufRead> SeriesReader<R> {
    /// Reads the head.
    pub fn begin(csv: R) -> Result<Self, SeriesError> {
        let mut reader = Self { csv, line: 0, missing: 0, row: Vec::new() };
        let mut known = COLUMNS;
        let named = reader.next_row()?;
        while named.as_deref().map(|head| head.trim_start_matches('\u{feff}')) != Some(known) {
            let later = LATER_COLUMNS.get(reader.missing).ok_or(SeriesError::OtherColumns)?;
            known = known.strip_suffix(later).ok_or(SeriesError::OtherColumns)?;
            reader.missing += 1;
        }
        Ok(reader)
    }

    /// The next line without its end; `None` at the end of the file.
    fn next_row(&mut self) -> Result<Option<String>, SeriesError> {
        self.row.clear();
        self.line += 1;
        let malformed = SeriesError::Malformed { line: self.line };
        let read = self.csv.by_ref().take(ROW_BYTES_MAX).read_until(b'\n', &mut self.row);
        match read.map_err(|_| malformed)? {
            0 => Ok(None),
            _ if self.row.len() as u64 == ROW_BYTES_MAX => Err(malformed),
            _ => {
                let row = self.row.strip_suffix(b"\n").unwrap_or(&self.row);
                let row = row.strip_suffix(b"\r").unwrap_or(row);
                Ok(Some(String::from_utf8_lossy(row).into_owned()))
            }
        }
    }
}

impl<R: BufRead> Iterator for SeriesReader<R> {
    type Item = Result<Second, SeriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.next_row().transpose()?;
        let malformed = SeriesError::Malformed { line: self.line };
        Some(row.and_then(|row| Second::parse(&row, self.missing).ok_or(malformed)))
    }
}

/// Reads a whole `run.csv`.
pub fn read(csv: impl BufRead) -> Result<Vec<Second>, SeriesError> {
    let mut seconds = Vec::new();
    for second in SeriesReader::begin(csv)? {
        if seconds.len() == ROWS_MAX {
            return Err(SeriesError::TooMany);
        }
        if seconds.len() == seconds.capacity() {
            // Twice as many, as a vector does by itself, may be more than there is room for.
            seconds.reserve_exact((ROWS_MAX / 8).min(seconds.len().max(512)));
        }
        seconds.push(second?);
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_back_as_it_was_written() {
        let second = Second {
            start_s: 3.000_25,
            seconds: 0.999_75,
            warmup: true,
            messages_ok: 1,
            messages_failed: 2,
            bytes: 3,
            errors: 4,
            connections: 5,
            in_flight_peak: 6,
            p50_ns: Some(7),
            p90_ns: Some(8),
            p99_ns: Some(9),
            p999_ns: None,
            max_ns: Some(u64::MAX),
            send_lag_p99_ns: None,
            after: true,
            recipients: 13,
            recipients_refused: 14,
        };
        let mut text = format!("{COLUMNS}\n").into_bytes();
        second.write(&mut text).unwrap();
        assert_eq!(read(&text[..]), Ok(vec![second]));
    }

    #[test]
    fn a_second_without_an_answer_has_no_times_in_any_version() {
        for row in ["0,1,0,0,3,0,0,1,1,0,0,0,0,0,0,0,0,0", "0,1,0,0,3,0,0,1,1,,,,,,,0,0,0"] {
            let second = read(format!("{COLUMNS}\n{row}\n").as_bytes()).unwrap()[0];
            assert_eq!((second.messages_failed, second.p50_ns, second.max_ns), (3, None, None));
            let mut written = Vec::new();
            second.write(&mut written).unwrap();
            assert!(String::from_utf8(written).unwrap().ends_with(",1,1,,,,,,,0,0,0\n"), "{row}");
        }
    }

    #[test]
    fn files_from_before_the_last_columns_are_read() {
        let mut columns = COLUMNS;
        let mut row = "0,1,0,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1".to_owned();
        for later in LATER_COLUMNS {
            columns = columns.strip_suffix(later).unwrap();
            let longer = row.clone();
            row.truncate(row.len() - 2 * later.matches(',').count());
            assert_eq!(read(format!("{columns}\n{row}\n").as_bytes()).unwrap()[0].max_ns, Some(1));
            let text = format!("{columns}\n{longer}\n");
            assert_eq!(read(text.as_bytes()), Err(SeriesError::Malformed { line: 2 }));
        }
        let text = format!("{columns}\n{row}\n");
        let second = read(text.as_bytes()).unwrap()[0];
        assert_eq!((second.after, second.recipients, second.recipients_refused), (false, 0, 0));
    }

    #[test]
    fn a_torn_row_is_named_by_its_line() {
        let text = format!("{COLUMNS}\n0,1,0,1,1,1,1,1,1,1,1,1,1,1,1,0,1,1\n1.0,1.0,0,5");
        assert_eq!(read(text.as_bytes()), Err(SeriesError::Malformed { line: 3 }));
        for time in ["inf", "NaN", "-1", "1e300"] {
            let text = format!("{COLUMNS}\n{time},1,0,1,1,1,1,1,1,1,1,1,1,1,1,0,1,1\n");
            assert_eq!(read(text.as_bytes()), Err(SeriesError::Malformed { line: 2 }), "{time}");
        }
        assert_eq!(read(&b"a,b\n"[..]), Err(SeriesError::OtherColumns));
    }
}
