//! Versions, cipher suites and groups of TLS by name, and what of them a configuration may use.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, NamedGroup, SignatureAlgorithm, SupportedCipherSuite, SupportedProtocolVersion,
};

use super::provider::provider;

/// A version of TLS. The library has none below 1.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    V12,
    V13,
}

/// A cipher suite of TLS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TlsCipher(SupportedCipherSuite);

/// A group for the key exchange.
#[derive(Clone, Copy, Debug)]
pub struct TlsGroup(&'static dyn SupportedKxGroup);

/// Why a choice of versions, ciphers and groups can make no connection.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("none of the ciphers belongs to TLS {0}, which is among the versions")]
    NoCipher(&'static str),
    #[error("none of the groups can be used with TLS {0}, which is among the versions")]
    NoGroup(&'static str),
    #[error("cipher {0} belongs to TLS {1}, which is not among the versions")]
    NoVersion(String, &'static str),
}

impl TlsVersion {
    pub const ALL: [Self; 2] = [Self::V12, Self::V13];

    /// `1.2` or `1.3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let number = name.trim_start_matches("tls").trim_start_matches('v');
        Self::ALL.into_iter().find(|version| version.name() == number)
    }

    fn protocol(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::V12 => &TLS12,
            Self::V13 => &TLS13,
        }
    }
}

impl TlsCipher {
    /// All that there are, the preferred one first.
    pub fn all() -> impl Iterator<Item = Self> {
        provider().cipher_suites.clone().into_iter().map(Self)
    }

    /// The name that IANA gives: `TLS_AES_128_GCM_SHA256`.
    pub fn name(self) -> String {
        suite_name(self.0.suite())
    }

    /// By the name of IANA or of OpenSSL: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` or
    /// `ECDHE-RSA-AES128-GCM-SHA256`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|cipher| {
            let iana = cipher.name();
            iana.eq_ignore_ascii_case(name) || openssl_name(&iana).eq_ignore_ascii_case(name)
        })
    }

    fn version(self) -> TlsVersion {
        if self.0.tls13().is_some() { TlsVersion::V13 } else { TlsVersion::V12 }
    }
}

impl TlsGroup {
    /// All that there are; [`TlsGroup::defaults`] first.
    pub fn all() -> impl Iterator<Item = Self> {
        let known: Vec<NamedGroup> = Self::defaults().map(|group| group.0.name()).collect();
        let others = ALL_KX_GROUPS.iter().filter(move |group| !known.contains(&group.name()));
        Self::defaults().chain(others.map(|group| Self(*group)))
    }

    /// Those that are used if nobody chooses.
    pub fn defaults() -> impl Iterator<Item = Self> {
        provider().kx_groups.clone().into_iter().map(Self)
    }

    /// The name that IANA gives: `X25519MLKEM768`, `x25519`, `secp256r1`.
    pub fn name(self) -> String {
        group_name(self.0.name())
    }

    /// By the name of IANA, or as `P-256` and `P-384`.
    pub fn from_name(name: &str) -> Option<Self> {
        let iana = match name {
            "P-256" | "prime256v1" => "secp256r1",
            "P-384" => "secp384r1",
            name => name,
        };
        Self::all().find(|group| group.name().eq_ignore_ascii_case(iana))
    }
}

/// The name of a cipher suite that IANA gives: `TLS_AES_128_GCM_SHA256`.
pub fn suite_name(suite: CipherSuite) -> String {
    let name = format!("{suite:?}");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name,
    }
}

/// The name of a group that IANA gives.
pub fn group_name(group: NamedGroup) -> String {
    match group {
        NamedGroup::X25519 => "x25519".to_owned(),
        group => format!("{group:?}"),
    }
}

/// As OpenSSL names the suites of TLS 1.2; those of 1.3 have one name.
fn openssl_name(iana: &str) -> String {
    let Some((exchange, cipher)) = iana.split_once("_WITH_") else { return iana.to_owned() };
    let cipher = cipher.replace("AES_", "AES").replace("_POLY1305_SHA256", "_POLY1305");
    let exchange = exchange.trim_start_matches("TLS_");
    format!("{exchange}_{cipher}").replace('_', "-")
}

/// What a configuration may use. The order of ciphers and groups is that of preference.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    versions: Vec<&'static SupportedProtocolVersion>,
    provider: Arc<CryptoProvider>,
}

