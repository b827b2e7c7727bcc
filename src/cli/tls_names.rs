//! What options name of TLS: versions, cipher suites, groups, and when a client begins it.

use clap::{Args, ValueEnum};

use super::usage::nearest;
use crate::dial::TlsMode;
use crate::tls::{SettingsError, TlsCipher, TlsGroup, TlsSettings, TlsVersion};

/// What a handshake may use, in the words of both programs.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsChoice {
    /// Versions of TLS to speak: 1.2, 1.3 or both [default: both]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = version)]
    tls_versions: Vec<TlsVersion>,

    /// Cipher suites by their names of IANA or OpenSSL, the preferred one first [default: all of the TLS
    /// library]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = cipher)]
    tls_ciphers: Vec<TlsCipher>,

    /// Groups for the key exchange, such as x25519, P-256 or X25519MLKEM768, the preferred one first
    /// [default: all that are usual]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = group)]
    tls_groups: Vec<TlsGroup>,
}

impl TlsChoice {
    /// # Errors
    /// Versions, suites and groups that do not go together.
    pub(super) fn settings(&self) -> Result<TlsSettings, SettingsError> {
        TlsSettings::new(&self.tls_versions, &self.tls_ciphers, &self.tls_groups)
    }

    /// The first of the options that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        self.lists().into_iter().find(|(_, names)| !names.is_empty()).map(|(option, _)| option)
    }

    /// The options that were given, as they could have been written.
    pub(super) fn in_words(&self) -> impl Iterator<Item = String> {
        let given = self.lists().into_iter().filter(|(_, names)| !names.is_empty());
        given.map(|(option, names)| format!("{option} {}", names.join(",")))
    }

    fn lists(&self) -> [(&'static str, Vec<String>); 3] {
        let versions = self.tls_versions.iter().map(|version| version.name().to_owned());
        let ciphers = self.tls_ciphers.iter().map(|cipher| cipher.name());
        let groups = self.tls_groups.iter().map(|group| group.name());
        [
            ("--tls-versions", versions.collect()),
            ("--tls-ciphers", ciphers.collect()),
            ("--tls-groups", groups.collect()),
        ]
    }
}

/// When the sessions of a client go under TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum TlsModeArg {
    /// Never
    None,
    /// After STARTTLS; a session ends if the server does not offer it
    Starttls,
    /// After STARTTLS if the server offers it, else in plain text
    Opportunistic,
    /// From the first octet
    Implicit,
}

impl From<TlsModeArg> for TlsMode {
    fn from(mode: TlsModeArg) -> Self {
        match mode {
            TlsModeArg::None => Self::Plain,
            TlsModeArg::Starttls => Self::StartTls,
            TlsModeArg::Opportunistic => Self::Opportunistic,
            TlsModeArg::Implicit => Self::Implicit,
        }
    }
}

fn version(text: &str) -> Result<TlsVersion, String> {
    TlsVersion::from_name(text)
        .ok_or_else(|| "the TLS library has 1.2 and 1.3, and none of the older versions".to_owned())
}

fn cipher(text: &str) -> Result<TlsCipher, String> {
    let names = || TlsCipher::all().map(TlsCipher::name);
    TlsCipher::from_name(text)
        .ok_or_else(|| no_such("cipher suite", text, &names().collect::<Vec<_>>()))
}

fn group(text: &str) -> Result<TlsGroup, String> {
    let names = || TlsGroup::all().map(TlsGroup::name);
    TlsGroup::from_name(text).ok_or_else(|| no_such("group", text, &names().collect::<Vec<_>>()))
}

fn no_such(what: &str, text: &str, names: &[String]) -> String {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let meant = nearest(&text.to_lowercase(), lower.iter().map(String::as_str));
    let meant = names.iter().find(|name| meant == Some(&name.to_lowercase()));
    match meant {
        Some(name) => format!("no such {what}; did you mean {name}?"),
        None => format!("no such {what}; there are {}", names.join(", ")),
    }
}
