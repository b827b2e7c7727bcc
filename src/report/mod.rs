//! Reports of a run: text, page, charts and the live view. They are made from the artefacts of a run, so
//! that a later version, on another machine, can make them again.

pub mod bins;
pub mod chart;
pub mod colour;
pub mod columns;
pub mod compare;
pub mod curves;
pub mod delivery;
mod download;
pub mod figure;
pub mod foreign;
pub mod html;
pub mod live;
mod misbehaviour;
pub mod plain;
pub mod progress;
pub mod shards;
pub mod shell;
pub mod sweep;
mod targets;
pub mod text;
mod tls;
mod words;
