//! The handshake of a session, and what goes wrong with TLS.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::{Buffers, Session};
use crate::engine::{HandshakeError, Stream};
use crate::limits::TLS_HANDSHAKE_MS;
use crate::sink::round::Next;
use crate::sink::session_log::SessionEnd;
use crate::sink::tls_facts;
use crate::smtp::server::CloseReason;
use crate::tls::{ServerConfig, Tls, TlsError, TlsFault};

impl Session<'_> {
    /// Puts TLS on the stream and runs the handshake, which has one bound for all of it, however the client cuts
    /// it. After it the session is as one that begins.
    pub(super) async fn secure(
        &mut self,
        stream: &mut Stream,
        config: Arc<ServerConfig>,
        bufs: &mut Buffers,
    ) -> Next {
        if self.faults.is_some()
            && let Some(next) = self.break_handshake(stream, bufs).await
        {
            return next;
        }
        match Tls::server(config) {
            Ok(tls) => {
                stream.begin(tls, self.core.pool.clone());
                stream.bound_by(self.core.loans.clone());
            }
            Err(error) => return self.tls_failed(&error),
        }
        self.guard.arm(Duration::from_millis(TLS_HANDSHAKE_MS).min(self.core.peer_policy.timeout));
        loop {
            let (done, buf) = stream.handshake(std::mem::take(&mut bufs.inbox)).await;
            bufs.inbox = buf;
            let failure = match done {
                Ok(()) => break,
                Err(HandshakeError::Tls(error)) => error,
                Err(HandshakeError::Io(error)) => match error.kind() {
                    ErrorKind::Interrupted if self.is_to_leave() => {
                        self.end = SessionEnd::Shutdown;
                        return Next::Close;
                    }
                    ErrorKind::Interrupted if !self.guard.fired() => continue,
                    _ if self.guard.fired() => TlsFault::Timeout.into(),
                    ErrorKind::OutOfMemory => TlsFault::NoRoom.into(),
                    _ => TlsFault::Cut.into(),
                },
            };
            return self.tls_failed(&failure);
        }
        if let Some(facts) = stream.facts() {
            self.core.board.tls_sessions.add(1);
            self.core.board.tls_resumed.add(facts.resumed.into());
            self.stored.set_tls(tls_facts::stored(&facts));
        }
        self.server.secured();
        let now = self.core.watch.now();
        self.deadline.renew(now);
        Next::Receive
    }

    /// Others need the room for what the session has received of a record and cannot take yet.
    #[cold]
    pub(super) fn called_back(&mut self, out: &mut Vec<u8>) -> Next {
        self.message.forget(self.core);
        self.clock.stop();
        self.server.note_unfinished();
        self.server.close_for(CloseReason::RecordCrowd, out);
        self.tls_failed(&TlsFault::NoRoom.into())
    }

    /// Counts a session that TLS has failed, by what went wrong, and tells the operator of the first of each kind.
    #[cold]
    pub(super) fn tls_failed(&mut self, error: &TlsError) -> Next {
        self.core.board.tls_failed(error.fault());
        self.core.hints.give_tls(error, self.caller);
        if error.fault() == TlsFault::Timeout {
            self.core.board.timeouts.add(1);
        }
        self.end = SessionEnd::TlsFailed;
        Next::Close
    }
}
