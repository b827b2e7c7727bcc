//! The options of the sink for TLS: certificates, who is asked for one, and what the handshake may use.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::listen::ListenUrl;
use crate::cli::exit::{Exit, ExitError};
use crate::cli::pem_files::{date, read_pair, read_roots};
use crate::cli::tls_names::TlsChoice;
use crate::cli::value;
use crate::host;
use crate::limits::{PEM_BYTES_MAX, TLS_TICKETS_DEFAULT, TLS_TICKETS_MAX};
use crate::notice::{self, notice};
use crate::smtp::server::TlsPolicy;
use crate::tls::{
    self, CertificateFacts, ClientAuth, MadePair, Pair, RootCertStore, SecretsFile, SelfSigned,
    ServerConfig, ServerConfigError, ServerConfigs, ServerOptions,
};

/// What helps whoever has no certificate.
const REMEDY: &str = "; --tls-self-signed makes a certificate for tests";

const _: () = assert!(TLS_TICKETS_DEFAULT == 2, "as --help and the manual say");

#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsOptions {
    /// Certificate in PEM, with those that signed it behind it. STARTTLS is then announced, and --listen
    /// takes smtps:// and lmtps://. May be given more than once, each with a --tls-key: the name that a
    /// client asks for chooses, and the first is for all others
    #[arg(long, value_name = "FILE")]
    tls_cert: Vec<PathBuf>,

    /// Key in PEM of the --tls-cert in the same place [default: in the file of the certificate]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// Make a certificate for --hostname, localhost, 127.0.0.1 and ::1, and a CA that signs it; or one
    /// with a fault that clients should notice
    #[arg(long, value_name = "KIND", num_args = 0..=1, require_equals = true, default_missing_value = "good",
          conflicts_with = "tls_cert")]
    tls_self_signed: Option<SelfSignedArg>,

    /// Write the CA of --tls-self-signed to this file, for clients to trust
    #[arg(long, value_name = "FILE", requires = "tls_self_signed")]
    tls_ca_out: Option<PathBuf>,

    /// Ask clients for a certificate. request: they may do without. require: they may not
    #[arg(long, value_name = "WHAT", default_value = "none")]
    tls_client_auth: ClientAuthArg,

    /// The CAs of client certificates, in PEM [default: any certificate is taken]
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Answer all but EHLO, STARTTLS, NOOP and QUIT with 530 before TLS
    #[arg(long)]
    require_tls: bool,

    /// Offer AUTH under TLS only; before, it gets 538
    #[arg(long)]
    auth_tls_only: bool,

    /// Turn away clients that ask for a name that no certificate has, or for none
    #[arg(long)]
    tls_sni_strict: bool,

    #[command(flatten)]
    choice: TlsChoice,

    /// Tickets that a client gets after a handshake, to resume the session; with 0 none can be resumed
    /// [default: 2]
    #[arg(long, value_name = "N", value_parser = tickets)]
    tls_tickets: Option<usize>,

    /// Append the secrets of all connections to this file, with which Wireshark can read them
    #[arg(long, value_name = "FILE")]
    tls_keylog: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SelfSignedArg {
    Good,
    Expired,
    NotYet,
    WrongName,
    UnknownCa,
    Weak,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum ClientAuthArg {
    None,
    Request,
    Require,
}

impl From<SelfSignedArg> for SelfSigned {
    fn from(kind: SelfSignedArg) -> Self {
        match kind {
            SelfSignedArg::Good => Self::Good,
            SelfSignedArg::Expired => Self::Expired,
            SelfSignedArg::NotYet => Self::NotYet,
            SelfSignedArg::WrongName => Self::WrongName,
            SelfSignedArg::UnknownCa => Self::UnknownCa,
            SelfSignedArg::Weak => Self::Weak,
        }
    }
}

impl From<ClientAuthArg> for ClientAuth {
    fn from(choice: ClientAuthArg) -> Self {
        match choice {
            ClientAuthArg::None => Self::None,
            ClientAuthArg::Request => Self::Request,
            ClientAuthArg::Require => Self::Require,
        }
    }
}

/// The TLS of a sink: what makes its configurations, and the one that it begins with.
pub(super) struct SinkTls {
    configs: Mutex<ServerConfigs>,
    config: Arc<ServerConfig>,
    /// What is shown where no file is read again.
    made: Option<Pair>,
    /// Of the certificates that are shown, with the file that each is from.
    shown: Vec<ShownCertificate>,
}

/// What is told of a certificate that clients are shown.
struct ShownCertificate {
    file: Option<PathBuf>,
    facts: CertificateFacts,
}

impl TlsOptions {
    /// Whether there is a certificate, and so TLS.
    pub(super) fn is_on(&self) -> bool {
        self.tls_self_signed.is_some() || !self.tls_cert.is_empty()
    }

    /// Whether AUTH is for TLS alone.
    pub(super) fn is_auth_bound(&self) -> bool {
        self.auth_tls_only
    }

    /// What the listeners say of TLS.
    pub(super) fn policy(&self) -> TlsPolicy {
        TlsPolicy {
            offered: self.is_on(),
            required: self.require_tls,
            auth_under_tls: self.auth_tls_only,
        }
    }

    /// Checks the options against each other and against the listeners.
    ///
    /// # Errors
    /// 64 for an option without its companion.
    pub(super) fn check(&self, listen: &[ListenUrl]) -> Result<(), ExitError> {
        let usage = |why: String| Err(ExitError::new(Exit::Usage, why));
        if !self.is_on() {
            let implicit = listen.iter().find(|url| url.implicit_tls);
            let what = match (implicit, self.without_companion()) {
                (Some(url), _) => url.to_string(),
                (None, Some(option)) => option.to_owned(),
                (None, None) => return Ok(()),
            };
            return usage(format!("{what} needs a certificate: --tls-cert and --tls-key{REMEDY}"));
        }
        if !self.tls_key.is_empty() && self.tls_key.len() != self.tls_cert.len() {
            return usage(format!(
                "{} --tls-cert and {} --tls-key: each certificate needs its key, in the same order",
                self.tls_cert.len(),
                self.tls_key.len()
            ));
        }
        if self.tls_client_ca.is_some() && self.tls_client_auth == ClientAuthArg::None {
            let why = "--tls-client-ca needs --tls-client-auth request or require, since nobody is \
                       asked for a certificate otherwise";
            return usage(why.to_owned());
        }
        Ok(())
    }

    /// The first option that means nothing without a certificate.
    fn without_companion(&self) -> Option<&'static str> {
        let given = [
            ("--tls-client-auth", self.tls_client_auth != ClientAuthArg::None),
            ("--tls-client-ca", self.tls_client_ca.is_some()),
            ("--require-tls", self.require_tls),
            ("--auth-tls-only", self.auth_tls_only),
            ("--tls-sni-strict", self.tls_sni_strict),
            ("--tls-tickets", self.tls_tickets.is_some()),
            ("--tls-keylog", self.tls_keylog.is_some()),
        ];
        let first = given.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name);
        first.or_else(|| self.choice.first_given())
    }

    /// Reads or makes the certificates. `None` without TLS.
    ///
    /// # Errors
    /// 64 for ciphers and versions that do not go together, 65 and 66 for files, 73 for one that cannot be
    /// written.
    pub(super) fn set_up(&self, hostname: &str) -> Result<Option<SinkTls>, ExitError> {
        if !self.is_on() {
            return Ok(None);
        }
        let settings =
            self.choice.settings().map_err(|error| ExitError::new(Exit::Usage, error))?;
        let options = ServerOptions {
            settings,
            client_auth: self.tls_client_auth.into(),
            client_roots: self.client_roots()?,
            sni_strict: self.tls_sni_strict,
            tickets: self.tls_tickets.unwrap_or(TLS_TICKETS_DEFAULT),
            key_log: self.tls_keylog.as_deref().map(open_keylog).transpose()?,
        };
        let configs = ServerConfigs::new(options).map_err(cannot)?;
        let (pairs, shown) = match self.tls_self_signed {
            Some(kind) => self.make(kind.into(), hostname)?,
            None => self.read()?,
        };
        let made = self.tls_self_signed.and(pairs.first().cloned());
        let config = configs.config(pairs).map_err(unfit)?;
        Ok(Some(SinkTls { configs: Mutex::new(configs), config, made, shown }))
    }

    fn client_roots(&self) -> Result<Option<RootCertStore>, ExitError> {
        self.tls_client_ca.as_deref().map(read_roots).transpose()
    }

    fn make(
        &self,
        kind: SelfSigned,
        hostname: &str,
    ) -> Result<(Vec<Pair>, Vec<ShownCertificate>), ExitError> {
        let MadePair { pair, ca } =
            tls::make(kind, hostname, host::unix_ns() / 1_000_000_000).map_err(cannot)?;
        if let Some(path) = &self.tls_ca_out {
            write_ca(path, &tls::write_certificate(&ca)).map_err(|error| {
                let why = format_args!("cannot write the CA to {}: {error}", path.display());
                ExitError::new(Exit::CantCreate, why)
            })?;
        }
        let shown = ShownCertificate { file: None, facts: pair.facts().clone() };
        Ok((vec![pair], vec![shown]))
    }

    fn read(&self) -> Result<(Vec<Pair>, Vec<ShownCertificate>), ExitError> {
        let (mut pairs, mut shown) = (Vec::new(), Vec::new());
        for (at, certificate) in self.tls_cert.iter().enumerate() {
            let key = self.tls_key.get(at).map(PathBuf::as_path);
            let (pair, warnings) = read_pair(certificate, key, REMEDY)?;
            for warning in warnings {
                notice!("ringpost-sink: {warning}");
            }
            let (file, facts) = (Some(certificate.clone()), pair.facts().clone());
            shown.push(ShownCertificate { file, facts });
            pairs.push(pair);
        }
        Ok((pairs, shown))
    }

    /// The files that are read again, in words.
    pub(super) fn files(&self) -> impl Iterator<Item = &'static str> {
        let certificates = match self.tls_cert.len() {
            0 => None,
            1 => Some("the certificate"),
            _ => Some("the certificates"),
        };
        let authority = self.tls_client_ca.as_ref().map(|_| "the CA of client certificates");
        [certificates, authority].into_iter().flatten()
    }
}

