//! Room belongs to mail that was acknowledged: what was not sealed gives its room back.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringpost::spool::{Draft, Durability, Options, Reader, SpoolError, WhenFull, Writer};

use super::{SEGMENT, octets, open_one, read_all, seal, small, store};

fn segment_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter(|name| name.to_str().unwrap().ends_with(".seg")).count()
}

/// Ways in which messages are given up.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// One large message after the other.
    Alone,
    /// Two at once, so that their fragments lie between each other.
    Two,
}

fn flood(writer: &mut Writer, flood: Flood, bytes: usize) {
    let mut drafts = [Draft::default(), Draft::default()];
    for at in 0..bytes / 8_000 {
        let of = match flood {
            Flood::Alone => 0,
            Flood::Two => at % 2,
        };
        // Where there is no room, the message is refused, as it is in the sink.
        let _ = writer.append(&mut drafts[of], &octets(at as u64, 8_000));
    }
    drafts.iter_mut().for_each(|draft| writer.discard(draft));
}

fn wait_for_room(writer: &mut Writer) {
    let until = Instant::now() + Duration::from_secs(60);
    while let Err(error) = writer.room() {
        assert!(Instant::now() < until, "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_was_given_up_leaves_room_for_what_comes() {
    for (when_full, durability, how) in
        [WhenFull::Recycle, WhenFull::Refuse].into_iter().flat_map(|when_full| {
            [Durability::Process, Durability::Sync].into_iter().flat_map(move |durability| {
                [Flood::Alone, Flood::Two].map(|how| (when_full, durability, how))
            })
        })
    {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { when_full, durability, ..small(16) };
        let (mut spool, _, mut writer) = open_one(dir.path(), options);
        let mut stored = Vec::new();
        for round in 0..30 {
            wait_for_room(&mut writer);
            let body = octets(round, 3_000);
            stored.push((store(&mut writer, &body).unwrap(), body));
            flood(&mut writer, how, 5 * SEGMENT as usize);
            if round % 10 == 9 {
                drop(writer);
                drop(spool);
                (spool, _, writer) = open_one(dir.path(), options);
            }
        }
        let (read, survey) = read_all(dir.path());
        assert!(read == stored, "{when_full:?} {durability:?} {how:?}: {survey}");
        assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
        drop(writer);
        drop(spool);
        assert!(read_all(dir.path()).0 == stored, "{when_full:?} {durability:?} {how:?}");
    }
}

#[test]
fn the_head_of_the_log_goes_back_over_what_was_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let first = store(&mut writer, b"first").unwrap();
    let head = writer.position();
    let mut drafts = [Draft::default(), Draft::default(), Draft::default()];
    for round in 0..9 {
        writer.append(&mut drafts[round % 3], &octets(round as u64, 500)).unwrap();
    }
    writer.discard(&mut drafts[0]);
    assert!(writer.position() > head, "the others are open");
    writer.discard(&mut drafts[1]);
    writer.discard(&mut drafts[2]);
    assert_eq!(writer.position(), head);
    let second = store(&mut writer, b"second").unwrap();
    assert_eq!(second, head);
    let (read, survey) = read_all(dir.path());
    assert_eq!(read, [(first, b"first".to_vec()), (second, b"second".to_vec())]);
    assert!(survey.orphaned_fragments == 0 && survey.is_sound(), "{survey}");
    drop((writer, spool));
    assert_eq!(read_all(dir.path()).1.orphaned_fragments, 0);
}

/// Under sync a barrier that was handed out must cover what lies below its end, whatever comes.
#[test]
fn what_a_sync_was_asked_for_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::Sync, ..small(8) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let (mut one, mut two) = (Draft::default(), Draft::default());
    writer.append(&mut one, &octets(1, 500)).unwrap();
    writer.append(&mut two, &octets(2, 500)).unwrap();
    let barriers: Vec<_> = writer.dirty().collect();
    assert_eq!(barriers.len(), 1);
    writer.append(&mut one, &octets(3, 500)).unwrap();
    let above = writer.position();
    writer.append(&mut two, &octets(4, 500)).unwrap();
    writer.discard(&mut one);
    writer.discard(&mut two);
    let end = writer.position();
    assert!(end < above, "what lies above is taken back");
    let mut draft = Draft::default();
    writer.append(&mut draft, b"waits").unwrap();
    let place = seal(&mut writer, &mut draft).unwrap();
    assert!(place >= end);
    barriers.iter().for_each(|barrier| writer.synced(barrier).unwrap());
    let left: Vec<_> = writer.dirty().collect();
    assert_eq!(left.len(), 1, "the message waits for a sync of its own");
}

