//! Pipelined messages of which the middle one is lost between its seal and its sync: it alone gets
//! 451, at its place among the replies.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Program, Talk, engines};

/// A segment that is removed is met by the sync, or by a look that comes every 100 ms; in the second
/// case the message goes to another segment and is kept.
const TRIES: usize = 40;

/// Three messages in one piece. The first and the last are counted and not kept (`--keep`), so that
/// nothing befalls them.
fn three() -> Vec<u8> {
    [one("gone.example"), one("kept.example"), one("gone.example"), "NOOP\r\n".into()]
        .concat()
        .into_bytes()
}

fn one(domain: &str) -> String {
    format!(
        "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@{domain}>\r\nRCPT TO:<c@{domain}>\r\n\
         BDAT 7 LAST\r\nhello\r\n"
    )
}

/// The codes of the replies to [`three`], where the middle message gets this one.
fn expected(middle: &str, ends: usize) -> Vec<String> {
    let message = |code: &str| [vec!["250"; 3], vec![code; ends]].concat().join(" ");
    let all = [message("250"), message(middle), message("250"), "250".into()].join(" ");
    all.split(' ').map(str::to_owned).collect()
}

fn remove_segments(spool: &Path) {
    for entry in fs::read_dir(spool).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "seg") {
            fs::remove_file(path).unwrap();
        }
    }
}

/// One try; whether the message was lost, and the sink's report.
fn lose(engine: &str, scheme: &str) -> (bool, Value) {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let options = ["--io", engine, "--cores", "1", "--durability", "sync"];
    let keep = ["--keep", "gone.example=none", "--spool", spool.to_str().unwrap()];
    let sink = Program::start(scheme, &[&options[..], &keep].concat());
    let mut talk = Talk::open(sink.port);
    talk.says(if scheme == "lmtp" { "LHLO x" } else { "EHLO x" }, "250");
    // A core that has just had a message does not look at its files before the next one.
    talk.send(one("gone.example").as_bytes());
    (0..if scheme == "lmtp" { 5 } else { 4 }).for_each(|_| drop(talk.reply()));
    remove_segments(&spool);
    talk.send(&three());
    let ends = if scheme == "lmtp" { 2 } else { 1 };
    let replies: Vec<_> = expected("250", ends).iter().map(|_| talk.reply()).collect();
    let codes: Vec<_> = replies.iter().map(|reply| reply[..3].to_owned()).collect();
    let lost = codes.contains(&"451".to_owned());
    let middle = if lost { "451" } else { "250" };
    assert_eq!(codes, expected(middle, ends), "{engine} {scheme}: {replies:#?}");
    let discarded = replies.iter().filter(|reply| reply.ends_with("queued as discarded")).count();
    assert_eq!(discarded, 2 * ends, "{replies:#?}");
    talk.says("QUIT", "221");
    (lost, sink.report_of_a_bad_end())
}

#[test]
fn the_middle_one_of_pipelined_messages_is_refused_at_its_place() {
    for engine in engines() {
        for scheme in ["smtp", "lmtp"] {
            let lost = (0..TRIES).map(|_| lose(engine, scheme)).find(|(lost, _)| *lost);
            let (_, report) = lost.expect("no message was lost in any try");
            assert_eq!(report["messages"], 3, "{report}");
            assert_eq!(report["rejected"], 1, "{report}");
            assert_eq!(report["forgotten"], 3, "{report}");
        }
    }
}

#[test]
fn a_sink_whose_spool_cannot_be_used_any_more_ends_with_the_code_of_a_bad_disk() {
    for how in ["removed", "emptied", "of another program"] {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        let options = ["--cores", "1", "--spool-limit", "32MiB", "--segment-size", "4MiB"];
        let more = ["--max-size", "1MiB", "--spool", spool.to_str().unwrap()];
        let sink = Program::start("smtp", &[&options[..], &more].concat());
        let marker = spool.join("SPOOL");
        match how {
            "removed" => fs::remove_file(&marker).unwrap(),
            "emptied" => fs::write(&marker, "").unwrap(),
            _ => fs::write(&marker, "something else\n").unwrap(),
        }
        let body = "x".repeat(500_000);
        let refused = (0..100).any(|_| {
            let mut talk = Talk::open(sink.port);
            talk.says("EHLO x", "250");
            talk.send(b"MAIL FROM:<a@x.example>\r\n");
            if talk.reply().starts_with("451") {
                return true;
            }
            talk.says("RCPT TO:<b@x.example>", "250");
            talk.send(format!("BDAT {} LAST\r\n{body}", body.len()).as_bytes());
            talk.reply().starts_with("451")
        });
        assert!(refused, "{how}");
        let report = sink.report_of_a_bad_end();
        assert_eq!(report["cores"][0]["spool"]["unusable"], 1, "{how}: {report}");
    }
}
