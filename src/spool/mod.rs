//! The spool.

mod envelope;
mod error;
mod format;
mod map;
mod open;
mod prepare;
mod reader;
mod segment;
mod survey;
mod walk;
mod writer;

pub use envelope::{Envelope, Meta, Recipient, text};
pub use error::{Doubt, SpoolError};
pub use format::{BadPlace, Place, flag};
pub use open::{Durability, Options, Recovery, Spool, WhenFull};
pub use reader::{CopyError, Message, Messages, Reader};
pub use survey::{CoreSurvey, Damage, Survey};
pub use writer::{Barrier, Draft, Stats, Writer};

use open::Lock;
