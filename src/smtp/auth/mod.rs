//! AUTH (RFC 4954): SASL mechanisms, both halves of each in one file.
//!
//! [`Exchange`] is the server's half, [`Dialogue`] the client's. Both take and give what stands inside
//! the base64; the lines around it belong to `server` and `client`. What must not be guessed comes
//! in from outside, as a `nonce`. Passwords are compared octet for octet, without SASLprep.

mod accounts;
mod base64;
mod bearer;
mod cram;
mod dialogue;
mod exchange;
mod fault;
mod keys;
mod login;
mod mechanism;
mod nonce;
mod plain;
mod policy;
mod saslname;
mod scram;
mod step;

pub use self::base64::{read_base64, write_base64};
pub use accounts::{Accounts, AccountsError, Credentials};
pub use dialogue::Dialogue;
pub use exchange::Exchange;
pub use fault::LoginFault;
pub use login::Login;
pub use mechanism::{Mechanism, Mechanisms};
pub use nonce::Nonce;
pub use policy::AuthPolicy;
pub use step::SaslStep;
