//! `ringpost spool` as people and scripts meet it.

use std::fs;
use std::process::{Command, Output, Stdio};

use ringpost::spool::Place;

use super::{octets, open_one, small, store};

fn ringpost(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_ringpost");
    Command::new(program).arg("spool").args(args).output().unwrap()
}

fn spool_of(bodies: &[&[u8]]) -> (tempfile::TempDir, Vec<Place>) {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(64));
    let places = bodies.iter().map(|body| store(&mut writer, body).unwrap()).collect();
    drop(writer);
    drop(spool);
    (dir, places)
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn path(dir: &tempfile::TempDir) -> &str {
    dir.path().to_str().unwrap()
}

#[test]
fn cat_writes_the_octets_as_they_came() {
    let body = octets(1, 300_000);
    let (dir, places) = spool_of(&[b"first", &body]);
    let output = ringpost(&["cat", path(&dir), &places[1].to_string()]);
    assert!(output.status.success());
    assert!(output.stdout == body);
    let output = ringpost(&["cat", "--envelope", path(&dir), &places[0].to_string()]);
    let envelope: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(envelope["from"]["path"], "from@example.org");
    assert_eq!(envelope["to"][1]["params"], "NOTIFY=NEVER");
}

#[test]
fn ls_lists_in_order_and_stops_where_told() {
    let (dir, places) = spool_of(&[b"one", b"three", b"2"]);
    let output = ringpost(&["ls", path(&dir)]);
    let text = out(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("ID "));
    assert!(lines[1].starts_with(&places[0].to_string()));
    assert!(lines[1].contains("<from@example.org>") && lines[1].contains("a@example.org +1"));
    let output = ringpost(&["ls", "--json", "-n", "2", path(&dir)]);
    let text = out(&output);
    let objects: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1]["id"], places[1].to_string());
    assert_eq!(objects[1]["bytes"], 5);
}

#[test]
fn stat_and_verify_count() {
    let (dir, _) = spool_of(&[b"one", b"three"]);
    let output = ringpost(&["verify", path(&dir)]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), "verified 2 messages, 8 bytes, in 1 segment\n");
    let output = ringpost(&["verify", "--json", path(&dir)]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&object["messages"], &object["sound"]), (&2.into(), &true.into()));
    let text = out(&ringpost(&["stat", path(&dir)]));
    assert!(text.contains("messages   2\n") && text.contains("core 0     2 messages, 8 bytes\n"));
    let output = ringpost(&["stat", "--since", "2100-01-01", path(&dir)]);
    assert!(!out(&output).contains("received "), "{}", out(&output));
    let output = ringpost(&["stat", "--json", path(&dir)]);
    let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["largest_bytes"], 5);
}

#[test]
fn damage_is_reported_with_exit_code_65() {
    let (dir, places) = spool_of(&[b"first message", b"second message", b"third message"]);
    let file = dir.path().join("c000-00000001.seg");
    let mut bytes = fs::read(&file).unwrap();
    let sound = bytes.clone();
    bytes[places[1].offset as usize + 64] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let output = ringpost(&["verify", path(&dir)]);
    assert_eq!(output.status.code(), Some(65));
    let text = out(&output);
    assert!(text.starts_with("verified 2 messages, 26 bytes"), "{text}");
    let place = format!("c000-00000001.seg at {}: the checksum", places[1].offset);
    assert!(text.contains(&place), "{text}");
    assert!(text.contains(&format!("and message {} is lost", places[1])), "{text}");
    for command in [&["ls"][..], &["ls", "--json"], &["stat"], &["stat", "--json"]] {
        let output = ringpost(&[command, &[path(&dir)]].concat());
        assert_eq!(output.status.code(), Some(65), "{command:?}");
    }
    assert_eq!(out(&ringpost(&["ls", path(&dir)])).lines().count(), 3);
    let output = ringpost(&["export", "--format", "jsonl", "-o", "-", path(&dir)]);
    assert_eq!((output.status.code(), out(&output).lines().count()), (Some(65), 2));
    let output = ringpost(&["cat", path(&dir), &places[1].to_string()]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(65), 0));
    // A damaged header hides what follows.
    let mut bytes = sound;
    bytes[places[1].offset as usize + 20] ^= 1;
    fs::write(&file, bytes).unwrap();
    let text = out(&ringpost(&["verify", path(&dir)]));
    assert!(text.starts_with("verified 1 message, 13 bytes"), "{text}");
    assert!(text.contains("and 1 record after it cannot be reached"), "{text}");
}

#[test]
fn a_segment_that_was_cut_short_says_how_much_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _, mut writer) = open_one(dir.path(), small(64));
    let mut places = Vec::new();
    while writer.position().segment < 3 {
        places.push(store(&mut writer, &octets(1, 5_000)).unwrap());
    }
    drop(writer);
    drop(spool);
    let (first, rest): (Vec<Place>, Vec<Place>) = places.iter().partition(|at| at.segment == 1);
    let file = dir.path().join("c000-00000001.seg");
    // At the start of the fifth message, and in the middle of it.
    for (cut, left) in [(first[4].offset.into(), 4), (u64::from(first[4].offset) + 900, 4)] {
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
        let text = out(&ringpost(&["verify", path(&dir)]));
        let bytes = (first.len() - 4) as u64 * u64::from(first[5].offset - first[4].offset);
        let bytes = format!("and {},{:03} bytes (", bytes / 1_000, bytes % 1_000);
        assert!(text.contains(&bytes) && text.contains(" after it are missing"), "{text}");
        let lost = first.len() - left;
        assert!(text.contains(&format!("which held up to {lost} messages")), "{lost}: {text}");
        assert!(text.starts_with(&format!("verified {} messages", left + rest.len())), "{text}");
    }
}

#[test]
fn mistakes_get_one_line_and_the_code_of_sysexits() {
    let (dir, _) = spool_of(&[b"x"]);
    let empty = tempfile::tempdir().unwrap();
    for (args, code) in [
        (vec!["cat", path(&dir), "0-1"], 64),
        (vec!["nothing"], 64),
        (vec!["cat", path(&dir), "0-9-64"], 66),
        (vec!["ls", path(&empty)], 66),
        (vec!["ls", "/nowhere/at/all"], 66),
    ] {
        let output = ringpost(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_reader_of_the_output_may_go_away() {
    let bodies: Vec<Vec<u8>> = (0..3_000).map(|seed| octets(seed, 10)).collect();
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    let (dir, _) = spool_of(&bodies);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost"))
        .args(["spool", "ls", "--json", path(&dir)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty());
}

#[test]
fn the_spool_of_a_running_sink_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_spool, _, mut writer) = open_one(dir.path(), small(4));
    store(&mut writer, b"while it runs").unwrap();
    let output = ringpost(&["verify", dir.path().to_str().unwrap()]);
    assert!(out(&output).starts_with("verified 1 message, 13 bytes, in "));
}
