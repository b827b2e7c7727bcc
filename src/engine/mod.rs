//! Sockets and the clock of one core, over io_uring or epoll.
//!
//! Everything here belongs to one thread: [`run_core`] starts the runtime on the calling thread, and
//! what is accepted or connected in there never leaves it. The two engines stand side by side in
//! two-variant enums; nothing above this room knows which one runs.
//!
//! Rules that the callers keep:
//!
//! - The future of `recv`, `send_all`, `send_recv` and `accept` is awaited to its end. To stop one,
//!   call [`Handle::interrupt`] (or [`Handle::shutdown`]) and go on awaiting: under io_uring, what a
//!   dropped receive had taken from the socket is lost. Memory stays safe either way.
//! - Nothing waits by `tokio::task::yield_now`: io_uring operations are submitted when the core has
//!   nothing to run, and a task that only yields keeps it from ever getting there.
//! - [`run_core`]'s future ends last: it has ended its tasks before it returns.

mod address;
mod alarm;
mod buffer;
mod conn;
mod epoll;
mod listen;
mod probe;
mod sys;
mod uring;
mod watch;

pub use address::{Address, Peer};
pub use alarm::Alarm;
pub use buffer::{Buf, Pool};
pub use conn::{
    Conn, Connecting, EngineKind, Handle, Io, connect, is_elsewhere, run_core, sync_data,
};
pub use listen::{BindError, BoundListener, Listener, bind};
pub use probe::{Refusal, choose};
pub use watch::{Guard, Watch};

use conn::{RUNNING, Reach, current, interrupted, local_address};
