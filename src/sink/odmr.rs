//! ETRN and ATRN (RFC 1985, RFC 2645): the answers of the relay, and sessions whose roles are swapped.

use super::core::Core;
use super::stop::Stop;
use crate::engine::{Buf, Guard, Stream};
use crate::relay::TurnedSession;
use crate::smtp::server::{AtrnAnswer, EtrnAnswer, Request, Server};

/// A session that goes on with swapped roles.
pub(super) struct Turn {
    pub(super) session: TurnedSession,
    /// Octets that came after ATRN.
    pub(super) said: Vec<u8>,
}

/// Answers the request that `server` has received. `Some`: the roles are swapped after the reply.
pub(super) async fn answer(
    core: &Core,
    server: &mut Server,
    out: &mut Vec<u8>,
) -> Option<TurnedSession> {
    match server.request()?.clone() {
        Request::Start(node) => {
            let answer = match &core.relay {
                Some(relay) => relay.etrn(node, server.identity().is_some()).await,
                None => EtrnAnswer::Unable,
            };
            server.answer_etrn(answer, out);
            None
        }
        Request::Turn(domains) => {
            let session = match (&core.relay, server.identity()) {
                (Some(relay), Some(user)) => relay.atrn(user, &domains).await,
                _ => Err(AtrnAnswer::Unable),
            };
            server.answer_atrn(session.as_ref().err().copied().unwrap_or(AtrnAnswer::Turn), out);
            session.ok()
        }
    }
}

/// Sends the queued replies, and is the client from there on. The caller of this closes next.
/// `inbox` holds the record of TLS whose end has not come.
pub(super) async fn turn(
    core: &Core,
    stream: &mut Stream,
    guard: &Guard,
    (out, inbox): (Buf, Buf),
    turn: Turn,
) {
    guard.arm(core.peer_policy.timeout);
    let (sent, out) = stream.send_all(out).await;
    core.pool.give(out);
    if sent.is_ok() {
        let leave = || core.stop.get() >= Stop::Drain;
        turn.session.run(stream, guard, &core.pool, (&turn.said, inbox), &leave).await;
    } else {
        core.pool.give(inbox);
    }
}
