//! Many messages open at once, in pieces of any size, against a model that is a list of vectors.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use ringpost::spool::{Draft, Place};

use super::{octets, open_one, read_all, seal, small};

#[derive(Clone, Debug)]
enum Op {
    Append { draft: usize, len: usize },
    Seal { draft: usize },
    Discard { draft: usize },
    Reopen,
}

const DRAFTS: usize = 6;

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![6 => 0..200usize, 3 => 0..5_000usize, 1 => 0..200_000usize];
    prop_oneof![
        12 => (0..DRAFTS, len).prop_map(|(draft, len)| Op::Append { draft, len }),
        6 => (0..DRAFTS).prop_map(|draft| Op::Seal { draft }),
        2 => (0..DRAFTS).prop_map(|draft| Op::Discard { draft }),
        1 => Just(Op::Reopen),
    ]
}

/// Runs the operations; gives what must be in the spool, in order.
fn run(dir: &Path, ops: &[Op]) -> Vec<(Place, Vec<u8>)> {
    let options = small(4_096);
    let (mut spool, _, mut writer) = open_one(dir, options);
    let mut drafts: Vec<(Draft, Vec<u8>)> = Vec::new();
    drafts.resize_with(DRAFTS, Default::default);
    let mut sealed = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        match *op {
            Op::Append { draft, len } => {
                let (draft, body) = &mut drafts[draft];
                let piece = octets(at as u64, len);
                writer.append(draft, &piece).unwrap();
                body.extend_from_slice(&piece);
                assert_eq!(draft.len(), body.len() as u64);
            }
            Op::Seal { draft } => {
                let (draft, body) = &mut drafts[draft];
                let place = seal(&mut writer, draft).unwrap();
                assert!(draft.is_empty());
                sealed.push((place, std::mem::take(body)));
            }
            Op::Discard { draft } => {
                let (draft, body) = &mut drafts[draft];
                writer.discard(draft);
                body.clear();
            }
            Op::Reopen => {
                drop(writer);
                drop(spool);
                drafts.clear();
                drafts.resize_with(DRAFTS, Default::default);
                let (again, recovery, first) = open_one(dir, options);
                assert_eq!(recovery.survey.messages, sealed.len() as u64);
                (spool, writer) = (again, first);
            }
        }
    }
    // Before the writer is gone, and so before anything is cut: a live spool.
    let (live, survey) = read_all(dir);
    assert_eq!(live, sealed);
    assert!(survey.is_sound(), "{survey}");
    drop(writer);
    drop(spool);
    sealed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_was_sealed_is_read_back_and_nothing_else_is(
        ops in proptest::collection::vec(op(), 1..120),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let sealed = run(dir.path(), &ops);
        let (read, survey) = read_all(dir.path());
        prop_assert_eq!(read, sealed);
        prop_assert!(survey.is_sound(), "{}", survey);
        prop_assert_eq!(survey.open_records, 0);
    }
}

#[test]
fn the_independent_reader_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let ops: Vec<_> = (0..600)
        .map(|_| match random.u32(0..20) {
            0..10 => Op::Append { draft: random.usize(0..DRAFTS), len: random.usize(0..3_000) },
            10 => Op::Append { draft: random.usize(0..DRAFTS), len: random.usize(0..200_000) },
            11..19 => Op::Seal { draft: random.usize(0..DRAFTS) },
            _ => Op::Discard { draft: random.usize(0..DRAFTS) },
        })
        .collect();
    let sealed = run(dir.path(), &ops);
    assert!(sealed.len() > 100);
    for (place, body) in [&sealed[0], &sealed[sealed.len() / 2], &sealed[sealed.len() - 1]] {
        let got = python(&[dir.path().to_str().unwrap(), "--extract", &place.to_string()]);
        assert!(got == *body, "{place} differs");
    }
    let listed = String::from_utf8(python(&[dir.path().to_str().unwrap(), "--jsonl"])).unwrap();
    let listed: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), sealed.len());
    for (object, (place, body)) in listed.iter().zip(&sealed) {
        assert_eq!(object["id"], place.to_string());
        assert_eq!(object["bytes"], body.len());
        assert_eq!(object["helo"], "client.example");
        assert_eq!(object["recipients"][1]["params"], "NOTIFY=NEVER");
    }
}

fn python(args: &[&str]) -> Vec<u8> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/spool_reader.py");
    let output = Command::new("python3").arg("-B").arg(script).args(args).output();
    let output = output.expect("python3 runs the independent reader");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
