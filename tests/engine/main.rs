//! The engine's promises, each kept by both engines.

mod accept;
mod alarm;
mod interrupt;
mod refusal;
mod support;
mod transfer;
mod watch;
