//! The server against the RFCs: input, replies, events, and whether the session lives on.
//!
//! The tables in `smtp` are run without a socket (whole, octet by octet, cut at random places) and
//! then against live sinks on each engine, cut in the same ways.

#[path = "support/sink.rs"]
#[allow(dead_code, reason = "other tests stop their sinks and read what they counted")]
mod sink;
mod smtp;
