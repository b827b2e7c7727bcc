//! Replies of a hostile server: the same lines or the same fault, however they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringpost::smtp::reply::{EnhancedCode, ReplyFault, ReplyReader};

type Lines = Vec<(u16, bool, Vec<u8>)>;

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Lines, Option<ReplyFault>) {
    let mut reader = ReplyReader::default();
    let mut lines = Vec::new();
    for mut piece in pieces {
        loop {
            match reader.step(&mut piece) {
                Ok(Some(line)) => {
                    assert!((200..600).contains(&line.code) && !line.text.contains(&b'\n'));
                    let _ = EnhancedCode::parse(line.text);
                    lines.push((line.code, line.last, line.text.to_vec()));
                }
                Ok(None) => break,
                Err(fault) => return (lines, Some(fault)),
            }
        }
        assert!(piece.is_empty());
    }
    (lines, None)
}

fuzz_target!(|input: &[u8]| {
    let [piece, wire @ ..] = input else { return };
    let whole = read(std::iter::once(wire));
    let (lines, fault) = read(wire.chunks(usize::from(*piece).max(1)));
    assert_eq!(whole.0, lines);
    assert_eq!(whole.1, fault);
});
