//! The receiver against the slow one.

#![no_main]

#[path = "../../tests/support/drive.rs"]
mod drive;
#[path = "../../tests/support/reference.rs"]
#[allow(dead_code)]
mod reference;
#[path = "../../tests/support/stream.rs"]
#[allow(dead_code)]
mod stream;

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use ringpost::smtp::server::{BareNewline, Policy, Protocol};

fuzz_target!(|input: &[u8]| {
    let [switches, piece, wire @ ..] = input else { return };
    let policy = Rc::new(Policy {
        protocol: if switches & 1 == 0 { Protocol::Smtp } else { Protocol::Lmtp },
        bare_newline: if switches & 2 == 0 { BareNewline::Keep } else { BareNewline::Reject },
        message_bytes_max: if switches & 4 == 0 { u64::MAX } else { 20 },
        recipients_max: if switches & 8 == 0 { 100 } else { 2 },
        ..stream::policy()
    });
    let pieces = wire.chunks(usize::from(*piece).max(1)).map(<[u8]>::len);
    let fast = drive::drive(&policy, wire, pieces);
    assert_eq!(fast, reference::Reference::new(&policy, None).run(wire));
});
