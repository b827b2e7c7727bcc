//! What is worth knowing about a complete message.

/// What is worth knowing about a complete message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flags(u32);

impl Flags {
    /// A CR that no LF follows.
    pub const BARE_CR: Self = Self(1);
    /// An LF that no CR precedes.
    pub const BARE_LF: Self = Self(2);
    /// Sent with BDAT.
    pub const BDAT: Self = Self(4);
    /// An octet of 0x80 or more.
    pub const EIGHT_BIT: Self = Self(8);
    /// MAIL carried SMTPUTF8.
    pub const SMTPUTF8: Self = Self(16);
    pub const NUL: Self = Self(32);
    pub const LMTP: Self = Self(64);
    /// For the caller to set: this room knows of no TLS.
    pub const TLS: Self = Self(128);

    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(super) const fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.with(other) } else { self }
    }
}
