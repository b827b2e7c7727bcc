//! Room for a writer: whether a message may begin, the roll to the next segment, and how the writer gets
//! segments from the helper.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, TryRecvError};

use super::Writer;
use crate::limits::RECV_LARGE_BYTES;
use crate::spool::error::SpoolError;
use crate::spool::format::{RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use crate::spool::write::job::{Job, Ready};
use crate::spool::write::segment::Segment;

impl Writer {
    /// Whether a message may begin. Cheap.
    pub fn room(&mut self) -> Result<(), SpoolError> {
        // If the segment is torn, this has said so on stderr, and the message goes to the next segment.
        let _ = self.check();
        // Where a message has met a shortage, what is left here is often too little for such as it: clients that
        // send in vain are refused before. Where it is no shortage of room, the file system may be sick.
        let enough = match &self.shortage {
            None => RECV_LARGE_BYTES,
            Some(shortage) if shortage.is_full() => {
                RECV_LARGE_BYTES.max(self.segment().map.len() / 2)
            }
            Some(_) => usize::MAX,
        };
        let here = self.space() >= enough && !self.is_poisoned();
        if here || self.spare.is_some() {
            return Ok(());
        }
        self.ask();
        match self.poll_supplies() {
            Err(TryRecvError::Empty) => self.shortage.clone().map_or(Ok(()), Err),
            Err(TryRecvError::Disconnected) => Err(SpoolError::Closed),
            Ok(outcome) => {
                self.spare = Some(outcome?);
                Ok(())
            }
        }
    }

    /// Whether the helper has taken a segment to recycle it, or is about to.
    pub(super) fn is_taken(&self, segment: u32) -> bool {
        segment < self.supplies.floor.load(Ordering::Acquire)
    }

    /// Goes to the next segment. On an error there is none, and the present one stays.
    pub(super) fn roll(&mut self) -> Result<(), SpoolError> {
        if let Some(open) = self.open.take()
            && let Err(open) = self.close_fragment(open)
        {
            self.open = Some(open);
            return Err(SpoolError::OpenLimit);
        }
        self.ask();
        // A torn segment must not be recycled, and sessions with messages in it get an error when they go on.
        // After the roll people may move the segment away.
        let _ = self.check_path();
        let spare = self.spare.take();
        let next = match spare.and_then(|spare| self.in_place(spare)) {
            Some(spare) => spare,
            None => self.take_next()?,
        };
        // Places only grow, so that the name of a message is never given to another.
        let (from, to) = (self.segment().header, next.header);
        assert!(to.core == from.core && to.number > from.number, "from {from:?} to {to:?}");
        let left = self.segment.replace(next).expect("a live writer has a segment");
        self.leave(&left);
        let used = std::mem::replace(&mut self.head, SEGMENT_HEADER_BYTES);
        self.stats.rolls += 1;
        let sound = !self.barriers.is_poisoned(left.header.number);
        let number = left.header.number;
        self.hand_over(Job::Retire { core: self.core.into(), segment: left, used, sound });
        self.free_if_dead(number);
        self.want();
        Ok(())
    }

    fn take_next(&mut self) -> Result<Segment, SpoolError> {
        match self.poll_supplies() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Disconnected) => Err(SpoolError::Closed),
            Err(TryRecvError::Empty) if let Some(shortage) = &self.shortage => {
                Err(shortage.clone())
            }
            Err(TryRecvError::Empty) => {
                self.stats.roll_waits += 1;
                loop {
                    let supplied = self.supplies.wait();
                    if let Some(outcome) = self.judge(supplied) {
                        return outcome;
                    }
                }
            }
        }
    }

    fn poll_supplies(&mut self) -> Result<Ready, TryRecvError> {
        // A segment may have come after the news that there is none.
        let mut shortage = None;
        loop {
            match self.supplies.ready.try_recv().map(|supplied| self.judge(supplied)) {
                Ok(Some(Ok(segment))) => return Ok(Ok(segment)),
                Ok(Some(Err(error))) => shortage = Some(error),
                Ok(None) => {}
                Err(nothing) => return shortage.map(Err).ok_or(nothing),
            }
        }
    }

    /// Takes what the helper sent, or sends it back to be probed. `None` if the helper makes another.
    fn judge(&mut self, supplied: Ready) -> Option<Ready> {
        let outcome = match supplied {
            Ok(segment) if segment.probed < self.suspicion => {
                self.have_probed(segment);
                Err(self.given_up(self.segment().header.number))
            }
            Ok(segment) => Ok(self.in_place(segment)?),
            Err(error) => {
                let known = self.shortage.as_ref().is_some_and(|before| !before.is_shortage());
                self.stats.unusable += u64::from(!error.is_shortage() && !known);
                Err(error)
            }
        };
        self.shortage = outcome.as_ref().err().cloned();
        Some(outcome)
    }

    /// Returns the segment if its file is still in place. Otherwise the helper makes another.
    fn in_place(&self, segment: Segment) -> Option<Segment> {
        if segment.is_in_place() {
            return Some(segment);
        }
        self.hand_over(Job::Replace { core: self.core.into(), segment });
        None
    }

    pub(super) fn have_probed(&self, segment: Segment) {
        let (core, suspicion) = (self.core.into(), self.suspicion);
        self.hand_over(Job::Probe { core, segment, suspicion });
    }

    /// Asks for one more segment. It is made at once if there is free room, or else after [`Self::ask`].
    pub(super) fn want(&mut self) {
        self.has_asked = false;
        // If the helper is gone, the next roll returns an error.
        self.hand_over(Job::Want { core: self.core.into() });
    }

    /// Tells the helper, once for each segment, that the next one is needed soon. Cheap after the first time.
    pub(super) fn ask(&mut self) {
        if !std::mem::replace(&mut self.has_asked, true) {
            self.hand_over(Job::Need { core: self.core.into() });
        }
    }

    /// Octets of payload that still fit into the record at the head, with an empty slot after it.
    pub(super) fn space(&self) -> usize {
        let taken = self.open.as_ref().map_or(0, |open| open.body_bytes);
        let slots = 2 * RECORD_HEADER_BYTES;
        self.segment().room().saturating_sub(self.head + slots + taken)
    }

    pub(super) fn capacity(&self) -> usize {
        self.segment().room() - SEGMENT_HEADER_BYTES - 2 * RECORD_HEADER_BYTES
    }

    /// Hands a job to the helper. If the helper is gone, does here what must be done.
    pub(super) fn hand_over(&self, job: Job) {
        match self.supplies.jobs.send(job) {
            Ok(())
            | Err(mpsc::SendError(
                Job::Want { .. }
                | Job::Need { .. }
                | Job::Retire { .. }
                | Job::Durable { .. }
                | Job::Flushed { .. }
                | Job::Free { .. }
                | Job::Settled { .. }
                | Job::Void { .. },
            )) => {}
            Err(mpsc::SendError(Job::Probe { segment, .. } | Job::Replace { segment, .. })) => {
                segment.finish(0);
            }
            Err(mpsc::SendError(Job::Finish { segment, used })) => {
                segment.finish(used);
            }
            Err(mpsc::SendError(Job::Leave { ready })) => {
                for segment in ready.try_iter().flatten() {
                    segment.finish(0);
                }
            }
        }
    }
}
