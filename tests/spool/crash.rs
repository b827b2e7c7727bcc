//! What is left when a writer stops anywhere: copies taken mid-write, cut, zeroed, flipped; and a
//! writer killed for real.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ringpost::spool::{Doubt, Draft, Options, Place, Reader, Survey, Writer};

use super::tape::file;
use super::{number_from, octets, open_one, read_all, seal, small, store};

/// Messages in the order of their seals, and where the log ended after each.
type Ledger = Vec<(Place, Vec<u8>, u32)>;

const NAME: &str = "c000-00000001.seg";

/// One segment with whole, interleaved and unfinished messages, left as a dead writer leaves it.
fn snapshot(seed: u64) -> (tempfile::TempDir, Ledger, u32) {
    let live = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(live.path(), small(64));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut drafts: Vec<(Draft, Vec<u8>)> = Vec::new();
    drafts.resize_with(3, Default::default);
    let mut ledger = Ledger::new();
    for at in 0..random.u64(20..60) {
        let (draft, body) = random.choice(&mut drafts).unwrap();
        let piece = octets(seed * 1_000 + at, random.usize(1..900));
        writer.append(draft, &piece).unwrap();
        body.extend_from_slice(&piece);
        if random.bool() {
            let place = seal(&mut writer, draft).unwrap();
            ledger.push((place, std::mem::take(body), writer.position().offset));
        }
    }
    assert_eq!(writer.position().segment, 1);
    let copy = copy_of(live.path());
    (copy, ledger, writer.position().offset)
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name();
        // What is in the making has another name a moment later.
        if !name.to_str().unwrap().ends_with(".new") {
            fs::copy(dir.join(&name), copy.path().join(&name)).unwrap();
        }
    }
    copy
}

/// Whatever is read is in the ledger; everything sealed up to `sound` is read.
fn check(dir: &Path, ledger: &Ledger, sound: u32) -> Survey {
    let (read, survey) = read_all(dir);
    let sealed: HashMap<_, _> = ledger.iter().map(|(place, body, _)| (*place, body)).collect();
    for (place, body) in &read {
        assert!(sealed.get(place) == Some(&body), "{place} was never sealed like this");
    }
    for (place, _, end) in ledger {
        let there = read.iter().any(|(read, _)| read == place);
        assert!(there || *end > sound, "{place} is lost, and all is sound up to {sound}");
    }
    survey
}

#[test]
fn a_copy_taken_mid_write_holds_what_was_sealed_and_no_more() {
    for seed in 0..40 {
        let (copy, ledger, _) = snapshot(seed);
        let (read, survey) = read_all(copy.path());
        let sealed: Vec<_> = ledger.iter().map(|(place, body, _)| (*place, body.clone())).collect();
        assert!(read == sealed, "seed {seed}");
        assert!(survey.is_sound(), "seed {seed}: {survey}");
    }
}

/// Ten segments, spoilt `rounds` times each by `spoil`, which gives the octets up to which all is sound.
fn spoilt(
    make: fn(u64) -> (tempfile::TempDir, Ledger, u32),
    rounds: u64,
    spoil: impl Fn(&mut Vec<u8>, u32, &mut fastrand::Rng) -> u32,
) -> Vec<Survey> {
    let mut surveys = Vec::new();
    for seed in 0..10 {
        let (copy, ledger, end) = make(seed);
        let path = copy.path().join(NAME);
        let kept = fs::read(&path).unwrap();
        for round in 0..rounds {
            let mut random = fastrand::Rng::with_seed(seed * rounds + round);
            let mut bytes = kept.clone();
            let sound = spoil(&mut bytes, end, &mut random);
            fs::write(&path, bytes).unwrap();
            surveys.push(check(copy.path(), &ledger, sound));
        }
    }
    surveys
}

#[test]
fn a_segment_cut_anywhere_keeps_what_lies_before_the_cut() {
    spoilt(snapshot, 20, |bytes, end, random| {
        let cut = random.u32(0..end);
        bytes.truncate(cut as usize);
        cut
    });
}

#[test]
fn a_segment_zeroed_from_anywhere_keeps_what_lies_before() {
    spoilt(snapshot, 20, |bytes, end, random| {
        let cut = random.u32(0..end);
        bytes[cut as usize..].fill(0);
        cut
    });
}

