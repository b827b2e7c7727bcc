//! Cancelling what is in the ring.

use io_uring::types::CancelBuilder;
use io_uring::{cqueue, opcode};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

/// Drops the answer to an operation.
pub(super) struct Forget;

impl OneshotOutputTransform for Forget {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _: cqueue::Entry) {}
}

/// Queues a cancel of the operations that `which` names. The future may be dropped: the cancel is
/// submitted all the same.
pub(super) fn cancel(which: CancelBuilder) -> InFlightOneshot<(), Forget> {
    let entry = opcode::AsyncCancel2::new(which).build();
    UnsubmittedOneshot::new((), Forget, entry).submit()
}
