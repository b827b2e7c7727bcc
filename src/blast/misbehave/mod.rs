//! Clients that break the rules on purpose, beside the sessions whose figures a run is about. The report
//! counts apart what the server makes of them; what they do to the others shows in the latency of the
//! others.
//!
//! They run on a thread of their own, so that the cores of the good sessions spend nothing on them:
//! `misbehavers` is that thread and `shared` what its sessions share. `kind` lists the ways to misbehave
//! and what a server may answer, `script` is what a client does in each, and `client` is one connection.

mod client;
mod kind;
mod misbehavers;
mod script;
mod shared;

pub use self::kind::{Misbehave, MisbehaveError, MisbehaviourKind};
pub(super) use self::misbehavers::Misbehavers;
