//! The configuration of a server: certificates by name, client certificates, tickets.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    NoClientAuth, NoServerSessionStorage, ProducesTickets, VerifierBuilderError,
    WebPkiClientVerifier,
};
use rustls::{Error, RootCertStore, ServerConfig};

use super::any_client::AnyClient;
use super::heard_name::HearsName;
use super::key_log::SecretsFile;
use super::pair::Pair;
use super::resolver::ByName;
use super::settings::TlsSettings;
use crate::limits::TLS_TICKETS_DEFAULT;

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientAuth {
    #[default]
    None,
    /// A client may do without.
    Request,
    /// A client without a certificate is turned away.
    Require,
}

/// What a server does besides showing its certificates.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub settings: TlsSettings,
    pub client_auth: ClientAuth,
    /// The CAs of client certificates. `None`: any certificate is taken whose key the client has.
    pub client_roots: Option<RootCertStore>,
    /// Turn away clients that ask for a name that no certificate has, or for none.
    pub sni_strict: bool,
    /// Tickets after a handshake of TLS 1.3; with 0 no session is resumed, under TLS 1.2 neither.
    pub tickets: usize,
    pub key_log: Option<Arc<SecretsFile>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            settings: TlsSettings::default(),
            client_auth: ClientAuth::None,
            client_roots: None,
            sni_strict: false,
            tickets: TLS_TICKETS_DEFAULT,
            key_log: None,
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServerConfigError {
    #[error("the certificates of the CA for clients cannot be used: {0}")]
    ClientRoots(#[from] VerifierBuilderError),
    #[error("none of the cipher suites can be used with the key of a certificate (RSA or ECDSA)")]
    NoSuite,
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
}

/// Makes the configurations of a server: one at its start, and one more each time that its certificates are
/// read again.
///
/// INVARIANT: all of them have one `ticketer` and one `verifier`. So a ticket is good on every core and after
/// certificates have changed, and none leads past a client certificate: it was issued where the same was asked.
#[derive(Clone, Debug)]
pub struct ServerConfigs {
    options: ServerOptions,
    verifier: Arc<dyn ClientCertVerifier>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl ServerConfigs {
    /// # Errors
    /// [`ServerConfigError`] when the roots for clients are none, or the system has no random octets.
    pub fn new(options: ServerOptions) -> Result<Self, ServerConfigError> {
        Ok(Self { verifier: verifier(&options)?, ticketer: Ticketer::new()?, options })
    }

    /// The same for clients of other CAs. Tickets stay good only where the CAs are those that they were: a session
    /// that is resumed has the certificate of its first handshake, which is not verified again.
    ///
    /// # Errors
    /// As [`ServerConfigs::new`].
    pub fn for_clients_of(&self, roots: Option<RootCertStore>) -> Result<Self, ServerConfigError> {
        let anchors = |roots: &Option<RootCertStore>| roots.as_ref().map(|all| all.roots.clone());
        if anchors(&roots) == anchors(&self.options.client_roots) {
            return Ok(self.clone());
        }
        Self::new(ServerOptions { client_roots: roots, ..self.options.clone() })
    }

    /// A configuration with these certificates; the first is the one for all other names. `pairs` has at
    /// least one.
    ///
    /// # Errors
    /// [`ServerConfigError`] when versions and ciphers of the settings do not go together, or not with a key.
    pub fn config(&self, pairs: Vec<Pair>) -> Result<Arc<ServerConfig>, ServerConfigError> {
        let settings = &self.options.settings;
        if !pairs.iter().all(|pair| settings.has_suite_for(pair.key().key.algorithm())) {
            return Err(ServerConfigError::NoSuite);
        }
        let mut config = ServerConfig::builder_with_provider(Arc::clone(settings.provider()))
            .with_protocol_versions(settings.versions())?
            .with_client_cert_verifier(Arc::clone(&self.verifier))
            .with_cert_resolver(Arc::new(HearsName(ByName::new(pairs, self.options.sni_strict))));
        // Ours has the cheapest suite in front, whatever a client prefers.
        config.ignore_client_order = true;
        // A store that remembers sessions would be a lock for all cores, and lost with the next certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = self.options.tickets;
        if self.options.tickets > 0 {
            config.ticketer = Arc::clone(&self.ticketer);
        }
        if let Some(file) = &self.options.key_log {
            config.key_log = Arc::<SecretsFile>::clone(file);
        }
        // MAIL can be replayed: no octet of SMTP travels before the handshake is done (RFC 8446 §8).
        debug_assert_eq!(config.max_early_data_size, 0);
        Ok(Arc::new(config))
    }
}

fn verifier(options: &ServerOptions) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let provider = options.settings.provider();
    let is_required = match options.client_auth {
        ClientAuth::None => return Ok(Arc::new(NoClientAuth)),
        ClientAuth::Request => false,
        ClientAuth::Require => true,
    };
    let Some(roots) = options.client_roots.clone() else {
        return Ok(Arc::new(AnyClient::new(provider, is_required)));
    };
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if is_required { builder.build() } else { builder.allow_unauthenticated().build() }
}

#[cfg(test)]
mod tests;
