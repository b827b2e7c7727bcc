//! AUTH (RFC 4954): SASL mechanisms, both halves of each in one file.
//!
//! [`Exchange`] is the server's half, [`Dialogue`] the client's. Both take and give what stands inside
//! the base64; the lines around it belong to `server` and `client`. What must not be guessed comes
//! in from outside, as a `nonce`. Passwords are compared octet for octet, without SASLprep.

pub mod accounts;
mod bearer;
mod cram;
mod login;
mod plain;
mod scram;

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

pub use self::accounts::{Accounts, AccountsError, Credentials};
pub use self::login::{Dialogue, Fault, Login};

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
    /// Google's: a bearer token in the place of a password.
    Xoauth2,
}

impl Mechanism {
    /// In the order in which they are announced and a client should prefer them.
    pub const ALL: [Self; 5] =
        [Self::ScramSha256, Self::CramMd5, Self::Plain, Self::Login, Self::Xoauth2];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The mechanism of this name, in any case of letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
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

/// What AUTH is to a listener. The default offers none.
#[derive(Clone, Debug, Default)]
pub struct AuthPolicy {
    pub credentials: Credentials,
    /// What may be offered of that which the credentials can serve.
    pub mechanisms: Mechanisms,
    /// MAIL needs it: 530 before.
    pub required: bool,
}

impl AuthPolicy {
    /// What is offered.
    ///
    /// Without a password the server cannot prove itself, and a client of SCRAM would turn away from
    /// the false proof: SCRAM needs a list of accounts.
    pub fn mechanisms(&self) -> Mechanisms {
        match self.credentials {
            Credentials::None => Mechanisms::NONE,
            Credentials::Any => self.mechanisms.without(Mechanism::ScramSha256),
            Credentials::Listed(_) => self.mechanisms,
        }
    }
}

/// What the server says next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// 334 with this, in base64.
    Challenge(Vec<u8>),
    /// 235; the client is this one.
    Accepted(Vec<u8>),
    /// 535.
    Refused,
    /// 501: not what the mechanism prescribes.
    Malformed,
}

/// The server's half of one exchange.
#[derive(Debug)]
pub enum Exchange {
    Plain,
    Login(plain::Login),
    CramMd5(cram::Challenge),
    ScramSha256(Box<scram::Server>),
    Xoauth2(bearer::Server),
}

impl Exchange {
    /// `nonce` must never repeat; `hostname` goes into challenges that carry one.
    pub fn new(mechanism: Mechanism, nonce: &Nonce, hostname: &str) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::Login(plain::Login::default()),
            Mechanism::CramMd5 => Self::CramMd5(cram::Challenge::new(nonce, hostname)),
            Mechanism::ScramSha256 => Self::ScramSha256(Box::new(scram::Server::new(nonce))),
            Mechanism::Xoauth2 => Self::Xoauth2(bearer::Server::default()),
        }
    }

    /// Takes the client's word: at first the initial response, or `None` without one. Further steps
    /// follow challenges only.
    pub fn step(&mut self, response: Option<&[u8]>, credentials: &Credentials) -> Step {
        match (self, response) {
            (Self::CramMd5(challenge), None) => Step::Challenge(challenge.text().to_vec()),
            (Self::Login(login), None) => login.ask(),
            (_, None) => Step::Challenge(Vec::new()),
            (Self::Plain, Some(response)) => plain::verify(response, credentials),
            (Self::Login(login), Some(response)) => login.step(response, credentials),
            (Self::CramMd5(challenge), Some(response)) => challenge.verify(response, credentials),
            (Self::ScramSha256(server), Some(response)) => server.step(response, credentials),
            (Self::Xoauth2(server), Some(response)) => server.step(response, credentials),
        }
    }
}

/// Text that nobody can guess: 24 octets of base64, the same for the same seed and number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Nonce(String);

impl Nonce {
    /// `number` tells the exchanges of one session apart.
    pub fn new(seed: u128, number: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        Self(BASE64_STANDARD.encode(&hash.finalize()[..18]))
    }

    fn text(&self) -> &str {
        &self.0
    }
}

/// Appends `octets` in base64.
pub fn write_base64(out: &mut Vec<u8>, octets: &[u8]) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    // The room is exact.
    let _ = BASE64_STANDARD.encode_slice(octets, &mut out[start..]);
}

/// Reads base64 as RFC 4954 §4 wants it: nothing outside of the alphabet, padding at the end only.
pub fn read_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
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

    #[test]
    fn scram_is_offered_with_a_list_of_accounts_only() {
        let policy =
            |credentials| AuthPolicy { credentials, mechanisms: Mechanisms::ALL, required: false };
        assert!(AuthPolicy::default().mechanisms().is_empty());
        assert!(policy(Credentials::None).mechanisms().is_empty());
        let any = policy(Credentials::Any).mechanisms();
        assert_eq!(any, Mechanisms::ALL.without(Mechanism::ScramSha256));
        let listed = Credentials::Listed(Accounts::parse(b"a:b", 1).unwrap().into());
        assert_eq!(policy(listed).mechanisms(), Mechanisms::ALL);
    }

    #[test]
    fn base64_is_read_strictly() {
        for text in ["", "AA==", "AAA=", "AAAA", "+/+/"] {
            let octets = read_base64(text.as_bytes()).unwrap();
            let mut back = Vec::new();
            write_base64(&mut back, &octets);
            assert_eq!(back, text.as_bytes());
        }
        for bad in ["=", "A", "AA", "AA=", "=AAA", "AAA=BBB=", "AA A=", "AB==", "A-_A", "AAAA\0"] {
            assert_eq!(read_base64(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn nonces_differ_by_seed_and_number() {
        let nonce = Nonce::new(7, 1);
        assert_eq!(nonce.text().len(), 24);
        assert_eq!(nonce, Nonce::new(7, 1));
        assert!(nonce != Nonce::new(7, 2) && nonce != Nonce::new(8, 1));
    }
}
