//! Envelopes as large as they may be: what RCPT takes, the spool stores.

use crate::program::{Program, Talk};

/// Recipients that are sent in one flight.
const FLIGHT: usize = 500;

#[test]
fn a_message_whose_recipients_were_taken_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    let options = ["--max-recipients", "1M", "--cores", "1", "--spool-limit", "64MiB"];
    let more = ["--segment-size", "4MiB", "--spool", spool.to_str().unwrap()];
    let sink = Program::start("smtp", &[&options[..], &more].concat());
    let mut messages = 0;
    for local in [60, 300, 1_000, 2_999, 3_000, 3_001, 3_500, 3_900] {
        for params in ["", " NOTIFY=NEVER"] {
            let mut talk = Talk::open(sink.port);
            // The rest of an envelope at its longest.
            talk.says(&format!("EHLO {}", "h".repeat(4_000)), "250");
            talk.says(&format!("MAIL FROM:<{}@a.example>", "f".repeat(3_900)), "250");
            let rcpt = format!("RCPT TO:<{}@b.example>{params}\r\n", "u".repeat(local));
            let mut taken = 0;
            let refused = loop {
                talk.send(rcpt.repeat(FLIGHT).as_bytes());
                let replies: Vec<_> = (0..FLIGHT).map(|_| talk.reply()).collect();
                taken += replies.iter().filter(|reply| reply.starts_with("250")).count();
                if let Some(refused) = replies.iter().find(|reply| !reply.starts_with("250")) {
                    break refused.clone();
                }
            };
            assert!(refused.starts_with("452 4.5.3"), "{local}: {refused}");
            let each = local + "@b.example".len() + params.len() + 8;
            assert!(taken * each > 1_900_000, "{local}: {taken} taken");
            talk.says("DATA", "354");
            talk.says("Subject: x\r\n\r\nx\r\n.", "250");
            messages += 1;
        }
    }
    assert_eq!(sink.stop()["messages"], messages);
}
