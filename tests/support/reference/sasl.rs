//! What passwords and challenges come to (RFC 2195, RFC 5802, RFC 7677), for the slow receiver and for
//! the clients that talk to both.

use std::cell::RefCell;
use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::world::{AUTH_SEED, SALT_SECRET};

/// The least that RFC 7677 §4 allows.
const ITERATIONS: u32 = 4_096;

pub(crate) fn base64(octets: &[u8]) -> String {
    BASE64_STANDARD.encode(octets)
}

/// Strict: RFC 4954 §4 wants everything outside of the alphabet refused.
pub(crate) fn unbase64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

/// What the server cannot let anybody guess, in its `attempt`-th exchange.
pub(crate) fn nonce(attempt: u32) -> String {
    let mut octets = AUTH_SEED.to_be_bytes().to_vec();
    octets.extend_from_slice(&attempt.to_be_bytes());
    base64(&Sha256::digest(&octets)[..18])
}

pub(crate) fn cram_challenge(attempt: u32, hostname: &str) -> String {
    format!("<{}@{hostname}>", nonce(attempt))
}

pub(crate) fn cram_digest(password: &str, challenge: &str) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).unwrap();
    mac.update(challenge.as_bytes());
    mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02x}")).collect()
}

/// `server-first-message` for a client that gave `client_nonce`.
pub(crate) fn scram_first(user: &str, client_nonce: &str, attempt: u32) -> String {
    format!("r={client_nonce}{},s={},i={ITERATIONS}", nonce(attempt), base64(&salt(user)))
}

/// Proof of the client and signature of the server over `said` (RFC 5802 §3).
pub(crate) fn scram_proof(user: &str, password: &str, said: &str) -> (Vec<u8>, Vec<u8>) {
    let salted = salted(user, password);
    let client = hmac(&salted, b"Client Key");
    let stored = Sha256::digest(&client);
    let mask = hmac(&stored, said.as_bytes());
    let proof = client.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    (proof, hmac(&hmac(&salted, b"Server Key"), said.as_bytes()))
}

fn salt(user: &str) -> Vec<u8> {
    hmac(&SALT_SECRET.to_be_bytes(), user.as_bytes())[..16].to_vec()
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

thread_local! {
    /// Slow on purpose, so that each is made once.
    static SALTED: RefCell<HashMap<(String, String), [u8; 32]>> = RefCell::default();
}

fn salted(user: &str, password: &str) -> [u8; 32] {
    let derive = || {
        let mut key = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt(user), ITERATIONS, &mut key);
        key
    };
    let name = (user.to_owned(), password.to_owned());
    SALTED.with_borrow_mut(|made| *made.entry(name).or_insert_with(derive))
}