/// The same messages in a spool that was closed: everything is on the disk, and marked so.
fn closed(seed: u64) -> (tempfile::TempDir, Ledger, u32) {
    let (copy, ledger, end) = snapshot(seed);
    let file = OpenOptions::new().read(true).write(true).open(copy.path().join(NAME)).unwrap();
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).unwrap();
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    // The formula of the format's description.
    let mixed = (number(40) ^ (u64::MAX - u64::from(end))).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = mixed ^ (number(8) >> 32);
    let check = ((mixed >> 32) ^ mixed) as u32 | 1;
    file.write_all_at(&[end.to_le_bytes(), check.to_le_bytes()].concat(), 48).unwrap();
    file.set_len(end.into()).unwrap();
    (copy, ledger, end)
}

#[test]
fn every_flipped_bit_is_reported_and_hides_nothing_before_it() {
    let flips = number_from("RINGPOST_FLIPS", 4_000);
    let surveys = spoilt(closed, flips.div_ceil(10), |bytes, end, random| {
        let at = random.u32(0..end);
        bytes[at as usize] ^= 1 << random.u32(0..8);
        at
    });
    assert_eq!(surveys.iter().position(Survey::is_sound), None);
}

/// A record as the slowest reader sees it: by the lengths in the headers of a sound log, and nothing else.
struct Slow {
    at: u32,
    /// Where its header, its payload and its padding end.
    ends: [u32; 3],
    /// Its kind: 2 is a fragment.
    kind: u8,
    /// Offset of the fragment before it.
    back: u32,
}

fn records(bytes: &[u8]) -> Vec<Slow> {
    let number = |at: u32| u32::from_le_bytes(bytes[at as usize..][..4].try_into().unwrap());
    let (mut found, mut at) = (Vec::new(), 64);
    while bytes.get(at as usize..at as usize + 64).is_some_and(|slot| slot[60..] != [0; 4]) {
        let payload = at + 64 + number(at + 32) + number(at + 36);
        let ends = [at + 64, payload, payload.next_multiple_of(8)];
        found.push(Slow { at, ends, kind: bytes[at as usize + 4], back: number(at + 48) });
        at = ends[2];
    }
    found
}

/// Places of the messages that need the record at `at`.
fn needing(records: &[Slow], at: u32) -> Vec<u32> {
    let leads_to = |seal: &Slow| {
        let mut piece = seal;
        while piece.at != at && piece.back != 0 {
            piece = records.iter().find(|record| record.at == piece.back).unwrap();
        }
        piece.at == at
    };
    records.iter().filter(|seal| seal.kind != 2 && leads_to(seal)).map(|seal| seal.at).collect()
}

#[test]
fn a_payload_that_was_spoilt_loses_its_message_and_no_other() {
    for (make, closed) in [(snapshot as fn(u64) -> _, false), (closed, true)] {
        for seed in 0..10 {
            let (copy, ledger, _): (tempfile::TempDir, Ledger, u32) = make(seed);
            let path = copy.path().join(NAME);
            let kept = fs::read(&path).unwrap();
            let records = records(&kept);
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..10 {
                let spoilt = random.choice(&records).unwrap();
                let mut bytes = kept.clone();
                bytes[random.u32(spoilt.ends[0]..spoilt.ends[2]) as usize] ^= 1;
                fs::write(&path, bytes).unwrap();
                let lost = needing(&records, spoilt.at);
                let expected = ledger.iter().filter(|(place, ..)| !lost.contains(&place.offset));
                let expected: Vec<_> = expected.map(|(place, body, _)| (*place, body)).collect();
                let (read, survey) = read_all(copy.path());
                assert!(
                    read.iter().map(|(place, body)| (*place, body)).eq(expected),
                    "seed {seed}"
                );
                let (told, silent) = match closed {
                    true => (&survey.damage, &survey.torn),
                    false => (&survey.torn, &survey.damage),
                };
                assert!(
                    silent.is_empty()
                        && told.iter().any(|place| place.offset == u64::from(spoilt.at))
                );
                let named = told.iter().filter_map(|place| place.message.as_deref());
                assert!(named.eq(lost.iter().map(|at| format!("0-1-{at}"))), "{survey}");
                // The next sink neither takes more away nor calls it anything else.
                let (spool, recovery, writer) = open_one(copy.path(), small(64));
                drop((writer, spool));
                assert!(recovery.quarantined.is_empty() && recovery.survey == survey);
                let (again, after) = read_all(copy.path());
                assert!(again == read, "seed {seed}");
                assert_eq!((&after.damage, &after.torn), (&survey.damage, &survey.torn));
            }
        }
    }
}

