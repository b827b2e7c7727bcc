//! Whether the figures of the generator are true: a bench of runs against servers that write down every octet
//! with its time. See `tests/README.md`.

mod cases;
mod conservation;
mod generator;
mod highest;
mod laws;
mod names;
mod planted;
mod pulse;
mod server;
mod sessions;
mod statistics;
mod truth;
