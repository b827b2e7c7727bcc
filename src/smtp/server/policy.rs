//! What a listener allows, and what EHLO says of it.

use super::commands::Commands;
use crate::limits::RCPTMAX_ANNOUNCED_MAX;
use crate::smtp::auth::{AuthPolicy, Mechanisms};
use crate::smtp::command::write_decimal;
use crate::smtp::extension::Extensions;
use crate::smtp::protocol::Protocol;
use crate::smtp::syntax::Syntax;

/// What becomes of a message sent with DATA that holds a CR or LF alone. BDAT counts its octets, so
/// that nothing can be smuggled there: its messages are kept and flagged either way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BareNewline {
    /// Read to the true end, then 550 5.6.0.
    Reject,
    /// Stored as sent, and flagged.
    Keep,
}

/// What a listener says of TLS, which its caller makes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TlsPolicy {
    /// Whether there is a certificate, so that STARTTLS can be offered.
    pub offered: bool,
    /// Whether all but a few commands get 530 before TLS (RFC 3207 §4).
    pub required: bool,
    /// Whether AUTH is offered under TLS alone; before, it gets 538 (RFC 4954 §4).
    pub auth_under_tls: bool,
}

/// What a listener allows. Shared by its sessions, never changed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Name in the greeting and in the answer to EHLO.
    pub hostname: Box<str>,
    pub protocol: Protocol,
    /// Octets of one message, dots unstuffed; `u64::MAX` for no limit.
    pub message_bytes_max: u64,
    pub recipients_max: usize,
    pub syntax: Syntax,
    pub bare_newline: BareNewline,
    pub extensions: Extensions,
    pub commands: Commands,
    pub auth: AuthPolicy,
    pub tls: TlsPolicy,
}

impl Policy {
    /// Extensions that have all they stand on: what EHLO announces, in plain text or under TLS.
    pub fn offered_under(&self, tls: bool) -> Extensions {
        // LMTP keeps no mail for others (RFC 2033 §1).
        let keeps_mail = self.protocol == Protocol::Smtp;
        let missing = [
            (tls || !self.tls.offered, Extensions::STARTTLS),
            // RFC 8689 §2.
            (!tls, Extensions::REQUIRETLS),
            (self.auth.mechanisms().is_empty(), Extensions::AUTH),
            (!tls && self.tls.auth_under_tls, Extensions::AUTH),
            (self.commands.directory.is_none(), Extensions::VRFY.union(Extensions::EXPN)),
            (
                !self.commands.legacy,
                Extensions::SEND.union(Extensions::SOML).union(Extensions::SAML),
            ),
            (self.recipients_max > RCPTMAX_ANNOUNCED_MAX, Extensions::LIMITS),
            (!(self.commands.etrn && keeps_mail), Extensions::ETRN),
            (!(self.commands.atrn && keeps_mail), Extensions::ATRN),
            (!self.commands.esmtp, Extensions::ALL.difference(Extensions::RFC_821)),
        ];
        let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
        missing.fold(self.extensions, |set, (_, gone)| set.difference(*gone)).consistent()
    }

    /// Appends what follows the keyword of an extension in the answer to EHLO.
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

    /// The mechanisms that EHLO announces, under TLS at least; none where AUTH is off.
    pub fn mechanisms(&self) -> Mechanisms {
        if self.offered_under(true).contains(Extensions::AUTH) {
            self.auth.mechanisms()
        } else {
            Mechanisms::NONE
        }
    }
}