#[test]
fn what_was_on_the_disk_and_is_not_there_is_damage_however_clean_it_looks() {
    let surveys = spoilt(closed, 20, |bytes, end, random| {
        let cut = random.u32(64..end);
        if random.bool() {
            bytes.truncate(cut as usize);
        } else {
            bytes[cut as usize..].fill(0);
        }
        cut
    });
    assert_eq!(surveys.iter().position(Survey::is_sound), None);
}

#[test]
fn what_a_power_cut_may_take_is_a_torn_end_and_no_damage() {
    let surveys = spoilt(snapshot, 20, |bytes, end, random| {
        // Sectors after the first that never reached the disk.
        let lost: Vec<_> = (1..=end / 512).filter(|_| random.u8(0..4) == 0).collect();
        for sector in &lost {
            bytes[*sector as usize * 512..][..512].fill(0);
        }
        lost.first().map_or(end, |sector| sector * 512)
    });
    assert_eq!(surveys.iter().position(|survey| !survey.is_sound()), None);
    let torn = surveys.iter().filter(|survey| !survey.torn.is_empty()).count();
    assert!(torn > 100, "{torn}");
}

#[test]
fn a_spool_with_a_torn_end_is_opened_and_written_on() {
    for seed in 0..20 {
        let (copy, ledger, _) = snapshot(seed);
        let (spool, recovery, mut writer) = open_one(copy.path(), small(64));
        assert_eq!(recovery.survey.messages, ledger.len() as u64);
        let place = store(&mut writer, b"after the crash").unwrap();
        assert!(place.segment > 1, "an old segment was written to");
        drop(writer);
        drop(spool);
        let (read, survey) = read_all(copy.path());
        assert_eq!(read.len(), ledger.len() + 1);
        assert_eq!(read.last(), Some(&(place, b"after the crash".to_vec())));
        assert!(survey.is_sound(), "{survey}");
    }
}

#[test]
fn a_damaged_segment_goes_into_quarantine_and_what_is_sound_of_it_stays() {
    let (copy, ledger, end) = closed(3);
    let path = copy.path().join(NAME);
    let mut bytes = fs::read(&path).unwrap();
    // In the commit word of a record in the middle.
    let flipped = records(&bytes).iter().rfind(|record| record.at < end / 2).unwrap().at + 60;
    bytes[flipped as usize] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let before = check(copy.path(), &ledger, flipped);
    assert_eq!(before.damage.len(), 1);
    assert!(before.damage[0].records_beyond > 0);

    let (spool, recovery, mut writer) = open_one(copy.path(), small(4));
    assert_eq!(recovery.survey, before);
    assert_eq!(recovery.quarantined, [NAME]);
    let told = recovery.to_string();
    assert!(told.contains("after it cannot be reached"), "{told}");
    assert!(told.contains(&format!("{NAME} kept in quarantine/ as found")), "{told}");
    // The ring goes round several times and never touches the evidence.
    for seed in 0..40 {
        store(&mut writer, &octets(seed, 9_000)).unwrap();
    }
    drop(writer);
    drop(spool);
    let kept = copy.path().join("quarantine");
    assert!(fs::read(kept.join(NAME)).unwrap() == bytes);
    let survey = check(&kept, &ledger, flipped);
    assert_eq!(survey.damage, before.damage, "the quarantine is a spool that can be read");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&kept), mode(&kept.join(NAME))), (0o700, 0o600));
}

#[test]
fn what_is_sound_of_a_damaged_segment_is_shown_after_it_was_opened_again() {
    for seed in 0..10 {
        let (copy, ledger, end) = closed(seed);
        let path = copy.path().join(NAME);
        let mut bytes = fs::read(&path).unwrap();
        let flipped = fastrand::Rng::with_seed(seed).u32(64..end);
        bytes[flipped as usize] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let (before, told) = read_all(copy.path());
        let (spool, _, writer) = open_one(copy.path(), small(64));
        drop(writer);
        drop(spool);
        let (read, survey) = read_all(copy.path());
        assert!(read == before, "seed {seed}");
        // What ends the log is cut off. A message that is lost between others stays where it is.
        let stays = |what| matches!(what, Doubt::Payload | Doubt::Padding | Doubt::Chain);
        let told: Vec<_> = told.damage.into_iter().filter(|place| stays(place.what)).collect();
        assert_eq!(survey.damage, told, "seed {seed}");
        assert!(survey.torn.is_empty(), "seed {seed}: {survey}");
        assert_eq!(copy.path().join("quarantine").exists(), told.is_empty(), "seed {seed}");
        check(copy.path(), &ledger, flipped);
    }
}

