//! What is known of a client changes in a session, and each message is stored with what held at its time.

use super::deviations::ringpost;
use super::program::{Program, Talk, engines};

#[test]
fn each_message_has_what_was_known_of_the_client_at_its_time() {
    for engine in engines() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        let spool = spool.to_str().unwrap();
        let options = ["--io", engine, "--cores", "1", "--spool", spool, "--spool-limit", "128MiB"];
        let also = ["--auth", "any", "--xclient", "127.0.0.0/8"];
        let sink = Program::start("smtp", &[&options[..], &also].concat());
        let mut talk = Talk::open(sink.port);
        let changes: [&[(&str, &str)]; 6] = [
            &[("HELO one.example", "250")],
            &[],
            &[("EHLO two.example", "250")],
            // PLAIN, NUL ada NUL secret.
            &[("AUTH PLAIN AGFkYQBzZWNyZXQ=", "235")],
            &[("XCLIENT ADDR=192.0.2.7 PORT=77 LOGIN=grace", "220"), ("EHLO three.example", "250")],
            &[("XCLIENT ADDR=192.0.2.8 LOGIN=[UNAVAILABLE]", "220"), ("HELO four.example", "250")],
        ];
        let message = [
            ("MAIL FROM:<app@client.example>", "250"),
            ("RCPT TO:<ada@server.example>", "250"),
            ("DATA", "354"),
            (".", "250"),
        ];
        for change in changes {
            for (line, code) in [change, &message].concat() {
                talk.says(line, code);
            }
        }
        talk.says("QUIT", "221");
        sink.stop();
        let mut stored = ringpost(&["ls", "--json"], spool);
        stored.sort_by_key(|message| message["sealed_ns"].as_u64());
        let facts: Vec<[&str; 4]> = stored
            .iter()
            .map(|one| ["peer", "helo", "protocol", "auth"].map(|key| one[key].as_str().unwrap()))
            .collect();
        let peer = facts[0][0];
        assert!(peer.starts_with("127.0.0.1:"), "{facts:?}");
        assert_eq!(
            facts,
            [
                [peer, "one.example", "SMTP", ""],
                [peer, "one.example", "SMTP", ""],
                [peer, "two.example", "ESMTP", ""],
                [peer, "two.example", "ESMTPA", "ada"],
                ["192.0.2.7:77", "three.example", "ESMTP", "grace"],
                ["192.0.2.8:77", "four.example", "SMTP", ""],
            ]
        );
    }
}
