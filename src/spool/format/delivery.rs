//! One record of the file `delivered`; the documentation of `spool` describes it to the byte.

use super::octets::crc32c;
use super::place::Place;

const MAGIC: [u8; 4] = *b"RPD\x01";
/// Octets of a record.
pub(crate) const DELIVERY_BYTES: usize = 48;

/// What finally became of one recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryFate {
    /// The next server took the message.
    Delivered,
    /// It refused the recipient or the message with 5xx.
    Refused,
}

impl DeliveryFate {
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
        }
    }
}

/// Place and end of data of a message, and the number of its recipient.
pub(crate) type DeliveryKey = (Place, u64, u32);

/// What became of one recipient of one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivery {
    pub place: Place,
    /// End of data of the message, Unix nanoseconds. Tells it from a message with the same place in another
    /// life of the spool.
    pub sealed_ns: u64,
    /// From 0 on, in the order of the envelope.
    pub recipient: u32,
    pub fate: DeliveryFate,
    /// The reply that decided it.
    pub code: u16,
    /// When it was decided, Unix nanoseconds.
    pub at_ns: u64,
}

impl Delivery {
    pub fn encode(&self) -> [u8; DELIVERY_BYTES] {
        let mut octets = [0; DELIVERY_BYTES];
        octets[..4].copy_from_slice(&MAGIC);
        octets[4] = match self.fate {
            DeliveryFate::Delivered => 1,
            DeliveryFate::Refused => 2,
        };
        octets[6..8].copy_from_slice(&self.place.core.to_le_bytes());
        octets[8..12].copy_from_slice(&self.place.segment.to_le_bytes());
        octets[12..16].copy_from_slice(&self.place.offset.to_le_bytes());
        octets[16..20].copy_from_slice(&self.recipient.to_le_bytes());
        octets[20..22].copy_from_slice(&self.code.to_le_bytes());
        octets[24..32].copy_from_slice(&self.sealed_ns.to_le_bytes());
        octets[32..40].copy_from_slice(&self.at_ns.to_le_bytes());
        let crc = crc32c(&octets[..44]);
        octets[44..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    /// `None` for octets that are no record, or a damaged one.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(octets[at..at + 4].try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(octets[at..at + 8].try_into().ok()?));
        if octets.len() != DELIVERY_BYTES
            || octets[..4] != MAGIC
            || word(44)? != crc32c(&octets[..44])
        {
            return None;
        }
        let half = |at: usize| u16::from_le_bytes([octets[at], octets[at + 1]]);
        Some(Self {
            place: Place { core: half(6), segment: word(8)?, offset: word(12)? },
            sealed_ns: long(24)?,
            recipient: word(16)?,
            fate: match octets[4] {
                1 => DeliveryFate::Delivered,
                2 => DeliveryFate::Refused,
                _ => return None,
            },
            code: half(20),
            at_ns: long(32)?,
        })
    }

    /// By this they are in order, and each is known once.
    pub fn key(&self) -> DeliveryKey {
        (self.place, self.sealed_ns, self.recipient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_page_says() {
        let place = Place { core: 0x0102, segment: 0x0304_0506, offset: 0x0708_090a };
        let (recipient, code) = (0x0b0c_0d0e, 0x0f10);
        let fate = DeliveryFate::Refused;
        let delivery = Delivery {
            place,
            sealed_ns: 0x11,
            recipient,
            fate,
            code,
            at_ns: 0x2122_2324_2526_2728,
        };
        let octets = delivery.encode();
        assert_eq!(octets[..8], *b"RPD\x01\x02\0\x02\x01");
        assert_eq!(octets[8..16], *b"\x06\x05\x04\x03\x0a\x09\x08\x07");
        assert_eq!(octets[16..24], *b"\x0e\x0d\x0c\x0b\x10\x0f\0\0");
        assert_eq!(octets[24..40], *b"\x11\0\0\0\0\0\0\0\x28\x27\x26\x25\x24\x23\x22\x21");
        assert_eq!(octets[40..44], [0; 4]);
        assert_eq!(Delivery::decode(&octets), Some(delivery));
        for at in 0..DELIVERY_BYTES {
            let mut bad = octets;
            bad[at] ^= 1;
            assert_eq!(Delivery::decode(&bad), None, "octet {at}");
        }
    }
}
