//! A client that wants to be let in.

use std::sync::Mutex;

use super::mechanism::{Mechanism, Mechanisms};
use super::scram;

/// A name, its secret, and how they are to be shown. Shared by the sessions that use it.
#[derive(Debug)]
pub struct Login {
    pub(super) user: String,
    /// Password, or token for OAUTHBEARER and XOAUTH2.
    pub(super) secret: String,
    /// `None` for the best that the server offers.
    mechanism: Option<Mechanism>,
    pub(super) derived: Mutex<Option<scram::Derived>>,
}

impl Login {
    /// Neither text may hold a control character; the caller checks.
    pub fn new(user: String, secret: String, mechanism: Option<Mechanism>) -> Self {
        debug_assert!(!user.chars().chain(secret.chars()).any(char::is_control));
        Self { user, secret, mechanism, derived: Mutex::default() }
    }

    /// The mechanism that was asked for by name.
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// How to log in to a server that offers these. A mechanism whose secret is no password is used by name
    /// only.
    pub(crate) fn choose(&self, offered: Mechanisms) -> Option<Mechanism> {
        match self.mechanism {
            Some(named) => Some(named).filter(|named| offered.contains(*named)),
            None => offered.iter().find(|mechanism| !mechanism.wants_token()),
        }
    }
}
