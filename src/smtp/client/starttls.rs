//! STARTTLS between two greetings (RFC 3207).
//!
//! ```text
//!  EHLO --offered--> STARTTLS --220--> Want::Encrypt --secured--> EHLO, as if nothing was said before
//!                        |                   |
//!                      4xx 5xx            nothing may stand behind the 220
//! ```
//!
//! A client that has begun the handshake never comes back to plain text: its user closes the connection when
//! the handshake fails, and calls [`Client::secured`] when it is done.

use super::{Client, ClientStage, Fault, HelloVerb, ReplyTo};
use crate::smtp::extension::Extensions;
use crate::smtp::offered::Offered;
use crate::smtp::reply::ReplyReader;
use crate::smtp::server::Protocol;

/// Whether a session goes on under TLS after its first greeting.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Upgrade {
    /// It does not. Also where the connection is under TLS from its first octet on.
    #[default]
    Never,
    /// It does if the server offers STARTTLS and does not refuse it.
    IfOffered,
    /// It does, or it ends.
    Always,
}

/// How far the upgrade of a session has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum UpgradeProgress {
    #[default]
    Ahead,
    /// The server refused STARTTLS, and the session goes on in plain text.
    Refused,
    Done,
}

impl Client {
    /// What the server offers is known: chooses STARTTLS where it is wanted and there is no TLS yet. Answers
    /// whether it is to be sent.
    ///
    /// # Errors
    /// The server does not offer what must be.
    pub(super) fn begin_upgrade(&mut self) -> Result<bool, Fault> {
        if self.upgraded != UpgradeProgress::Ahead || self.settings.upgrade == Upgrade::Never {
            return Ok(false);
        }
        if self.offered.has(Extensions::STARTTLS) {
            self.stage = ClientStage::StartTls;
            return Ok(true);
        }
        match self.settings.upgrade {
            Upgrade::Always => Err(Fault::NotOffered("STARTTLS")),
            Upgrade::Never | Upgrade::IfOffered => Ok(false),
        }
    }

    pub(super) fn write_starttls(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"STARTTLS\r\n");
        self.expect(ReplyTo::StartTls, 1);
        self.stage = ClientStage::Waiting;
    }

    pub(super) fn on_starttls(&mut self, code: u16) -> Result<(), Fault> {
        match code {
            220 => self.stage = ClientStage::Encrypt,
            200..400 => return Err(Fault::OutOfPlace { phase: ReplyTo::StartTls, code }),
            _ if self.settings.upgrade == Upgrade::Always => self.stage = ClientStage::Leaving,
            _ => {
                self.upgraded = UpgradeProgress::Refused;
                return self.on_offers();
            }
        }
        Ok(())
    }

    /// Whether a handshake is due: the server has answered STARTTLS with 220.
    pub fn is_at_handshake(&self) -> bool {
        self.stage == ClientStage::Encrypt
    }

    /// The handshake that [`Want::Encrypt`](super::Want::Encrypt) asked for is done. All that the server said
    /// before is forgotten (RFC 3207 §4.2), and the greeting is repeated.
    ///
    /// # Panics
    /// In debug builds, when no handshake was asked for.
    pub fn secured(&mut self) {
        debug_assert!(self.is_at_handshake(), "a handshake that nobody asked for");
        debug_assert!(self.expected.is_empty(), "a reply that is due belongs to the plain text");
        self.upgraded = UpgradeProgress::Done;
        self.offered = Offered::default();
        self.reader = ReplyReader::default();
        self.verb = match self.settings.protocol {
            Protocol::Lmtp => HelloVerb::Lhlo,
            Protocol::Smtp => HelloVerb::Ehlo,
        };
        self.stage = ClientStage::Hello(self.verb);
    }

    /// Whether STARTTLS has put the session under TLS.
    pub fn is_secured(&self) -> bool {
        self.upgraded == UpgradeProgress::Done
    }
}
