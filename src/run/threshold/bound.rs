//! What a figure is compared with, and how.

use std::fmt;
use std::str::FromStr;

use super::ThresholdError;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operator {
    Less,
    AtMost,
    Greater,
    AtLeast,
    Equal,
    Unequal,
}

/// A number with its unit, both as given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub number: f64,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    Ns,
    Us,
    Ms,
    S,
    /// Of all messages; of all replies where replies are counted.
    Percent,
    /// Of what the other run measured.
    Change,
    One,
    Kilo,
    Mega,
    Giga,
}

impl Operator {
    /// Longer ones first, so that `<=` is not read as `<`.
    pub(super) const ALL: [Self; 6] =
        [Self::AtMost, Self::AtLeast, Self::Equal, Self::Unequal, Self::Less, Self::Greater];

    pub const fn text(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }

    pub(super) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
        }
    }
}

impl Unit {
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ns => "ns",
            Self::Us => "us",
            Self::Ms => "ms",
            Self::S => "s",
            Self::Percent | Self::Change => "%",
            Self::One => "",
            Self::Kilo => "k",
            Self::Mega => "M",
            Self::Giga => "G",
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        Some(match text {
            "ns" => Self::Ns,
            "us" | "µs" => Self::Us,
            "ms" => Self::Ms,
            "s" => Self::S,
            "%" => Self::Percent,
            "" => Self::One,
            "k" | "K" => Self::Kilo,
            "M" => Self::Mega,
            "G" => Self::Giga,
            _ => return None,
        })
    }

    /// How many nanoseconds, parts of one or ones the unit is.
    pub(super) const fn scale(self) -> f64 {
        match self {
            Self::Ns | Self::One => 1.0,
            Self::Us | Self::Kilo => 1e3,
            Self::Ms | Self::Mega => 1e6,
            Self::S | Self::Giga => 1e9,
            Self::Percent | Self::Change => 0.01,
        }
    }

    pub(super) const fn is_time(self) -> bool {
        matches!(self, Self::Ns | Self::Us | Self::Ms | Self::S)
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::One | Self::Kilo | Self::Mega | Self::Giga)
    }
}

impl FromStr for Bound {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let fail = || ThresholdError::Number(text.to_owned());
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let signed = digits.len() < text.len();
        let end = digits.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(digits.len());
        let (number, unit) = digits.split_at(end);
        let number: f64 = number.parse().map_err(|_| fail())?;
        let unit = Unit::from_text(unit.trim_start()).ok_or_else(fail)?;
        match (signed, unit) {
            (false, unit) => Ok(Self { number, unit }),
            (true, Unit::Percent) => {
                let number = if text.starts_with('-') { -number } else { number };
                Ok(Self { number, unit: Unit::Change })
            }
            (true, _) => Err(fail()),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Change => write!(f, "{:+}%", self.number),
            unit => write!(f, "{}{}", self.number, unit.text()),
        }
    }
}