impl TlsSettings {
    /// Of each list, an empty one stands for all that is usual.
    ///
    /// # Errors
    /// [`SettingsError`] when versions do not go together with ciphers or groups.
    pub fn new(
        versions: &[TlsVersion],
        ciphers: &[TlsCipher],
        groups: &[TlsGroup],
    ) -> Result<Self, SettingsError> {
        let chosen = if versions.is_empty() { &TlsVersion::ALL[..] } else { versions };
        let has_version = |version| chosen.contains(&version);
        let stray = ciphers.iter().find(|cipher| !has_version(cipher.version()));
        if let Some(stray) = stray {
            return Err(SettingsError::NoVersion(stray.name(), stray.version().name()));
        }
        let served = |version: &&TlsVersion| {
            ciphers.is_empty() || ciphers.iter().any(|cipher| cipher.version() == **version)
        };
        if let Some(version) = versions.iter().find(|version| !served(version)) {
            return Err(SettingsError::NoCipher(version.name()));
        }
        let keyed = |version: &&TlsVersion| {
            let protocol = version.protocol().version;
            groups.is_empty() || groups.iter().any(|group| group.0.usable_for_version(protocol))
        };
        if let Some(version) = versions.iter().find(|version| !keyed(version)) {
            return Err(SettingsError::NoGroup(version.name()));
        }
        let mut provider = CryptoProvider::clone(&provider());
        if !ciphers.is_empty() {
            provider.cipher_suites = ciphers.iter().map(|cipher| cipher.0).collect();
        }
        if !groups.is_empty() {
            provider.kx_groups = groups.iter().map(|group| group.0).collect();
        }
        let versions: Vec<_> =
            chosen.iter().filter(served).filter(keyed).map(|version| version.protocol()).collect();
        assert!(!versions.is_empty(), "what was chosen leaves a version");
        Ok(Self { versions, provider: Arc::new(provider) })
    }

    /// Whether a handshake can be signed with a key of this kind.
    pub(super) fn has_suite_for(&self, key: SignatureAlgorithm) -> bool {
        let suites = &self.provider.cipher_suites;
        suites.iter().any(|suite| {
            self.versions.contains(&suite.version()) && suite.usable_for_signature_algorithm(key)
        })
    }

    pub(super) fn versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self::new(&[], &[], &[]).expect("what is usual goes together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_by_which_it_is_found() {
        for version in TlsVersion::ALL {
            for name in [version.name().to_owned(), format!("TLSv{}", version.name())] {
                assert_eq!(TlsVersion::from_name(&name), Some(version), "{name}");
            }
        }
        for cipher in TlsCipher::all() {
            assert!(cipher.name().starts_with("TLS_"), "{}", cipher.name());
            assert_eq!(TlsCipher::from_name(&cipher.name()), Some(cipher));
            assert_eq!(TlsCipher::from_name(&openssl_name(&cipher.name())), Some(cipher));
        }
        for group in TlsGroup::all() {
            let found = TlsGroup::from_name(&group.name()).unwrap();
            assert_eq!(found.0.name(), group.0.name());
        }
        for (name, known) in [
            ("ECDHE-RSA-AES128-GCM-SHA256", true),
            ("ECDHE-ECDSA-CHACHA20-POLY1305", true),
            ("tls_aes_128_gcm_sha256", true),
            ("AES128-SHA", false),
            ("", false),
        ] {
            assert_eq!(TlsCipher::from_name(name).is_some(), known, "{name}");
        }
        for (name, known) in
            [("P-256", true), ("X25519", true), ("x25519mlkem768", true), ("x448", false)]
        {
            assert_eq!(TlsGroup::from_name(name).is_some(), known, "{name}");
        }
        for name in ["1.1", "1", "ssl3", ""] {
            assert_eq!(TlsVersion::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn versions_and_ciphers_go_together_or_are_refused() {
        let cipher = |name| TlsCipher::from_name(name).unwrap();
        let new = cipher("TLS_AES_128_GCM_SHA256");
        let old = cipher("ECDHE-RSA-AES128-GCM-SHA256");
        let (v12, v13) = (TlsVersion::V12, TlsVersion::V13);
        let settings = |versions: &[_], ciphers: &[_]| TlsSettings::new(versions, ciphers, &[]);
        assert_eq!(settings(&[], &[]).unwrap().versions().len(), 2);
        assert_eq!(settings(&[v12], &[]).unwrap().versions(), [&TLS12]);
        // Who names ciphers of one version alone wants that version alone.
        assert_eq!(settings(&[], &[new]).unwrap().versions(), [&TLS13]);
        assert_eq!(settings(&[v12, v13], &[new, old]).unwrap().versions().len(), 2);
        let hybrid = [TlsGroup::from_name("X25519MLKEM768").unwrap()];
        let keyed = |versions: &[_]| TlsSettings::new(versions, &[], &hybrid);
        assert_eq!(keyed(&[]).unwrap().versions(), [&TLS13]);
        assert!(matches!(keyed(&[v12, v13]), Err(SettingsError::NoGroup("1.2"))));
        assert!(matches!(settings(&[v12], &[new]), Err(SettingsError::NoVersion(_, "1.3"))));
        assert!(matches!(settings(&[v12, v13], &[new]), Err(SettingsError::NoCipher("1.2"))));
        let narrow = settings(&[v13], &[new]).unwrap();
        let suites: Vec<_> =
            narrow.provider().cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        assert_eq!(suites, [CipherSuite::TLS13_AES_128_GCM_SHA256]);
    }
}
