//! The users whom a server lets in, and their passwords.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::keys::Keys;

/// Who may authenticate.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// No user: AUTH is not offered.
    #[default]
    None,
    /// Every user, with any password: what is tested is the client.
    Any,
    Listed(Arc<Accounts>),
}

impl Credentials {
    /// Whether `user` may come in with `password`, which may be a token.
    pub(super) fn admit(&self, user: &str, password: &[u8]) -> bool {
        // No mechanism accepts an empty name or an empty secret (RFC 4616 §2).
        if user.is_empty() || password.is_empty() {
            return false;
        }
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Listed(accounts) => accounts
                .get(user)
                .is_some_and(|account| account.password.as_bytes().ct_eq(password).into()),
        }
    }

    /// The one user with this token; without a name where every user is let in.
    pub(super) fn holder(&self, token: &[u8]) -> Option<&str> {
        match self {
            _ if token.is_empty() => None,
            Self::None => None,
            Self::Any => Some(""),
            Self::Listed(accounts) => {
                let has = |account: &Account| account.password.as_bytes().ct_eq(token).into();
                let mut holders = accounts.by_name.iter().filter(|(_, account)| has(account));
                let (name, _) = holders.next()?;
                holders.next().is_none().then_some(name)
            }
        }
    }
}

/// Names and passwords.
#[derive(Debug)]
pub struct Accounts {
    by_name: HashMap<Box<str>, Account>,
    /// Makes the salts: each name has its own, whether it is listed or not.
    secret: [u8; 16],
}

#[derive(Debug)]
pub(super) struct Account {
    pub(super) password: Box<str>,
    /// Derived at the first SCRAM login, since that takes a millisecond for each account.
    keys: OnceLock<Keys>,
}

/// What is wrong with a list of accounts; lines count from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AccountsError {
    #[error("line {0} is not UTF-8; write the file in UTF-8")]
    Utf8(usize),
    #[error("line {0} has no colon; write user:password, or # in front of a comment")]
    Colon(usize),
    #[error("line {0} has no user before its colon; write user:password")]
    User(usize),
    #[error("line {0} has no password after its colon; write user:password")]
    Password(usize),
    #[error("line {0} holds a control character; no login can, so leave it out")]
    Control(usize),
    #[error("line {line} names a user a second time, first in line {first}; keep one of them")]
    Twice { line: usize, first: usize },
    #[error("no user is in it; write lines of user:password")]
    Empty,
}

impl Accounts {
    /// Reads lines of `user:password`. A password may hold colons and spaces. Empty lines, and lines
    /// that begin with `#`, are passed over. `secret` makes the salts of SCRAM.
    ///
    /// # Errors
    /// The first line that is none of these.
    pub fn parse(text: &[u8], secret: u128) -> Result<Self, AccountsError> {
        let mut by_name = HashMap::new();
        let mut first_lines = HashMap::new();
        for (index, line) in text.split(|&b| b == b'\n').enumerate() {
            let number = index + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = str::from_utf8(line).map_err(|_| AccountsError::Utf8(number))?;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, password) = line.split_once(':').ok_or(AccountsError::Colon(number))?;
            if user.is_empty() {
                return Err(AccountsError::User(number));
            }
            if password.is_empty() {
                return Err(AccountsError::Password(number));
            }
            if line.chars().any(char::is_control) {
                return Err(AccountsError::Control(number));
            }
            if let Some(first) = first_lines.insert(user, number) {
                return Err(AccountsError::Twice { line: number, first });
            }
            let account = Account { password: password.into(), keys: OnceLock::new() };
            by_name.insert(Box::from(user), account);
        }
        if by_name.is_empty() {
            return Err(AccountsError::Empty);
        }
        Ok(Self { by_name, secret: secret.to_be_bytes() })
    }

    pub(super) fn get(&self, user: &str) -> Option<&Account> {
        self.by_name.get(user)
    }

    /// The salt of a name; one that is not listed has one too, so that it cannot be told apart.
    pub(super) fn salt(&self, user: &str) -> [u8; 16] {
        // A key of any length is taken.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length will do");
        mac.update(user.as_bytes());
        let mut salt = [0; 16];
        salt.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        salt
    }
}

impl Account {
    pub(super) fn keys(&self, derive: impl FnOnce(&str) -> Keys) -> &Keys {
        self.keys.get_or_init(|| derive(&self.password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_comments_passed_over() {
        let text = "# who may come in\n\nanna:se cret:with#colon\r\nmüller:пароль\n#x:y\n";
        let accounts = Accounts::parse(text.as_bytes(), 1).unwrap();
        assert_eq!(accounts.by_name.len(), 2);
        let listed = Credentials::Listed(accounts.into());
        assert!(listed.admit("anna", b"se cret:with#colon"));
        assert!(listed.admit("müller", "пароль".as_bytes()));
        for (user, password) in [("anna", "se cret"), ("Anna", "se cret:with#colon"), ("x", "y")] {
            assert!(!listed.admit(user, password.as_bytes()), "{user}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, expected) in [
            (&b"# only\n"[..], AccountsError::Empty),
            (b"a:b\nanna", AccountsError::Colon(2)),
            (b"\n:b", AccountsError::User(2)),
            (b"a:\n", AccountsError::Password(1)),
            (b"a:b\0", AccountsError::Control(1)),
            (b"a:b\n\nc:\xff", AccountsError::Utf8(3)),
            (b"a:b\nc:d\na:e", AccountsError::Twice { line: 3, first: 1 }),
        ] {
            assert_eq!(Accounts::parse(text, 1).unwrap_err(), expected);
        }
    }

    #[test]
    fn nobody_comes_in_without_a_name_or_a_secret() {
        for (user, password) in [("", "x"), ("x", ""), ("", "")] {
            assert!(!Credentials::Any.admit(user, password.as_bytes()));
        }
        assert!(Credentials::Any.admit("x", b"y"));
        assert!(!Credentials::None.admit("x", b"y"));
    }

    #[test]
    fn salts_are_steady_and_each_name_has_its_own() {
        let accounts = Accounts::parse(b"a:b", 1).unwrap();
        assert_eq!(accounts.salt("a"), accounts.salt("a"));
        assert_ne!(accounts.salt("a"), accounts.salt("nobody"));
        assert_ne!(accounts.salt("a"), Accounts::parse(b"a:b", 2).unwrap().salt("a"));
    }
}
