//! Certificates made on the spot, good ones and bad ones, each with a CA of its own.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};

use super::pair::Pair;

/// The common name of each CA that is made here.
pub const MADE_CA_NAME: &str = "ringpost test CA";

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// What is wrong with a certificate that is made on the spot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SelfSigned {
    /// Nothing, for clients that trust its CA.
    Good,
    /// It was valid until yesterday.
    Expired,
    /// It is valid from the next month on.
    NotYet,
    /// It is for another host.
    WrongName,
    /// The CA that clients are told to trust has not signed it.
    UnknownCa,
    /// As weak as the TLS library can serve: RSA with 2048 bits, valid for ten years. It signs with no
    /// shorter key, and with SHA-1 not at all.
    Weak,
}

impl SelfSigned {
    pub const ALL: [(&'static str, Self); 6] = [
        ("good", Self::Good),
        ("expired", Self::Expired),
        ("not-yet", Self::NotYet),
        ("wrong-name", Self::WrongName),
        ("unknown-ca", Self::UnknownCa),
        ("weak", Self::Weak),
    ];

    /// Seconds from now to its first and to its last moment. A good one is valid for less than 90 days,
    /// as clients will want it, and since an hour ago for those whose clock is late.
    fn validity_s(self) -> (i64, i64) {
        match self {
            Self::Expired => (-31 * DAY_S, -DAY_S),
            Self::NotYet => (30 * DAY_S, 60 * DAY_S),
            Self::Weak => (-HOUR_S, 3_652 * DAY_S),
            Self::Good | Self::WrongName | Self::UnknownCa => (-HOUR_S, 89 * DAY_S),
        }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        if self == Self::Weak { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 }
    }

    fn names(self, hostname: &str) -> Vec<String> {
        if self == Self::WrongName {
            return vec!["wrong-name.invalid".to_owned()];
        }
        let own = subject_name(hostname);
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut names: Vec<String> = own.into_iter().chain(local).collect();
        // A hostname that is one of the local names stands once.
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// A certificate made on the spot, and the CA that clients are told to trust.
#[derive(Debug)]
pub struct MadePair {
    pub pair: Pair,
    pub ca: CertificateDer<'static>,
}

/// Makes a certificate for `hostname`, localhost, 127.0.0.1 and ::1, and a CA that signs it and whose key
/// is forgotten. `now_s` is Unix time.
///
/// # Errors
/// When the system has no random octets.
pub fn make(kind: SelfSigned, hostname: &str, now_s: u64) -> Result<MadePair, rcgen::Error> {
    let signer = authority(kind, now_s)?;
    let key = KeyPair::generate_for(kind.algorithm())?;
    let names = kind.names(hostname);
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    set_validity(&mut params, now_s, kind.validity_s());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let leaf = params.signed_by(&key, &signer)?;
    let told = if kind == SelfSigned::UnknownCa { authority(kind, now_s)? } else { signer };
    let secret = PrivateKeyDer::try_from(key.serialize_der());
    let secret = secret.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let pair = Pair::new(vec![leaf.der().clone()], secret);
    let pair = pair.map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    Ok(MadePair { pair, ca: told.der().clone() })
}

fn authority(
    kind: SelfSigned,
    now_s: u64,
) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, MADE_CA_NAME);
    // Two of one name and different keys would be mixed up by clients that look for the issuer by name.
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, format!("{:08x}", fastrand::u32(..)));
    set_validity(&mut params, now_s, (-32 * DAY_S, 3_653 * DAY_S));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(kind.algorithm())?)
}

/// The hostname as a certificate may name it: a name of DNS, or an address without its brackets.
fn subject_name(hostname: &str) -> Option<String> {
    let inner = hostname.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.unwrap_or(hostname);
    if let Ok(address) = inner.trim_start_matches("IPv6:").parse::<IpAddr>() {
        return Some(address.to_string());
    }
    DnsName::try_from(hostname).ok().map(|name| name.as_ref().to_ascii_lowercase())
}

/// Sets the first and the last moment, in seconds from now.
fn set_validity(params: &mut CertificateParams, now_s: u64, (from_s, to_s): (i64, i64)) {
    let at = |offset_s| {
        date_time_ymd(1970, 1, 1) + Duration::from_secs(now_s.saturating_add_signed(offset_s))
    };
    (params.not_before, params.not_after) = (at(from_s), at(to_s));
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Validity;
    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    #[test]
    fn each_kind_has_its_fault_and_no_other() {
        for (name, kind) in SelfSigned::ALL {
            let made = make(kind, "mx.example", NOW_S).unwrap();
            let facts = made.pair.facts();
            let validity = match kind {
                SelfSigned::Expired => Validity::Expired,
                SelfSigned::NotYet => Validity::NotYet,
                _ => Validity::Valid,
            };
            assert_eq!(facts.validity(NOW_S as i64), validity, "{name}");
            assert_eq!(facts.covers("mx.example"), kind != SelfSigned::WrongName, "{name}");
            assert_eq!(facts.covers("localhost"), kind != SelfSigned::WrongName, "{name}");
            let local: Vec<IpAddr> = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap()).into();
            assert_eq!(facts.addresses == local, kind != SelfSigned::WrongName, "{name}");
            let days = (facts.not_after_s - facts.not_before_s) / DAY_S;
            assert_eq!(days > 90, kind == SelfSigned::Weak, "{name}: {days} days");
        }
    }

    #[test]
    fn hostnames_that_no_certificate_can_name_are_left_out() {
        for (hostname, name) in [
            ("mx.example", Some("mx.example")),
            ("PC_7", Some("pc_7")),
            ("[192.0.2.1]", Some("192.0.2.1")),
            ("[IPv6:2001:db8::1]", Some("2001:db8::1")),
            ("two words", None),
            ("müller", None),
            ("", None),
        ] {
            assert_eq!(subject_name(hostname).as_deref(), name, "{hostname}");
            assert!(make(SelfSigned::Good, hostname, NOW_S).is_ok(), "{hostname}");
        }
        assert_eq!(SelfSigned::Good.names("LOCALHOST").len(), 3);
    }
}
