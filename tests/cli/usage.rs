//! What a program says to a command line that cannot be followed: what is allowed, and what was meant.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::thread;

const SINK: &str = env!("CARGO_BIN_EXE_ringpost-sink");
const BLAST: &str = env!("CARGO_BIN_EXE_ringpost-blast");
const TOOLBOX: &str = env!("CARGO_BIN_EXE_ringpost");

/// The exit code, and what stderr says.
fn said(program: &str, arguments: &[&str]) -> (i32, String) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.stdout.is_empty(), "{arguments:?} wrote a report");
    (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn every_option_error_says_what_is_allowed_or_what_was_meant() {
    for (program, arguments, says) in [
        (
            BLAST,
            &["--rate", "-5", "x:1"][..],
            "for '--rate <RATE>': '-5' is not a rate; write a number a second above zero",
        ),
        (BLAST, &["-q", "-5k", "x:1"], "'-5k' is not a rate"),
        (BLAST, &["-n", "-1", "x:1"], "write a whole number above zero"),
        (BLAST, &["-c", "-1", "x:1"], "write a whole number above zero"),
        (BLAST, &["-z", "-5s", "x:1"], "write a number from 0 up and a unit"),
        (BLAST, &["--depth", "-1", "x:1"], "write a whole number above zero"),
        (BLAST, &["--trace", "-1", "x:1"], "write a whole number from 0 to"),
        (BLAST, &["--size", "-1", "x:1"], "'-1' is not a size"),
        (BLAST, &["sweep", "--start", "-1", "x:1"], "above zero"),
        (BLAST, &["find-max", "--repeats", "-1", "x:1"], "-1 is not in 1..=99"),
        (SINK, &["--max-size", "-5"], "write octets from 0 up"),
        (SINK, &["--max-messages", "-5"], "write a whole number above zero"),
        (SINK, &["--min-data-rate", "-5"], "write a whole number from 0 to"),
        (SINK, &["--spool-limit", "99999999TiB"], "'99999999TiB' is more than 16 EiB"),
        (TOOLBOX, &["spool", "ls", "-n", "-5"], "write a whole number from 0 to"),
        (TOOLBOX, &["spool", "stat", "--top", "-5"], "write a whole number from 0 to"),
        (
            BLAST,
            &["--size", "99TiB", "127.0.0.1:1"],
            "--size 99 TiB is too large; give at most 1 GiB",
        ),
        (BLAST, &["--size", "1", "127.0.0.1:1"], "the header of a message; give at least 162"),
        (
            BLAST,
            &["-z", "999999d", "x:1"],
            "'999999d' is longer than ten years; give at most 3650d",
        ),
        (BLAST, &["-n", "99999999999M", "x:1"], "is more than 9000000000000000"),
        (
            SINK,
            &["--listen", "127.0.0.1:0", "--auth", "any", "--atrn", "ada=a.example"],
            "use --auth FILE, or --allow-any-atrn",
        ),
        (BLAST, &["--auth-file", "f", "--auth", "u:p", "x:1"], "cannot be used with"),
        (BLAST, &["findmax", "x:1"], "there is no task 'findmax'; did you mean find-max?"),
        (BLAST, &["--conn", "5", "x:1"], "'--conn' found; did you mean --connections?"),
        (BLAST, &["sweep", "--rate", "5", "x:1"], "--rates 1k,2k,4k gives the rates of the steps"),
        (BLAST, &["sweep", "-z", "5s", "x:1"], "--measure is the length of a step, after --settle"),
        (BLAST, &["find-max", "-q", "5", "x:1"], "it tries rates from --start up to --most"),
        (BLAST, &["find-max", "--fail-if", "p99>1s", "x:1"], "--slo says what must be true"),
        (
            BLAST,
            &["find-max", "--slo", "p99>20ms", "x:1"],
            "is true when the figure is bad; a level says what must be true: write p99<20ms",
        ),
        (BLAST, &["--slo", "p99<20ms", "x:1"], "find-max has --slo; a run has --fail-if"),
        (BLAST, &["-q", "127.0.0.1:1"], "is not a rate"),
        (BLAST, &["-q", "127.0.0.1:1"], "-q is the rate: --live off says nothing"),
        (BLAST, &["x:1", "-q"], "-q is the rate: --live off says nothing"),
        (BLAST, &["--quiet", "x:1"], "--live off says nothing"),
        (BLAST, &["-r", "5", "x:1"], "-q is the rate, and --recipients the number"),
        (BLAST, &["-s", "5", "x:1"], "-c is the number of sessions"),
        (BLAST, &["-d", "5s", "x:1"], "-z is the time"),
        (BLAST, &["localhost:1", "1025"], "a port without a host; a target is HOST:PORT"),
        (SINK, &["127.0.0.1:25"], "--listen 127.0.0.1:25 says where to listen"),
        (TOOLBOX, &["ls"], "'ls'; it is 'ringpost spool ls'"),
        (TOOLBOX, &["export"], "'export'; it is 'ringpost spool export'; see --help"),
        (TOOLBOX, &["compare", "a", "b"], "it is 'ringpost report compare'"),
        (SINK, &["-q"], "it is quiet unless -v"),
        (BLAST, &["--port", "25", "x"], "the target is written HOST:PORT"),
        (SINK, &["--port=25"], "--listen 127.0.0.1:2525 says where to listen"),
        (SINK, &["-p", "25"], "--listen 127.0.0.1:2525 says where to listen"),
        (SINK, &["--max-conections=5"], "did you mean --max-connections?"),
        (TOOLBOX, &["spool", "ls", "--revers"], "did you mean --reverse?"),
        (TOOLBOX, &["report", "sho"], "'show'"),
        (SINK, &["--socket-mode", "888"], "write octal digits from 000 to 777"),
    ] {
        let (code, line) = said(program, arguments);
        assert!([2, 64].contains(&code), "{arguments:?} ended with {code}: {line}");
        assert!(line.contains(says), "{arguments:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    let (_, line) = said(BLAST, &["--frobnicate", "x:1"]);
    assert!(!line.contains("did you mean"), "{line}");
}

/// 66 is what all programs say of a file that they cannot read.
#[test]
fn a_file_that_cannot_be_read_is_exit_code_66() {
    let nowhere = "/nowhere/file";
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    let sink = ["--listen", "127.0.0.1:0", "--discard"];
    let blast = ["127.0.0.1:1", "--dry-run"];
    for (program, others, options) in [
        (SINK, &sink[..], &["--auth", "--directory"][..]),
        (
            BLAST,
            &blast,
            &["--auth-file", "--from-file", "--to-file", "--body", "--csv", "--corpus"],
        ),
    ] {
        for (option, path) in options.iter().flat_map(|option| [(option, nowhere), (option, dir)]) {
            // A directory is a corpus; of an empty one nothing can be sent.
            if (*option, path) == ("--corpus", dir) {
                continue;
            }
            let (code, line) = said(program, &[others, &[option, path]].concat());
            assert_eq!(code, 66, "{option} {path}: {line}");
            assert!(line.contains("cannot read") && line.contains(path), "{line}");
        }
    }
    for arguments in [&["spool", "ls", nowhere][..], &["report", "show", nowhere]] {
        assert_eq!(said(TOOLBOX, arguments).0, 66, "{arguments:?}");
    }
}

/// A place that cannot be written: 73 where a spool is to be created, 74 for the artefacts of a run.
#[test]
fn a_place_that_cannot_be_written_has_the_exit_code_of_what_was_to_be_there() {
    let target = bare_server();
    for place in ["/proc/x", "/proc/x/y", "/dev/null", "/dev/null/x"] {
        let sweep = ["sweep", &target, "--rates", "10", "--measure", "100ms", "--out", place];
        for (program, arguments, code) in [
            (SINK, &["--listen", "127.0.0.1:0", "--spool", place][..], 73),
            (BLAST, &[&target, "-n", "1", "--out", place], 74),
            (BLAST, &sweep, 74),
        ] {
            let (ended, line) = said(program, arguments);
            assert_eq!(ended, code, "{arguments:?}: {line}");
            assert!(line.contains(place), "{line}");
        }
    }
}

#[test]
fn a_host_without_a_port_has_port_25_and_hears_so() {
    let (_, said) =
        said(BLAST, &["127.0.0.1", "-n", "1", "--connect-tries", "1", "--dry-run", "--depth", "2"]);
    assert!(
        said.contains("127.0.0.1 names no port, so port 25 (SMTP) is used: smtp://127.0.0.1:25"),
        "{said}"
    );
}

/// A server that offers nothing.
fn bare_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"220 bare\r\n");
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                let chunking = if line.starts_with("EHLO") {
                    "250-bare\r\n250 CHUNKING\r\n"
                } else {
                    "250 ok\r\n"
                };
                if stream.write_all(chunking.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn the_cure_for_a_missing_extension_is_an_option_that_the_user_gave_or_may_give() {
    let server = bare_server();
    for (options, cure) in [
        (&["--chunking"][..], "does not offer PIPELINING; with --chunking, add --pipelining none"),
        (&["--pipelining", "full"], "does not offer PIPELINING; leave out --pipelining"),
    ] {
        let (code, said) = said(BLAST, &[&[&server[..], "-n", "1", "-c", "1"], options].concat());
        assert_eq!(code, 3, "{said}");
        assert!(said.contains(cure), "{said}");
    }
}

/// A sink on a Unix socket, and what its clients get.
#[test]
fn the_sockets_of_the_sink_have_the_mode_that_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let url = format!("smtp+unix:{}", path.display());
    let mut sink = Command::new(SINK)
        .args([
            "--discard",
            "--cores",
            "1",
            "--listen",
            &url,
            "--socket-mode",
            "606",
            "--max-sessions",
            "1",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sink.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the sink ended");
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o606);
    let done = Command::new(BLAST)
        .args([&url, "-n", "2", "-c", "1", "--no-size", "--trace", "1"])
        .output()
        .unwrap();
    let trace = String::from_utf8(done.stderr).unwrap();
    assert!(trace.contains("SIZE") && !trace.contains("SIZE="), "{trace}");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(sink.wait().unwrap().success(), "{rest}");
}
