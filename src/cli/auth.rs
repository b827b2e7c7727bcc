//! `--auth`, on both sides: whom the sink lets in, and as whom the generator comes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::smtp::auth::{Accounts, AuthPolicy, Credentials, Login, Mechanism, Mechanisms};

/// Reads `none`, `any` or the name of a file of accounts. The second part is a warning.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn policy(
    text: &str,
    mechanisms: &[Mechanism],
    required: bool,
) -> Result<(AuthPolicy, Option<String>), String> {
    let (credentials, warning) = match text {
        "none" => (Credentials::None, None),
        "any" => (Credentials::Any, None),
        path => {
            let (accounts, warning) = read(Path::new(path))?;
            (Credentials::Listed(accounts.into()), warning)
        }
    };
    let mechanisms = match mechanisms {
        [] => Mechanisms::ALL,
        some => some.iter().copied().collect(),
    };
    let policy = AuthPolicy { credentials, mechanisms, required };
    let idle = matches!(policy.credentials, Credentials::None);
    if policy.mechanisms().is_empty() && !idle {
        return Err(
            "--auth any cannot serve SCRAM-SHA-256, which needs the passwords; give a FILE of \
                    accounts, or other --auth-mechanisms"
                .to_owned(),
        );
    }
    if idle && required {
        return Err("--auth-required lets no mail in without --auth any or --auth FILE".to_owned());
    }
    Ok((policy, warning))
}

fn read(path: &Path) -> Result<(Accounts, Option<String>), String> {
    let name = path.display();
    let cannot = |error| {
        format!("cannot read the accounts in {name}: {error}; --auth takes none, any or a FILE")
    };
    let text = std::fs::read(path).map_err(cannot)?;
    let mode = std::fs::metadata(path).map_err(cannot)?.permissions().mode() & 0o777;
    let open = mode & 0o077 != 0;
    let warning = open.then(|| {
        format!("{name} holds passwords and others may open it (mode {mode:04o}); chmod 600 {name}")
    });
    let accounts = Accounts::parse(&text, fastrand::u128(..))
        .map_err(|error| format!("accounts in {name}: {error}"))?;
    Ok((accounts, warning))
}

/// A mechanism by its name.
pub(super) fn mechanism(text: &str) -> Result<Mechanism, String> {
    Mechanism::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
        format!("no such mechanism; there are {}", names.join(", "))
    })
}

/// Reads `USER:PASS[:MECH]`. What stands behind the last colon is part of the password unless it is
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

    #[test]
    fn what_would_let_nobody_in_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accounts");
        let file = path.to_str().unwrap();
        assert!(policy(file, &[], false).unwrap_err().contains("cannot read"));
        std::fs::write(&path, "a:b\noops\n").unwrap();
        let error = policy(file, &[], false).unwrap_err();
        assert!(error.contains(file) && error.contains("line 2"), "{error}");
        std::fs::write(&path, "a:b\n").unwrap();
        for (mode, warned) in [(0o640, true), (0o600, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (read, warning) = policy(file, &[], true).unwrap();
            assert_eq!((read.mechanisms(), warning.is_some()), (Mechanisms::ALL, warned));
        }
        assert!(policy("none", &[], true).is_err());
        assert!(policy("any", &[Mechanism::ScramSha256], false).is_err());
        assert!(policy("none", &[], false).unwrap().0.mechanisms().is_empty());
    }
}