#[test]
fn a_segment_with_nothing_but_dead_fragments_goes_at_once_and_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(16));
    store(&mut writer, b"kept").unwrap();
    let mut draft = Draft::default();
    writer.append(&mut draft, &octets(1, 5 * SEGMENT as usize)).unwrap();
    assert!(segment_files(dir.path()) >= 6);
    let killed = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        // A segment in the making may have got its name meanwhile.
        match fs::copy(entry.path(), killed.path().join(entry.file_name())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            Ok(_) | Err(_) => {}
        }
    }
    writer.discard(&mut draft);
    let until = Instant::now() + Duration::from_secs(60);
    while segment_files(dir.path()) > 3 {
        assert!(Instant::now() < until, "{} segments are left", segment_files(dir.path()));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read_all(dir.path()).0.len(), 1);
    drop((writer, spool));
    let (spool, recovery, writer) = open_one(killed.path(), small(16));
    assert_eq!(recovery.survey.messages, 1);
    assert!(recovery.survey.is_sound(), "{recovery}");
    drop((writer, spool));
    assert_eq!(segment_files(killed.path()), 1);
    let left = fs::metadata(killed.path().join("c000-00000001.seg")).unwrap().len();
    assert!(left < 1_000, "{left} octets are left of a short message");
}

/// Readers in other processes walk over fragments that are taken back under them.
#[test]
fn who_reads_while_the_log_goes_back_sees_what_was_sealed_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(64));
    let done = AtomicBool::new(false);
    let sealed = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let known = sealed.load(Ordering::Acquire);
                    let reader = Reader::open(dir.path()).unwrap();
                    let mut messages = reader.messages();
                    let read = messages
                        .by_ref()
                        .fold(0, |count, message| message.map(|_| count + 1).unwrap());
                    let survey = messages.survey();
                    assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
                    assert!(read >= known, "{read} of {known} messages");
                }
            });
        }
        let mut random = fastrand::Rng::with_seed(3);
        let mut drafts: [Draft; 4] = Default::default();
        for at in 0..6_000 {
            let draft = &mut drafts[random.usize(0..4)];
            match random.u32(0..10) {
                0..6 => {
                    writer.append(draft, &octets(at, random.usize(1..400))).unwrap();
                }
                6..9 => drafts.iter_mut().for_each(|draft| writer.discard(draft)),
                _ => {
                    seal(&mut writer, draft).unwrap();
                    sealed.fetch_add(1, Ordering::Release);
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Segments of the ring, and what the messages that are not complete may take of it.
const RING: u64 = 24;
const OPEN_BYTES: u64 = 6 * SEGMENT;

/// What the manual promises: octets of acknowledged mail that a ring keeps, the newest first. In segments so
/// small the room at the end that may stay empty is a quarter of them.
const KEPT_BYTES: u64 = (RING - 3) * (SEGMENT - SEGMENT / 4) - OPEN_BYTES;

/// Messages of a ring whose clients do what they like.
struct Mix {
    dir: tempfile::TempDir,
    options: Options,
    /// Places and octets of what was acknowledged.
    accepted: Vec<(ringpost::spool::Place, Vec<u8>)>,
}

impl Mix {
    /// One life of the sink: some messages are sealed, some are refused, some are cut off.
    fn live(&mut self, random: &mut fastrand::Rng) {
        let (spool, _, mut writer) = open_one(self.dir.path(), self.options);
        let mut drafts: [(Draft, Vec<u8>); 5] = Default::default();
        for _ in 0..random.usize(50..600) {
            let (draft, body) = random.choice(&mut drafts).unwrap();
            match random.u32(0..20) {
                0..14 => {
                    let most = random.choice([50, 2_000, 20_000, 60_000]).unwrap();
                    let piece = octets(random.u64(..), random.usize(1..most));
                    // An error shows at the end of the message.
                    let _ = writer.append(draft, &piece);
                    body.extend_from_slice(&piece);
                }
                14..16 => {
                    let body = std::mem::take(body);
                    self.accepted.extend(seal(&mut writer, draft).ok().map(|place| (place, body)));
                }
                16 => {
                    let small = octets(random.u64(..), random.usize(1..3_000));
                    let place = store(&mut writer, &small).ok();
                    self.accepted.extend(place.map(|place| (place, small)));
                }
                _ => {
                    writer.discard(draft);
                    body.clear();
                }
            }
            if let [.., newest] = self.accepted.as_slice() {
                assert!(newest.0 < writer.position());
            }
        }
        drop((writer, spool));
        self.check();
    }

    fn check(&self) {
        let (read, survey) = read_all(self.dir.path());
        assert!(survey.is_sound() && survey.torn.is_empty(), "{survey}");
        let mut kept = 0;
        for (place, body) in self.accepted.iter().rev() {
            kept += body.len() as u64;
            if kept > KEPT_BYTES {
                break;
            }
            let found = read.iter().find(|(there, _)| there == place);
            assert!(found.is_some_and(|(_, there)| there == body), "{place}, {kept} octets back");
        }
    }
}

#[test]
fn a_ring_keeps_what_the_manual_says_whatever_clients_do() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let durability = random.choice([Durability::Process, Durability::Sync]).unwrap();
        let options = Options { durability, open_bytes: OPEN_BYTES, ..small(RING) };
        let mut mix = Mix { dir: tempfile::tempdir().unwrap(), options, accepted: Vec::new() };
        let bytes = |mix: &Mix| mix.accepted.iter().map(|(_, body)| body.len() as u64).sum::<u64>();
        while bytes(&mix) < 2 * KEPT_BYTES {
            mix.live(&mut random);
        }
    }
}

#[test]
fn open_messages_take_no_more_than_their_room_and_small_ones_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { open_bytes: OPEN_BYTES, ..small(RING) };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    let mut stored = Vec::new();
    for at in 0..20 {
        let body = octets(at, 9_000);
        stored.push((store(&mut writer, &body).unwrap(), body));
    }
    let mut drafts: Vec<Draft> = (0..40).map(|_| Draft::default()).collect();
    let mut refused = vec![None; 40];
    for at in 0..4_000 {
        let appended = writer.append(&mut drafts[at % 40], &octets(at as u64, 1_500));
        refused[at % 40] = refused[at % 40].take().or(appended.err());
    }
    let small = store(&mut writer, b"small").unwrap();
    for (draft, error) in drafts.iter_mut().zip(refused) {
        assert!(matches!(error, Some(SpoolError::OpenLimit)), "{error:?}");
        seal(&mut writer, draft).unwrap_err();
    }
    let (read, survey) = read_all(dir.path());
    assert!(survey.is_sound(), "{survey}");
    assert!(read[..20] == stored && read[20] == (small, b"small".to_vec()));
    // The room is free again.
    let mut draft = Draft::default();
    writer.append(&mut draft, &octets(7, 3 * SEGMENT as usize)).unwrap();
    seal(&mut writer, &mut draft).unwrap();
}

