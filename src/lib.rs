//! ringpost: an SMTP sink on io_uring with a memory-mapped spool, and a load generator with honest
//! latency histograms.
//!
//! The rooms, along the path a message takes, and what each may know:
//!
//! ```text
//! kernel --recv--> [engine] Buf --&[u8]--> [smtp] Event::Body(&[u8]) --copy--> [spool] record
//!                                  uses [scan]                                   | seal
//! kernel <--send_all-- replies <--+----- [sink::session] <----- barrier: kept ---+
//! ```
//!
//! Arrows go down only:
//!
//! ```text
//! bin -> cli -> sink | blast | report -> relay -> mailbox | dial
//!     -> smtp, spool, engine, measure -> scan, notice, limits
//! ```
//!
//! `smtp`, `spool` and `engine` are strangers to each other; they meet in `sink/session.rs`,
//! `blast/session.rs` and `relay` (`delivery.rs`, `queue.rs`) alone; `mailbox` reads what the spool
//! keeps with what `smtp` knows of a message. `smtp` and `scan` never name a socket, a file, a clock
//! or a runtime. `tests/tidy` reads the source and holds these rules.

pub mod blast;
pub mod cli;
pub mod dial;
pub mod engine;
pub mod host;
pub mod limits;
pub mod mailbox;
pub mod measure;
mod notice;
pub mod relay;
pub mod report;
pub mod run;
pub mod scan;
pub mod sink;
pub mod smtp;
pub mod spool;
pub mod stamp;
