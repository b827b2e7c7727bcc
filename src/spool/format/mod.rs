//! The durable format: names, marker, segment header, record header, checksums, deliveries. `spool/mod.rs`
//! describes it to the byte; the files here, and those of the envelope, are the only ones that know the
//! offsets.

mod delivery;
mod marker;
mod name;
mod numbers;
mod octets;
mod place;
mod record;
mod segment;

pub(super) use delivery::{DELIVERY_BYTES, DeliveryKey};
pub use delivery::{Delivery, DeliveryFate};
pub(super) use marker::{EARLIER_MARKER_TEXT, MARKER, MARKER_TEXT, QUARANTINE};
pub(super) use name::{
    file_name, is_almost_a_segment, is_in_making, name_in_making, parse_file_name,
};
pub(super) use numbers::{
    NUMBER_MAX, NUMBERS, NUMBERS_BYTES, NUMBERS_NEXT_AT, decode_numbers, encode_numbers,
};
pub(super) use octets::ALIGNMENT;
#[cfg(test)]
pub(super) use octets::crc32c;
pub use place::{BadPlace, Place};
pub use record::RecordFlags;
pub(super) use record::{
    COMMIT_AT, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, RecordKind, SlotState,
};
pub(super) use segment::{CANARY_BYTES, MARK_AT, Mark, SEGMENT_HEADER_BYTES, SegmentHeader};
