//! Text that cannot be guessed.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// Text that cannot be guessed: 24 octets of base64, the same for the same seed and number.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Nonce(String);

impl Nonce {
    /// `number` tells the exchanges of one session apart.
    pub fn new(seed: u128, number: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        Self(BASE64_STANDARD.encode(&hash.finalize()[..18]))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_by_seed_and_number() {
        let nonce = Nonce::new(7, 1);
        assert_eq!(nonce.text().len(), 24);
        assert_eq!(nonce, Nonce::new(7, 1));
        assert!(nonce != Nonce::new(7, 2) && nonce != Nonce::new(8, 1));
    }
}
