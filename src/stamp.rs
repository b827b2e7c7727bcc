//! The header field by which a message of the generator is recognised, whatever mail systems it has passed.
//!
//! ```text
//! X-Ringpost: v2 run=<16 hex> shard=<n> core=<n> conn=<n> seq=<n> due=<unix ns> size=<octets> crc=<8 hex> hcrc=<8 hex>
//! ```
//!
//! The generator writes numbers at fixed width, with leading zeros. So it renders a message once, and patches
//! only a few fields when it sends the message. The reader takes any width. Version 1, which earlier
//! generators wrote, has neither `conn` nor `hcrc`; it is read too.

mod header;

pub use header::{HeaderFields, header_crc, header_end, relax};

/// The values of the field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stamp {
    /// Drawn once for each run.
    pub run: u64,
    /// Number of the generator, where several run on several machines.
    pub shard: u16,
    pub core: u16,
    /// Number of the connection among those of its core, from 1 on; `None` in version 1.
    pub conn: Option<u32>,
    /// Counts from 1 on each core; `(run, shard, core, seq)` is unique.
    pub seq: u64,
    /// When the message was due to be sent, Unix nanoseconds. A closed loop has no schedule; there it is
    /// when the message was begun.
    pub due_unix_ns: u64,
    /// Octets of the body: everything after the empty line that ends the header.
    pub size: u64,
    /// CRC-32C (Castagnoli) of the body.
    pub crc: u32,
    /// CRC-32C of the header fields that follow the stamp, as [`header_crc`] computes it; `None` in version 1.
    pub hcrc: Option<u32>,
}

const NAME: &[u8] = b"X-Ringpost:";
const LEAD: &[u8] = b"X-Ringpost: v2 run=";
const SHARD_DIGITS: usize = 4;
const CORE_DIGITS: usize = 4;
const CONN_DIGITS: usize = 10;
const SEQ_DIGITS: usize = 12;
const DUE_DIGITS: usize = 19;
const SIZE_DIGITS: usize = 10;

const CORE_AT: usize = LEAD.len() + 16 + " shard=".len() + SHARD_DIGITS + " core=".len();
const CONN_AT: usize = CORE_AT + CORE_DIGITS + " conn=".len();
const SEQ_AT: usize = CONN_AT + CONN_DIGITS + " seq=".len();
const DUE_AT: usize = SEQ_AT + SEQ_DIGITS + " due=".len();
const CRC_AT: usize = DUE_AT + DUE_DIGITS + " size=".len() + SIZE_DIGITS + " crc=".len();
const HCRC_AT: usize = CRC_AT + 8 + " hcrc=".len();

/// Octets of the field as [`Stamp::write`] writes it, with CRLF.
pub const STAMP_BYTES: usize = HCRC_AT + 8 + 2;

impl Stamp {
    /// Appends the header line in version 2, [`STAMP_BYTES`] long.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(LEAD);
        hex(out, self.run, 16);
        decimal(out, b" shard=", u64::from(self.shard), SHARD_DIGITS);
        decimal(out, b" core=", u64::from(self.core), CORE_DIGITS);
        decimal(out, b" conn=", u64::from(self.conn.unwrap_or(0)), CONN_DIGITS);
        decimal(out, b" seq=", self.seq, SEQ_DIGITS);
        decimal(out, b" due=", self.due_unix_ns, DUE_DIGITS);
        decimal(out, b" size=", self.size, SIZE_DIGITS);
        out.extend_from_slice(b" crc=");
        hex(out, u64::from(self.crc), 8);
        out.extend_from_slice(b" hcrc=");
        hex(out, u64::from(self.hcrc.unwrap_or(0)), 8);
        out.extend_from_slice(b"\r\n");
        debug_assert_eq!(out.len() - start, STAMP_BYTES);
    }

    /// Reads the value of an `X-Ringpost` field: everything after the colon, folded or not.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let is_second = match words.next()? {
            b"v1" => false,
            b"v2" => true,
            _ => return None,
        };
        let mut field = |name: &[u8]| words.next()?.strip_prefix(name)?.strip_prefix(b"=");
        let small = |text: &[u8], radix| u32::try_from(number(text, radix)?).ok();
        Some(Self {
            run: number(field(b"run")?, 16)?,
            shard: number(field(b"shard")?, 10)?.try_into().ok()?,
            core: number(field(b"core")?, 10)?.try_into().ok()?,
            conn: if is_second { Some(small(field(b"conn")?, 10)?) } else { None },
            seq: number(field(b"seq")?, 10)?,
            due_unix_ns: number(field(b"due")?, 10)?,
            size: number(field(b"size")?, 10)?,
            crc: small(field(b"crc")?, 16)?,
            hcrc: if is_second { Some(small(field(b"hcrc")?, 16)?) } else { None },
        })
    }

    /// Finds the stamp in the header of a message. Does not search the body.
    pub fn find(message: &[u8]) -> Option<Self> {
        Self::find_with_rest(message).map(|(stamp, _)| stamp)
    }

    /// Finds the stamp in the header of a message, and what follows its field.
    pub fn find_with_rest(message: &[u8]) -> Option<(Self, &[u8])> {
        let mut fields = HeaderFields::new(message);
        let named = |field: &[u8]| {
            field.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        };
        let field = fields.find(|field| named(field))?;
        Some((Self::parse(&field[NAME.len()..])?, fields.rest()))
    }
}

