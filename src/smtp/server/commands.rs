//! Which commands a listener knows beyond the usual ones, and what EHLO says of its extensions.

use std::sync::Arc;

use super::{Policy, Protocol};
use crate::limits::{HOLD_S_MAX, RCPTMAX_ANNOUNCED_MAX};
use crate::smtp::{
    command::write_decimal,
    directory::Directory,
    extension::Extensions,
    params::{Hold, Moment},
};

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
    /// Whether anybody may say ATRN.
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

/// Whom RCPT may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecipientRule {
    Any,
    /// Those whom the directory knows, and Postmaster (RFC 5321 §4.5.1).
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

impl Policy {
    /// Extensions that have all they stand on: what EHLO announces.
    pub fn offered(&self) -> Extensions {
        // LMTP keeps no mail for others (RFC 2033 §1).
        let keeps_mail = self.protocol == Protocol::Smtp;
        let missing = [
            // This room knows of no TLS (RFC 8689 §2).
            (true, Extensions::REQUIRETLS),
            (self.auth.mechanisms().is_empty(), Extensions::AUTH),
            (self.commands.directory.is_none(), Extensions::VRFY.with(Extensions::EXPN)),
            (!self.commands.legacy, Extensions::SEND.with(Extensions::SOML).with(Extensions::SAML)),
            (self.recipients_max > RCPTMAX_ANNOUNCED_MAX, Extensions::LIMITS),
            (!(self.commands.etrn && keeps_mail), Extensions::ETRN),
            (!(self.commands.atrn && keeps_mail), Extensions::ATRN),
            (!self.commands.esmtp, Extensions::ALL.without(Extensions::RFC_821)),
        ];
        let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
        missing.fold(self.extensions, |set, (_, gone)| set.without(*gone)).consistent()
    }

    /// Appends what stands behind the keyword of an extension in the answer to EHLO.
    pub(super) fn argue(&self, extension: Extensions, out: &mut Vec<u8>) {
        match extension {
            Extensions::SIZE => {
                out.push(b' ');
                // RFC 1870 §4: zero says that there is no fixed maximum.
                let most = self.message_bytes_max;
                write_decimal(out, if most == u64::MAX { 0 } else { most });
            }
            Extensions::FUTURERELEASE => {
                out.push(b' ');
                write_decimal(out, u64::from(self.commands.hold.seconds_max));
                out.push(b' ');
                out.extend_from_slice(self.commands.hold.latest.text());
                out.push(b'Z');
            }
            Extensions::AUTH => {
                for mechanism in self.mechanisms().iter() {
                    out.push(b' ');
                    out.extend_from_slice(mechanism.name().as_bytes());
                }
            }
            Extensions::LIMITS => {
                out.extend_from_slice(b" RCPTMAX=");
                write_decimal(out, self.recipients_max as u64);
            }
            _ => {}
        }
    }
}
