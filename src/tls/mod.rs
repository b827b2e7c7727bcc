//! TLS 1.2 and 1.3 without I/O: what it takes to open and to seal a connection (RFC 8446, RFC 5246).
//!
//! Built on rustls, with the cryptography of AWS-LC. The room knows no socket and no SMTP.

mod provider;

pub use provider::provider;
