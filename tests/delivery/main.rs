//! Runs held against spools: a scripted server stands between generator and sink and loses, doubles, delays,
//! changes and bounces by a seed, and the report counts exactly that.

mod ledger;
mod scripted;
mod server;
mod spool;
