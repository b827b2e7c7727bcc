//! One client conversation, for every part of the program that speaks to a server: the load
//! generator, its misbehaving clients, and the relay.
//!
//! ```text
//!  Target --connect--> Conn --+
//!                             v
//!   [wire] connection, deadline, buffers: one send loop, one receive loop
//!     ^
//!   [talk] a wire and the protocol client that says what may be written and what a reply means
//! ```
//!
//! A user of this room is a policy: it decides what is sent, and hears what came back. A client that
//! keeps to the protocol holds a [`Talk`]; one that breaks it on purpose writes to the [`Wire`].

mod connect;
mod error;
mod security;
mod talk;
mod target;
mod wire;

pub use self::error::TalkError;
pub use self::security::{Security, SecurityError, TargetSecurity, TlsMode};
pub use self::talk::Talk;
pub use self::target::{Family, Target, TargetError};
pub use self::wire::Wire;
/// What [`Talk::secure`] answers.
pub use crate::tls::TlsFacts;
