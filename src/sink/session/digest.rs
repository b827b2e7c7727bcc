//! What came is handed to the protocol, piece by piece, until all of it is taken.

use std::ops::ControlFlow::{Break, Continue};

use super::{Buffers, Session};
use crate::engine::{Buf, Stream, Taken};
use crate::sink::odmr::{self, Turn};
use crate::sink::round::{Next, Round};
use crate::sink::session_log::SessionEnd;
use crate::smtp::server::CloseReason;
use crate::tls::TlsError;

/// Reads into a large buffer that a session may do in one turn: 256 KiB, then the others have theirs.
const DIRECT_RECVS_MAX: usize = 4;

impl Session<'_> {
    /// Reads on without waiting, because the inbox was full. Most sessions wait most of the time, and they wait with
    /// a small buffer. A session borrows the large buffer of the core while octets are there.
    pub(super) async fn take_the_rest(
        &mut self,
        stream: &mut Stream,
        bufs: &mut Buffers,
        round: &mut Round,
    ) -> Next {
        let mut large = self.core.pool.large();
        if !bufs.inbox.is_empty() {
            // A record of TLS that is cut.
            large.vec_mut().extend_from_slice(&bufs.inbox);
            bufs.inbox.clear();
        }
        let mut next = Next::Receive;
        // Bounded, so that one busy client does not starve the other clients of the core.
        for _ in 0..DIRECT_RECVS_MAX {
            match stream.recv_ready(&mut large) {
                // The end of the stream shows again at the next receive, and so does an error.
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    let filled = large.len() == large.capacity();
                    next = self.digest(stream, &mut large, &mut bufs.out, round).await;
                    if next != Next::Receive || !filled {
                        break;
                    }
                }
            }
        }
        let inbox = std::mem::take(&mut bufs.inbox);
        bufs.inbox = stream.carry(&self.core.pool, large, inbox);
        next
    }

    /// Runs the protocol over what is in `buf`, until all of it is taken.
    pub(super) async fn digest(
        &mut self,
        stream: &mut Stream,
        buf: &mut Buf,
        out: &mut Buf,
        round: &mut Round,
    ) -> Next {
        loop {
            let before = out.len();
            let mut next = Next::Receive;
            let taken = stream.take(buf, |piece| {
                let mut input = piece;
                next = self.drain(&mut input, out.vec_mut(), round);
                let taken = piece.len() - input.len();
                round.octets += taken;
                if next == Next::Receive { Continue(()) } else { Break(taken) }
            });
            self.settle(out.vec_mut()).await;
            round.replied |= out.len() > before;
            let taken = match taken {
                Ok(taken) => taken,
                Err(error) => return self.tls_failed(&error),
            };
            let leave = self.is_to_leave();
            match next {
                Next::SendFirst => {}
                Next::Answer => {
                    round.replied = true;
                    match self.answer(stream, buf, out.vec_mut()).await {
                        Ok(true) => return Next::Turn,
                        Ok(false) => continue,
                        Err(error) => return self.tls_failed(&error),
                    }
                }
                Next::Receive if leave => {
                    self.end = SessionEnd::Shutdown;
                    self.message.forget(self.core);
                    self.server.close_for(CloseReason::ShuttingDown, out.vec_mut());
                    return Next::Close;
                }
                Next::Receive if taken == Taken::PeerClosed => {
                    self.closed_by_client();
                    return Next::Close;
                }
                _ => return next,
            }
            self.deadline.renew(self.core.watch.now());
            self.guard.arm_until(self.deadline.deadline());
            if self.send(stream, out).await.is_err() {
                return Next::Gone;
            }
        }
    }

    /// Answers ETRN or ATRN. `true`: the roles are swapped. What is left in `buf` then is a record of TLS whose end
    /// has not come.
    ///
    /// # Errors
    /// What came behind ATRN is no TLS.
    async fn answer(
        &mut self,
        stream: &mut Stream,
        buf: &mut Buf,
        out: &mut Vec<u8>,
    ) -> Result<bool, TlsError> {
        // The relay takes the time that it needs; that time does not count against the client.
        self.guard.disarm();
        let Some(session) = odmr::answer(self.core, &mut self.server, out).await else {
            return Ok(false);
        };
        // What came after the command.
        let mut said = Vec::new();
        stream.take(buf, |piece| {
            said.extend_from_slice(piece);
            Continue(())
        })?;
        self.turn = Some(Turn { session, said });
        Ok(true)
    }
}
