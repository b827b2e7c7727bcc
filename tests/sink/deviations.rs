//! What was odd is told with each message and at the end.

use std::process::Command;

use serde_json::{Value, json};

use super::program::{Program, Talk, engines};

#[test]
fn what_was_odd_is_told_with_the_message_and_in_the_report() {
    for engine in engines() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        let spool = spool.to_str().unwrap();
        let options = ["--io", engine, "--cores", "1", "--spool", spool, "--spool-limit", "128MiB"];
        let sink = Program::start("smtp", &options);
        let mut talk = Talk::open(sink.port);
        for (line, code) in [
            ("EHLO (null)", "250"),
            ("MAIL FROM:app@client.example", "250"),
            ("RCPT TO:<root>", "250"),
            ("DATA", "354"),
            ("bare\nnewline\r\n.", "250"),
            ("EHLO client.example", "250"),
            ("MAIL FROM:<app@client.example>", "250"),
            ("RCPT TO:<ada@server.example>", "250"),
            ("DATA", "354"),
            (".", "250"),
            ("RSET", "250"),
            ("MAIL\tFROM:<app@client.example>", "250"),
            ("QUIT", "221"),
        ] {
            talk.says(line, code);
        }
        let report = sink.stop();
        assert_eq!(
            report["deviations"],
            json!({
                "hello-not-a-domain": { "messages": 1, "sessions": 1 },
                "path-without-brackets": { "messages": 1, "sessions": 1 },
                "no-domain": { "messages": 1, "sessions": 1 },
                "extra-whitespace": { "messages": 0, "sessions": 1 },
                "bare-lf": { "messages": 1, "sessions": 1 },
            })
        );
        let all = ["hello-not-a-domain", "path-without-brackets", "no-domain", "bare-lf"];
        for words in [["ls", "--json"].as_slice(), &["export", "--format", "jsonl", "-o", "-"]] {
            let mut messages = ringpost(words, spool);
            messages.sort_by_key(|message| message["sealed_ns"].as_u64());
            assert_eq!(messages.len(), 2);
            assert_eq!(messages[0]["deviations"], json!(all));
            assert_eq!(messages[0]["helo"], "(null)");
            assert_eq!(messages[0]["to"][0]["path"], "root");
            assert_eq!(messages[1]["deviations"], json!([]));
        }
    }
}

/// The lines of JSON that `ringpost spool` prints of a spool.
pub(super) fn ringpost(words: &[&str], spool: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost"));
    command.arg("spool").arg(words[0]).arg(spool).args(&words[1..]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
