//! Values of the command line: sizes and durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of octets: `1024`, `64k`, `1KiB`, `2M`, `4GiB`. Letters mean powers of 1024, with or
/// without `iB` or `B`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u32); 5] = [("", 0), ("k", 10), ("m", 20), ("g", 30), ("t", 40)];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let lower = unit.trim().to_ascii_lowercase();
        let letter = match lower.strip_suffix("ib") {
            // "ib" alone is no unit.
            Some("") => None,
            Some(letter) => Some(letter),
            None => Some(lower.strip_suffix('b').unwrap_or(&lower)),
        };
        let shift = UNITS.iter().find(|(name, _)| Some(*name) == letter).map(|(_, shift)| *shift);
        let (Ok(number), Some(shift)) = (number.parse::<u64>(), shift) else {
            return Err(format!("{text:?} is not a size such as 1024, 64k, 1KiB or 4GiB"));
        };
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is larger than any file"))
    }
}

impl fmt::Display for Bytes {
    /// In the largest unit that divides it: `4GiB`, `1536KiB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in UNITS.iter().skip(1).rev() {
            if self.0 >= 1 << shift && self.0.is_multiple_of(1 << shift) {
                let letter = if *name == "k" { "K".into() } else { name.to_ascii_uppercase() };
                return write!(f, "{}{letter}iB", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A span of time above zero: `10s`, `2m30s`, `250ms`, `1.5s`, or a number of seconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a duration such as 10s, 2m30s, 250ms or 1.5s");
        let span = if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            Duration::try_from_secs_f64(text.parse().map_err(|_| bad())?).map_err(|_| bad())?
        } else {
            let span: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
            span.try_into().map_err(|_| bad())?
        };
        if span.is_zero() || span > Duration::from_secs(366 * 86_400) {
            return Err(format!("{text:?} is not above zero and at most a year"));
        }
        Ok(Self(span))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1000", 1000),
            ("1k", 1024),
            ("1KiB", 1024),
            ("1kb", 1024),
            ("64 MiB", 64 << 20),
            ("4G", 4 << 30),
            ("2TiB", 2 << 40),
            ("10b", 10),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for bad in ["", "k", "1x", "-1", "1.5k", "ib", "1ib", "99999999999T"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Bytes(4 << 30).to_string(), "4GiB");
        assert_eq!(Bytes(1536 << 10).to_string(), "1536KiB");
        assert_eq!(Bytes(1000).to_string(), "1000B");
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("10s", 10_000),
            ("2m30s", 150_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("3", 3_000),
            ("0.5", 500),
        ] {
            assert_eq!(text.parse::<Span>(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
        for bad in ["", "s", "-1s", "0", "0s", "ten", "1e9h", "."] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
}
