//! Random client streams that know the grammar, and where they are cut.

use fastrand::Rng;
use ringpost::limits::RECIPIENTS_DEFAULT;
use ringpost::smtp::auth::AuthPolicy;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{BareNewline, Commands, Policy, Protocol};

/// What the slow receiver knows; later extensions stay off.
pub const OFFERED: Extensions = Extensions::PIPELINING
    .with(Extensions::SIZE)
    .with(Extensions::EIGHT_BIT_MIME)
    .with(Extensions::SMTPUTF8)
    .with(Extensions::CHUNKING)
    .with(Extensions::BINARYMIME)
    .with(Extensions::ENHANCED_STATUS_CODES)
    .with(Extensions::HELP);

pub fn policy() -> Policy {
    Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: u64::MAX,
        recipients_max: RECIPIENTS_DEFAULT,
        bare_newline: BareNewline::Keep,
        extensions: OFFERED,
        auth: AuthPolicy::default(),
        commands: Commands::default(),
    }
}

pub fn random_policy(random: &mut Rng) -> Policy {
    let mut extensions = OFFERED;
    for extension in [
        Extensions::SIZE,
        Extensions::EIGHT_BIT_MIME,
        Extensions::SMTPUTF8,
        Extensions::CHUNKING,
        Extensions::BINARYMIME,
        Extensions::HELP,
    ] {
        if random.u8(..12) == 0 {
            extensions = extensions.without(extension);
        }
    }
    Policy {
        protocol: if random.u8(..4) == 0 { Protocol::Lmtp } else { Protocol::Smtp },
        message_bytes_max: *random.choice(&[0, 1, 8, 40, 40, 200, u64::MAX]).unwrap(),
        recipients_max: random.usize(1..4),
        bare_newline: if random.bool() { BareNewline::Keep } else { BareNewline::Reject },
        extensions,
        ..policy()
    }
}

/// What a client sends, and the sizes of the pieces it arrives in.
pub fn random_session(random: &mut Rng, policy: &Policy) -> (Vec<u8>, Vec<usize>) {
    let mut wire = Vec::new();
    if random.u8(..10) > 0 {
        let lmtp = policy.protocol == Protocol::Lmtp;
        wire.extend_from_slice(if lmtp { b"LHLO x\r\n" } else { b"EHLO x\r\n" });
    }
    for _ in 0..random.usize(1..10) {
        fragment(random, &mut wire);
    }
    if random.u8(..4) == 0 {
        for _ in 0..random.usize(1..4) {
            break_something(random, &mut wire);
        }
    }
    let most = *random.choice(&[1, 2, 5, 20, 100]).unwrap();
    let pieces = (0..wire.len().min(60)).map(|_| random.usize(1..=most)).collect();
    (wire, pieces)
}

const VERBS: [&str; 24] = [
    "EHLO", "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "RSET", "NOOP", "QUIT",
    "VRFY", "HELP", "EXPN", "STARTTLS", "AUTH", "GET", "POST", "", " ", "NOOPX", "noop", "rSeT",
];

const WORDS: [&[u8]; 48] = [
    b" ",
    b"  ",
    b"\t",
    b"x",
    b"x.y",
    b"a@b",
    b"<",
    b">",
    b"<>",
    b"<a@b>",
    b"FROM:",
    b"TO:",
    b":",
    b"@",
    b".",
    b",",
    b"-",
    b"\"",
    b"\\",
    b"[",
    b"]",
    b"[1.2.3.4]",
    b"[IPv6:::1]",
    b"[x:y]",
    b"postmaster",
    b"LAST",
    b"0",
    b"1",
    b"7",
    b"40",
    b"41",
    b"99999999999999999999",
    b"SIZE=",
    b"BODY=",
    b"8BITMIME",
    b"BINARYMIME",
    b"7BIT",
    b"SMTPUTF8",
    b"=",
    b"X=1",
    b"\xc3\xbc",
    b"\xfc",
    b"\0",
    b"\x01",
    b"\x7f",
    b"\r",
    b"\n",
    b"\r\n",
];

const PATHS: [&[u8]; 28] = [
    b"<a@b>",
    b"<a@b>",
    b"<a@b>",
    b"<c@d.example>",
    b"<>",
    b"<Postmaster>",
    b" <a@b>",
    b"<@x:a@b>",
    b"<@x,@y:a@b>",
    b"<@\xc3\xbc:a@b>",
    b"<@\xfc:a@b>",
    b"<\"a b\"@c>",
    b"<\"a\\\"\"@c>",
    b"<a@[1.2.3.4]>",
    b"<a@[IPv6:::1]>",
    b"<a@[x:y]>",
    b"<a@[x:[]>",
    b"<\xc3\xbc@b>",
    b"<\xfc@b>",
    b"<a@\xc3\xbc>",
    b"<a..b@c>",
    b"<a@b",
    b"a@b",
    b"<a@b->",
    b"<a@b>x",
    b"<a\x01@b>",
    b"<a@b>\xfc",
    b"",
];

const PARAMS: [&[u8]; 24] = [
    b" SIZE=1",
    b" SIZE=40",
    b" SIZE=41",
    b" SIZE=0",
    b" size=00000000000000000001",
    b" SIZE=000000000000000000001",
    b" SIZE=18446744073709551616",
    b" SIZE",
    b" SIZE=",
    b" SIZE=x",
    b" BODY=7BIT",
    b" BODY=8bitmime",
    b" BODY=BINARYMIME",
    b" BODY=9BIT",
    b" BODY",
    b" SMTPUTF8",
    b" SMTPUTF8",
    b" SMTPUTF8=1",
    b"  ",
    b" X=1",
    b" -=1",
    b" X=a=b",
    b" X=\xfc",
    b" \x01",
];

/// What messages and their would-be ends are made of.
const TEXT: [&[u8]; 18] = [
    b"\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b".",
    b"..",
    b"\r\n.\r\n",
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r.\r",
    b"hello",
    b"MAIL FROM:<evil@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    b"QUIT\r\n",
    b"\0",
    b"\xc3\xbc",
];

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
    path_and_params(random, wire);
}

fn rcpt(random: &mut Rng, wire: &mut Vec<u8>) {
    wire.extend_from_slice(b"RCPT TO:");
    path_and_params(random, wire);
}

fn path_and_params(random: &mut Rng, wire: &mut Vec<u8>) {
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
        pick(random, &PARAMS, wire);
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
