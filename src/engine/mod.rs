//! Sockets and the clock of one core, over io_uring or epoll.
//!
//! Everything here belongs to one thread: [`run_core`] starts the runtime on the calling thread, and
//! what is accepted or connected in there never leaves it. The engines stand side by side in
//! `backend`; nothing else in this room, and nothing above it, knows which one runs.
//!
//! Rules that the callers keep:
//!
//! - The future of `recv`, `send_all`, `send_recv` and `accept` is awaited to its end. To stop one,
//!   call [`Handle::interrupt`] (or [`Handle::shutdown`]) and go on awaiting: under io_uring, what a
//!   dropped receive had taken from the socket is lost. Memory stays safe either way.
//! - Nothing waits by yielding: io_uring operations are submitted when the core has nothing to run,
//!   and a task that only yields keeps it from ever getting there.
//! - [`run_core`]'s future ends last: it has ended its tasks before it returns.

mod address;
mod alarm;
mod backend;
mod bind;
mod blocking;
mod buffer;
mod conn;
mod connect;
mod epoll;
mod kind;
mod listen;
mod loans;
mod probe;
mod runtime;
pub mod signal;
mod socket_file;
mod stream;
mod sys;
pub mod task;
mod uring;
mod watch;

pub use address::{Address, Peer};
pub use alarm::{Alarm, Pause};
pub use bind::{BindError, BoundListener, bind, bind_loopback, bind_with_mode};
pub use buffer::{Buf, Pool};
pub use conn::{Conn, Handle};
pub use connect::{Connecting, connect, is_elsewhere};
pub use kind::{EngineKind, Io};
pub use listen::Listener;
pub use loans::Loans;
pub use probe::{UringRefusal, choose};
pub use runtime::{run_core, sync_data};
pub use stream::{HandshakeError, Stream, Taken};
pub use watch::{Guard, Watch};
