//! The blocking half of a delivery: the spool is read on a thread of its own, which runs ahead of the
//! sending half by a bounded number of octets.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::end::RelayEnd;
use super::route::RecipientSelection;
use crate::limits::RELAY_RECIPIENTS_MAX;
use crate::mailbox::hops_of;
use crate::spool::{
    CopyError, Deliveries, Listing, Message, Place, Reader, RecordFlags, SpoolError,
    StoredEnvelope, Watermark,
};

/// Pieces of a message that are read ahead of the sending; each is what a reader takes from a file at once.
const RELAY_PIECES_AHEAD: usize = 2;

/// A message to send, for as many recipients as one transaction takes.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) place: Place,
    pub(super) envelope: StoredEnvelope,
    /// Numbers of the recipients. INVARIANT: never empty, and each is one of the envelope.
    pub(super) recipients: Vec<u32>,
    /// Octets of the body.
    pub(super) bytes: u64,
    /// Servers that it has passed, by its Received fields.
    pub(super) hops: usize,
    /// The body. Where it ends early, the rest cannot be read any more.
    pub(super) pieces: mpsc::Receiver<Vec<u8>>,
    /// Sent after the last piece, once it is known that the ring did not overwrite the message
    /// meanwhile. Until then octets of another message may be among the pieces.
    pub(super) sound: oneshot::Receiver<()>,
}

/// How much mail waits for a delivery.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct WaitingMail {
    pub(super) messages: u64,
    pub(super) recipients: u64,
}

/// How much mail waits, and the last message of each core.
pub(super) type Counted = (WaitingMail, Arc<[Place]>);

/// What one delivery takes from the spool: whole messages that were there when it counted them, so that a
/// spool that grows during the delivery does not make it endless. Places tell that, and no clock, which may be set
/// back.
#[derive(Clone, Debug)]
pub(super) struct Extract {
    pub(super) selection: RecipientSelection,
    /// Up to the last message of each core that is named here, none waits.
    pub(super) since: Arc<[Place]>,
    /// The last message of each core. `None` until the messages are counted.
    pub(super) until: Option<Arc<[Place]>>,
    /// Hide what is sealed and not durable yet: it has not been acknowledged, and may never be.
    pub(super) watermarks: Arc<[Watermark]>,
    /// When the relay ends, no further message is looked at.
    pub(super) end: watch::Receiver<RelayEnd>,
}

impl Extract {
    /// How much mail waits, and the last message of each core.
    pub(super) fn count(&self, dir: &Path) -> Result<Counted, SpoolError> {
        let mut waiting = WaitingMail::default();
        let last = self.each(dir, |_, _, recipients| {
            waiting.messages += 1;
            waiting.recipients += recipients.len() as u64;
            Ok(true)
        })?;
        Ok((waiting, last.into()))
    }

    /// Sends the messages that wait to `messages`, until there are no more or the sending half is gone.
    pub(super) fn read_out(
        &self,
        dir: &Path,
        messages: &mpsc::Sender<QueuedMessage>,
    ) -> Result<(), SpoolError> {
        let read = self.each(dir, |listing, message, recipients| {
            let hops = match hops_of(listing, message) {
                Ok(hops) => hops,
                Err(error) => return go_on(Err(error)),
            };
            for recipients in recipients.chunks(RELAY_RECIPIENTS_MAX) {
                let (sender, pieces) = mpsc::channel(RELAY_PIECES_AHEAD);
                let (confirm, sound) = oneshot::channel();
                let queued = QueuedMessage {
                    place: message.place,
                    envelope: message.envelope.clone(),
                    recipients: recipients.to_vec(),
                    bytes: message.bytes,
                    hops,
                    pieces,
                    sound,
                };
                if messages.blocking_send(queued).is_err() {
                    return Ok(false);
                }
                let copied = listing.copy_body(message, u64::MAX, &mut Pieces(sender));
                if copied.is_ok() {
                    // The sending half may have given the message up.
                    let _ = confirm.send(());
                }
                go_on(copied)?;
            }
            Ok(true)
        });
        read.map(drop)
    }

