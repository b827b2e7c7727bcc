//! TLS 1.2 and 1.3 without I/O: what it takes to open and to seal a connection (RFC 8446, RFC 5246).
//!
//! Built on rustls, with the cryptography of AWS-LC. The room knows no socket and no SMTP.
//!
//! ```text
//!  octets of the wire --open--> plaintext, record by record       plaintext --seal--> octets for the wire
//!                      \--ready--> octets that must be sent (handshake, tickets, alerts), before what is sealed
//! ```
//!
//! [`Tls`] is one side of one connection. It is shaped like the interface of rustls 0.24, so that the change to
//! that is one file.

mod any_client;
mod certificate;
mod client_config;
mod connection;
mod error;
mod facts;
mod heard_name;
mod key_log;
mod pair;
mod pem;
mod provider;
mod resolver;
mod self_signed;
mod server_config;
mod session_store;
mod settings;
mod signatures;
mod system_roots;
mod unverified;

pub use certificate::{CertificateFacts, Validity, hex};
pub use client_config::{ClientConfigError, ClientConfigs, ClientOptions, Trust};
pub use connection::{Tls, TlsState};
pub use error::{TlsError, TlsFault};
pub use facts::TlsFacts;
pub use key_log::SecretsFile;
pub use pair::{Pair, PairFault};
pub use pem::{PemFault, Wanted, read_chain, read_key, read_roots, write_certificate};
pub use provider::provider;
pub use self_signed::{MADE_CA_NAME, MadePair, SelfSigned, make};
pub use server_config::{ClientAuth, ServerConfigError, ServerConfigs, ServerOptions};
pub use settings::{
    SettingsError, TlsCipher, TlsGroup, TlsSettings, TlsVersion, group_name, suite_name,
};
pub use system_roots::{NoSystemRoots, system_roots};

pub use rustls::{ClientConfig, RootCertStore, ServerConfig};
