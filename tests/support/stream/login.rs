//! What clients of AUTH say, right and wrong (RFC 4954).

use fastrand::Rng;

use super::super::reference::sasl::{
    base64, cram_challenge, cram_digest, nonce, scram_first, scram_proof,
};
use super::super::reference::world::{ACCOUNTS, HOSTNAME};

/// A whole exchange, in which now and then something goes wrong. `attempt` is what the server counts
/// it as, if none before it was turned away.
pub(super) fn exchange(random: &mut Rng, attempt: u32, wire: &mut Vec<u8>) {
    let (user, password) = credentials(random);
    let (mechanism, words) = match random.u8(..6) {
        0 => ("PLAIN", plain(random, user, password)),
        1 => ("LOGIN", vec![user.to_owned(), password.to_owned()]),
        2 => ("CRAM-MD5", cram(random, user, password, attempt)),
        3 => ("SCRAM-SHA-256", scram(random, user, password, attempt)),
        4 => ("XOAUTH2", bearer(random, user, password)),
        _ => ("OAUTHBEARER", oauthbearer(random, user, password)),
    };
    let mut words: Vec<_> = words.iter().map(|word| base64(word.as_bytes())).collect();
    if random.u8(..6) == 0 {
        let at = random.usize(..words.len());
        let wrong = ["*", "=", "", "!", "AA=", "QUI=", "dXNlcg==", "*x", " ", "bgBhAGIAYw=="];
        words[at] = (*random.choice(&wrong).unwrap()).to_owned();
    }
    let mechanism =
        if random.u8(..6) == 0 { mechanism.to_ascii_lowercase() } else { mechanism.to_owned() };
    wire.extend_from_slice(format!("AUTH {mechanism}").as_bytes());
    // The first word may come with the command.
    if random.bool() && (mechanism != "CRAM-MD5" || random.u8(..8) == 0) {
        let first = words.remove(0);
        wire.extend_from_slice(format!(" {first}").as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    for word in words {
        wire.extend_from_slice(format!("{word}\r\n").as_bytes());
    }
}

/// A line near the longest that AUTH may have.
pub(super) fn long_line(random: &mut Rng, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"AUTH PLAIN ");
    wire.resize(wire.len() + random.usize(12_270..12_290), b'A');
    wire.extend_from_slice(b"\r\n");
}

fn credentials(random: &mut Rng) -> (&'static str, &'static str) {
    let lines: Vec<_> = ACCOUNTS.lines().filter_map(|line| line.split_once(':')).collect();
    let (user, password) = *random.choice(&lines).unwrap();
    match random.u8(..12) {
        0 => (user, "wrong"),
        1 => ("nobody", password),
        2 => (user, ""),
        3 => ("", password),
        _ => (user, password),
    }
}

fn plain(random: &mut Rng, user: &str, password: &str) -> Vec<String> {
    let acting_as = match random.u8(..6) {
        0 => user,
        1 => "somebody",
        _ => "",
    };
    vec![format!("{acting_as}\0{user}\0{password}")]
}

fn cram(random: &mut Rng, user: &str, password: &str, attempt: u32) -> Vec<String> {
    let digest = cram_digest(password, &cram_challenge(attempt, HOSTNAME));
    vec![match random.u8(..10) {
        0 => format!("{user} {}", digest.to_ascii_uppercase()),
        1 => format!("{user}{digest}"),
        _ => format!("{user} {digest}"),
    }]
}

fn scram(random: &mut Rng, user: &str, password: &str, attempt: u32) -> Vec<String> {
    let header = *random.choice(&["n,,", "n,,", "n,,", "y,,", "n,a=anna,", "p=x,,"]).unwrap();
    let name = user.replace('=', "=3D").replace(',', "=2C");
    let bare = format!("n={name},r=client");
    let without = format!("c={},r=client{}", base64(header.as_bytes()), nonce(attempt));
    let said = format!("{bare},{},{without}", scram_first(user, "client", attempt));
    let (mut proof, _) = scram_proof(user, password, &said);
    if random.u8(..6) == 0 {
        proof[0] ^= 1;
    }
    let last = format!("{without},p={}", base64(&proof));
    vec![format!("{header}{bare}"), last, String::new()]
}

fn bearer(random: &mut Rng, user: &str, token: &str) -> Vec<String> {
    let scheme = *random.choice(&["Bearer", "Bearer", "bearer", "Basic"]).unwrap();
    let mut words = vec![format!("user={user}\x01auth={scheme} {token}\x01\x01")];
    // The empty answer to a refusal.
    if random.u8(..3) == 0 {
        words.push(String::new());
    }
    words
}

fn oauthbearer(random: &mut Rng, user: &str, token: &str) -> Vec<String> {
    let scheme = *random.choice(&["Bearer", "Bearer", "bearer", "Basic"]).unwrap();
    let name = user.replace('=', "=3D").replace(',', "=2C");
    let header = match random.u8(..8) {
        0 => "n,,".to_owned(),
        1 => "p=x,,".to_owned(),
        2 => format!("y,a={name},"),
        3 => format!("n,{name},"),
        _ => format!("n,a={name},"),
    };
    let more =
        *random.choice(&["", "", "host=h\x01port=25\x01", "host\x01", "auth=x\x01"]).unwrap();
    let end = *random.choice(&["\x01\x01", "\x01\x01", "\x01\x01", "\x01", ""]).unwrap();
    let mut words = vec![format!("{header}\x01{more}auth={scheme} {token}{end}")];
    // The answer to a refusal, right and wrong.
    match random.u8(..6) {
        0 | 1 => words.push("\x01".to_owned()),
        2 => words.push(String::new()),
        _ => {}
    }
    words
}
