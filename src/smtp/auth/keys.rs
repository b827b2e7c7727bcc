//! What SCRAM-SHA-256 makes of a password (RFC 5802 §3).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(super) type Key = [u8; 32];

/// What follows from a password, a salt and a number of iterations (RFC 5802 §3).
#[derive(Clone, Debug)]
pub(super) struct Keys {
    client: Key,
    stored: Key,
    server: Key,
}

impl Keys {
    pub(super) fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
        let client = hmac(&salted, b"Client Key");
        let stored = Sha256::digest(client).into();
        Self { client, stored, server: hmac(&salted, b"Server Key") }
    }

    /// What the client shows.
    pub(super) fn proof(&self, auth_message: &str) -> Key {
        xor(self.client, hmac(&self.stored, auth_message.as_bytes()))
    }

    /// Whether `proof` proves that the client knows the password.
    pub(super) fn check(&self, proof: &[u8], auth_message: &str) -> bool {
        let Ok(proof) = Key::try_from(proof) else {
            return false;
        };
        let client = xor(proof, hmac(&self.stored, auth_message.as_bytes()));
        Sha256::digest(client).as_slice().ct_eq(&self.stored).into()
    }

    /// What the server shows.
    pub(super) fn signature(&self, auth_message: &str) -> Key {
        hmac(&self.server, auth_message.as_bytes())
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn xor(a: Key, b: Key) -> Key {
    std::array::from_fn(|n| a[n] ^ b[n])
}
