//! `run.csv`: one row a second, for spreadsheets, plots and the page of the report.

use std::fmt;
use std::io::{self, Write};

use super::result::Latency;
use crate::limits::DURATION_S_MAX;
use crate::measure::Interval;

/// Names and order of the columns. Latencies are of the headline metric: response time in an open
/// loop, service time in a closed one.
pub const COLUMNS: &str = "start_s,seconds,warmup,messages_ok,messages_failed,bytes,errors,\
    connections,in_flight_peak,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,send_lag_p99_ns,after";

/// The column that earlier files lack.
const LAST_COLUMN: &str = ",after";

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
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
    /// Zero in a closed loop.
    pub send_lag_p99_ns: u64,
    /// After the measured time: only messages that were due in it and ended later.
    pub after: bool,
}

/// Which line of a `run.csv` cannot be read. Lines count from 1, the head included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeriesError {
    /// The first line names other columns; another version wrote it.
    OtherColumns,
    Malformed {
        line: usize,
    },
}

impl fmt::Display for SeriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherColumns => f.write_str("line 1 does not name the columns of this version"),
            Self::Malformed { line } => write!(f, "line {line} is not a row of numbers"),
        }
    }
}

impl From<&Interval> for Second {
    fn from(interval: &Interval) -> Self {
        let tally = &interval.tally;
        let latency = Latency::from(tally.headline());
        let lag = tally.open.as_ref().map_or(0, |open| open.send_lag_ns.value_at_quantile(0.99));
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
        }
    }
}

impl Second {
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{:.6},{:.6},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            self.start_s,
            self.seconds,
            u8::from(self.warmup),
            self.messages_ok,
            self.messages_failed,
            self.bytes,
            self.errors,
            self.connections,
            self.in_flight_peak,
            self.p50_ns,
            self.p90_ns,
            self.p99_ns,
            self.p999_ns,
            self.max_ns,
            self.send_lag_p99_ns,
            u8::from(self.after),
        )
    }

    fn parse(row: &str, whole: bool) -> Option<Self> {
        let mut fields = row.split(',');
        let mut float = || {
            fields
                .next()?
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds))
        };
        let (start_s, seconds) = (float()?, float()?);
        let mut int = || fields.next()?.parse::<u64>().ok();
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
            p50_ns: int()?,
            p90_ns: int()?,
            p99_ns: int()?,
            p999_ns: int()?,
            max_ns: int()?,
            send_lag_p99_ns: int()?,
            after: whole && int()? != 0,
        };
        fields.next().is_none().then_some(second)
    }
}

/// Reads a whole `run.csv`.
pub fn read(text: &str) -> Result<Vec<Second>, SeriesError> {
    let mut lines = text.lines();
    let named = lines.next();
    let whole = named == Some(COLUMNS);
    if !whole && named != COLUMNS.strip_suffix(LAST_COLUMN) {
        return Err(SeriesError::OtherColumns);
    }
    (2..)
        .zip(lines)
        .map(|(line, row)| Second::parse(row, whole).ok_or(SeriesError::Malformed { line }))
        .collect()
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
            p50_ns: 7,
            p90_ns: 8,
            p99_ns: 9,
            p999_ns: 10,
            max_ns: u64::MAX,
            send_lag_p99_ns: 12,
            after: true,
        };
        let mut text = format!("{COLUMNS}\n").into_bytes();
        second.write(&mut text).unwrap();
        assert_eq!(read(std::str::from_utf8(&text).unwrap()), Ok(vec![second]));
    }

    #[test]
    fn a_file_from_before_the_last_column_is_read() {
        let columns = COLUMNS.strip_suffix(LAST_COLUMN).unwrap();
        let text = format!("{columns}\n0,1,0,1,1,1,1,1,1,1,1,1,1,1,1\n");
        assert!(!read(&text).unwrap()[0].after);
        let text = format!("{columns}\n0,1,0,1,1,1,1,1,1,1,1,1,1,1,1,1\n");
        assert_eq!(read(&text), Err(SeriesError::Malformed { line: 2 }));
    }

    #[test]
    fn a_torn_row_is_named_by_its_line() {
        let text = format!("{COLUMNS}\n0,1,0,1,1,1,1,1,1,1,1,1,1,1,1,0\n1.0,1.0,0,5");
        assert_eq!(read(&text), Err(SeriesError::Malformed { line: 3 }));
        for time in ["inf", "NaN", "-1", "1e300"] {
            let text = format!("{COLUMNS}\n{time},1,0,1,1,1,1,1,1,1,1,1,1,1,1,0\n");
            assert_eq!(read(&text), Err(SeriesError::Malformed { line: 2 }), "{time}");
        }
        assert_eq!(read("a,b\n"), Err(SeriesError::OtherColumns));
    }
}