impl SinkTls {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads the certificates and the CA of client certificates again, and tells of the certificates. What else was
    /// asked for stays, and tickets stay good unless the CA has changed.
    ///
    /// # Errors
    /// As [`TlsOptions::set_up`]; nothing has changed then.
    pub(super) fn read_again(&self, options: &TlsOptions) -> Result<Arc<ServerConfig>, ExitError> {
        let (pairs, shown) = match &self.made {
            Some(made) => (vec![made.clone()], Vec::new()),
            None => options.read()?,
        };
        let mut configs = self.configs.lock().expect("nothing panics while it is held");
        let next = configs.for_clients_of(options.client_roots()?).map_err(cannot)?;
        let config = next.config(pairs).map_err(unfit)?;
        *configs = next;
        shown.iter().for_each(ShownCertificate::tell);
        Ok(config)
    }

    /// Tells which certificates clients are shown, and what may be published of them.
    pub(super) fn tell(&self) {
        self.shown.iter().for_each(ShownCertificate::tell);
        let hosts = hosts(self.shown.iter().flat_map(|shown| &shown.facts.names));
        if hosts.is_empty() {
            return;
        }
        let policy = mta_sts(&hosts);
        if notice::is_json() {
            notice::say_event(json!({ "event": "mta-sts", "policy": policy }));
            return;
        }
        notice!("ringpost-sink: a policy of MTA-STS for this server (RFC 8461):");
        for line in policy.lines() {
            notice!("  {line}");
        }
    }
}

