//! Stored messages as people pick them, look at them and take them away.
//!
//! The delivery end of the mail system (RFC 5321 §2.3.10): what lies in the spool becomes files that
//! other programs read. `spool` knows records and nothing of their content, `smtp` knows the content's
//! stamp and no file; here they meet, on the reading side only.
//!
//! - [`Selection`]: which messages, by envelope, time, size, subject, run and flags.
//! - `received`: what final delivery adds to a message, and dates.
//! - [`Export`]: Maildir, mbox, eml, JSON lines, and the dumps of Postfix's smtp-sink.
//! - [`Statistics`]: what there is, in numbers.

mod dump;
mod error;
mod export;
mod files;
mod header;
mod jsonl;
mod maildir;
mod mbox;
mod received;
mod select;
mod statistics;

pub use error::ExportError;
pub use export::{Export, Exported, Format, Newline};
pub use header::{header_block, hops_of, subject, subject_of};
pub use jsonl::{add_deliveries, as_json};
pub use received::Tracer;
pub use select::{AddressPattern, BadPattern, Selection};
pub use statistics::{DomainCount, RateSlot, Statistics};
