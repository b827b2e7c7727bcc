//! ESMTP extensions: which of them a server offers (RFC 5321 §2.2).

use super::{auth::Mechanisms, command::write_decimal};

/// A set of extensions; each can be switched off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Extensions(u32);

impl Extensions {
    pub const NONE: Self = Self(0);
    /// RFC 2920.
    pub const PIPELINING: Self = Self(1);
    /// RFC 1870.
    pub const SIZE: Self = Self(1 << 1);
    /// RFC 6152.
    pub const EIGHT_BIT_MIME: Self = Self(1 << 2);
    /// RFC 6531; stands on 8BITMIME (§3.1).
    pub const SMTPUTF8: Self = Self(1 << 3);
    /// RFC 3030.
    pub const CHUNKING: Self = Self(1 << 4);
    /// RFC 3030 §3; stands on CHUNKING.
    pub const BINARYMIME: Self = Self(1 << 5);
    /// RFC 2034.
    pub const ENHANCED_STATUS_CODES: Self = Self(1 << 6);
    /// RFC 5321 §4.1.1.8.
    pub const HELP: Self = Self(1 << 7);
    /// RFC 4954; offered only where there are mechanisms.
    pub const AUTH: Self = Self(1 << 8);
    pub const ALL: Self = Self((1 << 9) - 1);
    /// Postfix's XCLIENT. Not in `ALL`: it is a matter of trust in one peer, and never a switch.
    pub const XCLIENT: Self = Self(1 << 31);

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The set without members whose foundation is missing.
    pub const fn consistent(self) -> Self {
        let mut set = self;
        if !set.contains(Self::EIGHT_BIT_MIME) {
            set = set.without(Self::SMTPUTF8);
        }
        if !set.contains(Self::CHUNKING) {
            set = set.without(Self::BINARYMIME);
        }
        set
    }

    /// The extension that EHLO announces with `keyword`, in any case.
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(_, k)| k.eq_ignore_ascii_case(keyword)).map(|&(set, _)| set)
    }

    /// The EHLO keywords of the members, in the order in which they are announced.
    pub fn keywords(self) -> impl Iterator<Item = &'static str> {
        KEYWORDS.iter().filter(move |(set, _)| self.contains(*set)).map(|&(_, keyword)| keyword)
    }

    /// Appends the answer to EHLO or LHLO: `hostname`, then one line for each extension.
    pub(super) fn write_hello(
        self,
        hostname: &str,
        size: u64,
        mechanisms: Mechanisms,
        replies: &mut Vec<u8>,
    ) {
        let mut keywords = self.keywords().peekable();
        let lead = |last| if last { &b"250 "[..] } else { b"250-" };
        replies.extend_from_slice(lead(keywords.peek().is_none()));
        replies.extend_from_slice(hostname.as_bytes());
        replies.extend_from_slice(b"\r\n");
        while let Some(keyword) = keywords.next() {
            replies.extend_from_slice(lead(keywords.peek().is_none()));
            replies.extend_from_slice(keyword.as_bytes());
            if keyword == "SIZE" {
                replies.push(b' ');
                // RFC 1870 §4: zero says that there is no fixed maximum.
                write_decimal(replies, if size == u64::MAX { 0 } else { size });
            }
            if keyword == "AUTH" {
                for mechanism in mechanisms.iter() {
                    replies.push(b' ');
                    replies.extend_from_slice(mechanism.name().as_bytes());
                }
            }
            replies.extend_from_slice(b"\r\n");
        }
    }
}

const KEYWORDS: [(Extensions, &str); 10] = [
    (Extensions::PIPELINING, "PIPELINING"),
    (Extensions::SIZE, "SIZE"),
    (Extensions::EIGHT_BIT_MIME, "8BITMIME"),
    (Extensions::SMTPUTF8, "SMTPUTF8"),
    (Extensions::CHUNKING, "CHUNKING"),
    (Extensions::BINARYMIME, "BINARYMIME"),
    (Extensions::ENHANCED_STATUS_CODES, "ENHANCEDSTATUSCODES"),
    (Extensions::HELP, "HELP"),
    (Extensions::AUTH, "AUTH"),
    (Extensions::XCLIENT, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(set: Extensions, size: u64) -> String {
        let mut replies = Vec::new();
        set.write_hello("sink.example", size, Mechanisms::ALL, &mut replies);
        String::from_utf8(replies).unwrap()
    }

    #[test]
    fn only_the_last_line_has_a_space() {
        assert_eq!(announced(Extensions::NONE, 1), "250 sink.example\r\n");
        let two = Extensions::SIZE.with(Extensions::HELP);
        assert_eq!(announced(two, 99), "250-sink.example\r\n250-SIZE 99\r\n250 HELP\r\n");
        let auth = "250-sink.example\r\n250 AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN XOAUTH2\r\n";
        assert_eq!(announced(Extensions::AUTH, 1), auth);
        assert_eq!(announced(Extensions::ALL, u64::MAX).lines().nth(2), Some("250-SIZE 0"));
    }

    #[test]
    fn an_extension_falls_with_its_foundation() {
        let set = Extensions::ALL.without(Extensions::CHUNKING).consistent();
        assert!(!set.contains(Extensions::BINARYMIME));
        let set = Extensions::ALL.without(Extensions::EIGHT_BIT_MIME).consistent();
        assert!(!set.contains(Extensions::SMTPUTF8) && set.contains(Extensions::BINARYMIME));
    }

    #[test]
    fn every_keyword_names_its_extension() {
        for keyword in Extensions::ALL.keywords() {
            let set = Extensions::from_keyword(&keyword.to_lowercase()).unwrap();
            assert_eq!(set.keywords().collect::<Vec<_>>(), [keyword]);
        }
        assert_eq!(Extensions::from_keyword("XYZZY"), None);
    }
}