impl ShownCertificate {
    fn tell(&self) {
        let Self { file, facts } = self;
        let (until, fingerprint, tlsa) =
            (date(facts.not_after_s), facts.fingerprint(), facts.tlsa());
        let addresses = facts.addresses.iter().map(ToString::to_string);
        let names: Vec<String> = facts.names.iter().cloned().chain(addresses).collect();
        if notice::is_json() {
            notice::say_event(json!({
                "event": "certificate",
                "file": file.as_deref().map(Path::to_string_lossy),
                "names": names,
                "until": until,
                "sha256": fingerprint,
                "tlsa": tlsa,
            }));
            return;
        }
        let made = "made just now".to_owned();
        let from = file.as_ref().map_or(made, |file| file.display().to_string());
        notice!("ringpost-sink: certificate for {}, until {until} ({from})", names.join(", "));
        notice!("  SHA-256 {fingerprint}");
        notice!("  TLSA {tlsa}");
    }
}

/// Writes the CA to a file that is new, or that an earlier sink wrote its CA to; or to a pipe that somebody reads.
fn write_ca(path: &Path, text: &str) -> io::Result<()> {
    let made = |facts: CertificateFacts| facts.subject.contains(tls::MADE_CA_NAME);
    let is_ours = |octets: &[u8]| {
        octets.is_empty()
            || tls::read_chain(octets).is_ok_and(|chain| {
                // A key or a note beside it is lost with it.
                let alone: String = chain.iter().map(tls::write_certificate).collect();
                alone.as_bytes() == octets
                    && chain.iter().all(|ca| CertificateFacts::read(ca).is_some_and(made))
            })
    };
    let something_else = || io::Error::other("it holds something else, which is not overwritten");
    match host::read_regular(path, PEM_BYTES_MAX) {
        Ok(octets) if !is_ours(&octets) => return Err(something_else()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(something_else()),
        // It is not there, or a pipe or a device. Or it cannot be read, and so not written either.
        Ok(_) | Err(_) => {}
    }
    let how = &mut OpenOptions::new();
    host::open_to_write(path, how.write(true).create(true).truncate(true))?
        .write_all(text.as_bytes())
}

fn tell_lost(error: &io::Error) {
    notice!(
        "ringpost-sink: a secret of TLS could not be written to the file of --tls-keylog ({error}): it and perhaps \
         others are missing there"
    );
}

/// The names that others may know this server by, each once.
fn hosts<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut hosts: Vec<&str> = Vec::new();
    for name in names {
        let is_known = |known: &&str| known.eq_ignore_ascii_case(name);
        if !name.eq_ignore_ascii_case("localhost") && !hosts.iter().any(is_known) {
            hosts.push(name);
        }
    }
    hosts
}

