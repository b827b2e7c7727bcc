//! A certificate with its chain and its key.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate::CertificateFacts;
use super::provider::provider;

/// A certificate chain, the key of its first certificate, and what that certificate says.
#[derive(Clone, Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    facts: CertificateFacts,
}

/// Why a chain and a key are no pair.
#[derive(Debug, thiserror::Error)]
pub enum PairFault {
    #[error("the first certificate cannot be read")]
    BadCertificate,
    #[error(
        "the key cannot be used, for it is none of RSA with 2048 to 8192 bits, ECDSA on P-256, P-384 \
         or P-521, Ed25519 ({0})"
    )]
    BadKey(String),
    #[error("the key belongs to another certificate than the first one of the chain")]
    OtherKey,
    #[error(
        "the key belongs to certificate {0} of the chain; the server's own certificate must be the \
         first, then the one that signed it"
    )]
    Order(usize),
}

impl Pair {
    /// `chain` has at least one certificate.
    ///
    /// # Errors
    /// [`PairFault`] when the key is not that of the first certificate, or one of them cannot be used.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairFault> {
        assert!(!chain.is_empty(), "a chain has a first certificate");
        let loaded = provider().key_provider.load_private_key(key);
        let key = loaded.map_err(|error| PairFault::BadKey(error.to_string()))?;
        let facts = CertificateFacts::read(&chain[0]).ok_or(PairFault::BadCertificate)?;
        if let Some(public) = key.public_key() {
            let is_of = |certificate: &CertificateDer<'static>| {
                ParsedCertificate::try_from(certificate)
                    .is_ok_and(|parsed| parsed.subject_public_key_info() == public)
            };
            match chain.iter().position(is_of) {
                Some(0) => {}
                Some(at) => return Err(PairFault::Order(at + 1)),
                None if ParsedCertificate::try_from(&chain[0]).is_err() => {
                    return Err(PairFault::BadCertificate);
                }
                None => return Err(PairFault::OtherKey),
            }
        }
        Ok(Self { key: Arc::new(CertifiedKey::new(chain, key)), facts })
    }

    /// What the certificate says.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// As a client shows it, whoever asks.
    pub(super) fn always(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::self_signed::{SelfSigned, make};
    use super::*;

    #[test]
    fn a_key_goes_with_the_first_certificate_alone() {
        let issue = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap().der().clone();
            (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        };
        let ((own, key), (other, _)) = (issue(), issue());
        let pair = |chain: &[&CertificateDer<'static>], key: &PrivateKeyDer<'static>| {
            Pair::new(chain.iter().map(|der| (*der).clone()).collect(), key.clone_key())
        };
        assert!(pair(&[&own], &key).is_ok());
        assert!(pair(&[&own, &other], &key).is_ok());
        assert!(matches!(pair(&[&other, &own], &key), Err(PairFault::Order(2))));
        assert!(matches!(pair(&[&other], &key), Err(PairFault::OtherKey)));
        let junk = CertificateDer::from(vec![0x30, 0]);
        assert!(matches!(pair(&[&junk], &key), Err(PairFault::BadCertificate)));
        let no_key = PrivateKeyDer::Pkcs8(vec![0x30, 0].into());
        assert!(matches!(pair(&[&own], &no_key), Err(PairFault::BadKey(_))));
    }

    #[test]
    fn the_facts_are_those_of_the_first_certificate() {
        let made = make(SelfSigned::Good, "mx.example", 1_700_000_000).unwrap();
        let own = made.pair.key().end_entity_cert().unwrap();
        assert_eq!(Some(made.pair.facts()), CertificateFacts::read(own).as_ref());
    }
}
