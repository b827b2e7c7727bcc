//! One operation in the ring, and the memory that it lends to the kernel.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::rc::Rc;

use io_uring::{cqueue, squeue};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::socket::UringSocket;

thread_local! {
    /// Operations of this thread whose memory the kernel may still touch.
    pub(super) static FLIGHTS: Cell<usize> = const { Cell::new(0) };
}

/// What one operation lends to the kernel.
pub(super) struct Flight<M> {
    memory: M,
    _aloft: Aloft,
}

/// Counts a flight for as long as its memory lives; holds the descriptor open meanwhile.
struct Aloft(#[expect(dead_code, reason = "held for its drop")] Option<Rc<UringSocket>>);

impl Aloft {
    fn new(socket: Option<Rc<UringSocket>>) -> Self {
        FLIGHTS.set(FLIGHTS.get() + 1);
        Self(socket)
    }
}

impl Drop for Aloft {
    fn drop(&mut self) {
        debug_assert!(FLIGHTS.get() > 0, "each flight is counted once up and once down");
        FLIGHTS.set(FLIGHTS.get() - 1);
    }
}

/// Ends a flight: the kernel's answer, and the memory back.
pub(super) struct Land<M>(PhantomData<M>);

impl<M> OneshotOutputTransform for Land<M> {
    type Output = (io::Result<usize>, M);
    type StoredData = Flight<M>;

    fn transform_oneshot_output(self, flight: Flight<M>, entry: cqueue::Entry) -> Self::Output {
        let answer = entry.result();
        let result = match usize::try_from(answer) {
            Ok(value) => Ok(value),
            Err(_) => Err(io::Error::from_raw_os_error(-answer)),
        };
        (result, flight.memory)
    }
}

pub(super) type Airborne<M> = InFlightOneshot<Flight<M>, Land<M>>;

/// Queues `entry`, which may point into the heap memory of `memory` and names `socket`'s descriptor;
/// both are held until it completes.
pub(super) fn launch<M: Unpin>(
    socket: Option<Rc<UringSocket>>,
    memory: M,
    entry: squeue::Entry,
) -> Airborne<M> {
    let flight = Flight { memory, _aloft: Aloft::new(socket) };
    UnsubmittedOneshot::new(flight, Land(PhantomData), entry).submit()
}
