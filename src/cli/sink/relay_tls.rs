//! TLS of the relay: when its deliveries go under it, and whom it trusts.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::{Exit, ExitError};
use crate::cli::pem_files::read_roots;
use crate::cli::tls_names::TlsModeArg;
use crate::dial::{Security, SecurityError, Target, TargetSecurity, TlsMode};
use crate::tls::{self, ClientOptions, TlsSettings, Trust};

/// Sessions of one server that the relay keeps to resume them: it has few connections to each.
const RELAY_SESSIONS_KEPT: usize = 8;

#[derive(Debug, Args)]
#[command(next_help_heading = "Relay")]
pub(super) struct RelayTlsOptions {
    /// When a delivery of --etrn goes under TLS [default: implicit for smtps:// and lmtps://, else none]
    #[arg(long, value_enum, value_name = "MODE", requires = "etrn")]
    relay_tls: Option<TlsModeArg>,

    /// The CAs that may have signed the certificates of the servers of --etrn, in PEM [default: those of
    /// this machine, or of SSL_CERT_FILE]
    #[arg(long, value_name = "FILE", requires = "etrn")]
    relay_tls_ca: Option<PathBuf>,

    /// Verify no certificate of the servers of --etrn
    #[arg(long, requires = "etrn", conflicts_with = "relay_tls_ca")]
    relay_tls_insecure: bool,

    /// The name that the certificates of the servers of --etrn must hold and that they are told (SNI)
    /// [default: the host of the target]
    #[arg(long, value_name = "NAME", requires = "etrn")]
    relay_tls_servername: Option<String>,
}

/// What the options come to, target by target.
pub(super) struct RelayTls<'o> {
    options: &'o RelayTlsOptions,
    /// `None` until a target is under TLS: only then are the CAs read.
    security: Option<Security>,
}

impl RelayTlsOptions {
    pub(super) fn plan(&self) -> RelayTls<'_> {
        RelayTls { options: self, security: None }
    }

    fn mode(&self) -> Option<TlsMode> {
        self.relay_tls.map(TlsMode::from)
    }

    fn security(&self) -> Result<Security, ExitError> {
        let trust = match &self.relay_tls_ca {
            _ if self.relay_tls_insecure => Trust::Anybody,
            Some(file) => Trust::Roots(read_roots(file)?),
            None => Trust::Roots(tls::system_roots().map_err(|error| {
                let remedy = "give some with --relay-tls-ca FILE, or verify nobody with \
                              --relay-tls-insecure";
                ExitError::new(Exit::Usage, format_args!("{error}; {remedy}"))
            })?),
        };
        let settings = TlsSettings::default();
        let options = ClientOptions { settings, trust, pair: None, key_log: None };
        let server_name = self.relay_tls_servername.clone();
        Ok(Security { mode: self.mode(), server_name, options })
    }

    /// An option that means nothing without TLS.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.relay_tls_insecure, "--relay-tls-insecure"),
            (self.relay_tls_ca.is_some(), "--relay-tls-ca"),
            (self.relay_tls_servername.is_some(), "--relay-tls-servername"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, option)| option)
    }
}

impl RelayTls<'_> {
    /// How deliveries to `target` go under TLS; `None` for plain text.
    ///
    /// # Errors
    /// 64 for a target that cannot be secured as was asked, 65 and 66 for the file of the CAs.
    pub(super) fn of_target(
        &mut self,
        target: &Target,
    ) -> Result<Option<TargetSecurity>, ExitError> {
        if target.tls_mode(self.options.mode()).map_err(unfit)? == TlsMode::Plain {
            return Ok(None);
        }
        let security = match self.security.take() {
            Some(security) => security,
            None => self.options.security()?,
        };
        let of_target = security.of_target(target, RELAY_SESSIONS_KEPT).map_err(unfit);
        self.security = Some(security);
        of_target
    }

    /// Each option has had its use.
    ///
    /// # Errors
    /// 64 for one that is about TLS where no target is under it.
    pub(super) fn check_used(&self) -> Result<(), ExitError> {
        match self.options.first_given() {
            Some(option) if self.security.is_none() => {
                let why = format_args!(
                    "{option} is about TLS, and no delivery is under it: add --relay-tls starttls, or name a \
                     target as smtps://HOST:PORT"
                );
                Err(ExitError::new(Exit::Usage, why))
            }
            _ => Ok(()),
        }
    }
}

