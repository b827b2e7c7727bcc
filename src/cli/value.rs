//! Values as people write them: sizes and durations.

use std::time::Duration;

use clap::ValueEnum;

use crate::engine::Io;

/// `--io`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum IoArg {
    Auto,
    Uring,
    Epoll,
}

impl From<IoArg> for Io {
    fn from(choice: IoArg) -> Self {
        match choice {
            IoArg::Auto => Self::Auto,
            IoArg::Uring => Self::Uring,
            IoArg::Epoll => Self::Epoll,
        }
    }
}

/// A value that cannot be read; the text says what would be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    #[error("'{0}' is no size; write octets or a unit, such as 1024, 64k, 1KiB, 1MiB")]
    Size(String),
    #[error("'{0}' is no size range; write SIZE or MIN..MAX with MIN <= MAX, such as 1KiB..64KiB")]
    Range(String),
    #[error("'{0}' is no count; write N or MIN..MAX with 1 <= MIN <= MAX, such as 5 or 1..20")]
    Count(String),
    #[error("'{0}' is no duration; write a number and a unit, such as 500ms, 10s, 2m30s, 1h")]
    Duration(String),
    #[error("'{0}' is no time at all; write a duration above zero, such as 10s")]
    Zero(String),
}

/// Octets: a number and a unit. `k`, `M`, `G` and `KiB`, `MiB`, `GiB` count by 1,024; `kB`, `MB`,
/// `GB` by 1,000. Units may be written in any case.
pub fn size(text: &str) -> Result<u64, ValueError> {
    let parse = || {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit)
    };
    parse().ok_or_else(|| ValueError::Size(text.to_owned()))
}

/// `SIZE` or `MIN..MAX`, as the least and the greatest number of octets.
pub fn size_range(text: &str) -> Result<(u64, u64), ValueError> {
    let Some((least, most)) = text.split_once("..") else {
        return size(text).map(|size| (size, size));
    };
    match (size(least), size(most)) {
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(ValueError::Range(text.to_owned())),
    }
}

/// `N` or `MIN..MAX`, from 1 on.
pub fn count_range(text: &str) -> Result<(u64, u64), ValueError> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (least.parse(), most.parse()) {
        (Ok(least @ 1..), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(ValueError::Count(text.to_owned())),
    }
}

/// Numbers with units, added up: `2m30s`, `1.5s`, `250ms`. A number alone is seconds.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let parse = || {
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok();
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at(digits);
            let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let unit_s = match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3_600.0,
                _ => return None,
            };
            let seconds = number.parse::<f64>().ok()? * unit_s;
            total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
            rest = tail;
        }
        (!text.is_empty()).then_some(total)
    };
    parse().ok_or_else(|| ValueError::Duration(text.to_owned()))
}

/// A [`duration`] above zero.
pub fn span(text: &str) -> Result<Duration, ValueError> {
    let span = duration(text)?;
    if span.is_zero() { Err(ValueError::Zero(text.to_owned())) } else { Ok(span) }
}

/// A count of one or more.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

/// This host's name, as the kernel knows it; nothing is resolved.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, octets) in [
            ("0", 0),
            ("1024", 1024),
            ("1KiB", 1024),
            ("64k", 65_536),
            ("1MiB", 1 << 20),
            ("2g", 2 << 30),
            ("10 kB", 10_000),
        ] {
            assert_eq!(size(text), Ok(octets), "{text}");
        }
        for bad in ["", "k", "1x", "-1", "1.5k", "99999999999999999999", "18446744073709551615k"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_rise() {
        assert_eq!(size_range("1k"), Ok((1024, 1024)));
        assert_eq!(size_range("512..1k"), Ok((512, 1024)));
        for bad in ["2k..1k", "1k..", "..1k", "..", "1..2..3"] {
            assert!(size_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, ms) in [
            ("10s", 10_000),
            ("2m30s", 150_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
            ("3", 3_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "10x", "-1s", "1s2", "inf", "nan", "1e30h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
