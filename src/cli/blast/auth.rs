//! `--auth` of the generator: the login that it uses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::host;
use crate::smtp::auth::{Login, Mechanism};

/// The environment variable that holds a login where no option does.
pub(super) const VARIABLE: &str = "RINGPOST_AUTH";

/// Octets of a file with a login: tokens have some thousand.
const LOGIN_BYTES_MAX: u64 = 1024 * 1024;

/// Mechanisms that other programs speak, by their names in the registry of IANA. Who asks for one of them wants no
/// password that ends so.
const UNSPOKEN: [&str; 10] = [
    "ANONYMOUS",
    "DIGEST-MD5",
    "EXTERNAL",
    "GSSAPI",
    "GS2-KRB5",
    "KERBEROS_V4",
    "NTLM",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-256-PLUS",
];

/// Why a login cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("cannot read the login in {}: {error}", .path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Form(String),
}

/// Reads `USER:PASS[:MECH]`. The text after the last colon is part of the password unless it is
/// the name of a mechanism.
pub(super) fn login(text: &str) -> Result<Arc<Login>, String> {
    let (user, rest) = text.split_once(':').ok_or("write USER:PASS or USER:PASS:MECH")?;
    let named = rest
        .rsplit_once(':')
        .and_then(|(password, word)| Some((password, Mechanism::from_name(word)?)));
    if let Some((_, word)) = rest.rsplit_once(':')
        && UNSPOKEN.iter().any(|name| name.eq_ignore_ascii_case(word))
    {
        let spoken = Mechanism::ALL.map(Mechanism::name).join(", ");
        return Err(format!(
            "the mechanism {word} is not spoken here; take one of {spoken}, or, if {word} is a part of the password, \
             write a mechanism after it"
        ));
    }
    let (password, mechanism) = match named {
        Some((password, mechanism)) => (password, Some(mechanism)),
        None => (rest, None),
    };
    if user.is_empty() || password.is_empty() {
        return Err("the user and the password must not be empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("no control character may stand in it".to_owned());
    }
    Ok(Arc::new(Login::new(user.to_owned(), password.to_owned(), mechanism)))
}

/// The login in the first line of a file.
pub(super) fn read(path: &Path) -> Result<Arc<Login>, LoginError> {
    let name = path.display();
    let text = host::read_text(path, LOGIN_BYTES_MAX)
        .map_err(|error| LoginError::Read { path: path.to_owned(), error })?;
    let text = String::from_utf8(text).map_err(|_| {
        LoginError::Form(format!("the login in {name} is not UTF-8; write the file in UTF-8"))
    })?;
    let line = text.lines().next().unwrap_or_default();
    login(line).map_err(|why| LoginError::Form(format!("the first line of {name}: {why}")))
}

/// The login in the value of [`VARIABLE`], if that is there and not empty.
pub(super) fn from_environment(value: Option<OsString>) -> Result<Option<Arc<Login>>, LoginError> {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(None) };
    let wrong = |why: String| LoginError::Form(format!("{VARIABLE}{why}"));
    let text = value.into_string().map_err(|_| wrong(" is not UTF-8".to_owned()))?;
    login(&text).map(Some).map_err(|why| wrong(format!(": {why}")))
}

/// The words of a command line as they may be written down: without the password.
pub(super) fn without_secret(words: impl Iterator<Item = String>) -> Vec<String> {
    let hide = |login: &str| format!("{}:***", login.split(':').next().unwrap_or_default());
    let mut is_login = false;
    words
        .map(|word| {
            if std::mem::take(&mut is_login) {
                return hide(&word);
            }
            is_login = word == "--auth";
            match word.strip_prefix("--auth=") {
                Some(login) => format!("--auth={}", hide(login)),
                None => word,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_name_a_mechanism_or_none() {
        for (text, mechanism) in [
            ("u:p", None),
            ("u:p:plain", Some(Mechanism::Plain)),
            ("u:p:q:SCRAM-SHA-256", Some(Mechanism::ScramSha256)),
            ("u:p:q", None),
            ("u::PLAIN:LOGIN", Some(Mechanism::Login)),
        ] {
            assert_eq!(login(text).unwrap().mechanism(), mechanism, "{text}");
        }
        assert_eq!(login("u:p:GSSAPI:PLAIN").unwrap().mechanism(), Some(Mechanism::Plain));
        for bad in ["u:p:GSSAPI", "u:p:ntlm"] {
            assert!(login(bad).unwrap_err().contains("is not spoken here"), "{bad}");
        }
        for bad in ["", "u", ":p", "u:", "u::PLAIN", "u:p\0"] {
            assert!(login(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn logins_come_from_a_file_or_the_environment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["\u{feff}u:p q:plain\r\nmore\n", "u:p q:plain"] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(read(file.path()).unwrap().mechanism(), Some(Mechanism::Plain));
        }
        for text in [&b""[..], b"\nu:p", b"u", b"u:\xff"] {
            std::fs::write(file.path(), text).unwrap();
            let why = read(file.path()).unwrap_err().to_string();
            assert!(why.contains(file.path().to_str().unwrap()) && !why.contains("u:"), "{why}");
        }
        assert!(read(Path::new("/nowhere")).unwrap_err().to_string().contains("cannot read"));
        assert!(from_environment(None).unwrap().is_none());
        assert!(from_environment(Some("".into())).unwrap().is_none());
        let login = from_environment(Some("u:p:LOGIN".into())).unwrap().unwrap();
        assert_eq!(login.mechanism(), Some(Mechanism::Login));
        let why = from_environment(Some("u".into())).unwrap_err().to_string();
        assert!(why.contains(VARIABLE), "{why}");
    }

    #[test]
    fn passwords_are_not_written_down() {
        let words = ["x", "--auth", "u:secret:PLAIN", "--auth=v:secret", "--auth-x", "a:b"];
        let told = without_secret(words.iter().map(|&word| word.to_owned()));
        assert_eq!(told, ["x", "--auth", "u:***", "--auth=v:***", "--auth-x", "a:b"]);
    }
}
