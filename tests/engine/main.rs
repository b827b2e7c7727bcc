//! The engine's promises, each kept by both engines.

mod accept;
mod alarm;
mod interrupt;
mod refusal;
mod stream;
mod support;
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/tls_twin.rs"]
mod tls_twin;
mod transfer;
mod twin;
mod watch;
