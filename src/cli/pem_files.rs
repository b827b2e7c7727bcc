//! Files of certificates and keys that the user named.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::Timestamp;

use super::exit::{self, Exit, ExitError};
use crate::host;
use crate::limits::PEM_BYTES_MAX;
use crate::tls::{self, CertificateFacts, Pair, PemFault, RootCertStore, Validity};

/// Reads a certificate chain and its key; without a file of its own, the key is in the file of the chain. The
/// second part are warnings about what is served all the same.
///
/// # Errors
/// 66 for a file that cannot be read, 65 for one that does not hold what it should; the line says which, and
/// ends with `remedy`.
pub(super) fn read_pair(
    certificate: &Path,
    key: Option<&Path>,
    remedy: &str,
) -> Result<(Pair, Vec<String>), ExitError> {
    let chain_octets = read("certificate", certificate, remedy)?;
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        let what = if path == certificate { "certificate" } else { "key" };
        ExitError::new(Exit::Data, format_args!("{what} {}: {why}{remedy}", path.display()))
    };
    let chain = tls::read_chain(&chain_octets).map_err(|fault| wrong(certificate, &fault))?;
    let key_file = key.unwrap_or(certificate);
    let secret = match key {
        Some(path) => tls::read_key(&read("key", path, remedy)?),
        None => tls::read_key(&chain_octets),
    };
    let secret = secret.map_err(|fault| match (key, fault) {
        (None, PemFault::Other { .. }) => {
            wrong(certificate, &"it has no key; name its file with --tls-key")
        }
        (_, fault) => wrong(key_file, &fault),
    })?;
    let pair = Pair::new(chain, secret).map_err(|fault| {
        let files = match key {
            Some(key) => format!("{} and {}", certificate.display(), key.display()),
            None => certificate.display().to_string(),
        };
        ExitError::new(Exit::Data, format_args!("certificate and key {files}: {fault}"))
    })?;
    let mut warnings = Vec::new();
    warnings.extend(open_to_others(key_file));
    warnings.extend(out_of_time(certificate, pair.facts()));
    Ok((pair, warnings))
}

/// Reads the certificates of CAs.
///
/// # Errors
/// As [`read_pair`].
pub(super) fn read_roots(path: &Path) -> Result<RootCertStore, ExitError> {
    let octets = read("CA", path, "")?;
    tls::read_roots(&octets)
        .map_err(|fault| ExitError::new(Exit::Data, format_args!("CA {}: {fault}", path.display())))
}

/// A moment as a date: `2026-05-04`.
pub(super) fn date(unix_s: i64) -> String {
    Timestamp::from_second(unix_s).unwrap_or(Timestamp::MAX).strftime("%Y-%m-%d").to_string()
}

fn read(what: &str, path: &Path, remedy: &str) -> Result<Vec<u8>, ExitError> {
    host::read_text(path, PEM_BYTES_MAX).map_err(|error| {
        let why = format_args!("cannot read the {what} {}: {error}{remedy}", path.display());
        ExitError::new(exit::read(&error), why)
    })
}

fn open_to_others(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.permissions().mode() & 0o777;
    let name = key.display();
    (mode & 0o077 != 0).then(|| {
        format!("{name} holds a key and others may open it (mode {mode:04o}); chmod 600 {name}")
    })
}

fn out_of_time(certificate: &Path, facts: &CertificateFacts) -> Option<String> {
    let name = certificate.display();
    match facts.validity((host::unix_ns() / 1_000_000_000) as i64) {
        Validity::Valid => None,
        Validity::Expired => {
            let day = date(facts.not_after_s);
            Some(format!("the certificate {name} has expired on {day}; it is shown all the same"))
        }
        Validity::NotYet => {
            let day = date(facts.not_before_s);
            Some(format!("the certificate {name} is valid from {day} on; it is shown all the same"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::path::PathBuf;

    use super::*;
    use crate::tls::write_certificate;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn put(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        }
    }

    /// A certificate and its key in PEM, valid for some days around now.
    fn issue(days: (i32, i32)) -> (String, String) {
        use base64::Engine as _;
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        let year = |offset| rcgen::date_time_ymd(2026 + offset, 1, 1);
        (params.not_before, params.not_after) = (year(days.0), year(days.1));
        let certificate = params.self_signed(&key).unwrap();
        let text = base64::prelude::BASE64_STANDARD.encode(key.serialize_der());
        let key = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        (write_certificate(certificate.der()), key)
    }

    #[test]
    fn a_pair_is_read_from_two_files_or_from_one() {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        let (certificate, key) = issue((-20, 20));
        let both = files.put("both", &format!("{certificate}{key}"));
        let (certificate, key) = (files.put("cert", &certificate), files.put("key", &key));
        for (certificate, key) in [(&certificate, Some(key.as_path())), (&both, None)] {
            let (pair, warnings) = read_pair(certificate, key, "").unwrap();
            assert_eq!(pair.facts().names, ["mx.example"]);
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        assert_eq!(read_roots(&certificate).unwrap().len(), 1);
    }

    #[test]
    fn each_bad_file_has_its_code_and_its_words() {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        let (certificate, key) = issue((-20, 20));
        let other = files.put("other", &issue((-20, 20)).1);
        let junk = files.put("junk", "hello\n");
        let gone = files.dir.path().join("gone");
        let (certificate, key) = (files.put("cert", &certificate), files.put("key", &key));
        for (certificate, key, exit, words) in [
            (&gone, Some(&key), Exit::NoInput, "cannot read the certificate"),
            (&certificate, Some(&gone), Exit::NoInput, "cannot read the key"),
            (&junk, Some(&key), Exit::Data, "junk: it is not PEM"),
            (&certificate, Some(&junk), Exit::Data, "junk: it is not PEM"),
            (&key, Some(&certificate), Exit::Data, "no certificate, but a private key"),
            (&certificate, Some(&certificate), Exit::Data, "no private key, but a certificate"),
            (&certificate, None, Exit::Data, "it has no key; name its file with --tls-key"),
            (&certificate, Some(&other), Exit::Data, "belongs to another certificate"),
        ] {
            let error = read_pair(certificate, key.map(PathBuf::as_path), "; do this").unwrap_err();
            assert_eq!(error.code(), exit as u8, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        for (path, words) in [(&gone, "cannot read the CA"), (&key, "no certificate")] {
            assert!(read_roots(path).unwrap_err().to_string().contains(words));
        }
    }

    #[test]
    fn what_is_odd_is_told_and_served() {
        let files = Files { dir: tempfile::tempdir().unwrap() };
        for (days, words) in
            [((-9, -8), "has expired on 2018-01-01"), ((30, 40), "valid from 2056-01-01")]
        {
            let (certificate, key) = issue(days);
            let (certificate, key) = (files.put("cert", &certificate), files.put("key", &key));
            std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
            let (_, warnings) = read_pair(&certificate, Some(&key), "").unwrap();
            assert_eq!(warnings.len(), 2, "{warnings:?}");
            assert!(warnings[0].contains("mode 0644"), "{warnings:?}");
            assert!(warnings[1].contains(words), "{warnings:?}");
        }
    }
}