/// The error in the words of these options.
fn unfit(error: SecurityError) -> ExitError {
    let why = match error {
        SecurityError::Scheme { url, mode, plain } => format!(
            "{url} is under TLS from its first octet; leave out --relay-tls {}, or write {plain}",
            mode.name()
        ),
        SecurityError::NoName { url } => format!(
            "{url} names no host that a certificate could be checked against; give one with \
             --relay-tls-servername"
        ),
        error @ SecurityError::Config { .. } => error.to_string(),
    };
    ExitError::new(Exit::Usage, why)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn options(line: &str) -> Result<RelayTlsOptions, String> {
        parse(&format!("--etrn a.example=x {line}"))
    }

    fn parse(line: &str) -> Result<RelayTlsOptions, String> {
        #[derive(clap::Parser)]
        struct Line {
            #[arg(long)]
            etrn: Option<String>,
            #[command(flatten)]
            tls: RelayTlsOptions,
        }
        let words = std::iter::once("sink").chain(line.split_whitespace());
        Line::try_parse_from(words)
            .map(|Line { etrn: _, tls }| tls)
            .map_err(|error| error.to_string())
    }

    /// The mode for a target, or what is wrong.
    fn mode(line: &str, target: &str) -> Result<Option<(TlsMode, bool)>, (u8, String)> {
        let target = Target::parse(target, &[]).unwrap();
        let options = options(line).unwrap();
        let mut tls = options.plan();
        let told = |error: ExitError| (error.code(), error.to_string());
        let security = tls.of_target(&target).map_err(told)?;
        tls.check_used().map_err(told)?;
        Ok(security.map(|security| (security.mode, security.verifies)))
    }

    #[test]
    fn the_mode_is_that_of_the_option_or_of_the_scheme() {
        let plain = "smtp://127.0.0.1:25";
        assert_eq!(mode("", plain), Ok(None));
        assert_eq!(mode("--relay-tls none", plain), Ok(None));
        for (line, target, expected) in [
            ("--relay-tls starttls", plain, TlsMode::StartTls),
            ("--relay-tls opportunistic", plain, TlsMode::Opportunistic),
            ("--relay-tls implicit", plain, TlsMode::Implicit),
            ("", "smtps://127.0.0.1:465", TlsMode::Implicit),
            ("--relay-tls implicit", "lmtps://127.0.0.1:465", TlsMode::Implicit),
            (
                "--relay-tls starttls --relay-tls-servername mx.example",
                "lmtp+unix:/x",
                TlsMode::StartTls,
            ),
        ] {
            let line = format!("{line} --relay-tls-insecure");
            assert_eq!(mode(&line, target), Ok(Some((expected, false))), "{line} {target}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told_in_the_words_of_the_relay() {
        let (plain, implicit) = ("smtp://127.0.0.1:25", "smtps://127.0.0.1:465");
        for (line, target, words) in [
            (
                "--relay-tls starttls",
                implicit,
                "leave out --relay-tls starttls, or write smtp://127.0.0.1:465",
            ),
            ("--relay-tls none", implicit, "leave out --relay-tls none"),
            (
                "--relay-tls starttls --relay-tls-insecure",
                "smtp+unix:/x",
                "give one with --relay-tls-servername",
            ),
            ("--relay-tls-insecure", plain, "--relay-tls-insecure is about TLS"),
            ("--relay-tls none --relay-tls-ca x", plain, "--relay-tls-ca is about TLS"),
            ("--relay-tls-servername x", plain, "--relay-tls-servername is about TLS"),
            (
                "--relay-tls-insecure --relay-tls-servername a..b",
                implicit,
                "'a..b' is no name of a host",
            ),
        ] {
            let (code, told) = mode(line, target).unwrap_err();
            assert_eq!(code, Exit::Usage as u8, "{line}");
            assert!(told.contains(words), "{line}: {told}");
        }
        let (code, told) = mode("--relay-tls-ca /nonexistent/ca", implicit).unwrap_err();
        assert_eq!(code, Exit::NoInput as u8, "{told}");
        assert!(options("--relay-tls-ca x --relay-tls-insecure").is_err());
        assert!(options("--relay-tls sometimes").unwrap_err().contains("opportunistic"));
        for alone in ["--relay-tls starttls", "--relay-tls-ca x", "--relay-tls-insecure"] {
            let told = parse(alone).unwrap_err();
            assert!(told.contains("--etrn"), "{told}");
        }
    }
}
