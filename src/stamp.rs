//! The header field by which a message of the generator is recognised, whatever mail systems it has passed.
//!
//! ```text
//! X-Ringpost: v1 run=<16 hex> shard=<n> core=<n> seq=<n> due=<unix ns> size=<octets> crc=<8 hex>
//! ```
//!
//! The generator writes numbers at fixed width, with leading zeros. So it renders a message once, and patches
//! only a few fields when it sends the message. The reader takes any width.

/// The values of the field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stamp {
    /// Drawn once for each run.
    pub run: u64,
    /// Number of the generator, where several run on several machines.
    pub shard: u16,
    pub core: u16,
    /// Counts from 1 on each core; `(run, shard, core, seq)` is unique.
    pub seq: u64,
    /// When the message was due to be sent, Unix nanoseconds. A closed loop has no schedule; there it is
    /// when the message was begun.
    pub due_unix_ns: u64,
    /// Octets of the body: everything after the empty line that ends the header.
    pub size: u64,
    /// CRC-32C (Castagnoli) of the body.
    pub crc: u32,
}

const NAME: &[u8] = b"X-Ringpost:";
const LEAD: &[u8] = b"X-Ringpost: v1 run=";
const SHARD_DIGITS: usize = 4;
const CORE_DIGITS: usize = 4;
const SEQ_DIGITS: usize = 12;
const DUE_DIGITS: usize = 19;
const SIZE_DIGITS: usize = 10;

const CORE_AT: usize = LEAD.len() + 16 + " shard=".len() + SHARD_DIGITS + " core=".len();
const SEQ_AT: usize = CORE_AT + CORE_DIGITS + " seq=".len();
const DUE_AT: usize = SEQ_AT + SEQ_DIGITS + " due=".len();
const CRC_AT: usize = DUE_AT + DUE_DIGITS + " size=".len() + SIZE_DIGITS + " crc=".len();

/// Octets of the field as [`Stamp::write`] writes it, with CRLF.
pub const STAMP_BYTES: usize = CRC_AT + 8 + 2;

impl Stamp {
    /// Appends the header line, [`STAMP_BYTES`] long.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(LEAD);
        hex(out, self.run, 16);
        decimal(out, b" shard=", u64::from(self.shard), SHARD_DIGITS);
        decimal(out, b" core=", u64::from(self.core), CORE_DIGITS);
        decimal(out, b" seq=", self.seq, SEQ_DIGITS);
        decimal(out, b" due=", self.due_unix_ns, DUE_DIGITS);
        decimal(out, b" size=", self.size, SIZE_DIGITS);
        out.extend_from_slice(b" crc=");
        hex(out, u64::from(self.crc), 8);
        out.extend_from_slice(b"\r\n");
        debug_assert_eq!(out.len() - start, STAMP_BYTES);
    }

    /// Reads the value of an `X-Ringpost` field: everything after the colon, folded or not.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words =
            value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).peekable();
        if words.next()? != b"v1" {
            return None;
        }
        let mut field = |name: &[u8]| words.next()?.strip_prefix(name)?.strip_prefix(b"=");
        Some(Self {
            run: number(field(b"run")?, 16)?,
            shard: number(field(b"shard")?, 10)?.try_into().ok()?,
            core: number(field(b"core")?, 10)?.try_into().ok()?,
            seq: number(field(b"seq")?, 10)?,
            due_unix_ns: number(field(b"due")?, 10)?,
            size: number(field(b"size")?, 10)?,
            crc: number(field(b"crc")?, 16)?.try_into().ok()?,
        })
    }

    /// Finds the stamp in the header of a message. Does not search the body.
    pub fn find(message: &[u8]) -> Option<Self> {
        let mut rest = message;
        while !rest.is_empty() && !rest.starts_with(b"\r\n") {
            let end = field_end(rest);
            let (field, after) = rest.split_at(end);
            if field.len() >= NAME.len() && field[..NAME.len()].eq_ignore_ascii_case(NAME) {
                return Self::parse(&field[NAME.len()..]);
            }
            rest = after;
        }
        None
    }
}

/// Puts another core, number and time into the field that [`Stamp::write`] wrote at the start of `line`.
#[inline]
pub fn patch(line: &mut [u8], core: u16, seq: u64, due_unix_ns: u64) {
    digits(&mut line[CORE_AT..CORE_AT + CORE_DIGITS], u64::from(core));
    digits(&mut line[SEQ_AT..SEQ_AT + SEQ_DIGITS], seq);
    digits(&mut line[DUE_AT..DUE_AT + DUE_DIGITS], due_unix_ns);
}

