//! One incoming message: it begins, its octets are kept as they come, and it is sealed or forgotten.

use super::core::Core;
use super::keep::Keep;
use super::replies::TakenMessage;
use super::stored_session::StoredSession;
use crate::scan::HeaderCut;
use crate::smtp::reply::Reply;
use crate::smtp::server::{Flags, Server};
use crate::spool::{Draft, Meta, RecordFlags, Sealed, SpoolError};

// What the protocol saw has the same bit in a record; what the sink alone knows lies beside it.
const _: () = {
    assert!(Flags::BARE_CR.bits() == RecordFlags::BARE_CR.bits());
    assert!(Flags::BARE_LF.bits() == RecordFlags::BARE_LF.bits());
    assert!(Flags::BDAT.bits() == RecordFlags::BDAT.bits());
    assert!(Flags::EIGHT_BIT.bits() == RecordFlags::EIGHT_BIT.bits());
    assert!(Flags::SMTPUTF8.bits() == RecordFlags::SMTPUTF8.bits());
    assert!(Flags::NUL.bits() == RecordFlags::NUL.bits());
    assert!(Flags::LMTP.bits() == RecordFlags::LMTP.bits());
    assert!(Flags::TLS.bits() == RecordFlags::TLS.bits());
    let all = Flags::all().bits() ^ RecordFlags::HEADERS_ONLY.bits();
    assert!(all == RecordFlags::all().bits(), "the sink alone knows of one flag");
};

const NO_ROOM: Reply = Reply::new(452, 3, 1, "The spool is full");
const OPEN_LIMIT: Reply = Reply::new(452, 3, 1, "No room for so much mail that is not complete");
const QUOTA_USED: Reply = Reply::new(421, 3, 2, "This sink has taken all the messages it was to");

const NOT_STORED: Reply = Reply::new(451, 3, 0, "The spool failed");

/// The message that a session receives, if one is open.
///
/// INVARIANT: `draft` is empty unless `open`.
#[derive(Default)]
pub(super) struct IncomingMessage {
    open: bool,
    /// Octets so far, dots unstuffed, whether they are kept or not.
    bytes: u64,
    first_byte_ns: u64,
    keep: Keep,
    cut: HeaderCut,
    draft: Draft,
    /// Why it will be refused at its end: the spool failed on the way.
    refusal: Option<Reply>,
}

impl IncomingMessage {
    /// A message begins whose envelope `server` has. `now_ns` is the wall clock.
    pub(super) fn begin(&mut self, core: &Core, server: &Server, now_ns: u64) {
        debug_assert!(!self.open && self.draft.is_empty(), "the message before has not ended");
        core.note_message();
        let recipients = server.envelope().recipients().map(|(path, _)| path);
        let keeps = core.writer.is_some();
        self.open = true;
        self.bytes = 0;
        self.first_byte_ns = now_ns;
        self.keep = if keeps { core.keep.keep(recipients) } else { Keep::Nothing };
        self.cut = HeaderCut::default();
        self.refusal = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Octets of the message that is open, or of the last one.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Octets of the message. An error of the spool shows at the end of the message.
    pub(super) fn append(&mut self, core: &Core, piece: &[u8]) {
        debug_assert!(self.open, "octets without a message");
        self.bytes += piece.len() as u64;
        let Some(writer) = &core.writer else { return };
        if self.refusal.is_some() {
            return;
        }
        let kept = match self.keep {
            Keep::All => piece,
            Keep::Headers => self.cut.take(piece),
            Keep::Nothing => return,
        };
        if let Err(error) = writer.borrow_mut().append(&mut self.draft, kept) {
            self.refusal = Some(refusal(&error));
        }
    }

    /// The message is complete: it is sealed, or counted where nothing is kept.
    ///
    /// # Errors
    /// The reply that refuses it; nothing of it is kept then.
    pub(super) fn finish(
        &mut self,
        core: &Core,
        server: &Server,
        session: &mut StoredSession<'_>,
        flags: Flags,
        now_ns: u64,
    ) -> Result<TakenMessage, Reply> {
        debug_assert!(self.open, "an end without a message");
        let taken = self.take(core, server, session, flags, now_ns);
        if taken.is_err() {
            self.forget(core);
        }
        self.open = false;
        taken
    }

    /// Drops what was received of the open message, if one is open, and counts it.
    pub(super) fn forget(&mut self, core: &Core) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        core.board.rejected.add(1);
        if let Some(writer) = &core.writer {
            writer.borrow_mut().discard(&mut self.draft);
        }
    }

    fn take(
        &mut self,
        core: &Core,
        server: &Server,
        session: &mut StoredSession<'_>,
        flags: Flags,
        now_ns: u64,
    ) -> Result<TakenMessage, Reply> {
        if let Some(reply) = self.refusal {
            return Err(reply);
        }
        if !core.quota.take_message() {
            return Err(QUOTA_USED);
        }
        let stored = self.seal(core, server, session, flags, now_ns);
        let stored = stored.inspect_err(|_| core.quota.return_message())?;
        core.board.took_message(self.first_byte_ns, now_ns);
        let recipients = server.envelope().recipient_count() as u64;
        let deviations = server.deviations();
        Ok(TakenMessage { stored, bytes: self.bytes, recipients, keep: self.keep, deviations })
    }

    /// `None`: nothing of it is to be kept.
    fn seal(
        &mut self,
        core: &Core,
        server: &Server,
        session: &mut StoredSession<'_>,
        flags: Flags,
        now_ns: u64,
    ) -> Result<Option<Sealed>, Reply> {
        let Some(writer) = &core.writer else { return Ok(None) };
        if self.keep == Keep::Nothing {
            return Ok(None);
        }
        let envelope = server.envelope();
        let session = session.encoded(server).map_err(|error| refusal(&error))?;
        let left_out = self.draft.len() < self.bytes;
        let deviations = server.deviations().join();
        let meta = Meta {
            received_ns: self.first_byte_ns,
            sealed_ns: now_ns,
            flags: record_flags(flags, left_out),
            session,
            reverse_path: envelope.reverse_path(),
            reverse_params: envelope.reverse_params(),
            sent_bytes: left_out.then_some(self.bytes),
            deviations: deviations.as_bytes(),
        };
        debug_assert!(
            self.draft.len() <= self.bytes,
            "the spool was given more octets than the message has"
        );
        debug_assert!(self.first_byte_ns > 0, "a message is sealed that never began");
        let sealed = writer.borrow_mut().seal(&mut self.draft, &meta, envelope.recipients());
        sealed.map(Some).map_err(|error| refusal(&error))
    }
}

/// The flags under which a message is stored. What the server saw has the same bit in both rooms.
fn record_flags(seen: Flags, left_out: bool) -> RecordFlags {
    let mut flags = RecordFlags::from_bits_retain(seen.bits());
    flags.set(RecordFlags::HEADERS_ONLY, left_out);
    flags
}

/// The reply that tells a client of an error of the spool.
pub(super) fn refusal(error: &SpoolError) -> Reply {
    match error {
        SpoolError::OpenLimit => OPEN_LIMIT,
        _ if error.is_full() => NO_ROOM,
        _ => NOT_STORED,
    }
}
