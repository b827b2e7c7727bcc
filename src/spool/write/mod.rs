//! The writing wing: one [`Writer`] for each core, the helper threads that serve it, and what an opener does.

mod barrier;
mod budget;
mod delivered;
mod fault;
mod flush;
mod job;
mod make;
mod map;
mod marker;
mod numbers;
mod open;
mod open_room;
mod prepare;
mod quarantine;
mod recover;
mod segment;
mod sigbus;
mod supply;
mod sys;
mod ticket;
mod watermark;
mod writer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod planted;

pub use barrier::Barrier;
pub use delivered::DeliveryLog;
pub use open::Spool;
pub use recover::Recovery;
pub use ticket::{Sealed, Ticket, TicketFate};
pub use watermark::Watermark;
pub use writer::{Draft, Stats, Writer};
