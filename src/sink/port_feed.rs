//! Changes of what the listeners allow, from the thread that has them to every core.

use std::sync::Arc;

use tokio::sync::watch;

use super::plan::Port;

/// Changes what the listeners of a sink allow while it runs. Sessions that begin later have it; those that are
/// open keep what they began with.
#[derive(Clone, Debug)]
pub struct PortFeed(watch::Sender<Arc<[Port]>>);

impl PortFeed {
    pub(super) fn new(ports: &[Port]) -> Self {
        Self(watch::channel(ports.into()).0)
    }

    /// The ports, in their order, for a core that follows the changes.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<[Port]>> {
        let mut ports = self.0.subscribe();
        // The doors of the core are those that the sink was opened with, and there may have been changes.
        ports.mark_changed();
        ports
    }

    /// Applies `change` to each listener. Its URL and its protocol must stay.
    pub fn change(&self, change: impl Fn(&mut Port)) {
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
        let feed = PortFeed::new(&[]);
        feed.change(|_| {});
        assert!(feed.follow().has_changed().unwrap(), "its doors may be older");
    }
}
