//! The cryptography: which cipher suites and key exchange groups, and which of them first.

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// AWS-LC's suites and groups, AES-128-GCM first, and the hybrid group X25519MLKEM768 offered.
///
/// rustls would put AES-256-GCM first. Its key schedule hashes with SHA-384, for which most CPUs have no
/// instructions: a third of a handshake's CPU time on each side, for no security that a mail server's
/// certificate matches.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    // The sort is stable: all else keeps its order. TLS 1.3 stands before TLS 1.2.
    provider.cipher_suites.sort_by_key(|suite| {
        let version = suite.version().version;
        (u16::MAX - u16::from(version), !is_aes_128(suite.suite()))
    });
    Arc::new(provider)
}

fn is_aes_128(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{NamedGroup, SupportedCipherSuite};

    #[test]
    fn aes_128_stands_first_and_nothing_is_lost() {
        let provider = provider();
        let suites: Vec<_> =
            provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(suites[0], CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(suites[3], CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        assert_eq!(suites.len(), aws_lc_rs::default_provider().cipher_suites.len());
    }

    #[test]
    fn the_hybrid_group_is_offered() {
        let groups = &provider().kx_groups;
        assert!(groups.iter().any(|group| group.name() == NamedGroup::X25519MLKEM768));
    }
}
