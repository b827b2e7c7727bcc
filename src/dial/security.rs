//! When a conversation goes under TLS, and whom the client trusts.

use super::target::Target;
use crate::smtp::client::Upgrade;
use crate::tls::{ClientConfigError, ClientConfigs, ClientOptions, Trust};

/// When a conversation goes under TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsMode {
    /// It does not.
    #[default]
    Plain,
    /// After STARTTLS (RFC 3207), or it ends.
    StartTls,
    /// After STARTTLS where the server offers it and does not refuse it.
    Opportunistic,
    /// With its first octet (RFC 8314 §3).
    Implicit,
}

impl TlsMode {
    pub const ALL: [Self; 4] = [Self::Plain, Self::StartTls, Self::Opportunistic, Self::Implicit];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::StartTls => "starttls",
            Self::Opportunistic => "opportunistic",
            Self::Implicit => "implicit",
        }
    }

    /// What the protocol client has to do for it.
    pub const fn upgrade(self) -> Upgrade {
        match self {
            Self::Plain | Self::Implicit => Upgrade::Never,
            Self::StartTls => Upgrade::Always,
            Self::Opportunistic => Upgrade::IfOffered,
        }
    }
}

/// How clients secure their connections to any target.
#[derive(Clone, Debug)]
pub struct Security {
    /// `None` leaves it to the scheme of each target.
    pub mode: Option<TlsMode>,
    /// The name that certificates must hold; `None` for the host as the target names it.
    pub server_name: Option<String>,
    pub options: ClientOptions,
}

/// Why a target cannot be secured as was asked.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(
        "{url} is under TLS from its first octet; leave out --tls {mode}, or write {plain}",
        mode = .mode.name()
    )]
    Scheme { url: String, mode: TlsMode, plain: String },
    #[error(
        "{url} names no host that a certificate could be checked against; give one with --tls-servername"
    )]
    NoName { url: String },
    #[error("{url}: {error}")]
    Config { url: String, error: ClientConfigError },
}

/// How connections to one target are secured, on one core.
#[derive(Clone, Debug)]
pub struct TargetSecurity {
    pub mode: TlsMode,
    pub configs: ClientConfigs,
    /// Whether the certificates of servers are verified.
    pub verifies: bool,
}

impl TargetSecurity {
    /// Does what the first handshake of a thread does before it says anything: the library collects randomness for
    /// some 50 ms, which would look as if the server had taken it.
    pub fn warm_up(&self) {
        drop(self.configs.begin(false));
    }
}

impl Target {
    /// When conversations with it go under TLS, if `asked` is what was asked for all targets.
    ///
    /// # Errors
    /// A scheme that begins with TLS, where TLS was to begin later or not at all.
    pub fn tls_mode(&self, asked: Option<TlsMode>) -> Result<TlsMode, SecurityError> {
        match asked {
            Some(mode) if self.implicit_tls && mode != TlsMode::Implicit => {
                let (url, plain) = (self.url.clone(), self.url.replacen("mtps:", "mtp:", 1));
                Err(SecurityError::Scheme { url, mode, plain })
            }
            None if self.implicit_tls => Ok(TlsMode::Implicit),
            asked => Ok(asked.unwrap_or_default()),
        }
    }
}

impl Security {
    /// Whether the certificates of servers are verified.
    pub fn verifies(&self) -> bool {
        matches!(self.options.trust, Trust::Roots(_))
    }

    /// What one core needs for its connections to `target`, of which at most `sessions_max` are kept to be
    /// resumed; `None` where they are in plain text.
    ///
    /// # Errors
    /// [`SecurityError`] when the target cannot be secured as was asked.
    pub fn of_target(
        &self,
        target: &Target,
        sessions_max: usize,
    ) -> Result<Option<TargetSecurity>, SecurityError> {
        let mode = target.tls_mode(self.mode)?;
        if mode == TlsMode::Plain {
            return Ok(None);
        }
        let url = || target.url.clone();
        let name = self.server_name.as_ref().or(target.host.as_ref());
        let name = name.ok_or_else(|| SecurityError::NoName { url: url() })?;
        let configs = self.options.configs(name, sessions_max);
        let configs = configs.map_err(|error| SecurityError::Config { url: url(), error })?;
        Ok(Some(TargetSecurity { mode, configs, verifies: self.verifies() }))
    }
}
