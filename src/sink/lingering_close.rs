//! How the sink closes a connection.
//!
//! If octets of the peer are unread or still on their way, a close resets the connection, and the reset
//! may destroy the last reply before the peer has read it. So the sink sends the reply, ends its own
//! direction, reads for a short and bounded time, and then closes.

use std::io;
use std::time::Duration;

use super::core::{Core, Door};
use super::session_log::SessionEnd;
use super::stop::Stop;
use crate::engine::{Buf, Conn, Guard, Peer, Stream};
use crate::smtp::server::{CloseReason, Server};

/// The longest time for which the sink reads before it closes, in milliseconds.
const LINGER_MS: u64 = 1_000;

/// Octets that the sink reads before it closes. A peer that sends more gets a reset.
const LINGER_BYTES_MAX: usize = 64 * 1024;

/// Answers a caller that gets no session, and closes. Without `linger` it closes right after the reply.
pub(super) async fn turn_away(
    core: &Core,
    conn: Conn,
    peer: Peer,
    door: &Door,
    why: CloseReason,
    linger: bool,
) {
    let guard = core.watch.register(conn.handle());
    let mut stream = Stream::from(conn);
    if let Some(log) = core.log(peer, door) {
        log.end(b"", SessionEnd::NotAdmitted);
    }
    if linger {
        refuse(core, &mut stream, &guard, door, why).await;
    } else {
        let (_, out) = say(core, &mut stream, &guard, door, why).await;
        core.pool.give(out);
    }
    drop(guard);
    stream.close().await;
}

/// Answers a caller that gets no session. The caller of this closes next.
pub(super) async fn refuse(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    door: &Door,
    why: CloseReason,
) {
    let (sent, mut buf) = say(core, stream, guard, door, why).await;
    if sent.is_ok() {
        buf = linger(core, stream, guard, buf).await;
    }
    core.pool.give(buf);
}

/// What is said under TLS behind the last replies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastWord {
    /// That no more will come.
    CloseNotify,
    /// A fault that was asked for.
    None,
}

/// Sends the last replies of a session, and under TLS the `last` word. The caller of this closes next.
pub(super) async fn part(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    (out, inbox): (Buf, Buf),
    last: LastWord,
) {
    // A record that was cut is of no use any more, and its buffer is larger than one to linger with.
    core.pool.give(inbox);
    guard.arm(core.peer_policy.timeout);
    let (sent, mut buf) = match last {
        LastWord::CloseNotify => stream.send_last(out).await,
        LastWord::None => stream.send_last_unclosed(out).await,
    };
    if sent.is_ok() {
        // Replies may have made this one large.
        core.pool.give(buf);
        buf = linger(core, stream, guard, core.pool.small()).await;
    }
    core.pool.give(buf);
}

async fn say(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    door: &Door,
    why: CloseReason,
) -> (io::Result<()>, Buf) {
    let mut out = core.pool.small();
    // A client that waits for TLS could make nothing of a reply, and a handshake is for those who are let in.
    if door.implicit_tls().is_some() {
        return (Ok(()), out);
    }
    let mut server = Server::new(door.policy());
    server.close_for(why, out.vec_mut());
    core.board.replies(&server.take_counts(), None);
    core.board.refused(server.drain_refusals());
    guard.arm(core.peer_policy.timeout);
    stream.send_all(out).await
}

/// Ends our direction, and reads within the bounds until the peer has ended its direction.
async fn linger(core: &Core, stream: &mut Stream, guard: &Guard, mut buf: Buf) -> Buf {
    guard.arm(Duration::from_millis(LINGER_MS));
    let mut octets = 0;
    if stream.shutdown_write().is_err() {
        return buf;
    }
    while octets < LINGER_BYTES_MAX && !guard.fired() && core.stop.get() < Stop::Now {
        let received;
        (received, buf) = stream.recv(buf).await;
        match received {
            Ok(0) => break,
            Ok(count) => octets += count,
            // The interrupt may come from an earlier deadline: read on, `fired` tells.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    buf
}
