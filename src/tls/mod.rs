//! TLS 1.2 and 1.3 without I/O: what it takes to open and to seal a connection (RFC 8446, RFC 5246).
//!
//! Built on rustls, with the cryptography of AWS-LC. The room knows no socket and no SMTP.

mod any_client;
mod certificate;
mod client_config;
mod key_log;
mod pair;
mod pem;
mod provider;
mod resolver;
mod self_signed;
mod server_config;
mod session_store;
mod settings;
mod unverified;

pub use certificate::{CertificateFacts, Validity, hex};
pub use client_config::{ClientConfigError, ClientConfigs, ClientOptions, Trust};
pub use key_log::SecretsFile;
pub use pair::{Pair, PairFault};
pub use pem::{PemFault, Wanted, read_chain, read_key, read_roots, write_certificate};
pub use provider::provider;
pub use self_signed::{MadePair, SelfSigned, make};
pub use server_config::{ClientAuth, ServerConfigError, ServerConfigs, ServerOptions};
pub use settings::{
    SettingsError, TlsCipher, TlsGroup, TlsSettings, TlsVersion, group_name, suite_name,
};
