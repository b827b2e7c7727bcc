//! The engine's promises, each kept by both engines.

mod accept;
mod alarm;
mod interrupt;
mod refusal;
mod stream;
mod support;
#[path = "../support/tls.rs"]
mod tls;
mod transfer;
mod watch;
