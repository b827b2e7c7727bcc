//! Which certificate a client is shown, by the name that it asks for (RFC 6066 §3).

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::Pair;

/// The certificates of a server; the first is for clients that ask for none of the names.
#[derive(Debug)]
pub(super) struct ByName {
    pairs: Vec<Pair>,
    /// Whether a client that asks for another name, or for none, is turned away.
    strict: bool,
}

impl ByName {
    pub(super) fn new(pairs: Vec<Pair>, strict: bool) -> Self {
        assert!(!pairs.is_empty(), "a server has a certificate");
        Self { pairs, strict }
    }

    /// Of several certificates for a name, the first with a key of a kind that the client knows.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Pair> {
        let is_named = |pair: &&Pair| name.is_some_and(|name| pair.facts().covers(name));
        let is_known = |pair: &&Pair| pair.key().key.choose_scheme(schemes).is_some();
        let named = || self.pairs.iter().filter(is_named);
        let found = named().find(is_known).or_else(|| named().next());
        if self.strict {
            return found;
        }
        found.or_else(|| self.pairs.iter().find(is_known)).or(self.pairs.first())
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.choose(hello.server_name(), hello.signature_schemes());
        chosen.map(|pair| Arc::clone(pair.key()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::self_signed::{SelfSigned, make};
    use super::*;

    #[test]
    fn the_name_chooses_then_the_kind_of_key_and_then_the_first() {
        let pair = |kind, host| make(kind, host, 1_700_000_000).unwrap().pair;
        let ecdsa = SelfSigned::Good;
        let pairs = [
            pair(ecdsa, "a.example"),
            pair(ecdsa, "b.example"),
            pair(SelfSigned::Weak, "b.example"),
        ];
        let chosen = |strict, name, schemes: &[SignatureScheme]| {
            let by_name = ByName::new(pairs.to_vec(), strict);
            let chosen = by_name.choose(name, schemes)?.facts().sha256;
            pairs.iter().position(|pair| pair.facts().sha256 == chosen)
        };
        let both = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];
        let rsa = &both[1..];
        assert_eq!(chosen(false, Some("a.example"), &both), Some(0));
        assert_eq!(chosen(false, Some("B.Example"), &both), Some(1));
        assert_eq!(chosen(false, Some("b.example"), rsa), Some(2));
        assert_eq!(chosen(false, Some("c.example"), &both), Some(0));
        assert_eq!(chosen(false, None, &both), Some(0));
        assert_eq!(chosen(false, None, rsa), Some(2));
        assert_eq!(chosen(false, None, &[]), Some(0));
        assert_eq!(chosen(false, Some("a.example"), rsa), Some(0));
        assert_eq!(chosen(true, Some("b.example"), &both), Some(1));
        assert_eq!(chosen(true, Some("c.example"), &both), None);
        assert_eq!(chosen(true, None, &both), None);
    }
}
