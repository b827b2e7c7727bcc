//! Faults on demand: which fault strikes which session, as the user asked for and a seed decides.
//!
//! The room does no I/O, reads no clock and changes nothing: its answers follow from rules, seed and the number
//! of a session. Whoever asks carries the faults out.
//!
//! ```text
//!  --fault TEXT --[short_form]--> FaultRule --+
//!                                             +--> FaultRules --(event, session)--> FaultStrike
//!  seed --------------------------------------+
//! ```

mod alert;
mod draw;
mod fault;
mod rule_set;
mod short_form;

pub use alert::TlsAlert;
pub use fault::{FaultAction, FaultEvent, FaultRule};
pub use rule_set::{FaultRules, FaultStrike};
pub use short_form::RuleError;
