//! Random client streams that know the grammar, and where they are cut.

mod login;
mod policy;
mod tables;

use fastrand::Rng;
use ringpost::smtp::server::{Policy, Protocol};

#[allow(unused_imports, reason = "each test takes what it needs")]
pub(crate) use policy::{policy, random_policy, rich_policy};
use tables::{
    ATTRIBUTES, KNOWN_PATHS, MAIL_PARAMS, PARAMS, PATHS, PEOPLE, RCPT_PARAMS, TEXT, VERBS, WORDS,
};

/// What a client sends, and the sizes of the pieces it arrives in.
pub(crate) fn random_session(random: &mut Rng, policy: &Policy) -> (Vec<u8>, Vec<usize>) {
    let mut wire = Vec::new();
    let hello = match policy.protocol {
        Protocol::Lmtp => b"LHLO x\r\n",
        Protocol::Smtp if policy.commands.esmtp || random.u8(..4) == 0 => b"EHLO x\r\n",
        Protocol::Smtp => b"HELO x\r\n",
    };
    if random.u8(..10) > 0 {
        wire.extend_from_slice(hello);
    }
    // One that asks for TLS mostly gets it.
    let starttls = if policy.tls.required { 3 } else { 1 };
    if policy.tls.offered && random.u8(..4) < starttls {
        wire.extend_from_slice(b"STARTTLS\r\n");
        if random.u8(..8) > 0 {
            wire.extend_from_slice(hello);
        }
    }
    // A listener that asks for a login mostly gets one.
    let mut attempts = 0;
    let login = if policy.auth.required { 3 } else { 1 };
    if !policy.mechanisms().is_empty() && random.u8(..4) < login {
        attempts += 1;
        login::exchange(random, attempts, &mut wire);
    }
    let later = policy.commands.directory.is_some() || !policy.mechanisms().is_empty();
    for _ in 0..random.usize(1..10) {
        if later && random.u8(..3) == 0 {
            later_fragment(random, &mut attempts, &mut wire);
        } else {
            fragment(random, &mut wire);
        }
    }
    if random.u8(..4) == 0 {
        for _ in 0..random.usize(1..4) {
            break_something(random, &mut wire);
        }
    }
    let most = *random.choice(&[1, 2, 5, 20, 100]).unwrap();
    let pieces = (0..wire.len().min(60)).map(|_| random.usize(1..=most)).collect();
    let pieces = wait_for_handshakes(random, &wire, pieces);
    (wire, pieces)
}

/// Cuts behind most lines with STARTTLS as well: a client waits for the reply there.
fn wait_for_handshakes(random: &mut Rng, wire: &[u8], pieces: Vec<usize>) -> Vec<usize> {
    const LINE: &[u8] = b"STARTTLS\r\n";
    let mut cuts: Vec<usize> = pieces
        .iter()
        .scan(0, |at, octets| {
            *at += octets;
            Some(*at)
        })
        .collect();
    for at in 0..wire.len() {
        if wire[at..].starts_with(LINE) && random.u8(..8) > 0 {
            cuts.push(at + LINE.len());
        }
    }
    cuts.sort_unstable();
    let mut from = 0;
    cuts.into_iter().map(|at| at - std::mem::replace(&mut from, at)).collect()
}

