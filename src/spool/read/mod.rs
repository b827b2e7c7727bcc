//! The reading wing: finds messages in the segments while a sink writes. It uses read(2), not a map, and
//! knows nothing of the writing wing.

mod assembler;
mod audit;
mod chain;
mod current;
mod delivered;
mod directory;
#[cfg(test)]
mod hostile;
mod listing;
mod message;
mod messages;
mod reader;
mod sorted;
mod survey;
mod walk;
mod window;

pub(in crate::spool) use delivered::DELIVERED;
pub use delivered::Deliveries;
pub(in crate::spool) use directory::{
    MARKER_BYTES_MAX, check_marker, check_marker_text, list_segments,
};
pub use listing::Listing;
pub use message::{CopyError, Message};
pub use messages::Messages;
pub(in crate::spool) use messages::SegmentEnd;
pub use reader::Reader;
pub use survey::{CoreSurvey, Damage, Survey};
pub(in crate::spool) use walk::RecordsEnd;
