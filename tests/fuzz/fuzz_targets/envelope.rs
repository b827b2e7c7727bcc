//! Paths and parameters: one argument a line, for MAIL and RCPT in turn.

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

fuzz_target!(|input: &[u8]| {
    let mut wire = b"EHLO x\r\n".to_vec();
    for (number, argument) in input.split(|&b| b == b'\n').enumerate() {
        wire.extend_from_slice(if number % 2 == 0 { b"MAIL FROM:" } else { b"RCPT TO:" });
        wire.extend_from_slice(argument);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"DATA\r\n.\r\n");
    let policy = Rc::new(stream::rich_policy());
    let circumstances = reference::world::Circumstances::default();
    let fast = drive::drive(&policy, circumstances, &wire, []);
    assert_eq!(fast, reference::Reference::new(&policy, circumstances, None).run(&wire, []));
});
