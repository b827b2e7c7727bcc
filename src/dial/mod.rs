//! One client conversation: the server that it is held with, the connection, and the talk.

mod target;

pub use self::target::{Family, Lost, Target, TargetError};
