//! Faults that were mended, put back where a test asks for it: that test has to find them.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PlantedFault {
    /// A sync that ends after the log has left its segment does not move the start of what waits there.
    StaleStart,
    /// The helper takes segments whose messages wait for their sync.
    TakesWhatWaits,
    /// A piece of a message whose earlier pieces are sound goes to a segment that was given up.
    GoesOnInGivenUp,
}

thread_local! {
    static PLANTED: Cell<Option<PlantedFault>> = const { Cell::new(None) };
}

pub(super) fn plant(fault: Option<PlantedFault>) {
    PLANTED.set(fault);
}

pub(super) fn is_planted(fault: PlantedFault) -> bool {
    PLANTED.get() == Some(fault)
}
