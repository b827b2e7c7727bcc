//! SIGHUP reads accounts and directory again, SIGQUIT ends as SIGTERM does.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::program::{Program, Talk, engines};

/// Whether a new session may log in as `tim` with this password, and mail to this address.
fn can(sink: &Program, password: &str, to: &str) -> (bool, bool) {
    let mut talk = Talk::open(sink.port);
    talk.says("EHLO x", "250");
    talk.send(b"AUTH LOGIN dGlt\r\n");
    assert!(talk.reply().starts_with("334"));
    talk.send(format!("{password}\r\n").as_bytes());
    let login = talk.reply().starts_with("235");
    talk.says("MAIL FROM:<a@x.example>", "250");
    talk.send(format!("RCPT TO:<{to}>\r\n").as_bytes());
    (login, talk.reply().starts_with("250"))
}

/// `one` and `two` in base64.
const ONE: &str = "b25l";
const TWO: &str = "dHdv";

#[test]
fn accounts_and_directory_are_read_again_and_a_bad_file_changes_nothing() {
    for engine in engines() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let accounts = write("accounts", "tim:one\n");
        let directory = write("directory", "mailbox a@x.example\n");
        let options = ["--io", engine, "--discard", "--cores", "2", "--auth", &accounts];
        let more = ["--directory", &directory, "--recipients", "known"];
        let sink = Program::start("smtp", &[&options[..], &more].concat());
        assert_eq!(can(&sink, ONE, "a@x.example"), (true, true));
        let mut open = Talk::open(sink.port);
        open.says("EHLO x", "250");
        open.says("MAIL FROM:<a@x.example>", "250");

        write("accounts", "tim:two\n");
        write("directory", "\u{feff}mailbox b@x.example\n");
        sink.signal(Signal::HUP);
        let said = sink.line(|line| line.contains("SIGHUP"));
        assert!(said.contains(&accounts) && said.contains(&directory), "{said}");
        // Each core takes it in its own time.
        for _ in 0..400 {
            if (0..4).all(|_| can(&sink, TWO, "b@x.example") == (true, true)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        for _ in 0..8 {
            assert_eq!(can(&sink, TWO, "b@x.example"), (true, true));
            assert_eq!(can(&sink, ONE, "a@x.example"), (false, false));
        }
        // What is open stays with what it began with.
        open.says("RCPT TO:<a@x.example>", "250");

        write("directory", "mailbox c@x.example\n");
        write("accounts", "nonsense\n");
        sink.signal(Signal::HUP);
        let said = sink.line(|line| line.contains("SIGHUP"));
        assert!(said.contains("line 1") && said.ends_with("what was read before stays"), "{said}");
        for _ in 0..8 {
            assert_eq!(can(&sink, TWO, "b@x.example"), (true, true));
        }
        sink.stop();
    }
}

#[test]
fn a_hangup_without_files_changes_nothing_and_sigquit_drains() {
    let sink = Program::start("smtp", &["--discard", "--cores", "1"]);
    sink.signal(Signal::HUP);
    let said = sink.line(|line| line.contains("SIGHUP"));
    assert!(
        said.contains("no --auth FILE, no --directory, no --tls-cert and no --tls-client-ca"),
        "{said}"
    );
    let mut idle = Talk::open(sink.port);
    sink.signal(Signal::QUIT);
    assert!(idle.reply().starts_with("421"));
    assert_eq!(sink.report_of_a_good_end()["connections"], 1);
}

#[test]
fn a_pipe_in_place_of_a_file_is_told_and_the_next_hangup_reads_again() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = dir.path().join("accounts");
    let write = |text: &str| {
        fs::write(&accounts, text).unwrap();
        fs::set_permissions(&accounts, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("tim:one\n");
    let path = accounts.to_str().unwrap();
    let sink = Program::start("smtp", &["--discard", "--cores", "1", "--auth", path]);
    fs::remove_file(&accounts).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &accounts, kind, mode, 0).unwrap();
    sink.signal(Signal::HUP);
    let said = sink.line(|line| line.contains("SIGHUP"));
    assert!(said.contains("nobody writes to it") && said.ends_with("stays"), "{said}");
    assert_eq!(can(&sink, ONE, "a@x.example"), (true, true));
    fs::remove_file(&accounts).unwrap();
    write("tim:two\n");
    sink.signal(Signal::HUP);
    let said = sink.line(|line| line.contains("SIGHUP"));
    assert!(said.contains("read the accounts"), "{said}");
    sink.stop();
}
