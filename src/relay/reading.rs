//! The blocking half of a delivery: the spool is read on a thread of its own, which runs ahead of the
//! sending half by a bounded number of octets.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::route::Selection;
use crate::limits::{RELAY_PIECES_AHEAD, RELAY_RECIPIENTS_MAX};
use crate::mailbox::hops_of;
use crate::spool::{
    CopyError, Deliveries, Envelope, Horizon, Listing, Message, Place, Reader, SpoolError, flag,
};

/// One message on its way, for so many recipients as one transaction takes.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) place: Place,
    pub(super) envelope: Envelope,
    /// Numbers of the recipients; never empty.
    pub(super) recipients: Vec<u32>,
    /// Octets of the body.
    pub(super) bytes: u64,
    /// Servers that it has passed.
    pub(super) hops: usize,
    /// The body. One that ends early cannot be read any more.
    pub(super) pieces: mpsc::Receiver<Vec<u8>>,
    /// Said behind the last piece, once it is known that the ring did not take the message meanwhile:
    /// until then another's octets may be among them.
    pub(super) sound: oneshot::Receiver<()>,
}

/// What there is for a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub(super) messages: u64,
    pub(super) recipients: u64,
}

/// What one delivery is to take from the spool: messages that are there whole and ended by `until_ns`,
/// so that a spool which grows meanwhile does not make it endless.
#[derive(Clone, Debug)]
pub(super) struct Extract {
    pub(super) selection: Selection,
    pub(super) until_ns: u64,
    /// What is not durable yet, where that was promised, has not been acknowledged, and may never be.
    pub(super) horizons: Arc<[Horizon]>,
}

impl Extract {
    pub(super) fn count(&self, dir: &Path) -> Result<Waiting, SpoolError> {
        let mut waiting = Waiting::default();
        self.each(dir, |_, _, recipients| {
            waiting.messages += 1;
            waiting.recipients += recipients.len() as u64;
            Ok(true)
        })?;
        Ok(waiting)
    }

    /// Reads the messages that wait to `letters`, until there are no more or nobody takes them.
    pub(super) fn read_out(
        &self,
        dir: &Path,
        letters: &mpsc::Sender<Letter>,
    ) -> Result<(), SpoolError> {
        self.each(dir, |listing, message, recipients| {
            let hops = match hops_of(listing, message) {
                Ok(hops) => hops,
                Err(error) => return go_on(Err(error)),
            };
            for recipients in recipients.chunks(RELAY_RECIPIENTS_MAX) {
                let (sender, pieces) = mpsc::channel(RELAY_PIECES_AHEAD);
                let (confirm, sound) = oneshot::channel();
                let letter = Letter {
                    place: message.place,
                    envelope: message.envelope.clone(),
                    recipients: recipients.to_vec(),
                    bytes: message.bytes,
                    hops,
                    pieces,
                    sound,
                };
                if letters.blocking_send(letter).is_err() {
                    return Ok(false);
                }
                let copied = listing.copy_body(message, u64::MAX, &mut Pieces(sender));
                if copied.is_ok() {
                    // Who has no use for the message is gone.
                    let _ = confirm.send(());
                }
                go_on(copied)?;
            }
            Ok(true)
        })
    }

    /// Gives each message that waits, with its recipients that do, to `take`, as long as that wants
    /// more.
    fn each(
        &self,
        dir: &Path,
        mut take: impl FnMut(&mut Listing<'_>, &Message, &[u32]) -> Result<bool, SpoolError>,
    ) -> Result<(), SpoolError> {
        let reader = Reader::open(dir)?;
        let known = Deliveries::read(dir)?;
        let mut listing = reader.oldest_first();
        while let Some(message) = listing.next().transpose()? {
            let whole = message.envelope.flags & flag::HEADERS_ONLY == 0;
            let hidden = self.horizons.iter().any(|horizon| horizon.hides(message.place));
            if !whole || hidden || message.envelope.sealed_ns > self.until_ns {
                continue;
            }
            let recipients = self.selection.waiting(&message, &known);
            if !recipients.is_empty() && !take(&mut listing, &message, &recipients)? {
                break;
            }
        }
        Ok(())
    }
}

/// Whether there may be more behind a message whose octets were read, or not all: the sending half may
/// have no use for the rest of them, or the ring has taken them meanwhile.
fn go_on(read: Result<(), CopyError>) -> Result<bool, SpoolError> {
    match read {
        Ok(()) | Err(CopyError::Out(_) | CopyError::Spool(SpoolError::Damaged { .. })) => Ok(true),
        Err(CopyError::Spool(error)) => Err(error),
    }
}

/// Hands octets over as they are read.
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

    fn everything(horizons: &[Horizon]) -> Extract {
        let horizons = horizons.into();
        Extract { selection: Selection::Everything, until_ns: u64::MAX, horizons }
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
        let extract = everything(&writer.horizon().into_iter().collect::<Vec<_>>());
        let waiting = || extract.count(dir.path()).unwrap().messages;
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
        let extract = everything(&writers[0].horizon().into_iter().collect::<Vec<_>>());
        assert_eq!(extract.count(dir.path()).unwrap().messages, 4, "of an earlier run");
        assert_eq!(everything(&[]).count(dir.path()).unwrap().messages, 4);
    }

    #[test]
    fn octets_of_a_segment_that_gets_a_new_life_meanwhile_are_never_said_to_be_sound() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _, mut writers) = Spool::open(dir.path(), Options::default()).unwrap();
        let body = vec![b'x'; 4 * 1024 * 1024];
        store(&mut writers[0], &body);
        for recycled in [false, true] {
            let (sender, mut letters) = mpsc::channel(1);
            let extract = everything(&[]);
            let from = dir.path().to_owned();
            let reading = thread::spawn(move || extract.read_out(&from, &sender));
            let mut letter = letters.blocking_recv().unwrap();
            let mut octets = letter.pieces.blocking_recv().unwrap();
            if recycled {
                let segment = dir.path().join("c000-00000001.seg");
                let segment = OpenOptions::new().write(true).open(segment).unwrap();
                segment.write_all_at(&[0; 64], 0).unwrap();
                segment.write_all_at(&[b'y'; 100], body.len() as u64).unwrap();
            }
            while let Some(piece) = letter.pieces.blocking_recv() {
                octets.extend(piece);
            }
            assert_eq!(octets.len(), body.len());
            assert_eq!(
                (letter.sound.blocking_recv().is_ok(), octets == body),
                (!recycled, !recycled)
            );
            reading.join().unwrap().unwrap();
        }
        drop((writers, spool));
    }
}