#[test]
fn where_nothing_is_overwritten_what_was_given_up_among_mail_bars_no_larger_message() {
    for when_full in [WhenFull::Recycle, WhenFull::Refuse] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { open_bytes: OPEN_BYTES, when_full, ..small(64) };
        let (mut spool, _, mut writer) = open_one(dir.path(), options);
        // Of a message that is given up, the first pieces lie below a whole one, and so they stay.
        for round in 0..OPEN_BYTES / 6_000 {
            let mut draft = Draft::default();
            writer.append(&mut draft, &octets(round, 6_000)).unwrap();
            store(&mut writer, b"small").unwrap();
            writer.discard(&mut draft);
        }
        for _ in 0..2 {
            let mut draft = Draft::default();
            let large = octets(7, 2 * SEGMENT as usize);
            let stored =
                writer.append(&mut draft, &large).and_then(|()| seal(&mut writer, &mut draft));
            match when_full {
                WhenFull::Recycle => assert!(matches!(stored, Err(SpoolError::OpenLimit))),
                WhenFull::Refuse => assert!(stored.is_ok(), "{stored:?}"),
            }
            drop(writer);
            drop(spool);
            (spool, _, writer) = open_one(dir.path(), options);
        }
    }
}

/// Clients that send by single octets in turns make a piece of each, and memory is kept for every one.
#[test]
fn the_pieces_of_open_messages_have_a_bound_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mib = 1024 * 1024;
    let options = Options {
        segment_bytes: 64 * mib,
        limit_bytes: 1024 * mib,
        open_bytes: 512 * mib,
        ..small(4)
    };
    let (_spool, _, mut writer) = open_one(dir.path(), options);
    for _ in 0..2 {
        let mut drafts = [Draft::default(), Draft::default()];
        let mut taken = 0;
        let refused = loop {
            match writer.append(&mut drafts[taken % 2], b"x") {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, SpoolError::OpenLimit), "{refused}");
        assert_eq!(taken, ringpost::limits::OPEN_PIECES_MAX);
        // Whoever sends in one piece is not hit.
        store(&mut writer, b"whole").unwrap();
        drafts.iter_mut().for_each(|draft| writer.discard(draft));
    }
}
