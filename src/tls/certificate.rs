//! What a certificate says: whose it is, when it is valid, and by which octets it is known.

use std::fmt::Write as _;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// The distinguished name, such as `CN=mx.example, O=Example`; it may be empty.
    pub subject: String,
    /// The names of hosts that it is good for, in lower case; the first label may be `*`.
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// First and last second of its validity, Unix time.
    pub not_before_s: i64,
    pub not_after_s: i64,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its public key with the name of the algorithm (SubjectPublicKeyInfo).
    pub key_sha256: [u8; 32],
}

/// Whether a certificate is valid at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    Valid,
    NotYet,
    Expired,
}

impl CertificateFacts {
    /// `None` for what is no certificate of X.509.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = parse_x509_certificate(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
                    _ => {}
                }
            }
        }
        Some(Self {
            subject: parsed.subject().to_string(),
            names,
            addresses,
            not_before_s: parsed.validity().not_before.timestamp(),
            not_after_s: parsed.validity().not_after.timestamp(),
            sha256: Sha256::digest(certificate).into(),
            key_sha256: Sha256::digest(parsed.public_key().raw).into(),
        })
    }

    /// Whether it is good for the host `name` (RFC 9525 §6.3: `*` stands for one whole label).
    pub fn covers(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let behind = name.split_once('.').map(|(_, behind)| behind);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(parent) => behind == Some(parent),
            None => *own == name,
        })
    }

    pub fn validity(&self, now_s: i64) -> Validity {
        if now_s < self.not_before_s {
            Validity::NotYet
        } else if now_s > self.not_after_s {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// The fingerprint as openssl writes it: `AB:CD:…`.
    pub fn fingerprint(&self) -> String {
        self.sha256.map(|octet| format!("{octet:02X}")).join(":")
    }

    /// The data of a TLSA record that pins the key: usage DANE-EE, the key alone, SHA-256 (RFC 7672 §3.1.1).
    pub fn tlsa(&self) -> String {
        format!("3 1 1 {}", hex(&self.key_sha256))
    }
}

/// Octets in lower-case hexadecimal digits.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        write!(text, "{octet:02x}").expect("a string takes all");
        text
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::self_signed::{SelfSigned, make};
    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    #[test]
    fn names_are_met_whole_and_a_star_stands_for_one_label() {
        let mut facts = make(SelfSigned::Good, "MX.example", NOW_S).unwrap().pair.facts().clone();
        facts.names.push("*.test.example".to_owned());
        for (name, covered) in [
            ("mx.example", true),
            ("MX.EXAMPLE", true),
            ("mx.example.", true),
            ("localhost", true),
            ("x.mx.example", false),
            ("example", false),
            ("a.test.example", true),
            ("a.b.test.example", false),
            ("test.example", false),
            (".test.example", true),
            ("", false),
        ] {
            assert_eq!(facts.covers(name), covered, "{name:?}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        let made = make(SelfSigned::Good, "mx.example", NOW_S).unwrap();
        for len in [0, 1, made.ca.len() - 1] {
            assert_eq!(CertificateFacts::read(&made.ca[..len].into()), None, "{len}");
        }
        let longer = [&made.ca[..], b"x"].concat();
        assert_eq!(CertificateFacts::read(&longer.into()), None);
    }

    #[test]
    fn fingerprints_are_written_as_other_tools_write_them() {
        let facts = make(SelfSigned::Good, "mx.example", NOW_S).unwrap().pair.facts().clone();
        let print = facts.fingerprint();
        assert_eq!((print.len(), print.matches(':').count()), (95, 31));
        assert_eq!(print.replace(':', "").to_lowercase(), hex(&facts.sha256));
        assert_eq!(facts.tlsa(), format!("3 1 1 {}", hex(&facts.key_sha256)));
        assert_ne!(facts.sha256, facts.key_sha256);
    }
}
