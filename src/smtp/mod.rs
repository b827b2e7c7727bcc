//! SMTP (RFC 5321) without IO: octets in, events and octets out.

pub mod command;
pub mod reply;
