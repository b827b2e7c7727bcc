use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::measure::Outcome;
use crate::smtp::blank::{Blank, Fill};

fn head() -> MessagesHead {
    MessagesHead {
        run: 0xabc,
        shard: 3,
        start_unix_ns: 1_700_000_000_000_000_000,
        seed: 7,
        cores: 2,
        messages: 3,
        envelopes: 2,
    }
}

fn table() -> SentTable {
    let path = |octets: &[u8], blanks: &[Blank]| PathPattern {
        octets: octets.into(),
        blanks: blanks.into(),
    };
    let blanks = [
        Blank { at: 1, width: 4, fill: Fill::Number },
        Blank { at: 6, width: 3, fill: Fill::Random { salt: 9 } },
    ];
    let one = SentEnvelope { recipients: [path(b"a@x.test", &[])].into() };
    let two =
        SentEnvelope { recipients: [path(b"u0000-000@x.test", &blanks), path(b"", &[])].into() };
    let message = |(envelope, size)| SentMessage { envelope, size };
    SentTable {
        messages: [(0, 1_024), (1, 70_000), (0, 5)].map(message).into(),
        envelopes: vec![one, two],
    }
}

fn write(fates: &[(u16, Vec<MessageFate>)], missed: Option<u64>) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run.msgs");
    let SentTable { messages, envelopes } = table();
    let made = RunMessagesWriter::create(&path, envelopes.into_iter(), messages.into_iter());
    let mut writer = made.unwrap();
    writer.begin(&head()).unwrap();
    for (core, fates) in fates {
        writer.fates(*core, &mut fates.clone()).unwrap();
    }
    match missed {
        Some(missed) => writer.finish(missed).unwrap(),
        None => writer.flush().unwrap(),
    }
    (dir, path)
}

/// Everything a file holds.
fn read(path: &std::path::Path) -> Result<(RunMessages, Vec<(u16, MessageFate)>), MessagesError> {
    let mut file = RunMessages::open(path)?;
    let (mut all, mut fates) = (Vec::new(), Vec::new());
    while let Some(core) = file.next(&mut fates)? {
        all.extend(fates.iter().map(|fate| (core, *fate)));
    }
    Ok((file, all))
}

fn fates() -> impl Strategy<Value = Vec<(u16, Vec<MessageFate>)>> {
    let outcome = prop::sample::select(vec![
        Outcome::Accepted,
        Outcome::Refused4xx,
        Outcome::Refused5xx,
        Outcome::Unanswered,
    ]);
    let times = (any::<u64>(), any::<u16>(), any::<u8>());
    let fate = (1u64..1 << 50, outcome, any::<bool>(), times).prop_map(
        |(seq, outcome, is_measured, (ended_ns, accepted, target))| MessageFate {
            seq,
            outcome,
            is_measured,
            target,
            accepted,
            ended_ns,
        },
    );
    let block = (0u16..2, prop::collection::vec(fate, 0..40));
    prop::collection::vec(block, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(fates in fates(), missed in any::<u64>()) {
        let (_dir, path) = write(&fates, Some(missed));
        let (file, mut all) = read(&path).unwrap();
        prop_assert_eq!((file.head(), file.table()), (&head(), &table()));
        prop_assert_eq!(file.end(), Some(FatesEnd::Whole { missed }));
        let mut expected: Vec<_> = fates
            .iter()
            .flat_map(|(core, fates)| fates.iter().map(|fate| (*core, *fate)))
            .collect();
        let key = |(core, fate): &(u16, MessageFate)| {
            (*core, fate.seq, fate.ended_ns, fate.accepted, fate.target)
        };
        all.sort_by_key(key);
        expected.sort_by_key(key);
        prop_assert_eq!(all, expected);
    }

    #[test]
    fn a_file_that_is_cut_or_spoilt_is_told_and_nothing_false_is_read(
        fates in fates(), at in any::<prop::sample::Index>(), octet in 1u8..,
    ) {
        let (_dir, path) = write(&fates, Some(0));
        let (_, all) = read(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let at = at.index(whole.len());
        let mut spoilt = whole.clone();
        spoilt[at] ^= octet;
        for changed in [&whole[..at], &spoilt] {
            fs::write(&path, changed).unwrap();
            match read(&path) {
                Err(MessagesError::Damaged { .. }) => {}
                Err(other) => prop_assert!(false, "{other}"),
                Ok((file, part)) => {
                    let is_torn = matches!(file.end(), Some(FatesEnd::Torn { .. }));
                    prop_assert!(is_torn);
                    prop_assert_eq!(&part, &all[..part.len()]);
                }
            }
        }
    }

    #[test]
    fn any_octets_are_read_without_harm(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("run.msgs");
        let (_, good) = write(&[], None);
        for head in [Vec::new(), fs::read(good).unwrap_or_default()] {
            fs::write(&path, [head, octets.clone()].concat()).unwrap();
            let _ = read(&path);
        }
    }
}

#[test]
fn a_message_takes_sixteen_octets_and_little_for_all_together() {
    let fate = |seq| MessageFate {
        seq,
        outcome: Outcome::Accepted,
        is_measured: true,
        target: 0,
        accepted: 1,
        ended_ns: seq,
    };
    let bytes = |count| {
        let (_dir, path) = write(&[(0, (1..=count).map(fate).collect())], Some(0));
        fs::metadata(path).unwrap().len()
    };
    assert_eq!((bytes(4_000) - bytes(1)).div_ceil(3_999), 16);
    let (_dir, path) = write(&[(1, (1..=20_000).map(fate).collect())], None);
    let (file, all) = read(&path).unwrap();
    assert_eq!(all.len(), 20_000);
    assert!(matches!(file.end(), Some(FatesEnd::Torn { .. })), "it has no end");
}

#[test]
fn what_is_no_such_file_is_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run.msgs");
    assert!(matches!(RunMessages::open(&path), Err(MessagesError::Missing(_))));
    assert!(matches!(RunMessages::open(dir.path()), Err(MessagesError::Damaged { .. })));
    fs::write(&path, [0; 64]).unwrap();
    assert!(matches!(RunMessages::open(&path), Err(MessagesError::Damaged { .. })));
}

#[test]
fn recipients_are_those_that_were_sent() {
    let (head, table) = (head(), table());
    let (message, recipients) = table.of(&head, 1, 1);
    assert_eq!((head.number(1, 1), message.size, recipients.len()), (1, 70_000, 2));
    let mut room = Vec::new();
    recipients[0].write(head.filling(1, 1), &mut room);
    assert!(room.starts_with(b"u0002-") && room.ends_with(b"@x.test"));
}
