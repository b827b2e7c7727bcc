//! Values as people write them on a command line: sizes, counts, durations, spreads, host names.

use std::time::Duration;

use clap::ValueEnum;

use crate::blast::content::spread::Spread;
use crate::engine::Io;
use crate::limits::{DOMAIN_BYTES_MAX, DURATION_S_MAX};

/// The largest sigma of a lognormal distribution. With it, one message in a hundred is 100,000 times the
/// median.
const SIGMA_MAX: f64 = 5.0;

/// The most that a count with a unit can be: a float holds every whole number up to it.
const COUNT_MAX: u64 = 9_000_000_000_000_000;

const DAY_S: u64 = 86_400;

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

/// A value that cannot be parsed. The message says how to write it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ValueError {
    #[error(
        "'{0}' is not a size; write octets from 0 up, or a unit, such as 1024, 64k, 1KiB, 1MiB"
    )]
    Size(String),
    #[error("'{0}' is more than 16 EiB, the most that a size can be")]
    Huge(String),
    #[error(
        "'{0}' is not a size range; write SIZE or MIN..MAX with MIN <= MAX, such as 1KiB..64KiB"
    )]
    Range(String),
    #[error("'{0}' is not a count; write a whole number above zero, such as 500, 20k or 1.5M")]
    Whole(String),
    #[error("'{0}' is more than {max}, the most that a count can be", max = COUNT_MAX)]
    Many(String),
    #[error("'{0}' is not a number; write a whole number from 0 to {max}", max = u64::MAX)]
    Number(String),
    #[error("'{0}' is not a count; write N or MIN..MAX with 1 <= MIN <= MAX, such as 5 or 1..20")]
    Count(String),
    #[error(
        "'{0}' is not a size, and not a distribution of sizes; write 1KiB, 1KiB..64KiB, 1KiB:70,64KiB:25,1MiB:5, \
         lognormal:20KiB,1.2 or lognormal:20KiB,p99=1MiB"
    )]
    Sizes(String),
    #[error(
        "'{0}' is not a count, and not a distribution of counts; write 5, 1..20, 1:80,5:15,50:5, lognormal:2,1.0 or lognormal:2,p99=50"
    )]
    Counts(String),
    #[error(
        "'{0}' is not a duration; write a number from 0 up and a unit, such as 500ms, 10s, 2m30s, 1h, 7d"
    )]
    Duration(String),
    #[error("'{0}' is longer than ten years; give at most {days}d", days = DURATION_S_MAX / DAY_S)]
    Long(String),
    #[error("'{0}' is zero; write a longer duration, such as 10s")]
    Zero(String),
}

/// A number of octets with a unit. `k`, `M`, `G`, `T`, `KiB`, `MiB`, `GiB` and `TiB` are powers of 1,024;
/// `kB`, `MB`, `GB` and `TB` are powers of 1,000. Upper and lower case are the same.
pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    let parse = || {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u128 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "t" | "tib" => 1 << 40,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return None,
        };
        // More digits than any number of octets has are too many, and not wrong.
        let number = number.get(..30).unwrap_or(number);
        Some(number.parse::<u128>().ok()?.saturating_mul(unit))
    };
    let octets = parse().ok_or_else(|| ValueError::Size(text.to_owned()))?;
    u64::try_from(octets).map_err(|_| ValueError::Huge(text.to_owned()))
}

/// `SIZE` or `MIN..MAX`: the smallest and the largest number of octets.
pub(super) fn size_range(text: &str) -> Result<(u64, u64), ValueError> {
    let Some((least, most)) = text.split_once("..") else {
        return size(text).map(|size| (size, size));
    };
    match (size(least), size(most)) {
        (Err(huge @ ValueError::Huge(_)), _) | (_, Err(huge @ ValueError::Huge(_))) => Err(huge),
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(ValueError::Range(text.to_owned())),
    }
}

/// A distribution of sizes in octets: `SIZE`, `MIN..MAX`, `SIZE:WEIGHT,…`,
/// `lognormal:MEDIAN,SIGMA` or `lognormal:MEDIAN,p99=SIZE`.
pub(super) fn size_spread(text: &str) -> Result<Spread, ValueError> {
    spread(text, |text| size(text).ok()).ok_or_else(|| ValueError::Sizes(text.to_owned()))
}

