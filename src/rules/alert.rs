//! The alerts of TLS by their names.

/// An alert of TLS (RFC 8446 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsAlert {
    pub name: &'static str,
    pub code: u8,
}

impl TlsAlert {
    /// All that end a connection.
    pub const ALL: [Self; 26] = [
        Self::new("unexpected_message", 10),
        Self::new("bad_record_mac", 20),
        Self::new("record_overflow", 22),
        Self::new("handshake_failure", 40),
        Self::new("bad_certificate", 42),
        Self::new("unsupported_certificate", 43),
        Self::new("certificate_revoked", 44),
        Self::new("certificate_expired", 45),
        Self::new("certificate_unknown", 46),
        Self::new("illegal_parameter", 47),
        Self::new("unknown_ca", 48),
        Self::new("access_denied", 49),
        Self::new("decode_error", 50),
        Self::new("decrypt_error", 51),
        Self::new("protocol_version", 70),
        Self::new("insufficient_security", 71),
        Self::new("internal_error", 80),
        Self::new("inappropriate_fallback", 86),
        Self::new("user_canceled", 90),
        Self::new("missing_extension", 109),
        Self::new("unsupported_extension", 110),
        Self::new("unrecognized_name", 112),
        Self::new("bad_certificate_status_response", 113),
        Self::new("unknown_psk_identity", 115),
        Self::new("certificate_required", 116),
        Self::new("no_application_protocol", 120),
    ];

    const fn new(name: &'static str, code: u8) -> Self {
        Self { name, code }
    }

    /// By its name in the RFC; `-` may stand for `_`.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|alert| alert.name == name)
    }

    /// Its record before anything is encrypted (RFC 8446 §5.1): fatal.
    pub const fn plain_record(self) -> [u8; 7] {
        [21, 3, 3, 0, 2, 2, self.code]
    }
}
