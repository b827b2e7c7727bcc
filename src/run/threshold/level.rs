//! Conditions as a service level: what must be true, where `--fail-if` says what must not.

use super::metric::DeliveryCount;
use super::{Codes, Condition, Conditions, Metric, Operator, ThresholdError};

impl Metric {
    /// Whether more of it is better; `None` where it is neither better nor worse.
    const fn is_better_high(self) -> Option<bool> {
        match self {
            Self::Rate | Self::Accepted | Self::RecipientsAccepted => Some(true),
            Self::Delivery(DeliveryCount::Delivered) => Some(true),
            Self::RecipientsAsked => None,
            Self::Replies(_, Codes::One(400..) | Codes::Class(4..)) => Some(false),
            Self::Replies(..) => None,
            _ => Some(false),
        }
    }
}

impl Conditions {
    /// These, as a service level.
    ///
    /// # Errors
    /// Where one of them holds when its figure is bad, such as `p99>20ms`: what was meant is its opposite.
    pub fn level(self) -> Result<Self, ThresholdError> {
        use Operator::{AtLeast, AtMost, Equal, Greater, Less};
        for &condition in &self.0 {
            let meant = match (condition.operator, condition.figure.is_better_high()) {
                // Nothing is less than none.
                (Greater, Some(false)) if condition.bound.number == 0.0 => Equal,
                (Greater, Some(false)) => Less,
                (AtLeast, Some(false)) => AtMost,
                (Less, Some(true)) => Greater,
                (AtMost, Some(true)) => AtLeast,
                _ => continue,
            };
            return Err(ThresholdError::NoLevel {
                given: condition.to_string(),
                meant: Condition { operator: meant, ..condition }.to_string(),
            });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_asks_for_what_is_bad_is_refused_with_what_was_meant() {
        for (given, meant) in [
            ("p99>20ms", Some("p99<20ms")),
            ("p99<20ms,errors>=1%", Some("errors<=1%")),
            ("rate<5k", Some("rate>5k")),
            ("accepted<=99%", Some("accepted>=99%")),
            ("replies.4xx>0", Some("replies.4xx==0")),
            ("rcpt.replies.550>=1", Some("rcpt.replies.550<=1")),
            ("p99<20ms,errors==0,replies.250>1k,replies.250<2k", None),
            ("recipients.asked>5,recipients.asked<9,max!=1s,rate>=1", None),
        ] {
            let level = given.parse::<Conditions>().unwrap().level();
            let refused = level.err().map(|error| error.to_string());
            let expected = meant.map(|meant| format!("must be true: write {meant}"));
            assert_eq!(refused.is_some(), expected.is_some(), "{given}: {refused:?}");
            assert!(
                refused.zip(expected).is_none_or(|(said, end)| said.ends_with(&end)),
                "{given}"
            );
        }
    }
}