/// A distribution of counts, written like [`size_spread`] without units.
pub(super) fn count_spread(text: &str) -> Result<Spread, ValueError> {
    spread(text, |text| text.parse().ok()).ok_or_else(|| ValueError::Counts(text.to_owned()))
}

fn spread(text: &str, value: impl Fn(&str) -> Option<u64>) -> Option<Spread> {
    if let Some(shape) = text.strip_prefix("lognormal:") {
        let (median, width) = shape.split_once(',')?;
        let median = value(median).filter(|median| *median > 0)?;
        let spread = match width.strip_prefix("p99=") {
            Some(p99) => Spread::lognormal_to_p99(median, value(p99)?),
            None => Spread::Lognormal { median, sigma: width.parse().ok()? },
        };
        let sound =
            matches!(&spread, Spread::Lognormal { sigma, .. } if (0.0..=SIGMA_MAX).contains(sigma));
        return sound.then_some(spread);
    }
    if let Some((least, most)) = text.split_once("..") {
        let (least, most) = (value(least)?, value(most)?);
        return (least <= most).then_some(Spread::Even(least, most));
    }
    if !text.contains([':', ',']) {
        return value(text).map(Spread::one);
    }
    let item = |item: &str| {
        let (number, weight) = item.split_once(':').unwrap_or((item, "1"));
        let weight = weight.parse().ok().filter(|weight| *weight > 0)?;
        Some((value(number)?, weight))
    };
    text.split(',').map(item).collect::<Option<_>>().map(Spread::List)
}

/// `N` or `MIN..MAX`, from 1 on.
pub(super) fn count_range(text: &str) -> Result<(u64, u64), ValueError> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    match (count(least), count(most)) {
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(ValueError::Count(text.to_owned())),
    }
}

/// Numbers with units, which are added up: `2m30s`, `1.5s`, `250ms`. A number without a unit is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
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
                "d" => DAY_S as f64,
                _ => return None,
            };
            let seconds = number.parse::<f64>().ok()? * unit_s;
            total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
            rest = tail;
        }
        (!text.is_empty()).then_some(total)
    };
    match parse() {
        None => Err(ValueError::Duration(text.to_owned())),
        Some(long) if long > Duration::from_secs(DURATION_S_MAX) => {
            Err(ValueError::Long(text.to_owned()))
        }
        Some(duration) => Ok(duration),
    }
}

/// A [`duration`] above zero.
pub(super) fn span(text: &str) -> Result<Duration, ValueError> {
    let span = duration(text)?;
    if span.is_zero() { Err(ValueError::Zero(text.to_owned())) } else { Ok(span) }
}

/// `500`, `0.5`, `20k`, `1.5M`: a number with a decimal unit, for everything that is not octets.
pub(super) fn number(text: &str) -> Option<f64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1e3),
        b'm' | b'M' => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let plain = digits.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
    plain.then(|| digits.parse::<f64>().ok().map(|number| number * unit))?
}

/// A count of one or more: a [`number`] that is whole.
pub(super) fn count(text: &str) -> Result<u64, ValueError> {
    let scaled = || {
        // 1.001 * 1e6 is not quite a whole number.
        let (n, whole) =
            number(text).map(|n| (n, n.round())).filter(|(n, _)| *n <= COUNT_MAX as f64)?;
        ((n - whole).abs() < 1e-6).then_some(whole as u64)
    };
    let count = text.parse().ok().or_else(scaled).filter(|n| *n > 0);
    count.ok_or_else(|| match number(text) {
        Some(n) if n > COUNT_MAX as f64 => ValueError::Many(text.to_owned()),
        _ => ValueError::Whole(text.to_owned()),
    })
}

/// A whole number, where none means something.
pub(super) fn whole(text: &str) -> Result<u64, ValueError> {
    text.parse().map_err(|_| ValueError::Number(text.to_owned()))
}

