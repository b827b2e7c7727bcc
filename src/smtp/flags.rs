//! What is worth knowing about a complete message.

use bitflags::bitflags;

bitflags! {
    /// What the server saw of a message's octets and of how it came.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub struct Flags: u32 {
        /// A CR that no LF follows.
        const BARE_CR = 1;
        /// An LF that no CR precedes.
        const BARE_LF = 1 << 1;
        /// Sent with BDAT (RFC 3030).
        const BDAT = 1 << 2;
        /// An octet of 0x80 or more.
        const EIGHT_BIT = 1 << 3;
        /// MAIL carried SMTPUTF8 (RFC 6531).
        const SMTPUTF8 = 1 << 4;
        const NUL = 1 << 5;
        /// Sent over LMTP (RFC 2033).
        const LMTP = 1 << 6;
        /// The session is under TLS.
        const TLS = 1 << 7;
    }
}
