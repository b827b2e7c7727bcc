//! What options name of TLS: versions, cipher suites, groups, and when a client begins it.

use clap::ValueEnum;

use super::usage::nearest;
use crate::dial::TlsMode;
use crate::tls::{TlsCipher, TlsGroup, TlsVersion};

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

pub(super) fn version(text: &str) -> Result<TlsVersion, String> {
    TlsVersion::from_name(text)
        .ok_or_else(|| "the TLS library has 1.2 and 1.3, and none of the older versions".to_owned())
}

pub(super) fn cipher(text: &str) -> Result<TlsCipher, String> {
    let names = || TlsCipher::all().map(TlsCipher::name);
    TlsCipher::from_name(text)
        .ok_or_else(|| no_such("cipher suite", text, &names().collect::<Vec<_>>()))
}

pub(super) fn group(text: &str) -> Result<TlsGroup, String> {
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
