//! TLS of the generator: when, with whom, and as whom.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;

use crate::blast::security::TlsPlan;
use crate::blast::targets::Targets;
use crate::cli::exit::ExitError;
use crate::cli::pem_files::{read_pair, read_roots};
use crate::cli::tls_names::{TlsChoice, TlsModeArg};
use crate::dial::{Security, TlsMode};
use crate::notice::notice;
use crate::tls::{self, ClientOptions, Pair, Trust};

/// Why TLS cannot be set up as was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsArgsError {
    /// A file that cannot be read, or does not hold what it should.
    #[error("{0}")]
    File(ExitError),
    #[error("{0}")]
    Form(String),
}

impl From<ExitError> for TlsArgsError {
    fn from(error: ExitError) -> Self {
        Self::File(error)
    }
}

impl TlsArgsError {
    fn of(error: impl Display) -> Self {
        Self::Form(error.to_string())
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// When a session goes under TLS [default: implicit for smtps:// and lmtps://, else none]
    #[arg(long, value_enum, value_name = "MODE")]
    tls: Option<TlsModeArg>,
    /// Verify no certificate; the report says so
    #[arg(long, conflicts_with = "tls_ca")]
    tls_insecure: bool,
    /// A file of PEM with the CAs that may have signed the certificates of servers [default: those of
    /// this machine, or of SSL_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our own certificate in PEM, for servers that ask for one, with those that signed it behind it
    #[arg(long, value_name = "FILE")]
    tls_client_cert: Option<PathBuf>,
    /// The key of --tls-client-cert in PEM [default: in the file of the certificate]
    #[arg(long, value_name = "FILE", requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,
    /// The name that the certificate must hold and that the server is told (SNI) [default: the host of
    /// the target]
    #[arg(long, value_name = "NAME")]
    tls_servername: Option<String>,
    /// Part of the sessions that go under TLS; the others stay in plain text [default: 100%]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    tls_share: Option<f64>,
    /// Part of the handshakes that resume an earlier session [default: 0%]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    tls_resume: Option<f64>,
    #[command(flatten)]
    choice: TlsChoice,
}

impl TlsArgs {
    /// The plan of TLS; `None` where all sessions are in plain text.
    pub(super) fn plan(&self, targets: &Targets) -> Result<Option<TlsPlan>, TlsArgsError> {
        let mode = self.tls.map(TlsMode::from);
        let mut any = false;
        for of in targets.all() {
            let mode = of.target.tls_mode(mode).map_err(TlsArgsError::of)?;
            any |= mode != TlsMode::Plain;
            if self.tls_share.is_some() && mode == TlsMode::Implicit {
                let url = &of.target.url;
                return Err(TlsArgsError::of(format_args!(
                    "--tls-share leaves sessions in plain text, which {url} does not take; use it with --tls \
                     starttls"
                )));
            }
        }
        if !any {
            return match self.first_given() {
                Some(option) => Err(TlsArgsError::of(format_args!(
                    "{option} is about TLS, and no session is under it: add --tls starttls, or name a target \
                     as smtps://HOST:PORT"
                ))),
                None => Ok(None),
            };
        }
        let words = self.in_words();
        let options = ClientOptions {
            settings: self.choice.settings().map_err(TlsArgsError::of)?,
            trust: self.trust()?,
            pair: self.pair()?,
            key_log: None,
        };
        // By what it is, because another file may have the same name.
        let certificate = options.pair.iter().map(|pair| pair.facts().fingerprint());
        let certificate = certificate.map(|print| format!("--tls-client-cert ({print})"));
        let words: Vec<String> = words.chain(certificate).collect();
        let server_name = self.tls_servername.clone();
        let security = Security { mode, server_name, options };
        let plan = TlsPlan {
            security,
            share_percent: self.tls_share,
            resume_percent: self.tls_resume,
            options: words,
        };
        Ok(Some(plan))
    }

    /// An option that means nothing without TLS.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.tls_insecure, "--tls-insecure"),
            (self.tls_ca.is_some(), "--tls-ca"),
            (self.tls_client_cert.is_some(), "--tls-client-cert"),
            (self.tls_servername.is_some(), "--tls-servername"),
            (self.tls_share.is_some(), "--tls-share"),
            (self.tls_resume.is_some(), "--tls-resume"),
        ];
        let first = given.into_iter().find(|(given, _)| *given).map(|(_, option)| option);
        first.or_else(|| self.choice.first_given())
    }

    /// The options that have no field of their own in the result, but for our certificate.
    fn in_words(&self) -> impl Iterator<Item = String> {
        let name = self.tls_servername.iter().map(|name| format!("--tls-servername {name}"));
        self.choice.in_words().chain(name)
    }

    fn trust(&self) -> Result<Trust, TlsArgsError> {
        let roots = match &self.tls_ca {
            _ if self.tls_insecure => return Ok(Trust::Anybody),
            Some(file) => read_roots(file)?,
            None => tls::system_roots().map_err(|error| {
                TlsArgsError::of(format_args!(
                    "{error}; give some with --tls-ca FILE, or verify nobody with --tls-insecure"
                ))
            })?,
        };
        Ok(Trust::Roots(roots))
    }

    fn pair(&self) -> Result<Option<Pair>, TlsArgsError> {
        let Some(cert) = &self.tls_client_cert else { return Ok(None) };
        let (pair, warnings) = read_pair(cert, self.tls_client_key.as_deref(), "")?;
        for warning in warnings {
            notice!("ringpost-blast: {warning}");
        }
        Ok(Some(pair))
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| format!("'{text}' is not a part of the whole; write 0% to 100%, as in 80%"))
}
