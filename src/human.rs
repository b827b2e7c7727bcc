//! Numbers as people read them: three digits, a fitting unit.

/// Shown where nothing was measured, or too little to carry the figure.
pub const NONE: &str = "-";

/// A figure in words, or [`NONE`].
pub fn known<T>(value: Option<T>, told: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), told)
}

/// A latency that may be unknown.
pub fn time(ns: Option<u64>) -> String {
    known(ns, latency)
}

/// A latency: `912 ns`, `2.91 µs`, `29.1 ms`, `1.20 s`, `2 m 05 s`.
pub fn latency(ns: u64) -> String {
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => format!("{} µs", three_digits(value / 1e3)),
        999_500..999_500_000 => format!("{} ms", three_digits(value / 1e6)),
        999_500_000..99_500_000_000 => format!("{} s", three_digits(value / 1e9)),
        _ => {
            let seconds = (value / 1e9).round() as u64;
            format!("{} m {:02} s", seconds / 60, seconds % 60)
        }
    }
}

/// A time span in seconds, as a plan gives it: `0.25 s`, `10 s`, `2 m 05 s`.
pub fn seconds(seconds: f64) -> String {
    match (seconds.max(0.0) * 1e9).round() as u64 {
        0 => "0 s".to_owned(),
        ns => latency(ns),
    }
}

/// A count with its thousands set apart by a comma: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun: `1 core`, `2 cores`, `1,234 messages`.
pub fn counted(value: u64, noun: &str) -> String {
    let s = if value == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(value))
}

/// A part of a count: `1 of 1 message`, `3 of 20 messages`.
pub fn part(some: u64, all: u64, noun: &str) -> String {
    format!("{} of {}", count(some), counted(all, noun))
}

/// The verb that follows so many.
pub fn were(value: u64) -> &'static str {
    if value == 1 { "was" } else { "were" }
}

/// A rate: whole numbers above 100, three digits below.
pub fn rate(per_second: f64) -> String {
    if per_second >= 99.95 { count(per_second.round() as u64) } else { three_digits(per_second) }
}

/// Octets in binary units, the ones that the options for sizes take: `512 B`, `4 GiB`, `20.9 MiB`.
pub fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes.max(0.0);
    let mut unit = 0;
    // What would be rounded to 1,024 of a unit is one of the next.
    while value >= 1_023.5 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() == 0.0 || value >= 999.5 {
        format!("{} {}", count(value.round() as u64), UNITS[unit])
    } else {
        format!("{} {}", three_digits(value), UNITS[unit])
    }
}

/// Octets in full, and from 10 KiB on in binary units as well: `512 bytes`, `1,048,576 bytes (1 MiB)`.
pub fn octets(value: u64) -> String {
    let full = counted(value, "byte");
    if value < 10_240 { full } else { format!("{full} ({})", bytes(value as f64)) }
}

/// A share of one: `47 %`, `2.7 %`, `0.19 %`, `99.98 %`. Never rounds up to all or down to nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 99.0 && percent < 100.0 {
        format!("{:.2} %", percent.min(99.99))
    } else if percent > 0.0 && percent < 0.995 {
        format!("{:.2} %", percent.max(0.01))
    } else if percent > 0.0 && percent < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

fn three_digits(value: f64) -> String {
    if value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_three_digits_and_change_unit_without_a_gap() {
        let cases = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (29_149, "29.1 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (99_949_999, "99.9 ms"),
            (999_500_000, "1.00 s"),
            (61_000_000_000, "61.0 s"),
            (125_000_000_000, "2 m 05 s"),
        ];
        for (ns, text) in cases {
            assert_eq!(latency(ns), text);
        }
    }

    #[test]
    fn no_time_span_is_no_nanoseconds() {
        assert_eq!([0.0, 0.000_001, 125.0].map(seconds), ["0 s", "1.00 µs", "2 m 05 s"]);
    }

    #[test]
    fn counts_and_rates_are_grouped_and_cut() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "core"), "1 core");
        assert_eq!(counted(1_234, "message"), "1,234 messages");
        assert_eq!([part(1, 1, "step"), part(0, 2, "step")], ["1 of 1 step", "0 of 2 steps"]);
        assert_eq!([0, 1, 2].map(were), ["were", "was", "were"]);
        assert_eq!(rate(99.94), "99.9");
        assert_eq!(rate(21_345.4), "21,345");
    }

    #[test]
    fn sizes_are_shown_in_the_units_that_they_are_given_in() {
        let cases = [
            (512.0, "512 B"),
            (1_023.0, "1,023 B"),
            (1_024.0, "1 KiB"),
            (1_500.0, "1.46 KiB"),
            (1_024_000.0, "1,000 KiB"),
            (1_023_400.0, "999 KiB"),
            (1_048_000.0, "1,023 KiB"),
            (1_048_200.0, "1.00 MiB"),
            ((4_u64 << 30) as f64, "4 GiB"),
        ];
        for (octets, text) in cases {
            assert_eq!(bytes(octets), text);
        }
    }

    #[test]
    fn octets_are_exact_and_large_ones_are_readable() {
        assert_eq!(octets(1), "1 byte");
        assert_eq!(octets(10_239), "10,239 bytes");
        assert_eq!(octets(1 << 20), "1,048,576 bytes (1 MiB)");
    }

    #[test]
    fn a_share_never_rounds_to_all_or_nothing() {
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!(percent(0.000_001), "0.01 %");
        assert_eq!(percent(0.001_86), "0.19 %");
        assert_eq!(percent(0.027), "2.7 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.47), "47 %");
    }
}
