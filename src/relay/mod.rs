//! Hands spooled mail on to other servers: what ETRN begins (RFC 1985) and ATRN asks for (RFC 2645).
//!
//! One thread, beside the cores that take mail, reads the spool and runs the deliveries that ETRN
//! began. A delivery of ATRN runs on the core that has the connection, and gets its messages from the
//! thread. Cores ask through a [`Relay`], and their other sessions go on while they wait.
//!
//! ```text
//!  core --Relay--> [queue] which deliveries run, which wait, and the counters
//!                     |  +-- [reading] messages that wait in the spool, piece by piece
//!                     |  +-- notes: DeliveryLog, one writer
//!                     v
//!                 [delivery] one dial::Talk, on this thread (ETRN) or on the core ([turned], ATRN)
//!                     |
//!                 [transaction] one message, and the reply that decided each recipient
//! ```

mod allowance;
mod delivery;
mod end;
mod handle;
mod plan;
mod queue;
mod reading;
mod route;
mod running;
mod settled;
mod totals;
mod transaction;
mod turned;

pub use self::handle::{Relay, RelayThread};
pub use self::plan::{RelayPlan, RelaySource};
pub use self::route::{BadGrant, Grant, Grants, Route, Routes};
pub use self::totals::RelayTotals;
pub use self::turned::TurnedSession;
