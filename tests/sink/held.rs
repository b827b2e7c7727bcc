//! What one connection can make the sink hold in memory, row by row of the table in the manual.

use ringpost::limits::{AUTH_LINE_BYTES_MAX, COMMAND_LINE_BYTES_MAX, REPLY_QUEUE_BYTES_MAX};

use crate::program::{Program, Talk};

/// Connections that hold something at once.
const CONNECTIONS: usize = 100;

/// What memory grows by beside what is held: rounding of the allocator, by connection, and its own steps.
const BESIDE_BYTES: usize = 4 * 1024;
const STEPS_BYTES: usize = 8 * 1024 * 1024;

fn memory(sink: &Program) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sink.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    kib * 1024
}

/// Lets many connections hold something, and looks at the memory for it. `hold` returns when the sink has taken what
/// it sent.
fn holds(what: &str, options: &str, most_bytes: usize, hold: impl Fn(&mut Talk)) {
    let options = format!("--cores 1 --io epoll --discard {options}");
    let sink = Program::start("smtp", &options.split_whitespace().collect::<Vec<_>>());
    let open = || {
        let mut talk = Talk::open(sink.port);
        talk.says("EHLO x", "250");
        talk
    };
    // What the first of them takes stays for the others.
    hold(&mut open());
    let mut talks: Vec<_> = (0..CONNECTIONS).map(|_| open()).collect();
    let before = memory(&sink);
    talks.iter_mut().for_each(hold);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let grown = memory(&sink).saturating_sub(before);
    let most = CONNECTIONS * (most_bytes + BESIDE_BYTES) + STEPS_BYTES;
    assert!(grown <= most, "{what}: {grown} octets for {CONNECTIONS} connections, at most {most}");
    drop(talks);
    sink.stop();
}

#[test]
fn no_connection_holds_more_than_the_manual_says() {
    holds("a command in pieces", "", COMMAND_LINE_BYTES_MAX, |talk| {
        talk.send(&[b'x'; COMMAND_LINE_BYTES_MAX - 2]);
    });
    holds("a login in pieces", "--auth any", AUTH_LINE_BYTES_MAX, |talk| {
        talk.says("AUTH PLAIN", "334");
        talk.send(&[b'x'; AUTH_LINE_BYTES_MAX - 2]);
    });
    // The replies to what one receive gave are queued beyond the bound, too.
    holds("replies that nobody reads", "", 2 * REPLY_QUEUE_BYTES_MAX, |talk| {
        let help = b"HELP\r\n".repeat(90);
        let message = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nx";
        talk.send(&[&help[..], message].concat().repeat(100));
    });
    let params = format!("ORCPT=rfc822;{}", "p".repeat(450));
    let rcpt = format!("RCPT TO:<somebody@example.org> {params}\r\n");
    holds("an envelope", "", 1000 * rcpt.len() * 6 / 5, |talk| {
        talk.says("MAIL FROM:<a@x>", "250");
        for _ in 0..10 {
            talk.send(rcpt.repeat(100).as_bytes());
            (0..100).for_each(|_| assert!(talk.reply().starts_with("250 ")));
        }
    });
}

#[test]
fn envelopes_of_all_connections_have_one_bound_and_give_their_memory_back() {
    let options = "--cores 1 --io epoll --discard --envelope-memory 4MiB";
    let sink = Program::start("smtp", &options.split(' ').collect::<Vec<_>>());
    let rcpt = format!("RCPT TO:<b@x.example> ORCPT=rfc822;{}\r\n", "p".repeat(450));
    for _ in 0..3 {
        let mut talks: Vec<_> = (0..20).map(|_| Talk::open(sink.port)).collect();
        let (mut taken, mut refused) = (0, 0);
        for talk in &mut talks {
            talk.says("EHLO x", "250");
            talk.send(b"MAIL FROM:<a@x.example>\r\n");
            let replies = if talk.reply().starts_with("250") { 1000 } else { 0 };
            talk.send(rcpt.repeat(replies).as_bytes());
            for _ in 0..replies {
                let reply = talk.reply();
                taken += usize::from(reply.starts_with("250 "));
                refused += usize::from(reply.starts_with("452 4.3.1 "));
            }
        }
        let bytes = taken * rcpt.len();
        assert!(
            (3 << 20..5 << 20).contains(&bytes) && refused > 0,
            "{taken} taken, {refused} refused"
        );
        // The recipients that were taken stay good.
        let last = talks.iter_mut().next().unwrap();
        last.send(b"BDAT 2 LAST\r\nhi");
        assert!(last.reply().starts_with("250 "));
    }
    let report = sink.stop();
    assert_eq!((&report["messages"], &report["recipients"]), (&3.into(), &3000.into()), "{report}");
}
