//! Ends of connections that are ours to end.
//!
//! A close while octets of the peer are unread, or still under way, is a reset, and a reset may
//! destroy our last reply in the peer's hands. So: the reply, the end of our direction, a short and
//! bounded look at what still comes, and then the close.

use std::io;
use std::time::Duration;

use super::core::{Core, Door};
use super::stop::Stop;
use crate::engine::{Buf, Conn, Guard};
use crate::smtp::server::{CloseReason, Server};

/// Time for which a connection that we end is still read, so that what the peer had under way does
/// not turn our last reply into a reset.
const LINGER_MS: u64 = 1_000;

/// Octets read meanwhile; a peer that sends more than this behind our back gets its reset.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Answers a caller who gets no session, and closes. Without `linger` the close follows the reply at
/// once.
pub(super) async fn turn_away(
    core: &Core,
    mut conn: Conn,
    door: &Door,
    why: CloseReason,
    linger: bool,
) {
    let guard = core.watch.register(conn.handle());
    if linger {
        refuse(core, &mut conn, &guard, door, why).await;
    } else {
        let (_, out) = say(core, &mut conn, &guard, door, why).await;
        core.pool.give(out);
    }
    drop(guard);
    conn.close().await;
}

/// Answers a caller who gets no session; the close is the next thing to do.
pub(super) async fn refuse(
    core: &Core,
    conn: &mut Conn,
    guard: &Guard,
    door: &Door,
    why: CloseReason,
) {
    let (sent, mut buf) = say(core, conn, guard, door, why).await;
    if sent.is_ok() {
        buf = linger(core, conn, guard, buf).await;
    }
    core.pool.give(buf);
}

/// Sends the last replies of a session; the close is the next thing to do.
pub(super) async fn part(core: &Core, conn: &mut Conn, guard: &Guard, out: Buf, mut inbox: Buf) {
    guard.arm(core.peer_policy.timeout);
    let (sent, out) = conn.send_all(out).await;
    core.pool.give(out);
    if sent.is_ok() {
        inbox = linger(core, conn, guard, inbox).await;
    }
    core.pool.give(inbox);
}

async fn say(
    core: &Core,
    conn: &mut Conn,
    guard: &Guard,
    door: &Door,
    why: CloseReason,
) -> (io::Result<()>, Buf) {
    let mut out = core.pool.small();
    let mut server = Server::new(door.policy.clone());
    server.close_for(why, out.vec_mut());
    core.board.replies(&server.take_counts(), None);
    guard.arm(core.peer_policy.timeout);
    conn.send_all(out).await
}

/// Ends our direction and reads until the peer has ended its own, within bounds.
async fn linger(core: &Core, conn: &mut Conn, guard: &Guard, mut buf: Buf) -> Buf {
    guard.arm(Duration::from_millis(LINGER_MS));
    let mut octets = 0;
    if conn.shutdown_write().is_err() {
        return buf;
    }
    while octets < LINGER_BYTES_MAX && !guard.fired() && core.stop.get() < Stop::Now {
        let received;
        (received, buf) = conn.recv(buf).await;
        match received {
            Ok(0) => break,
            Ok(count) => octets += count,
            // Not always for us: the deadline before this one may have asked for it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    buf
}
