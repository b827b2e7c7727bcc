//! A run, told to people and programs. Everything here is made from the artefacts of a run, so that a
//! report can be made again, by a later version and on another machine.

pub mod bins;
pub mod chart;
pub mod colour;
pub mod compare;
pub mod figure;
pub mod foreign;
pub mod html;
pub mod human;
pub mod live;
mod misbehaviour;
pub mod plain;
pub mod progress;
pub mod shards;
pub mod sweep;
mod targets;
pub mod text;
mod words;
