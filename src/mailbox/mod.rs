//! Stored messages: selected, counted and exported.
//!
//! The delivery end of the mail system (RFC 5321 §2.3.10): messages in the spool become files that other
//! programs read. `spool` knows records and nothing of their content; `stamp` and `smtp` know the content
//! and no files. Here they meet, on the reading side only.
//!
//! - [`Selection`]: selects messages by envelope, time, size, subject, run and flags.
//! - `received`: the header fields that final delivery adds to a message, and dates.
//! - [`Export`]: Maildir, mbox, eml, JSON lines, and the dumps of Postfix's smtp-sink.
//! - [`Statistics`]: counts of messages, sizes, domains and flags.

mod body;
mod dump;
mod encoded_words;
mod error;
mod export;
mod files;
mod header;
mod jsonl;
mod line_ends;
mod maildir;
mod mbox;
mod received;
mod select;
mod statistics;

pub use error::ExportError;
pub use export::{Export, Exported, Format, Newline};
pub use header::{copy_header_block, hops_of, subject_in, subject_of};
pub use jsonl::MessageJson;
pub use received::Tracer;
pub use select::{AddressPattern, BadPattern, Selection};
pub use statistics::{DomainCount, RateSlot, Statistics};
