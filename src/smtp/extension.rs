//! ESMTP extensions: which of them a server offers (RFC 5321 §2.2).

use bitflags::bitflags;

bitflags! {
    /// A set of extensions; each can be switched off.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Extensions: u32 {
        /// RFC 2920.
        const PIPELINING = 1;
        /// RFC 1870.
        const SIZE = 1 << 1;
        /// RFC 6152.
        const EIGHT_BIT_MIME = 1 << 2;
        /// RFC 6531; depends on 8BITMIME (§3.1).
        const SMTPUTF8 = 1 << 3;
        /// RFC 3030.
        const CHUNKING = 1 << 4;
        /// RFC 3030 §3; depends on CHUNKING.
        const BINARYMIME = 1 << 5;
        /// RFC 2034.
        const ENHANCED_STATUS_CODES = 1 << 6;
        /// RFC 5321 §4.1.1.8.
        const HELP = 1 << 7;
        /// RFC 3461.
        const DSN = 1 << 8;
        /// RFC 2852.
        const DELIVERBY = 1 << 9;
        /// RFC 4865.
        const FUTURERELEASE = 1 << 10;
        /// RFC 6710.
        const MT_PRIORITY = 1 << 11;
        /// RFC 9422.
        const LIMITS = 1 << 12;
        /// RFC 8689; offered under TLS only (§2).
        const REQUIRETLS = 1 << 13;
        /// RFC 5321 §3.5.2; offered with a directory only, though VRFY is always answered.
        const VRFY = 1 << 14;
        /// RFC 5321 §3.5.2; offered with a directory only.
        const EXPN = 1 << 15;
        /// RFC 821 §3.4, as are the next two; offered where the listener is told to.
        const SEND = 1 << 16;
        const SOML = 1 << 17;
        const SAML = 1 << 18;
        /// RFC 4954; offered only where there are mechanisms.
        const AUTH = 1 << 19;
        /// RFC 1985; offered where there are routes for it.
        const ETRN = 1 << 20;
        /// RFC 2645; offered where a user may say it, and depends on AUTH (§5.1.1).
        const ATRN = 1 << 21;
        /// RFC 3207; offered before TLS, where there is a certificate.
        const STARTTLS = 1 << 22;
        /// Postfix's XCLIENT. Not in [`Extensions::ALL`]: it is a matter of trust in one peer, and never a switch.
        const XCLIENT = 1 << 31;
    }
}

impl Extensions {
    /// All that can be switched: XCLIENT is not among them.
    pub const ALL: Self = Self::all().difference(Self::XCLIENT);
    /// Commands of RFC 821 that EHLO lists as if they were extensions.
    pub const RFC_821: Self = Self::HELP
        .union(Self::VRFY)
        .union(Self::EXPN)
        .union(Self::SEND)
        .union(Self::SOML)
        .union(Self::SAML);

    /// The set without the extensions whose prerequisite is missing.
    pub const fn consistent(self) -> Self {
        let mut set = self;
        if !set.contains(Self::EIGHT_BIT_MIME) {
            set = set.difference(Self::SMTPUTF8);
        }
        if !set.contains(Self::CHUNKING) {
            set = set.difference(Self::BINARYMIME);
        }
        if !set.contains(Self::AUTH) {
            set = set.difference(Self::ATRN);
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

    /// Every keyword, in the order in which EHLO lists them.
    pub fn all_keywords() -> impl Iterator<Item = &'static str> {
        Self::ALL.keywords()
    }

    /// Appends the answer to EHLO or LHLO: `hostname`, then one line for each extension, to which
    /// `argue` appends its arguments, each led by a space.
    pub(super) fn write_hello(
        self,
        hostname: &str,
        argue: impl Fn(Self, &mut Vec<u8>),
        replies: &mut Vec<u8>,
    ) {
        let mut rows = KEYWORDS.iter().filter(|(set, _)| self.contains(*set)).peekable();
        let lead = |last| if last { &b"250 "[..] } else { b"250-" };
        replies.extend_from_slice(lead(rows.peek().is_none()));
        replies.extend_from_slice(hostname.as_bytes());
        replies.extend_from_slice(b"\r\n");
        while let Some(&(extension, keyword)) = rows.next() {
            replies.extend_from_slice(lead(rows.peek().is_none()));
            replies.extend_from_slice(keyword.as_bytes());
            argue(extension, replies);
            replies.extend_from_slice(b"\r\n");
        }
    }
}

const KEYWORDS: [(Extensions, &str); 24] = [
    (Extensions::PIPELINING, "PIPELINING"),
    (Extensions::SIZE, "SIZE"),
    (Extensions::EIGHT_BIT_MIME, "8BITMIME"),
    (Extensions::SMTPUTF8, "SMTPUTF8"),
    (Extensions::CHUNKING, "CHUNKING"),
    (Extensions::BINARYMIME, "BINARYMIME"),
    (Extensions::ENHANCED_STATUS_CODES, "ENHANCEDSTATUSCODES"),
    (Extensions::DSN, "DSN"),
    (Extensions::DELIVERBY, "DELIVERBY"),
    (Extensions::FUTURERELEASE, "FUTURERELEASE"),
    (Extensions::MT_PRIORITY, "MT-PRIORITY"),
    (Extensions::LIMITS, "LIMITS"),
    (Extensions::STARTTLS, "STARTTLS"),
    (Extensions::REQUIRETLS, "REQUIRETLS"),
    (Extensions::VRFY, "VRFY"),
    (Extensions::EXPN, "EXPN"),
    (Extensions::SEND, "SEND"),
    (Extensions::SOML, "SOML"),
    (Extensions::SAML, "SAML"),
    (Extensions::HELP, "HELP"),
    (Extensions::AUTH, "AUTH"),
    (Extensions::ETRN, "ETRN"),
    (Extensions::ATRN, "ATRN"),
    (Extensions::XCLIENT, "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_has_a_space_and_arguments_follow_their_keyword() {
        let announced = |set: Extensions| {
            let mut replies = Vec::new();
            let argue = |extension, out: &mut Vec<u8>| match extension {
                Extensions::SIZE => out.extend_from_slice(b" 99"),
                Extensions::AUTH => out.extend_from_slice(b" CRAM-MD5 PLAIN"),
                _ => {}
            };
            set.write_hello("sink.example", argue, &mut replies);
            String::from_utf8(replies).unwrap()
        };
        assert_eq!(announced(Extensions::empty()), "250 sink.example\r\n");
        let two = Extensions::SIZE.union(Extensions::HELP);
        assert_eq!(announced(two), "250-sink.example\r\n250-SIZE 99\r\n250 HELP\r\n");
        let auth = "250-sink.example\r\n250 AUTH CRAM-MD5 PLAIN\r\n";
        assert_eq!(announced(Extensions::AUTH), auth);
    }

    #[test]
    fn an_extension_falls_with_its_prerequisite() {
        let set = Extensions::ALL.difference(Extensions::CHUNKING).consistent();
        assert!(!set.contains(Extensions::BINARYMIME));
        let set = Extensions::ALL.difference(Extensions::EIGHT_BIT_MIME).consistent();
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
