//! Why a TLS connection is of no further use, in kinds that can be counted.

use rustls::{
    AlertDescription, CertificateError, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

/// What went wrong, as a report counts it. A fault that the peer found and told us in an alert is of the same
/// kind as one that we find in the peer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum TlsFault {
    /// The peer does not speak TLS; what it sent is readable.
    PlainText,
    /// A certificate comes from an authority that the other side does not know.
    UnknownCa,
    /// A certificate is for another name, or the name asked for is not known.
    WrongName,
    /// A certificate that is expired, revoked, broken or not fit for the purpose.
    BadCertificate,
    /// The server asked for a certificate, and the client has none.
    NoCertificate,
    NoCommonVersion,
    /// No cipher suite, key exchange group or signature scheme in common.
    NoCommonSuite,
    /// No protocol in common (ALPN).
    NoCommonProtocol,
    /// A record or a handshake larger than it may be.
    TooLarge,
    /// Others of the same core needed the room in which it waited for the rest of a record or handshake.
    NoRoom,
    /// Records that do nothing, one after another.
    Flood,
    /// The connection ended without close_notify, or in the handshake.
    Cut,
    /// The peer took too long for the handshake.
    Timeout,
    /// The peer sent any other alert.
    Alert,
    /// The peer broke the protocol, or a record was changed on its way.
    Broken,
    /// It lies with us.
    Internal,
}

impl TlsFault {
    pub const ALL: [Self; 16] = [
        Self::PlainText,
        Self::UnknownCa,
        Self::WrongName,
        Self::BadCertificate,
        Self::NoCertificate,
        Self::NoCommonVersion,
        Self::NoCommonSuite,
        Self::NoCommonProtocol,
        Self::TooLarge,
        Self::NoRoom,
        Self::Flood,
        Self::Cut,
        Self::Timeout,
        Self::Alert,
        Self::Broken,
        Self::Internal,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlainText => "plain_text",
            Self::UnknownCa => "unknown_ca",
            Self::WrongName => "wrong_name",
            Self::BadCertificate => "bad_certificate",
            Self::NoCertificate => "no_certificate",
            Self::NoCommonVersion => "no_common_version",
            Self::NoCommonSuite => "no_common_suite",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
            Self::Flood => "flood",
            Self::Cut => "cut",
            Self::Timeout => "timeout",
            Self::Alert => "alert",
            Self::Broken => "broken",
            Self::Internal => "internal",
        }
    }

    /// What happened, as a sentence says it after "TLS failed: ".
    pub const fn title(self) -> &'static str {
        match self {
            Self::PlainText => "the peer spoke plain text",
            Self::UnknownCa => "unknown certificate authority",
            Self::WrongName => "the certificate is for another name",
            Self::BadCertificate => "bad certificate",
            Self::NoCertificate => "no client certificate",
            Self::NoCommonVersion => "no version in common",
            Self::NoCommonSuite => "no cipher suite or group in common",
            Self::NoCommonProtocol => "no application protocol in common",
            Self::TooLarge => "a record or handshake that is too large",
            Self::NoRoom => "no room to wait for the rest of a record or handshake",
            Self::Flood => "a flood of records that do nothing",
            Self::Cut => "the connection was cut",
            Self::Timeout => "the handshake took too long",
            Self::Alert => "the peer gave up",
            Self::Broken => "the peer broke the protocol",
            Self::Internal => "internal error",
        }
    }

    /// `wire` is what the error is about; `fresh` says that nothing was agreed on before it.
    fn of(error: &rustls::Error, wire: &[u8], fresh: bool) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType)
                if fresh && is_readable(wire) =>
            {
                Self::PlainText
            }
            Error::InvalidMessage(
                InvalidMessage::MessageTooLarge
                | InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            )
            | Error::PeerSentOversizedRecord => Self::TooLarge,
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::NoCommonProtocol,
            Error::PeerIncompatible(why) => Self::of_incompatible(why),
            Error::PeerMisbehaved(
                PeerMisbehaved::TooManyEmptyFragments
                | PeerMisbehaved::TooManyKeyUpdateRequests
                | PeerMisbehaved::TooManyRenegotiationRequests
                | PeerMisbehaved::TooManyWarningAlertsReceived,
            ) => Self::Flood,
            Error::InvalidCertificate(why) => Self::of_certificate(why),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError => Self::Broken,
            _ => Self::Internal,
        }
    }

    fn of_incompatible(why: &PeerIncompatible) -> Self {
        match why {
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // A hello of TLS 1.1 or older has none.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired => Self::NoCommonVersion,
            _ => Self::NoCommonSuite,
        }
    }

    fn of_certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::UnknownIssuer => Self::UnknownCa,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::UnknownCA => Self::UnknownCa,
            AlertDescription::UnrecognisedName => Self::WrongName,
            AlertDescription::NoCertificate | AlertDescription::CertificateRequired => {
                Self::NoCertificate
            }
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::BadCertificateStatusResponse
            | AlertDescription::BadCertificateHashValue => Self::BadCertificate,
            AlertDescription::ProtocolVersion => Self::NoCommonVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                Self::NoCommonSuite
            }
            AlertDescription::NoApplicationProtocol => Self::NoCommonProtocol,
            AlertDescription::RecordOverflow => Self::TooLarge,
            _ => Self::Alert,
        }
    }
}

/// Whether a peer that sent this speaks a protocol of lines: no record of TLS begins with such an octet.
fn is_readable(wire: &[u8]) -> bool {
    wire.first().is_some_and(|first| first.is_ascii_graphic() || first.is_ascii_whitespace())
}

/// A TLS connection is of no further use. What [`Tls::take_ready`](super::Tls::take_ready) gives now, if
/// anything, is the alert that tells the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsError {
    fault: TlsFault,
    /// What rustls says of it.
    detail: Option<rustls::Error>,
}

impl TlsError {
    /// `wire` is what the error is about; `fresh` says that nothing was agreed on before it.
    pub(super) fn of(error: rustls::Error, wire: &[u8], fresh: bool) -> Self {
        Self { fault: TlsFault::of(&error, wire, fresh), detail: Some(error) }
    }

    /// What went wrong, as a report counts it.
    pub fn fault(&self) -> TlsFault {
        self.fault
    }

    /// Whether it was the peer that found the fault, and told us with an alert.
    pub fn is_alert(&self) -> bool {
        matches!(self.detail, Some(rustls::Error::AlertReceived(_)))
    }
}

impl From<TlsFault> for TlsError {
    fn from(fault: TlsFault) -> Self {
        Self { fault, detail: None }
    }
}

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{} ({detail})", self.fault.title()),
            None => f.write_str(self.fault.title()),
        }
    }
}

impl std::error::Error for TlsError {}

const _: () = {
    let mut index = 0;
    while index < TlsFault::ALL.len() {
        assert!(TlsFault::ALL[index] as usize == index);
        index += 1;
    }
};
