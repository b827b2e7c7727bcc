//! SMTP (RFC 5321) without IO: octets in, events and octets out.
//!
//! The drain rule: call `step` until it answers `None`; only then send what was queued and read
//! again. No clock, socket or file is known here.

pub mod auth;
pub mod blank;
pub mod body;
pub mod client;
pub mod command;
pub mod deviation;
pub mod directory;
pub mod ending;
pub mod envelope;
pub mod envelope_memory;
pub mod extension;
pub mod flags;
pub mod lenient;
pub mod node;
pub mod offered;
pub mod onward;
pub mod outgoing;
pub mod params;
pub mod path;
pub mod protocol;
pub mod reply;
pub mod server;
pub mod syntax;
pub mod xtext;
