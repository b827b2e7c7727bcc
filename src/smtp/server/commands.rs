//! Which commands a listener knows beyond the usual ones.

use std::sync::Arc;

use crate::limits::HOLD_S_MAX;
use crate::smtp::directory::Directory;
use crate::smtp::params::{Hold, Moment};

/// What a listener knows beyond what every one does.
#[derive(Clone, Debug)]
pub struct Commands {
    /// Without it the listener speaks the SMTP of RFC 821: no EHLO, no extension, no parameter.
    pub esmtp: bool,
    /// Whether SEND, SOML and SAML are taken for MAIL.
    pub legacy: bool,
    /// What VRFY and EXPN are answered from; without it neither tells anything.
    pub directory: Option<Arc<Directory>>,
    pub recipients: RecipientRule,
    pub hold: HoldLimits,
    /// Whether there is a route for ETRN to begin deliveries on.
    pub etrn: bool,
    /// Whether any user may say ATRN.
    pub atrn: bool,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            esmtp: true,
            legacy: false,
            directory: None,
            recipients: RecipientRule::Any,
            hold: HoldLimits::default(),
            etrn: false,
            atrn: false,
        }
    }
}

/// The recipients that RCPT may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipientRule {
    Any,
    /// Those that the directory has, and Postmaster (RFC 5321 §4.5.1).
    Known,
}

/// How long a client may ask for a message to be held (RFC 4865). No clock is known here: the
/// caller says what its listener's start allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HoldLimits {
    /// 1 to [`HOLD_S_MAX`].
    pub seconds_max: u32,
    /// Earlier moments are past.
    pub earliest: Moment,
    pub latest: Moment,
}

impl Default for HoldLimits {
    /// A sink lets no message go by itself, so that it can promise to hold any for ever.
    fn default() -> Self {
        Self { seconds_max: HOLD_S_MAX, earliest: Moment::FIRST, latest: Moment::LAST }
    }
}

impl HoldLimits {
    pub(super) fn allow(self, hold: Hold) -> bool {
        match hold {
            Hold::For(seconds) => seconds <= self.seconds_max,
            Hold::Until(moment) => (self.earliest..=self.latest).contains(&moment),
        }
    }
}
