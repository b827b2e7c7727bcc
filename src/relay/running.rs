//! The place of a delivery among those that run.

use tokio::sync::mpsc;

use super::reading::WaitingMail;
use super::totals::DeliveryTally;

/// A delivery that is over: its number, the mail that waited for it, and its result. `None`: it ended
/// before it sent anything.
pub(super) type Ended = (u64, Option<(WaitingMail, DeliveryTally)>);

/// A delivery's hold on its place. The place is given up by [`RunningDelivery::finish`], or when this is
/// dropped.
#[derive(Debug)]
pub(super) struct RunningDelivery {
    id: u64,
    /// The mail that waited when the delivery began.
    pub(super) waiting: WaitingMail,
    ended: mpsc::UnboundedSender<Ended>,
}

impl RunningDelivery {
    pub(super) fn new(id: u64, ended: mpsc::UnboundedSender<Ended>) -> Self {
        Self { id, waiting: WaitingMail::default(), ended }
    }

    /// Gives the place up and reports the result of the delivery.
    pub(super) fn finish(self, tally: DeliveryTally) {
        // The queue outlives its deliveries, unless it has stopped to wait for them.
        let _ = self.ended.send((self.id, Some((self.waiting, tally))));
    }
}

impl Drop for RunningDelivery {
    fn drop(&mut self) {
        // After `finish` the number is unknown to the queue, which passes this over.
        let _ = self.ended.send((self.id, None));
    }
}