#[test]
fn a_segment_without_a_header_goes_into_quarantine_unless_it_is_empty() {
    let (copy, ledger, _) = closed(3);
    let header = fs::read(copy.path().join(NAME)).unwrap();
    fs::write(copy.path().join("c000-00000005.seg"), b"not a segment at all").unwrap();
    fs::write(copy.path().join("c000-00000006.seg"), [0; crate::SEGMENT as usize]).unwrap();
    fs::write(copy.path().join("c000-00000007.seg"), &header[..100]).unwrap();
    let (spool, recovery, mut writer) = open_one(copy.path(), small(64));
    assert_eq!(recovery.quarantined, ["c000-00000005.seg", "c000-00000007.seg"]);
    assert_eq!(recovery.survey.messages, ledger.len() as u64);
    let place = store(&mut writer, b"one more").unwrap();
    assert!(place.segment > 7);
    drop(writer);
    drop(spool);
    let (_, recovery, _) = open_one(copy.path(), small(64));
    assert!(recovery.quarantined.is_empty() && recovery.survey.torn.is_empty(), "{recovery}");
}

#[test]
fn a_segment_that_lost_its_header_is_told_of_and_kept() {
    type Make = fn(u64) -> (tempfile::TempDir, Ledger, u32);
    for (make, closed) in [(snapshot as Make, false), (closed, true)] {
        for lost in [64, 4096] {
            let (copy, _, _) = make(3);
            let path = copy.path().join(NAME);
            let mut bytes = fs::read(&path).unwrap();
            bytes[..lost].fill(0);
            fs::write(&path, &bytes).unwrap();
            let (read, survey) = read_all(copy.path());
            // What was cut to its length had been on the disk.
            let (told, silent) = if closed {
                (&survey.damage, &survey.torn)
            } else {
                (&survey.torn, &survey.damage)
            };
            assert!(read.is_empty() && silent.is_empty(), "{survey}");
            assert_eq!((told.len(), told[0].what, told[0].offset), (1, Doubt::NoHeader, 0));
            let (_, recovery, _) = open_one(copy.path(), small(64));
            assert_eq!(recovery.quarantined, [NAME]);
            assert!(fs::read(copy.path().join("quarantine").join(NAME)).unwrap() == bytes);
        }
    }
}

/// The spool of one core, closed, with several segments; where its messages are.
fn closed_segments() -> (tempfile::TempDir, Vec<Place>) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(8));
    let mut places = Vec::new();
    while writer.position().segment < 5 {
        places.push(store(&mut writer, &octets(1, 9_000)).unwrap());
    }
    drop(writer);
    drop(spool);
    (dir, places)
}

#[test]
fn a_segment_of_which_name_or_header_alone_came_to_the_disk_holds_nothing() {
    // The header of a later life under the old name, and the other way round, for the same core or for
    // another.
    let of_another_core = "c001-00000009.seg";
    for (header, name) in [
        ("c000-00000003.seg", NAME),
        (NAME, "c000-00000003.seg"),
        ("c000-00000003.seg", of_another_core),
        (of_another_core, NAME),
    ] {
        let (dir, mut places) = closed_segments();
        if header == of_another_core {
            // What a writer of that core has left, given back to this spool's core.
            let (other, _) = closed_segments();
            let mut bytes = fs::read(other.path().join(NAME)).unwrap();
            bytes[16] = 1;
            let crc = crc_fast::crc32_iscsi(&bytes[..48]);
            bytes[60..64].copy_from_slice(&crc.to_le_bytes());
            fs::write(dir.path().join(name), bytes).unwrap();
        } else {
            fs::copy(dir.path().join(header), dir.path().join(name)).unwrap();
        }
        places.retain(|place| file(dir.path(), place.segment) != dir.path().join(name));
        let (read, survey) = read_all(dir.path());
        let damage: Vec<_> = survey.damage.iter().map(|at| (at.what, at.offset)).collect();
        assert_eq!(damage, [(Doubt::SegmentName, 0)], "{survey}");
        assert!(survey.torn.is_empty(), "{survey}");
        assert!(read.iter().map(|(place, _)| *place).eq(places));
        let (_, recovery, _) = open_one(dir.path(), small(8));
        assert_eq!(recovery.quarantined, [name]);
    }
}