    /// Gives each message that waits, with its recipients that wait, to `take`, until that answers
    /// `false`. Returns the last message of each core, whether it waits or not.
    fn each(
        &self,
        dir: &Path,
        mut take: impl FnMut(&mut Listing<'_>, &Message, &[u32]) -> Result<bool, SpoolError>,
    ) -> Result<Vec<Place>, SpoolError> {
        let mut reader = Reader::open(dir)?;
        reader.begin_at(&self.since);
        let mut listing = reader.oldest_first();
        let mut known = None;
        let mut last = self.since.to_vec();
        // Cores of which a message was hidden. What comes after it is left out too, also if it is durable by now.
        let mut ended: Vec<u16> = Vec::new();
        while *self.end.borrow() < RelayEnd::Drain
            && let Some(message) = listing.next().transpose()?
        {
            let place = message.place;
            if self.watermarks.iter().any(|watermark| watermark.hides(place)) {
                ended.push(place.core);
            }
            if ended.contains(&place.core) || self.is_settled(place) || self.came_later(place) {
                continue;
            }
            match last.iter_mut().find(|of| of.core == place.core) {
                Some(of) => *of = place,
                None => last.push(place),
            }
            if message.envelope.flags.contains(RecordFlags::HEADERS_ONLY) {
                continue;
            }
            let known = match &mut known {
                Some(known) => known,
                unread => unread.insert(Deliveries::read_after(dir, &self.since)?),
            };
            let recipients = self.selection.waiting(&message, known)?;
            if !recipients.is_empty() && !take(&mut listing, &message, &recipients)? {
                break;
            }
        }
        Ok(last)
    }

    /// Whether the message is one of those of which none waits.
    fn is_settled(&self, place: Place) -> bool {
        self.since.iter().any(|last| last.core == place.core && place <= *last)
    }

    /// Whether the message came after those that were counted.
    fn came_later(&self, place: Place) -> bool {
        let of_core = |until: &Arc<[Place]>| until.iter().find(|of| of.core == place.core).copied();
        self.until.as_ref().is_some_and(|until| of_core(until).is_none_or(|last| place > last))
    }
}

/// Whether to go on with the next message after this one was read, all of it or a part: the sending
/// half may have no use for the rest, or the ring may have overwritten it.
fn go_on(read: Result<(), CopyError>) -> Result<bool, SpoolError> {
    match read {
        Ok(()) | Err(CopyError::Out(_) | CopyError::Spool(SpoolError::Damaged { .. })) => Ok(true),
        Err(CopyError::Spool(error)) => Err(error),
    }
}

/// Hands octets over to the sending half as they are read.
struct Pieces(mpsc::Sender<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(octets.to_vec());
        sent.map(|()| octets.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::thread;

    use super::*;
    use crate::spool::{Draft, Durability, Meta, Options, Spool, Writer};

    fn everything(watermarks: &[Watermark]) -> Extract {
        let (watermarks, end) = (watermarks.into(), watch::channel(RelayEnd::No).1);
        let (selection, since) = (RecipientSelection::Everything, Arc::default());
        Extract { selection, since, until: None, watermarks, end }
    }

    fn store(writer: &mut Writer, body: &[u8]) {
        let mut draft = Draft::default();
        writer.append(&mut draft, body).unwrap();
        let to: [(&[u8], &[u8]); 1] = [(b"b@x.example", b"")];
        writer.seal(&mut draft, &Meta::default(), to).unwrap();
    }

    #[test]
    fn what_is_sealed_and_not_yet_durable_is_not_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            durability: Durability::Sync,
            segment_bytes: 64 * 1024,
            limit_bytes: 8 * 64 * 1024,
            ..Options::default()
        };
        let (spool, _, mut writers) = Spool::open(dir.path(), options).unwrap();
        let writer = &mut writers[0];
        let extract = everything(&writer.watermark().into_iter().collect::<Vec<_>>());
        let waiting = || extract.count(dir.path()).unwrap().0.messages;
        store(writer, b"one");
        assert_eq!(waiting(), 0);
        let early: Vec<_> = writer.dirty().collect();
        store(writer, b"two");
        writer.synced(&early[0]).unwrap();
        assert_eq!(waiting(), 1);
        // Into the next segment, while the first is not synced.
        (0..2).for_each(|_| store(writer, &[b'x'; 40_000]));
        let both: Vec<_> = writer.dirty().collect();
        assert_eq!(both.len(), 2);
        writer.synced(&both[1]).unwrap();
        assert_eq!(waiting(), 1, "what lies before is not durable");
        writer.synced(&both[0]).unwrap();
        assert_eq!(waiting(), 4);
        drop((writers, spool));
        let (_spool, _, writers) = Spool::open(dir.path(), options).unwrap();
        let extract = everything(&writers[0].watermark().into_iter().collect::<Vec<_>>());
        assert_eq!(extract.count(dir.path()).unwrap().0.messages, 4, "of an earlier run");
        assert_eq!(everything(&[]).count(dir.path()).unwrap().0.messages, 4);
    }

