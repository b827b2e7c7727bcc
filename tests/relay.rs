//! What waits in a spool is handed on: ETRN and ATRN against live sinks on each engine.

#[path = "relay/atrn.rs"]
mod atrn;
#[path = "relay/etrn.rs"]
mod etrn;
#[path = "relay/server.rs"]
mod server;
#[path = "support/sink.rs"]
#[allow(dead_code, reason = "other tests need no relay, and read reply by reply")]
mod sink;
#[path = "relay/support.rs"]
mod support;