/// What the first version did not know.
fn later_fragment(random: &mut Rng, attempts: &mut u32, wire: &mut Vec<u8>) {
    match random.u8(..20) {
        0..4 => {
            *attempts += 1;
            login::exchange(random, *attempts, wire);
        }
        4 => {
            if random.bool() {
                wire.extend_from_slice(b"EHLO y\r\n");
            }
            wire.extend_from_slice(b"STARTTLS\r\n");
            if random.bool() {
                wire.extend_from_slice(b"EHLO z\r\n");
            }
            envelope(random, wire);
            wire.extend_from_slice(b"DATA\r\n.\r\n");
        }
        5..9 => {
            wire.extend_from_slice(random.choice(&[&b"VRFY"[..], b"EXPN", b"HELP"]).unwrap());
            pick(random, &PEOPLE, wire);
            wire.extend_from_slice(b"\r\n");
        }
        9..11 => {
            wire.extend_from_slice(b"XCLIENT");
            for _ in 0..random.usize(..4) {
                pick(random, &ATTRIBUTES, wire);
            }
            wire.extend_from_slice(b"\r\n");
            if random.u8(..4) == 0 {
                wire.extend_from_slice(b"EHLO y\r\nSTARTTLS\r\n");
            }
            if random.bool() {
                wire.extend_from_slice(b"EHLO y\r\nMAIL FROM:<a@b>\r\nRCPT TO:<postmaster>\r\n");
                wire.extend_from_slice(b"DATA\r\n.\r\n");
            }
        }
        11..13 => {
            wire.extend_from_slice(random.choice(&[&b"SEND"[..], b"SOML", b"SAML"]).unwrap());
            wire.extend_from_slice(b" FROM:");
            path_and_params(random, &MAIL_PARAMS, wire);
        }
        13 if random.u8(..20) == 0 => login::long_line(random, wire),
        13..17 => {
            wire.extend_from_slice(b"MAIL FROM:<a@b>");
            for _ in 0..random.usize(1..3) {
                let param = random.choice(&MAIL_PARAMS).unwrap();
                wire.extend(param.repeat(if random.u8(..6) == 0 { 2 } else { 1 }));
            }
            wire.extend_from_slice(b"\r\nRCPT TO:<c@d>\r\nDATA\r\nhi\r\n.\r\nRSET\r\n");
        }
        _ => {
            wire.extend_from_slice(b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:");
            pick(random, &KNOWN_PATHS, wire);
            if random.bool() {
                pick(random, &RCPT_PARAMS, wire);
            }
            if random.u8(..4) == 0 {
                pick(random, &RCPT_PARAMS, wire);
            }
            wire.extend_from_slice(b"\r\n");
        }
    }
}

fn pick(random: &mut Rng, from: &[&[u8]], wire: &mut Vec<u8>) {
    wire.extend_from_slice(from[random.usize(..from.len())]);
}

fn fragment(random: &mut Rng, wire: &mut Vec<u8>) {
    match random.u8(..24) {
        0..5 => {
            envelope(random, wire);
            wire.extend_from_slice(b"DATA\r\n");
            text(random, wire);
            wire.extend_from_slice(b"\r\n.\r\n");
        }
        5..9 => {
            envelope(random, wire);
            for _ in 0..random.usize(1..4) {
                chunk(random, wire);
            }
        }
        9..11 => chunk(random, wire),
        11..13 => envelope(random, wire),
        13 => wire.extend_from_slice(b"DATA\r\n"),
        14 => text(random, wire),
        15..17 => mail(random, wire),
        17..19 => rcpt(random, wire),
        19 => {
            wire.extend_from_slice(VERBS[random.usize(..VERBS.len())].as_bytes());
            for _ in 0..random.usize(..6) {
                pick(random, &WORDS, wire);
            }
            wire.extend_from_slice(b"\r\n");
        }
        20 => {
            let octets = random.usize(4_080..4_110) * usize::from(random.u8(..8) == 0);
            wire.extend_from_slice(b"NOOP ");
            wire.resize(wire.len() + octets, b'x');
            wire.extend_from_slice(b"\r\n");
        }
        21 if random.u8(..8) == 0 => {
            // Near the limits of patience.
            wire.extend(b"NOOP\r\n".repeat(random.usize(90..110)));
            wire.extend(b"X\r\n".repeat(random.usize(10..20)));
            wire.extend(b"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\n");
        }
        22 => wire.extend_from_slice(b"\x16\x03"),
        _ => {
            wire.extend_from_slice(VERBS[random.usize(..VERBS.len())].as_bytes());
            wire.extend_from_slice(if random.bool() { b" x\r\n" } else { b"\r\n" });
        }
    }
}

fn envelope(random: &mut Rng, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"MAIL FROM:<a@b>");
    if random.u8(..6) == 0 {
        pick(random, &PARAMS, wire);
    }
    wire.extend_from_slice(b"\r\n");
    for _ in 0..random.usize(1..3) {
        wire.extend_from_slice(b"RCPT TO:<c@d>\r\n");
    }
}

fn mail(random: &mut Rng, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"MAIL FROM:");
    path_and_params(random, &PARAMS, wire);
}

fn rcpt(random: &mut Rng, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"RCPT TO:");
    path_and_params(random, &PARAMS, wire);
}

fn path_and_params(random: &mut Rng, params: &[&[u8]], wire: &mut Vec<u8>) {
    if random.u8(..3) > 0 {
        pick(random, &PATHS, wire);
    } else {
        wire.push(b'<');
        for _ in 0..random.usize(..7) {
            pick(random, &WORDS, wire);
        }
        wire.push(b'>');
    }
    for _ in 0..random.usize(..4) {
        pick(random, params, wire);
    }
    wire.extend_from_slice(b"\r\n");
}

fn text(random: &mut Rng, wire: &mut Vec<u8>) {
    for _ in 0..random.usize(..9) {
        pick(random, &TEXT, wire);
    }
}

fn chunk(random: &mut Rng, wire: &mut Vec<u8>) {
    let mut octets = Vec::new();
    text(random, &mut octets);
    let off = if random.u8(..16) == 0 { random.usize(..20) } else { 0 };
    let last = if random.u8(..3) == 0 { " LAST" } else { "" };
    wire.extend_from_slice(format!("BDAT {}{last}\r\n", octets.len() + off).as_bytes());
    wire.append(&mut octets);
}

/// Changes, takes away or doubles a few octets.
fn break_something(random: &mut Rng, wire: &mut Vec<u8>) {
    if wire.is_empty() {
        return wire.push(b'.');
    }
    let at = random.usize(..wire.len());
    let to = (at + random.usize(1..6)).min(wire.len());
    match random.u8(..4) {
        0 => wire[at] = random.u8(..),
        1 => wire[at] ^= 0x20,
        2 => drop(wire.drain(at..to)),
        _ => {
            let doubled = wire[at..to].to_vec();
            wire.splice(at..at, doubled);
        }
    }
}
