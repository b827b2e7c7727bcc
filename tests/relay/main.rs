//! What waits in a spool is handed on: ETRN and ATRN against live sinks on each engine.

mod atrn;
mod etrn;
mod secure;
mod server;
#[path = "../support/sink.rs"]
#[allow(dead_code, reason = "other tests need no relay, and read reply by reply")]
mod sink;
mod support;
#[path = "../support/tls.rs"]
mod tls;
