//! The SASL mechanisms that both halves speak.

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mechanism {
    /// RFC 5802 and RFC 7677, without channel binding.
    ScramSha256,
    /// RFC 2195.
    CramMd5,
    /// RFC 4616.
    Plain,
    /// Two questions, two answers; never standardised, widely spoken.
    Login,
    /// RFC 7628: a bearer token in the place of a password.
    OauthBearer,
    /// Google's, from before that.
    Xoauth2,
}

impl Mechanism {
    /// In the order in which they are announced and a client should prefer them.
    pub const ALL: [Self; 6] = [
        Self::ScramSha256,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
        Self::OauthBearer,
        Self::Xoauth2,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanism of this name, in any case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether its secret is a token that a third party gave, and no password.
    pub const fn wants_token(self) -> bool {
        matches!(self, Self::OauthBearer | Self::Xoauth2)
    }

    /// Whether the client has nothing to say before the first challenge, so that an initial response
    /// is an error (RFC 4954 §4). LOGIN is none of these: its clients send the name at once.
    pub const fn server_first(self) -> bool {
        matches!(self, Self::CramMd5)
    }
}

/// A set of mechanisms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Mechanisms(u8);

impl Mechanisms {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << Mechanism::ALL.len()) - 1);

    pub const fn contains(self, mechanism: Mechanism) -> bool {
        self.0 & 1 << mechanism as u8 != 0
    }

    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u8)
    }

    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u8))
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, best first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.contains(*mechanism))
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        mechanisms.into_iter().fold(Self::NONE, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mechanisms_are_known_in_any_case_and_kept_best_first() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(&mechanism.name().to_lowercase()), Some(mechanism));
            assert!(Mechanisms::ALL.contains(mechanism));
            assert!(!Mechanisms::ALL.without(mechanism).contains(mechanism));
        }
        assert_eq!(Mechanism::from_name("GSSAPI"), None);
        let two: Mechanisms = [Mechanism::Login, Mechanism::CramMd5].into_iter().collect();
        assert_eq!(two.iter().collect::<Vec<_>>(), [Mechanism::CramMd5, Mechanism::Login]);
    }
}