    #[test]
    fn what_waited_when_it_was_counted_is_handed_on_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writers) = Spool::open(dir.path(), Options::default()).unwrap();
        let mut store_at = |sealed_ns| {
            let mut draft = Draft::default();
            let meta = Meta { sealed_ns, ..Meta::default() };
            writers[0].append(&mut draft, b"hi").unwrap();
            writers[0].seal(&mut draft, &meta, [(&b"b@x.example"[..], &b""[..])]).unwrap()
        };
        // The clock was far ahead, and was set back.
        let early = [store_at(u64::MAX - 1).place, store_at(1).place];
        let (waiting, until) = everything(&[]).count(dir.path()).unwrap();
        assert_eq!((waiting.messages, &*until), (2, &early[1..]));
        store_at(2);
        let extract = Extract { until: Some(until), ..everything(&[]) };
        let (sender, mut messages) = mpsc::channel(9);
        extract.read_out(dir.path(), &sender).unwrap();
        drop(sender);
        let mut read: Vec<_> =
            std::iter::from_fn(|| messages.try_recv().ok()).map(|message| message.place).collect();
        read.sort_unstable();
        assert_eq!(read, early);
        // Who knows that none of these waits looks at the later one alone.
        let extract = Extract { since: early[1..].into(), ..everything(&[]) };
        let (waiting, until) = extract.count(dir.path()).unwrap();
        assert_eq!((waiting.messages, until.len()), (1, 1));
        let extract = Extract { since: until, ..everything(&[]) };
        assert_eq!(
            extract.count(dir.path()).unwrap(),
            (WaitingMail::default(), extract.since.clone())
        );
        drop((writers, spool));
    }

    #[test]
    fn octets_of_a_segment_that_gets_a_new_life_meanwhile_are_never_said_to_be_sound() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writers) = Spool::open(dir.path(), Options::default()).unwrap();
        let body = vec![b'x'; 4 * 1024 * 1024];
        store(&mut writers[0], &body);
        for recycled in [false, true] {
            let (sender, mut messages) = mpsc::channel(1);
            let extract = everything(&[]);
            let from = dir.path().to_owned();
            let reading = thread::spawn(move || extract.read_out(&from, &sender));
            let mut message = messages.blocking_recv().unwrap();
            let mut octets = message.pieces.blocking_recv().unwrap();
            if recycled {
                let segment = dir.path().join("c000-00000001.seg");
                let segment = OpenOptions::new().write(true).open(segment).unwrap();
                segment.write_all_at(&[0; 64], 0).unwrap();
                segment.write_all_at(&[b'y'; 100], body.len() as u64).unwrap();
            }
            while let Some(piece) = message.pieces.blocking_recv() {
                octets.extend(piece);
            }
            assert_eq!(octets.len(), body.len());
            assert_eq!(
                (message.sound.blocking_recv().is_ok(), octets == body),
                (!recycled, !recycled)
            );
            reading.join().unwrap().unwrap();
        }
        drop((writers, spool));
    }
}
