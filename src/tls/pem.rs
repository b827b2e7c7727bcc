//! Certificates and keys as PEM (RFC 7468): read with an error that says what would help, and written.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::{self, PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, RootCertStore};

/// Characters in a line of base64 (RFC 7468 §2).
const LINE_CHARS: usize = 64;

/// Why a file does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum PemFault {
    #[error("it is not PEM, which begins with a line such as -----BEGIN {0}-----")]
    NotPem(Wanted),
    #[error(
        "it is not PEM but DER or PKCS #12; openssl {} writes PEM",
        .0.conversion()
    )]
    Der(Wanted),
    #[error("it has no {}, but a {found}", .wanted.words())]
    Other { wanted: Wanted, found: &'static str },
    #[error(
        "its key is protected by a passphrase; openssl pkey -in KEY -out KEY.plain takes it away"
    )]
    Encrypted,
    #[error("its PEM is damaged: {0}")]
    Damaged(String),
    #[error("a certificate in it cannot be read: {0}")]
    BadCertificate(Error),
}

/// What a file should hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    Certificate,
    Key,
}

impl Wanted {
    fn words(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
        }
    }

    fn conversion(self) -> &'static str {
        match self {
            Self::Certificate => "x509 -inform der -in FILE",
            Self::Key => "pkey -inform der -in FILE",
        }
    }
}

/// As the first line of a section names it.
impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Certificate => "CERTIFICATE",
            Self::Key => "PRIVATE KEY",
        })
    }
}

/// The certificates of a file in their order; at least one. What else is in the file is passed over: some
/// people keep key and chain in one file.
///
/// # Errors
/// [`PemFault`] when there is none, or the file is damaged.
pub fn read_chain(octets: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let sections = sections(octets, Wanted::Certificate)?;
    let kinds: Vec<SectionKind> = sections.iter().map(|(kind, _)| *kind).collect();
    let chain: Vec<_> = sections
        .into_iter()
        .filter(|(kind, _)| *kind == SectionKind::Certificate)
        .map(|(_, der)| CertificateDer::from(der))
        .collect();
    if chain.is_empty() { Err(lack(octets, Wanted::Certificate, &kinds)) } else { Ok(chain) }
}

/// The first private key of a file: PKCS #8, PKCS #1 or SEC 1.
///
/// # Errors
/// [`PemFault`] when there is none, or the file is damaged.
pub fn read_key(octets: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    if has(octets, b"ENCRYPTED") {
        return Err(PemFault::Encrypted);
    }
    let sections = sections(octets, Wanted::Key)?;
    let kinds: Vec<SectionKind> = sections.iter().map(|(kind, _)| *kind).collect();
    let mut keys =
        sections.into_iter().filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
    keys.next().ok_or_else(|| lack(octets, Wanted::Key, &kinds))
}

/// The certificates of a file as roots of trust.
///
/// # Errors
/// As [`read_chain`]; [`PemFault::BadCertificate`] for one that cannot be a root.
pub fn read_roots(octets: &[u8]) -> Result<RootCertStore, PemFault> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(octets)? {
        roots.add(certificate).map_err(PemFault::BadCertificate)?;
    }
    Ok(roots)
}

/// A certificate as PEM, with the end of its last line.
pub fn write_certificate(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(LINE_CHARS).map(String::from_utf8_lossy);
    let body: Vec<_> = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", body.join("\n"))
}

fn sections(octets: &[u8], wanted: Wanted) -> Result<Vec<(SectionKind, Vec<u8>)>, PemFault> {
    // DER of all that is meant here begins with a SEQUENCE of more than 127 octets.
    if matches!(octets, [0x30, 0x81..=0xff, ..]) {
        return Err(PemFault::Der(wanted));
    }
    <(SectionKind, Vec<u8>)>::pem_slice_iter(octets)
        .collect::<Result<_, pem::Error>>()
        .map_err(|error| PemFault::Damaged(error.to_string()))
}

/// Why nothing was found that is wanted.
fn lack(octets: &[u8], wanted: Wanted, kinds: &[SectionKind]) -> PemFault {
    let found = match kinds.first() {
        Some(SectionKind::Certificate) => "certificate",
        Some(SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey) => {
            "private key"
        }
        Some(SectionKind::Csr) => "request for a certificate",
        Some(SectionKind::Crl) => "revocation list",
        Some(SectionKind::PublicKey) => "public key",
        Some(_) => "section of another kind",
        None if has(octets, b"-----BEGIN ") => "section of a kind that is not known",
        None => return PemFault::NotPem(wanted),
    };
    PemFault::Other { wanted, found }
}

fn has(octets: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(octets, word).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::self_signed::{SelfSigned, make};
    use super::*;

    #[test]
    fn a_certificate_comes_back_as_it_was_written() {
        let made = make(SelfSigned::Good, "mx.example", 1_700_000_000).unwrap();
        let text = write_certificate(&made.ca);
        assert!(text.lines().all(|line| line.len() <= LINE_CHARS));
        assert_eq!(read_chain(text.as_bytes()).unwrap(), [made.ca]);
        assert_eq!(read_roots(text.as_bytes()).unwrap().len(), 1);
        assert_eq!(read_chain(text.repeat(3).as_bytes()).unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        let request =
            "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
        let strange = "-----BEGIN PGP MESSAGE-----\nMAA=\n-----END PGP MESSAGE-----\n";
        for (text, why) in [
            ("", "not PEM, which begins with a line such as -----BEGIN CERTIFICATE-----"),
            ("hello\n", "not PEM"),
            (key, "no certificate, but a private key"),
            (request, "but a request for a certificate"),
            (strange, "of a kind that is not known"),
            ("-----BEGIN CERTIFICATE-----\nMAA=\n", "damaged"),
            ("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "damaged"),
        ] {
            let told = read_chain(text.as_bytes()).unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
        let der = [0x30, 0x82, 1, 1, 2];
        assert!(read_chain(&der).unwrap_err().to_string().contains("openssl x509 -inform der"));
        assert!(read_key(&der).unwrap_err().to_string().contains("openssl pkey -inform der"));
        assert!(read_key(request.as_bytes()).unwrap_err().to_string().contains("no private key"));
        assert!(read_key(key.as_bytes()).is_ok());
        assert!(read_roots(key.replace("PRIVATE KEY", "CERTIFICATE").as_bytes()).is_err());
        for lock in ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"] {
            assert!(read_key(lock.as_bytes()).unwrap_err().to_string().contains("passphrase"));
        }
    }
}