#[test]
fn two_segments_that_were_swapped_are_damage_and_both_are_kept_aside() {
    let (dir, places) = closed_segments();
    let names = [NAME, "c000-00000003.seg"];
    let paths = names.map(|name| dir.path().join(name));
    let aside = dir.path().join("aside");
    for (from, to) in [(&paths[0], &aside), (&paths[1], &paths[0]), (&aside, &paths[1])] {
        fs::rename(from, to).unwrap();
    }
    let (read, survey) = read_all(dir.path());
    let damage: Vec<_> = survey.damage.iter().map(|at| (at.what, at.file.as_str())).collect();
    assert_eq!(damage, names.map(|name| (Doubt::SegmentName, name)), "{survey}");
    let elsewhere = |place: &&Place| !paths.contains(&file(dir.path(), place.segment));
    assert!(read.iter().map(|(place, _)| place).eq(places.iter().filter(elsewhere)));
    let (_, recovery, _) = open_one(dir.path(), small(8));
    assert_eq!(recovery.quarantined, names);
    assert!(recovery.to_string().contains("damage: "), "{recovery}");
}

#[test]
fn a_segment_that_was_cut_to_no_header_is_damage_whatever_is_left_of_it() {
    for left in [0, 1, 63] {
        for zeroed in [false, true] {
            let (dir, _) = closed_segments();
            let path = dir.path().join(NAME);
            let octets =
                if zeroed { vec![0; left] } else { fs::read(&path).unwrap()[..left].to_vec() };
            fs::write(&path, octets).unwrap();
            let (_, survey) = read_all(dir.path());
            assert_eq!(survey.damage.len(), 1, "{left}: {survey}");
            let (_, recovery, _) = open_one(dir.path(), small(8));
            assert_eq!(recovery.quarantined, [NAME], "{left}");
        }
    }
}

#[test]
fn a_segment_whose_recycling_was_cut_short_is_removed_and_nothing_kept_of_it() {
    for emptied in [0, 64, 128] {
        let (copy, ledger, _) = closed(3);
        let mut bytes = fs::read(copy.path().join(NAME)).unwrap();
        bytes[..emptied].fill(0);
        let left = copy.path().join("c000-00000009.new");
        fs::write(&left, &bytes).unwrap();
        let (read, survey) = read_all(copy.path());
        assert_eq!((read.len(), survey.is_sound()), (ledger.len(), true));
        let (_, recovery, _) = open_one(copy.path(), small(64));
        assert!(recovery.quarantined.is_empty() && survey.torn.is_empty(), "{recovery}");
        assert!(recovery.trimmed_bytes >= bytes.len() as u64 && !left.exists());
        assert_eq!(recovery.survey.messages, ledger.len() as u64);
    }
}

/// Another process that runs one test of this file on `dir`, and what it says.
fn start(test: &str, variable: &str, dir: &Path) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("crash::{test}"), "--nocapture"])
        .env(variable, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

const CHILD_RING: &str = "RINGPOST_TEST_CHILD_RING";

/// Not a test of its own: the other half of the next one, in another process.
#[test]
fn the_child_goes_round_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_RING) else { return };
    let (_spool, _, mut writer) = open_one(&PathBuf::from(dir), small(4));
    for seed in 0.. {
        store(&mut writer, &octets(seed, 9_000)).unwrap();
        if writer.position().segment == 12 {
            println!("under way");
        }
    }
}

