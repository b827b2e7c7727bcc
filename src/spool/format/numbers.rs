//! The file `numbers`: from which number on segments have had none yet.

use super::octets::{crc32c, get32, put32};

/// Name of the file.
pub(crate) const NUMBERS: &str = "numbers";
/// Octets of the file.
pub(crate) const NUMBERS_BYTES: usize = 16;
/// The part of the file that changes, which a sector write takes as a whole or not at all.
pub(crate) const NUMBERS_NEXT_AT: usize = 8;
/// The highest number that a segment is given. At a hundred segments a second it is reached after a year,
/// and 128 PiB of mail in segments of 32 MiB. No number is ever given twice, so then there is no more.
pub(crate) const NUMBER_MAX: u32 = 4_000_000_000;

const MAGIC: [u8; 8] = *b"RPNUMB\x01\0";

/// The file that says that `next` was given to no segment, and no higher number either.
pub(crate) fn encode_numbers(next: u32) -> [u8; NUMBERS_BYTES] {
    let mut octets = [0; NUMBERS_BYTES];
    octets[..MAGIC.len()].copy_from_slice(&MAGIC);
    put32(&mut octets, NUMBERS_NEXT_AT, next);
    let crc = crc32c(&octets[..NUMBERS_NEXT_AT + 4]);
    put32(&mut octets, NUMBERS_NEXT_AT + 4, crc);
    octets
}

/// The number in the file; `None` for octets that are no such file, or a damaged one.
pub(crate) fn decode_numbers(octets: &[u8]) -> Option<u32> {
    let sound = octets.len() == NUMBERS_BYTES && *octets == encode_numbers(get32(octets, 8));
    sound.then(|| get32(octets, NUMBERS_NEXT_AT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_the_page_says() {
        let octets = encode_numbers(0x0102_0304);
        assert_eq!(octets[..12], *b"RPNUMB\x01\0\x04\x03\x02\x01");
        assert_eq!(decode_numbers(&octets), Some(0x0102_0304));
        for at in 0..NUMBERS_BYTES {
            let mut bad = octets;
            bad[at] ^= 1;
            assert_eq!(decode_numbers(&bad), None, "octet {at}");
            assert_eq!(decode_numbers(&octets[..at]), None);
        }
    }
}
