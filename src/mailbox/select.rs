//! Selects messages by their envelope, and by their header block if necessary.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::header;
use crate::smtp::path::domain_of;
use crate::spool::{CopyError, Deliveries, Listing, Message, RecordFlags, StoredEnvelope};

/// The conditions that a message must meet to be taken. The default takes all messages.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The reverse path must match one of these. With none, any will do.
    pub from: Vec<AddressPattern>,
    /// One of the recipients must match one of these. With none, any will do.
    pub to: Vec<AddressPattern>,
    /// Received at this time or later, Unix nanoseconds.
    pub since_ns: Option<u64>,
    /// Received before this time, Unix nanoseconds.
    pub until_ns: Option<u64>,
    /// Octets of the message as it was sent.
    pub bytes: Option<RangeInclusive<u64>>,
    /// All of these must be set.
    pub flags: RecordFlags,
    /// None of these may be set.
    pub flags_not: RecordFlags,
    /// Part of the decoded Subject, in lower case; letter case does not count.
    pub subject: Option<String>,
    /// The `run=` of the generator's stamp.
    pub run: Option<u64>,
    /// What was handed on already. If given, at least one recipient must still wait.
    pub handed_on: Option<Deliveries>,
}

impl Selection {
    /// Whether the message that `listing` returned last is taken. Reads octets of it only if there is a
    /// condition on subject or run.
    pub fn takes(&self, listing: &mut Listing<'_>, message: &Message) -> Result<bool, CopyError> {
        if !self.takes_envelope(&message.envelope, message.bytes) {
            return Ok(false);
        }
        if let Some(known) = &self.handed_on
            && known.of(message)?.len() >= message.envelope.recipients.len()
        {
            return Ok(false);
        }
        if self.subject.is_none() && self.run.is_none() {
            return Ok(true);
        }
        let start = header::start(listing, message)?;
        Ok(self.run.is_none_or(|run| header::run(&start) == Some(run))
            && self.subject.as_ref().is_none_or(|part| {
                header::subject(&start).is_some_and(|all| all.to_lowercase().contains(part))
            }))
    }

    fn takes_envelope(&self, envelope: &StoredEnvelope, stored_bytes: u64) -> bool {
        let matches = |patterns: &[AddressPattern], path: &[u8]| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(path))
        };
        self.since_ns.is_none_or(|since| envelope.received_ns >= since)
            && self.until_ns.is_none_or(|until| envelope.received_ns < until)
            && self
                .bytes
                .as_ref()
                .is_none_or(|range| range.contains(&envelope.sent_bytes.unwrap_or(stored_bytes)))
            && envelope.flags.contains(self.flags)
            && !envelope.flags.intersects(self.flags_not)
            && matches(&self.from, &envelope.reverse_path)
            && (self.to.is_empty()
                || envelope.recipients.iter().any(|to| matches(&self.to, to.path)))
    }
}

/// An address, or all addresses of a domain. Letter case does not count, not even in local parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AddressPattern {
    /// `<>`: the null reverse path.
    Null,
    /// `user@example.org`, or a local part alone such as `<postmaster>`.
    Whole(String),
    /// `example.org` or `@example.org`.
    Domain(String),
    /// `.example.org`: every domain below this one.
    Below(String),
}

/// A pattern that cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "'{0}' is not an address; write user@example.org, example.org, .example.org for all below it, \
     or <> for the null sender"
)]
pub struct BadPattern(String);

impl FromStr for AddressPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text == "<>" {
            return Ok(Self::Null);
        }
        // White space stands in a path between quotes alone.
        if text.contains(char::is_whitespace) && !text.contains('"') {
            return Err(BadPattern(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            return Ok(Self::Whole(path.to_owned()));
        }
        let domain = text.strip_prefix('@').unwrap_or(text);
        match domain {
            "" | "." => Err(BadPattern(text.to_owned())),
            _ if domain.contains('@') => Ok(Self::Whole(text.to_owned())),
            _ if domain.starts_with('.') => Ok(Self::Below(domain.to_owned())),
            _ => Ok(Self::Domain(domain.to_owned())),
        }
    }
}

impl AddressPattern {
    /// Whether the pattern matches a path, which has no angle brackets.
    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Null => path.is_empty(),
            Self::Whole(address) => path.eq_ignore_ascii_case(address.as_bytes()),
            Self::Domain(domain) => domain_of(path).eq_ignore_ascii_case(domain.as_bytes()),
            Self::Below(suffix) => {
                let own = domain_of(path);
                let cut = own.len().checked_sub(suffix.len());
                cut.is_some_and(|cut| own[cut..].eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<AddressPattern>().unwrap().matches(path.as_bytes())
    }

    #[test]
    fn patterns_mean_addresses_domains_and_what_is_below() {
        for (pattern, path) in [
            ("a@x.test", "A@X.TEST"),
            ("x.test", "a@X.test"),
            ("@x.test", "\"q@y.test\"@x.test"),
            (".x.test", "a@sub.x.test"),
            ("<>", ""),
            ("<postmaster>", "Postmaster"),
            ("<a@x.test>", "a@x.test"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a@x.test", "b@x.test"),
            ("x.test", "a@sub.x.test"),
            ("x.test", "x.test"),
            (".x.test", "a@x.test"),
            (".x.test", "a@notx.test"),
            ("<>", "a@x.test"),
            ("y.test", "\"q@y.test\"@x.test"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        for bad in ["", "@", ".", "@.", "a b", "a@b.test, c@b.test", "<a b>"] {
            assert!(bad.parse::<AddressPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_condition_can_refuse_alone() {
        const BOTH: RecordFlags = RecordFlags::BARE_CR.union(RecordFlags::BDAT);
        let envelope = StoredEnvelope {
            received_ns: 100,
            flags: BOTH,
            reverse_path: b"a@x.test".to_vec(),
            sent_bytes: Some(1_000),
            ..StoredEnvelope::default()
        };
        let takes = |change: fn(&mut Selection)| {
            let mut selection = Selection::default();
            change(&mut selection);
            selection.takes_envelope(&envelope, 10)
        };
        assert!(takes(|_| {}));
        assert!(takes(|s| (s.since_ns, s.until_ns) = (Some(100), Some(101))));
        assert!(!takes(|s| s.since_ns = Some(101)));
        assert!(!takes(|s| s.until_ns = Some(100)));
        assert!(takes(|s| s.bytes = Some(1_000..=1_000)));
        assert!(!takes(|s| s.bytes = Some(0..=999)));
        assert!(takes(|s| (s.flags, s.flags_not) = (BOTH, RecordFlags::BARE_LF)));
        assert!(!takes(|s| s.flags = RecordFlags::BARE_CR | RecordFlags::BARE_LF));
        assert!(!takes(|s| s.flags_not = RecordFlags::BDAT));
        assert!(!takes(|s| s.from = vec![AddressPattern::Null]));
        // Without a recipient, none of them is the one.
        assert!(!takes(|s| s.to = vec!["x.test".parse().unwrap()]));
    }
}
