//! Cancelling what is in the ring.

use io_uring::types::CancelBuilder;
use io_uring::{cqueue, opcode};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

/// For operations whose answer nobody needs.
pub(super) struct Forget;

impl OneshotOutputTransform for Forget {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _: cqueue::Entry) {}
}

/// Queues the cancelling of the operations that `which` names. What this returns may be dropped: the
/// cancel goes its way.
pub(super) fn cancel(which: CancelBuilder) -> InFlightOneshot<(), Forget> {
    let entry = opcode::AsyncCancel2::new(which).build();
    UnsubmittedOneshot::new((), Forget, entry).submit()
}
