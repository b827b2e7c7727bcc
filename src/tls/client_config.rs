//! The configuration of a client: whom it trusts, its own certificate, the sessions that it resumes.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Error, RootCertStore};

use super::connection::Tls;
use super::error::TlsError;
use super::key_log::SecretsFile;
use super::pair::Pair;
use super::session_store::SessionStore;
use super::settings::TlsSettings;
use super::unverified::Unverified;

/// Which certificates of servers a client takes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that one of these CAs has signed, for the name that was asked for, while they are valid.
    Roots(RootCertStore),
    /// All.
    Anybody,
}

/// What a client does in a handshake.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub settings: TlsSettings,
    pub trust: Trust,
    /// Its own certificate, for servers that ask for one.
    pub pair: Option<Pair>,
    pub key_log: Option<Arc<SecretsFile>>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    #[error("the certificates of the CA cannot be used: {0}")]
    Roots(#[from] VerifierBuilderError),
    #[error("'{0}' is no name of a host and no address")]
    Name(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] Error),
}

/// The two configurations of a client for one server. Both keep the sessions that they are given.
#[derive(Clone, Debug)]
pub struct ClientConfigs {
    /// For a full handshake.
    pub full: Arc<ClientConfig>,
    /// Resumes a session, if one is kept; else as `full`.
    pub resuming: Arc<ClientConfig>,
    /// What the certificate of the server must hold. A name is told in the handshake (SNI), an address is not.
    pub server: ServerName<'static>,
}

impl ClientConfigs {
    /// Begins a connection to the server: its client, whose hello is ready. Where it `resumes`, it resumes a
    /// session if one is kept.
    ///
    /// # Errors
    /// Those of [`Tls::client`].
    pub fn begin(&self, resumes: bool) -> Result<Tls, TlsError> {
        let config = if resumes { &self.resuming } else { &self.full };
        Tls::client(Arc::clone(config), self.server.clone())
    }
}

impl ClientOptions {
    /// The configurations for connections to the host `server`, of which at most `sessions_max` are kept to
    /// be resumed. Each core has its own, so that none waits for another one.
    ///
    /// # Errors
    /// [`ClientConfigError`] when `server` is no host, there are no roots, or versions and ciphers do not go
    /// together.
    pub fn configs(
        &self,
        server: &str,
        sessions_max: usize,
    ) -> Result<ClientConfigs, ClientConfigError> {
        let name = ServerName::try_from(server.to_owned());
        let server = name.map_err(|_| ClientConfigError::Name(server.to_owned()))?;
        let store = SessionStore::new(server.clone(), sessions_max);
        let builder = ClientConfig::builder_with_provider(Arc::clone(self.settings.provider()))
            .with_protocol_versions(self.settings.versions())?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier()?);
        let mut full = match &self.pair {
            Some(pair) => builder.with_client_cert_resolver(pair.always()),
            None => builder.with_no_client_auth(),
        };
        if let Some(file) = &self.key_log {
            full.key_log = Arc::<SecretsFile>::clone(file);
        }
        // Cloned, because rustls resumes a session only under the same verifier and the same certificate.
        let mut resuming = full.clone();
        full.resumption = Resumption::store(Arc::new(store.without_resuming()));
        resuming.resumption = Resumption::store(Arc::new(store));
        Ok(ClientConfigs { full: Arc::new(full), resuming: Arc::new(resuming), server })
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
        let provider = self.settings.provider();
        Ok(match &self.trust {
            Trust::Anybody => Arc::new(Unverified::new(provider)),
            Trust::Roots(roots) => WebPkiServerVerifier::builder_with_provider(
                Arc::new(roots.clone()),
                Arc::clone(provider),
            )
            .build()?,
        })
    }
}
