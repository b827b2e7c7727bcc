//! `--auth` of the generator: the login that it uses.

use std::sync::Arc;

use crate::smtp::auth::{Login, Mechanism};

/// Reads `USER:PASS[:MECH]`. The text after the last colon is part of the password unless it is
/// the name of a mechanism.
pub(super) fn login(text: &str) -> Result<Arc<Login>, String> {
    let (user, rest) = text.split_once(':').ok_or("write USER:PASS or USER:PASS:MECH")?;
    let named = rest
        .rsplit_once(':')
        .and_then(|(password, word)| Some((password, Mechanism::from_name(word)?)));
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
        for bad in ["", "u", ":p", "u:", "u::PLAIN", "u:p\0"] {
            assert!(login(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_written_down() {
        let words = ["x", "--auth", "u:secret:PLAIN", "--auth=v:secret", "--auth-x", "a:b"];
        let told = without_secret(words.iter().map(|&word| word.to_owned()));
        assert_eq!(told, ["x", "--auth", "u:***", "--auth=v:***", "--auth-x", "a:b"]);
    }
}