/// A policy that says that mail for these hosts goes over TLS with a certificate that holds (RFC 8461 §3.2).
fn mta_sts(hosts: &[&str]) -> String {
    let hosts: String = hosts.iter().map(|host| format!("mx: {host}\n")).collect();
    format!("version: STSv1\nmode: testing\n{hosts}max_age: 86400\n")
}

fn open_keylog(path: &Path) -> Result<Arc<SecretsFile>, ExitError> {
    let how = &mut OpenOptions::new();
    let file = host::open_to_write(path, how.append(true).create(true).mode(0o600));
    file.map(|file| Arc::new(SecretsFile::new(file, tell_lost))).map_err(|error| {
        let why = format_args!("cannot write the secrets of TLS to {}: {error}", path.display());
        ExitError::new(Exit::CantCreate, why)
    })
}

/// Certificates and options that do not go together are a matter of the command line.
fn unfit(error: ServerConfigError) -> ExitError {
    match error {
        ServerConfigError::NoSuite => ExitError::new(Exit::Usage, error),
        error => cannot(error),
    }
}

fn cannot(error: impl std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Os, format_args!("cannot set TLS up: {error}"))
}

fn tickets(text: &str) -> Result<usize, String> {
    let count = value::whole_in_memory(text).map_err(|error| error.to_string())?;
    if count > TLS_TICKETS_MAX {
        return Err(format!("a client gets at most {TLS_TICKETS_MAX} tickets"));
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
