//! How many descriptors this process may hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on descriptors to the hard one and returns what is in force.
///
/// Must be called before the first core starts: the ring reads the limit when it prepares an
/// accept.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() { raised } else { limit };
    in_force.current.unwrap_or(u64::MAX)
}