/// Puts another checksum into the field that [`Stamp::write`] wrote at the start of `line`.
#[inline]
pub fn patch_crc(line: &mut [u8], crc: u32) {
    let mut text = [0; 8];
    for (n, octet) in text.iter_mut().enumerate() {
        *octet = nibble(u64::from(crc) >> (28 - 4 * n));
    }
    line[CRC_AT..CRC_AT + 8].copy_from_slice(&text);
}

/// The CRC-32C of a body, as it is in the stamp.
pub fn body_crc(body: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, body) as u32
}

/// Octets of the first header field, with its folded lines and CRLF.
fn field_end(header: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', header)
        .map(|newline| newline + 1)
        .find(|&next| !matches!(header.get(next), Some(b' ' | b'\t')))
        .unwrap_or(header.len())
}

fn number(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|t| !t.starts_with('+'))?;
    u64::from_str_radix(text, radix).ok()
}

fn decimal(out: &mut Vec<u8>, lead: &[u8], value: u64, width: usize) {
    out.extend_from_slice(lead);
    let start = out.len();
    out.resize(start + width, 0);
    digits(&mut out[start..], value);
}

/// Fills `field` with `value` in decimal, with leading zeros.
#[inline]
fn digits(field: &mut [u8], mut value: u64) {
    for octet in field.iter_mut().rev() {
        *octet = b'0' + (value % 10) as u8;
        value /= 10;
    }
    debug_assert_eq!(value, 0, "the field is too narrow");
}

fn hex(out: &mut Vec<u8>, value: u64, width: usize) {
    out.extend((0..width).rev().map(|n| nibble(value >> (4 * n))));
}

/// The lowest four bits.
fn nibble(value: u64) -> u8 {
    b"0123456789abcdef"[value as usize & 0xf]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp = Stamp {
        run: 0x0123_4567_89ab_cdef,
        shard: 7,
        core: 31,
        seq: 42,
        due_unix_ns: 1_763_876_786_123_456_789,
        size: 893,
        crc: 0x0bad_cafe,
    };

    #[test]
    fn the_line_has_one_form() {
        let mut line = Vec::new();
        STAMP.write(&mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "X-Ringpost: v1 run=0123456789abcdef shard=0007 core=0031 seq=000000000042 \
             due=1763876786123456789 size=0000000893 crc=0badcafe\r\n"
        );
    }

    #[test]
    fn it_is_found_anywhere_in_a_header_folded_or_not_and_never_in_a_body() {
        let mut line = Vec::new();
        STAMP.write(&mut line);
        let line = String::from_utf8(line).unwrap();
        let folded = line.replace(" seq=", "\r\n\tseq=").replace("X-Ringpost", "x-RINGPOST");
        for header in [
            format!("{line}\r\nbody"),
            format!("Received: from x\r\n by y\r\n{line}Subject: z\r\n\r\nbody"),
            format!("A: b\r\n{folded}\r\n"),
        ] {
            assert_eq!(Stamp::find(header.as_bytes()), Some(STAMP), "{header}");
        }
        assert_eq!(Stamp::find(format!("A: b\r\n\r\n{line}").as_bytes()), None);
        assert_eq!(Stamp::find(b""), None);
    }

    #[test]
    fn what_is_no_stamp_is_not_read() {
        for bad in [
            "v2 run=0 shard=0 core=0 seq=0 due=0 size=0 crc=0",
            "v1 run=0 shard=0 core=0 seq=0 due=0 size=0",
            "v1 run=0 shard=0 core=0 seq=+1 due=0 size=0 crc=0",
            "v1 run=0 shard=70000 core=0 seq=1 due=0 size=0 crc=0",
            "v1 shard=0 run=0 core=0 seq=1 due=0 size=0 crc=0",
            "",
        ] {
            assert_eq!(Stamp::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn the_checksum_is_crc_32c() {
        // The check value of CRC-32/ISCSI.
        assert_eq!(body_crc(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn patched_stamps_are_read_back(seq in 0u64..1_000_000_000_000, due in 0u64..i64::MAX as u64) {
            let mut line = Vec::new();
            STAMP.write(&mut line);
            patch(&mut line, 9_999, seq, due);
            patch_crc(&mut line, seq as u32);
            let patched =
                Stamp { core: 9_999, seq, due_unix_ns: due, crc: seq as u32, ..STAMP };
            prop_assert_eq!(Stamp::find(&line), Some(patched));
        }
    }
}
