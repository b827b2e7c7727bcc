//! `--auth` of the sink: who may log in.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::exit::{self, Exit, ExitError};
use crate::host;
use crate::limits::ADDRESSES_BYTES_MAX;
use crate::smtp::auth::{Accounts, AuthPolicy, Credentials, Mechanism, Mechanisms};

/// Reads `none`, `any` or the name of a file of accounts. The second part is a warning.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn policy(
    text: &str,
    mechanisms: &[Mechanism],
    required: bool,
) -> Result<(AuthPolicy, Option<String>), ExitError> {
    let usage = |why: &str| Err(ExitError::new(Exit::Usage, why));
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
        return usage(
            "--auth any cannot serve SCRAM-SHA-256, which needs the passwords; give a FILE of accounts, or other \
             --auth-mechanisms",
        );
    }
    if idle && required {
        return usage("--auth-required lets no mail in without --auth any or --auth FILE");
    }
    Ok((policy, warning))
}

fn read(path: &Path) -> Result<(Accounts, Option<String>), ExitError> {
    let name = path.display();
    let cannot = |error| {
        let why = format!("cannot read the accounts in {name}: {error}");
        ExitError::new(exit::read(&error), why + "; --auth takes none, any or a FILE")
    };
    let text = host::read_text(path, ADDRESSES_BYTES_MAX).map_err(cannot)?;
    let mode = std::fs::metadata(path).map_err(cannot)?.permissions().mode() & 0o777;
    let open = mode & 0o077 != 0;
    let warning = open.then(|| {
        format!("{name} holds passwords and others may open it (mode {mode:04o}); chmod 600 {name}")
    });
    let accounts = Accounts::parse(&text, fastrand::u128(..))
        .map_err(|error| ExitError::new(Exit::Data, format!("accounts in {name}: {error}")))?;
    Ok((accounts, warning))
}

/// A mechanism by its name.
pub(super) fn mechanism(text: &str) -> Result<Mechanism, String> {
    Mechanism::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
        format!("no such mechanism; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_let_nobody_in_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accounts");
        let file = path.to_str().unwrap();
        let refused = |file| policy(file, &[], false).unwrap_err().to_string();
        assert!(refused(file).contains("cannot read"));
        std::fs::write(&path, "a:b\noops\n").unwrap();
        let error = refused(file);
        assert!(error.contains(file) && error.contains("line 2"), "{error}");
        // As Notepad saves it: the mark in front is no part of the name.
        std::fs::write(&path, "\u{feff}a:b\r\na:c\r\n").unwrap();
        assert!(refused(file).contains("second time"));
        std::fs::write(&path, "\u{feff}a:b\r\n").unwrap();
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
