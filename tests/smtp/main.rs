//! The protocol machines of both sides, against the RFCs, against each other, and against slow or
//! misbehaving counterparts.

mod client;
mod conformance;
mod dialogue;
mod faults;
mod fuzz;
mod login;
mod secure;
mod smuggling;
mod starttls;
mod under_tls;
mod upgrade;

#[path = "../support/drive.rs"]
mod drive;
#[path = "../support/reference/mod.rs"]
mod reference;
#[path = "../support/sink.rs"]
#[allow(dead_code, reason = "tests/relay stops its sinks and reads what they counted")]
mod sink;
#[path = "../support/stream/mod.rs"]
#[allow(dead_code, reason = "the fuzz targets draw richer policies")]
mod stream;
#[path = "../support/tls.rs"]
mod tls;