#[test]
fn a_ring_that_is_killed_while_it_goes_round_leaves_nothing_in_doubt() {
    for round in 0..30 {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, mut lines) =
            start("the_child_goes_round_until_it_is_killed", CHILD_RING, dir.path());
        let started = lines.by_ref().any(|line| line.unwrap().contains("under way"));
        std::thread::sleep(Duration::from_micros(round * 977));
        child.kill().unwrap();
        child.wait().unwrap();
        let (read, survey) = read_all(dir.path());
        assert!(
            started && !read.is_empty() && survey.is_sound() && survey.torn.is_empty(),
            "{survey}"
        );
        let (_, recovery, _) = open_one(dir.path(), small(4));
        assert!(recovery.quarantined.is_empty(), "{recovery}");
    }
}

const CHILD_DIR: &str = "RINGPOST_TEST_CHILD_DIR";

fn child_options() -> Options {
    Options { limit_bytes: 512 * 1024 * 1024, segment_bytes: 1024 * 1024, ..small(64) }
}

/// What the child acknowledges: the name and the seed of a message of two pieces, a large one between.
fn child_message(writer: &mut Writer, seed: u64) -> Place {
    let mut draft = Draft::default();
    let (first, second) = child_body(seed);
    writer.append(&mut draft, &first).unwrap();
    let mut other = Draft::default();
    if seed.is_multiple_of(3) {
        writer.append(&mut other, b"never finished").unwrap();
    }
    writer.append(&mut draft, &second).unwrap();
    let place = seal(writer, &mut draft).unwrap();
    // What nobody discards counts against the room of open messages for ever.
    writer.discard(&mut other);
    place
}

fn child_body(seed: u64) -> (Vec<u8>, Vec<u8>) {
    (octets(seed, 1_000), octets(seed + 1, if seed.is_multiple_of(7) { 90_000 } else { 300 }))
}

/// Not a test of its own: the other half of the next one, in another process.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let (_spool, _, mut writer) = open_one(&PathBuf::from(dir), child_options());
    let mut out = std::io::stdout();
    for seed in 0.. {
        let place = child_message(&mut writer, seed);
        // One write a line: the parent reads whole lines only.
        out.write_all(format!("acked {place} {seed}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut known: Vec<(Place, u64)> = Vec::new();
    for round in 0..8u64 {
        let (mut child, mut lines) =
            start("the_child_writes_until_it_is_killed", CHILD_DIR, dir.path());
        let mut acked: Vec<String> = Vec::new();
        let mut until = None;
        while until.is_none_or(|until| Instant::now() < until) {
            acked.push(lines.next().unwrap().unwrap());
            if acked.last().unwrap().contains("acked") && until.is_none() {
                until = Some(Instant::now() + Duration::from_millis(5 + round * 9));
            }
        }
        child.kill().unwrap();
        acked.extend(lines.map_while(Result::ok));
        child.wait().unwrap();
        known.extend(acked.iter().filter_map(|line| parse_ack(line)));
        check_known(dir.path(), &known);
    }
    assert!(known.len() > 100, "only {} messages", known.len());
}

fn parse_ack(line: &str) -> Option<(Place, u64)> {
    let (_, rest) = line.split_once("acked ")?;
    let (place, seed) = rest.split_once(' ')?;
    Some((place.parse().ok()?, seed.parse().ok()?))
}

/// Every acknowledged message is there with its octets; at most one more a round was under way.
fn check_known(dir: &Path, known: &[(Place, u64)]) {
    let reader = Reader::open(dir).unwrap();
    for (place, seed) in known {
        let message = reader.get(*place).unwrap();
        let (mut body, second) = child_body(*seed);
        body.extend_from_slice(&second);
        assert!(reader.body(&message).unwrap() == body, "{place} differs");
    }
    let survey = reader.survey(2, &|_| {}).unwrap();
    assert!(survey.is_sound(), "{survey}");
    let extra = survey.messages - known.len() as u64;
    assert!(extra <= 8, "{extra} messages that nobody acknowledged");
}

#[test]
fn a_reader_of_a_live_spool_sees_whole_messages_only() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(8));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = scope.spawn(|| {
            let mut seen = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let survey = Reader::open(dir.path()).unwrap().survey(2, &|_| {}).unwrap();
                assert!(survey.is_sound(), "{survey}");
                seen += survey.messages;
            }
            seen
        });
        // The reader must end though the writer panics.
        let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let until = Instant::now() + Duration::from_millis(700);
            let mut seed = 0;
            while Instant::now() < until {
                child_message(&mut writer, seed);
                seed += 1;
            }
        }));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        written.unwrap();
        assert!(readers.join().unwrap() > 0);
    });
}