/// A [`whole`] number of things in memory.
pub(super) fn whole_in_memory(text: &str) -> Result<usize, ValueError> {
    whole(text).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// A [`count`] that fits into memory.
pub(super) fn at_least_one(text: &str) -> Result<usize, ValueError> {
    count(text).map(|n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// The mode of a file in octal digits: who may read, write and execute it.
pub(super) fn file_mode(text: &str) -> Result<u32, String> {
    let octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|octet| matches!(octet, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| {
        format!("'{text}' is not a mode; write octal digits from 000 to 777, such as 660")
    })
}

/// The name of a host. It is copied into replies and header fields as it is, so it has no spaces or controls.
pub(super) fn host(text: &str) -> Result<String, String> {
    let sound = !text.is_empty()
        && text.len() <= DOMAIN_BYTES_MAX
        && text.bytes().all(|octet| octet.is_ascii_graphic());
    if sound {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "'{}' is not a host name; write one such as mx.example.org",
            text.escape_debug()
        ))
    }
}

/// The name of this host from the kernel. Nothing is looked up in DNS.
pub(super) fn hostname() -> String {
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
        for bad in ["", "k", "1x", "-1", "1.5k", "+1"] {
            assert_eq!(size(bad), Err(ValueError::Size(bad.to_owned())), "{bad}");
        }
        assert_eq!(size("99TiB"), Ok(99 << 40));
        let long = "9".repeat(99);
        for huge in ["99999999999999999999", "18446744073709551615k", "16777216TiB", &long] {
            assert_eq!(size(huge), Err(ValueError::Huge(huge.to_owned())), "{huge}");
        }
        assert_eq!(size_range("1k..16777216TiB"), Err(ValueError::Huge("16777216TiB".to_owned())));
    }

    #[test]
    fn spreads_have_several_forms() {
        assert_eq!(size_spread("1k"), Ok(Spread::Even(1024, 1024)));
        assert_eq!(size_spread("512..1k"), Ok(Spread::Even(512, 1024)));
        let list = Spread::List(vec![(1024, 70), (65_536, 25), (1 << 20, 5)]);
        assert_eq!(size_spread("1KiB:70,64KiB:25,1MiB:5"), Ok(list));
        assert_eq!(count_spread("1,5:3"), Ok(Spread::List(vec![(1, 1), (5, 3)])));
        let lognormal = Spread::Lognormal { median: 20 * 1024, sigma: 1.2 };
        assert_eq!(size_spread("lognormal:20KiB,1.2"), Ok(lognormal));
        let Ok(Spread::Lognormal { sigma, .. }) = size_spread("lognormal:1k,p99=64k") else {
            panic!("no lognormal spread");
        };
        assert!((sigma - 64f64.ln() / 2.326).abs() < 0.01, "{sigma}");
        for bad in [
            "2k..1k",
            "1k..",
            "..1k",
            "..",
            "1..2..3",
            "",
            ",",
            "1k:0",
            "1k:x",
            "1k:-1",
            "1k,",
            "lognormal:",
            "lognormal:1k",
            "lognormal:0,1",
            "lognormal:1k,-1",
            "lognormal:1k,nan",
            "lognormal:1k,99",
            "lognormal:1k,p99=1",
        ] {
            assert!(size_spread(bad).is_err(), "{bad}");
        }
        assert!(count_spread("1k").is_err());
    }

    #[test]
    fn counts_have_the_units_of_rates() {
        for (text, n) in [
            ("1", 1),
            ("1k", 1_000),
            ("1.5K", 1_500),
            ("2m", 2_000_000),
            ("1.001M", 1_001_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(count(text), Ok(n), "{text}");
        }
        assert_eq!(count_range("1..2k"), Ok((1, 2_000)));
        for bad in
            ["", "0", "0k", "k", "1.5", "-1", "1g", "1kk", "1e3", "inf", "10000000000M", "1.2345k"]
        {
            assert!(count(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_three_octal_digits_after_a_zero_or_none() {
        assert_eq!((file_mode("660"), file_mode("0777")), (Ok(0o660), Ok(0o777)));
        for bad in ["", "7", "888", "1777", "+77", "-77", "rw-", "0o660"] {
            assert!(file_mode(bad).is_err(), "{bad}");
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
            ("1d12h", 129_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for long in ["999999d", "3651d", "87601h"] {
            let said = duration(long).unwrap_err().to_string();
            assert!(said.ends_with("give at most 3650d"), "{said}");
        }
        for bad in ["", "s", "10x", "-1s", "1s2", "inf", "nan", "1e30h", "1e19", "87601h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
