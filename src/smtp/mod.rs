//! SMTP (RFC 5321) without IO: octets in, events and octets out.

pub mod client;
pub mod command;
pub mod offered;
pub mod outgoing;
pub mod reply;
pub mod stamp;
