//! What was agreed on in a handshake.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use super::certificate::CertificateFacts;
use super::settings::{group_name, suite_name};

/// What was agreed on in a handshake that is complete.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// As IANA names it: `TLS_AES_128_GCM_SHA256`.
    pub suite: String,
    /// As IANA names it: `x25519`, `X25519MLKEM768`. `None` where no keys were exchanged, as with a ticket of
    /// TLS 1.2.
    pub group: Option<String>,
    /// The name that the client asked for (SNI, RFC 6066 §3); known to the server alone.
    pub server_name: Option<Box<str>>,
    pub resumed: bool,
    /// The peer's certificate, if it showed one that can be read.
    pub peer: Option<CertificateFacts>,
}

impl TlsFacts {
    /// Whether the last flight of the handshake was the client's, so that it cannot know yet what the server made
    /// of it: in TLS 1.3 (RFC 8446 §2), and where TLS 1.2 resumes a session (RFC 5246 §7.3).
    pub fn ends_with_client(&self) -> bool {
        self.version == "TLSv1.3" || self.resumed
    }

    /// `None` while the handshake goes on.
    pub(super) fn of(state: &CommonState, server_name: Option<&str>) -> Option<Self> {
        if state.is_handshaking() {
            return None;
        }
        let shown = state.peer_certificates().and_then(|chain| chain.first());
        Some(Self {
            version: match state.protocol_version()? {
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => "TLSv1.2",
            },
            suite: suite_name(state.negotiated_cipher_suite()?.suite()),
            group: state.negotiated_key_exchange_group().map(|group| group_name(group.name())),
            server_name: server_name.map(Box::from),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: shown.and_then(|shown| CertificateFacts::read(shown)),
        })
    }
}
