//! Versions, cipher suites and groups of TLS as options name them.

use super::usage::nearest;
use crate::tls::{TlsCipher, TlsGroup, TlsVersion};

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
