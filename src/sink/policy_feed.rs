//! Changes of what the listeners allow, from the thread that has them to every core.

use std::sync::Arc;

use tokio::sync::watch;

use super::plan::Port;
use crate::smtp::server::Policy;

/// Changes what the listeners of a sink allow while it runs. Sessions that begin later have it; those that are
/// open keep what they began with.
#[derive(Clone, Debug)]
pub struct PolicyFeed(watch::Sender<Arc<[Policy]>>);

impl PolicyFeed {
    pub(super) fn new(ports: &[Port]) -> Self {
        let policies: Vec<_> = ports.iter().map(|port| port.policy.clone()).collect();
        Self(watch::channel(policies.into()).0)
    }

    /// The policies of the ports, in their order, for a core that follows the changes.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<[Policy]>> {
        let mut policies = self.0.subscribe();
        // The doors of the core have the policies that the sink was opened with, and there may be newer ones.
        policies.mark_changed();
        policies
    }

    /// Applies `change` to the policy of each listener. The protocol must stay.
    pub fn change(&self, change: impl Fn(&mut Policy)) {
        self.0.send_modify(|now| {
            let mut next = now.to_vec();
            next.iter_mut().for_each(&change);
            *now = next.into();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_follows_late_sees_what_changed_before() {
        let feed = PolicyFeed::new(&[]);
        feed.change(|_| {});
        assert!(feed.follow().has_changed().unwrap(), "its doors may have older policies");
    }
}
