//! The server's side of a session: command lines and message octets in, replies and events out.
//!
//! One machine for SMTP and LMTP (RFC 2033). It holds no more of the input than a cut command line;
//! message octets are handed on as slices of the input.

mod answer;
mod argument;
mod auth;
mod bdat;
mod client_facts;
mod commands;
mod content;
mod event;
mod hearing;
mod help;
mod line;
mod listen_in;
mod logins;
mod machine;
mod odmr;
mod policy;
mod refusal;
mod relayed;
mod reply_counts;
mod request;
mod session;
mod starttls;
mod state;
mod transaction;
mod verdict;
mod verify;
mod xclient;

pub use commands::{Commands, HoldLimits, RecipientRule};
pub use event::{CloseReason, Event};
pub use hearing::ClientWant;
pub use machine::Server;
pub use policy::{BareNewline, Policy, TlsPolicy};
pub use refusal::{Refusal, RefusalPhase};
pub use relayed::Relayed;
pub use reply_counts::{ReplyCounts, VerbClass};
pub use request::{AtrnAnswer, EtrnAnswer, Request};
pub use verdict::EndOfData;

pub use super::flags::Flags;
pub use super::protocol::Protocol;
pub use super::syntax::Syntax;
