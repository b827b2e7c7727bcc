//! Options that pick messages; the same for ls, stat and export.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::time;
use crate::cli::exit::{Exit, ExitError};
use crate::cli::value::{self, ValueError};
use crate::mailbox::{AddressPattern, Selection};
use crate::spool::{Deliveries, RecordFlags, SpoolError};

#[derive(Debug, Args)]
#[command(next_help_heading = "Which messages (each option narrows; of one repeated, any counts)")]
pub(super) struct Pick {
    /// The sender: user@example.org, example.org, .example.org for every subdomain, or <> for the null
    /// sender
    #[arg(long, value_name = "ADDR|DOMAIN")]
    from: Vec<AddressPattern>,

    /// A recipient, written in the same way
    #[arg(long, value_name = "ADDR|DOMAIN")]
    to: Vec<AddressPattern>,

    /// Received at this time or later: an RFC 3339 time, a date, or an age such as 10m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<u64>,

    /// Received before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<u64>,

    /// The size as sent: SIZE, MIN..MAX, MIN.. or ..MAX
    #[arg(long, value_name = "SIZE|RANGE", value_parser = sizes)]
    size: Option<RangeInclusive<u64>>,

    /// A part of the decoded subject, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,

    /// A run of the generator: 16 hexadecimal digits, from its report
    #[arg(long, value_name = "ID", value_parser = run_id)]
    run: Option<u64>,

    /// Only messages that still wait for ETRN or ATRN
    #[arg(long)]
    undelivered: bool,

    /// Flags that must all be set
    #[arg(long, value_name = "FLAG", value_delimiter = ',', value_parser = flags())]
    flag: Vec<String>,

    /// Flags that must not be set
    #[arg(long, value_name = "FLAG", value_delimiter = ',', value_parser = flags())]
    no_flag: Vec<String>,
}

impl Pick {
    /// Refuses what is wrong before a spool is opened.
    pub(super) fn check(&self) -> Result<(), ExitError> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                let (since, until) = (time(since), time(until));
                let why = format_args!(
                    "--since {since} is not before --until {until}, so that no message lies between; \
                     exchange the two"
                );
                Err(ExitError::new(Exit::Usage, why))
            }
            _ => Ok(()),
        }
    }

    /// The selection. `deliveries` reads those of the spool, if they matter.
    pub(super) fn selection(
        &self,
        deliveries: impl FnOnce() -> Result<Deliveries, SpoolError>,
    ) -> Result<Selection, SpoolError> {
        Ok(Selection {
            from: self.from.clone(),
            to: self.to.clone(),
            since_ns: self.since,
            until_ns: self.until,
            bytes: self.size.clone(),
            flags: bits(&self.flag),
            flags_not: bits(&self.no_flag),
            subject: self.subject.as_ref().map(|text| text.to_lowercase()),
            run: self.run,
            handed_on: self.undelivered.then(deliveries).transpose()?,
        })
    }
}

fn flags() -> PossibleValuesParser {
    PossibleValuesParser::new(RecordFlags::NAMES.map(|(_, name)| name))
}

fn bits(names: &[String]) -> RecordFlags {
    let named = |(_, name): &&(RecordFlags, &str)| names.iter().any(|wanted| wanted == name);
    RecordFlags::NAMES.iter().filter(named).map(|(flag, _)| *flag).collect()
}

/// A point in time, Unix nanoseconds.
fn moment(text: &str) -> Result<u64, String> {
    let bad = || {
        format!(
            "'{text}' is not a time; write 2026-11-25T14:00:00Z, 2026-11-25, or so long ago, such as 10m"
        )
    };
    if let Ok(ago) = value::duration(text) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        return Ok(now.saturating_sub(ago).as_nanos() as u64);
    }
    let local = |at: DateTime| at.to_zoned(TimeZone::system()).map(|at| at.timestamp());
    let at = text
        .parse::<Timestamp>()
        .or_else(|_| text.parse::<DateTime>().and_then(local))
        .map_err(|_| bad())?;
    u64::try_from(at.as_nanosecond()).map_err(|_| bad())
}

/// A range of sizes, open where it has no end.
fn sizes(text: &str) -> Result<RangeInclusive<u64>, ValueError> {
    let range = match text.split_once("..") {
        Some((least, "")) => value::size(least)?..=u64::MAX,
        Some(("", most)) => 0..=value::size(most)?,
        _ => {
            let (least, most) = value::size_range(text)?;
            least..=most
        }
    };
    Ok(range)
}

fn run_id(text: &str) -> Result<u64, String> {
    let whole = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let run = u64::from_str_radix(text, 16).ok().filter(|_| whole);
    run.ok_or_else(|| format!("'{text}' is not the id of a run; it has 16 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        assert_eq!(moment("2023-11-14T22:13:20Z"), Ok(1_700_000_000_000_000_000));
        assert_eq!(moment("2023-11-14T14:13:20.5-08:00"), Ok(1_700_000_000_500_000_000));
        assert!(moment("2023-11-14").is_ok() && moment("2023-11-14T22:13").is_ok());
        let (hour, day) = (moment("1h").unwrap(), moment("24h").unwrap());
        let apart_s = hour.abs_diff(day) / 1_000_000_000;
        assert!((82_799..=82_801).contains(&apart_s), "{apart_s}");
        for bad in ["", "yesterday", "2023-13-01", "1900-01-01T00:00:00Z"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_may_be_open() {
        assert_eq!(sizes("1k.."), Ok(1024..=u64::MAX));
        assert_eq!(sizes("..2k"), Ok(0..=2048));
        assert_eq!(sizes("1..3"), Ok(1..=3));
        assert_eq!(sizes("7"), Ok(7..=7));
        for bad in ["..", "x..", "3..1", ""] {
            assert!(sizes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_has_sixteen_digits() {
        assert_eq!(run_id("00000000000000ff"), Ok(255));
        for bad in ["ff", "+000000000000001", "0123456789abcdefg", ""] {
            assert!(run_id(bad).is_err(), "{bad}");
        }
    }
}
