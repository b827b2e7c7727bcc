//! The generator, as a library and as a program: what it counts, when it sends, how it ends.

mod counts;
mod greeting;
mod measured;
mod open_loop;
mod policy;
mod program;
mod recipients;
mod scripted;
mod search;
mod tls;
mod tls_counts;
mod tls_server;
mod told;