/// Puts another core, connection, number and time into the field that [`Stamp::write`] wrote at the start of
/// `line`.
#[inline]
pub fn patch(line: &mut [u8], core: u16, conn: u32, seq: u64, due_unix_ns: u64) {
    digits(&mut line[CORE_AT..CORE_AT + CORE_DIGITS], u64::from(core));
    digits(&mut line[CONN_AT..CONN_AT + CONN_DIGITS], u64::from(conn));
    digits(&mut line[SEQ_AT..SEQ_AT + SEQ_DIGITS], seq);
    digits(&mut line[DUE_AT..DUE_AT + DUE_DIGITS], due_unix_ns);
}

/// Puts another checksum of the body into the field that [`Stamp::write`] wrote at the start of `line`.
#[inline]
pub fn patch_crc(line: &mut [u8], crc: u32) {
    hex_digits(&mut line[CRC_AT..CRC_AT + 8], crc);
}

/// Puts another checksum of the header into the field that [`Stamp::write`] wrote at the start of `line`.
#[inline]
pub fn patch_hcrc(line: &mut [u8], hcrc: u32) {
    hex_digits(&mut line[HCRC_AT..HCRC_AT + 8], hcrc);
}

/// The CRC-32C of a body, as it is in the stamp.
pub fn body_crc(body: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, body) as u32
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

/// Fills `field`, of eight octets, with `value` in hexadecimal.
#[inline]
fn hex_digits(field: &mut [u8], value: u32) {
    for (n, octet) in field.iter_mut().enumerate() {
        *octet = nibble(u64::from(value) >> (28 - 4 * n));
    }
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
        conn: Some(1_234),
        seq: 42,
        due_unix_ns: 1_763_876_786_123_456_789,
        size: 893,
        crc: 0x0bad_cafe,
        hcrc: Some(0x00c0_ffee),
    };

    #[test]
    fn the_line_has_one_form() {
        let mut line = Vec::new();
        STAMP.write(&mut line);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "X-Ringpost: v2 run=0123456789abcdef shard=0007 core=0031 conn=0000001234 seq=000000000042 \
             due=1763876786123456789 size=0000000893 crc=0badcafe hcrc=00c0ffee\r\n"
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
            "v2 run=0 shard=0 core=0 conn=0 seq=0 due=0 size=0 crc=0",
            "v2 run=0 shard=0 core=0 conn=4294967296 seq=0 due=0 size=0 crc=0 hcrc=0",
            "v3 run=0 shard=0 core=0 conn=0 seq=0 due=0 size=0 crc=0 hcrc=0",
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

    #[test]
    fn the_first_version_is_still_read() {
        let line = b"X-Ringpost: v1 run=0123456789abcdef shard=0007 core=0031 seq=000000000042 \
            due=1763876786123456789 size=0000000893 crc=0badcafe\r\n";
        assert_eq!(Stamp::find(line), Some(Stamp { conn: None, hcrc: None, ..STAMP }));
    }

    /// Any stamp of the second version.
    fn any_stamp() -> impl Strategy<Value = Stamp> {
        let place = (any::<u64>(), 0u16..10_000, 0u16..10_000, any::<u32>());
        let rest = (0u64..1_000_000_000_000, 0u64..i64::MAX as u64, 0u64..10_000_000_000);
        (place, rest, any::<u32>(), any::<u32>()).prop_map(
            |((run, shard, core, conn), (seq, due_unix_ns, size), crc, hcrc)| {
                let (conn, hcrc) = (Some(conn), Some(hcrc));
                Stamp { run, shard, core, conn, seq, due_unix_ns, size, crc, hcrc }
            },
        )
    }

    proptest! {
        #[test]
        fn stamps_are_read_back_folded_anywhere_and_never_out_of_a_part(
            stamp in any_stamp(), folds in any::<u16>(), cut in 0usize..STAMP_BYTES,
        ) {
            let mut line = Vec::new();
            stamp.write(&mut line);
            prop_assert_eq!(Stamp::find(&line), Some(stamp));
            let mut word = 0;
            let folded = line.iter().flat_map(|&octet| {
                word += u16::from(octet == b' ');
                let folds = octet == b' ' && folds >> (word % 16) & 1 == 1;
                if folds { b"\r\n\t".to_vec() } else { vec![octet] }
            });
            let folded: Vec<u8> = folded.collect();
            prop_assert_eq!(Stamp::find(&folded), Some(stamp));
            // What is left of a stamp that was cut off is no other stamp: only the last word may be shorter.
            match Stamp::find(&line[..cut]) {
                Some(read) => prop_assert_eq!(Stamp { hcrc: stamp.hcrc, ..read }, stamp),
                None => prop_assert!(cut <= HCRC_AT),
            }
        }

        #[test]
        fn patched_stamps_are_read_back(seq in 0u64..1_000_000_000_000, due in 0u64..i64::MAX as u64) {
            let mut line = Vec::new();
            STAMP.write(&mut line);
            patch(&mut line, 9_999, u32::MAX, seq, due);
            patch_crc(&mut line, seq as u32);
            patch_hcrc(&mut line, due as u32);
            let (crc, hcrc, conn) = (seq as u32, Some(due as u32), Some(u32::MAX));
            let patched =
                Stamp { core: 9_999, conn, seq, due_unix_ns: due, crc, hcrc, ..STAMP };
            prop_assert_eq!(Stamp::find(&line), Some(patched));
        }
    }
}
