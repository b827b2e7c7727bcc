//! The server against the RFCs: input, replies, events, and whether the session lives on.
//!
//! The tables are run without a socket (whole, octet by octet, cut at random places) and then against
//! live sinks on each engine, cut in the same ways.

mod abuse;
mod auth;
mod bdat;
mod codes;
mod commands;
mod cuts;
mod data;
mod directory;
mod extensions;
mod harness;
mod lenient;
mod live;
mod lmtp;
mod mail;
mod matrix;
mod params;
mod paths;
mod regressions;
mod sizes;
mod waiting;
