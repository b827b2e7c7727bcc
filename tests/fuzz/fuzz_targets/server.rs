//! The receiver against the slow one.

#![no_main]

#[path = "../../support/drive.rs"]
mod drive;
#[path = "../../support/reference/mod.rs"]
#[allow(dead_code)]
mod reference;
#[path = "../../support/stream/mod.rs"]
#[allow(dead_code)]
mod stream;

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use reference::world::Circumstances;
use ringpost::smtp::auth::Credentials;
use ringpost::smtp::server::{BareNewline, Policy, Protocol, RecipientRule};

fuzz_target!(|input: &[u8]| {
    let [switches, piece, wire @ ..] = input else { return };
    let is_on = |bit: u8| switches & bit != 0;
    let mut base = if is_on(16) { stream::rich_policy() } else { stream::policy() };
    if is_on(16) && is_on(32) {
        base.commands.recipients = RecipientRule::Known;
    }
    if is_on(16) && is_on(64) {
        base.auth.credentials = Credentials::Any;
        base.auth.required = true;
    }
    let policy = Rc::new(Policy {
        protocol: if is_on(1) { Protocol::Lmtp } else { Protocol::Smtp },
        bare_newline: if is_on(2) { BareNewline::Reject } else { BareNewline::Keep },
        message_bytes_max: if is_on(4) { 20 } else { u64::MAX },
        recipients_max: if is_on(8) { 2 } else { 100 },
        ..base
    });
    let trusted = is_on(128);
    // A client that waits for the reply to each line, or one that sends whatever it has.
    let pieces: Vec<usize> = match usize::from(*piece) {
        0 => wire.split_inclusive(|&octet| octet == b'\n').map(<[u8]>::len).collect(),
        octets => wire.chunks(octets).map(<[u8]>::len).collect(),
    };
    let circumstances = Circumstances { trusted, ..Circumstances::default() };
    let fast = drive::drive(&policy, circumstances, wire, pieces.iter().copied());
    assert_eq!(fast, reference::Reference::new(&policy, circumstances, None).run(wire, pieces));
});
