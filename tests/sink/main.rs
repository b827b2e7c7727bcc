//! The sink as a program, under clients of other people and of our own.

mod board;
mod certificates;
mod client;
mod deviations;
mod ends;
mod envelope;
mod held;
mod idle;
mod lettre;
mod lost;
mod program;
mod reload;
mod voice;
