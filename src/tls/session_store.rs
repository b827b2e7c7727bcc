//! What a client keeps of earlier sessions with one server, to resume them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// The sessions of one server that can be resumed. rustls' own store keeps eight tickets for a name, of which
/// each is good for one session: with 64 connections that come again together, most would get none.
///
/// INVARIANT: whoever holds it connects to `server` and no other, and checks its certificate in one way: a
/// session that is resumed is not checked again.
#[derive(Debug)]
struct Kept {
    server: ServerName<'static>,
    /// The newest tickets, of which the oldest is taken first.
    tickets: VecDeque<Tls13ClientSessionValue>,
    tickets_max: usize,
    /// A session of TLS 1.2 may be resumed many times.
    tls12: Option<Tls12ClientSessionValue>,
    group: Option<NamedGroup>,
}

/// A view of the sessions that are kept: one that resumes them, or one that only adds to them.
#[derive(Clone, Debug)]
pub(super) struct SessionStore {
    kept: Arc<Mutex<Kept>>,
    resumes: bool,
}

impl SessionStore {
    /// A store for at most `tickets_max` sessions with `server`, at least one.
    pub(super) fn new(server: ServerName<'static>, tickets_max: usize) -> Self {
        let tickets_max = tickets_max.max(1);
        let tickets = VecDeque::with_capacity(tickets_max);
        let kept = Kept { server, tickets, tickets_max, tls12: None, group: None };
        Self { kept: Arc::new(Mutex::new(kept)), resumes: true }
    }

    /// The same sessions for connections that do not resume one; what they get is kept for those that do.
    pub(super) fn without_resuming(&self) -> Self {
        Self { kept: Arc::clone(&self.kept), resumes: false }
    }

    /// What is kept of `server`. A core has its own store, so that nobody waits here.
    fn of(&self, server: &ServerName<'_>) -> Option<MutexGuard<'_, Kept>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(&kept.server, server, "a store is for one server");
        (&kept.server == server).then_some(kept)
    }

    fn to_resume(&self, server: &ServerName<'_>) -> Option<MutexGuard<'_, Kept>> {
        if self.resumes { self.of(server) } else { None }
    }
}

impl ClientSessionStore for SessionStore {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        if let Some(mut kept) = self.of(&server) {
            kept.group = Some(group);
        }
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.of(server)?.group
    }

    fn set_tls12_session(&self, server: ServerName<'static>, session: Tls12ClientSessionValue) {
        if let Some(mut kept) = self.of(&server) {
            kept.tls12 = Some(session);
        }
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.to_resume(server)?.tls12.clone()
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        if let Some(mut kept) = self.of(server) {
            kept.tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if let Some(mut kept) = self.of(&server) {
            if kept.tickets.len() == kept.tickets_max {
                kept.tickets.pop_front();
            }
            kept.tickets.push_back(ticket);
        }
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.to_resume(server)?.tickets.pop_front()
    }
}
