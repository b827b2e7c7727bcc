//! What leaves a program, whatever came in: ESC, C1, bidirectional marks and line separators are put into
//! every field of every input, and every octet that is printed is looked at.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ringpost::measure::Mode;
use ringpost::run::{Run, hlog::phase_tag};
use ringpost::spool::{Draft, Meta, Options, RecordFlags, SessionMeta, Spool};
use serde_json::Value;

use crate::program::{BLAST, Ran, SINK, TOOLBOX, end_of, run, serve};
use crate::report::write_run;

/// By this the field is known again in what was printed, in upper or lower case.
const MARK: &str = "PWN";

/// What no terminal may see, behind the mark. No NUL, so that it can be an argument.
const BAD: &str = "PWN\x1b]0;x\x07\x1b[2J\x1b[31m\u{9b}2J\u{85}\x08\x7f\u{202e}\u{2066}\u{2069}\u{200f}\u{2028}\
    \u{2029}\u{61c}";

/// The same in octets that are not UTF-8, and with a NUL.
fn bad_octets() -> Vec<u8> {
    [BAD.as_bytes(), b"\x9b31m\x9d0;x\x9c\0\xff"].concat()
}

/// Looks at every octet that a program printed.
#[track_caller]
fn is_harmless(what: &str, ran: &Ran) {
    for octets in [&ran.stdout, &ran.stderr] {
        let text = std::str::from_utf8(octets).unwrap_or_else(|error| {
            panic!("{what}: {error} in {}", octets.escape_ascii());
        });
        let steers = |c: char| {
            c.is_control() && c != '\n' && c != '\t'
                || ('\u{2028}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}')
        };
        if let Some(found) = text.chars().find(|c| steers(*c)) {
            panic!("{what}: {found:?} in {}", text.escape_debug());
        }
    }
}

/// Runs a program that shows the bad field, and looks at what it printed.
#[track_caller]
fn shows(program: &str, args: &[&str]) -> Ran {
    let ran = run(program, args);
    let what = args.join(" ").escape_debug().to_string();
    is_harmless(&what, &ran);
    assert!(ran.said().to_uppercase().contains(MARK), "{what} shows nothing of it: {}", ran.said());
    ran
}

/// A spool of one message in which every field is bad.
fn bad_spool(dir: &Path) {
    let (spool, _, mut writers) = Spool::open(dir, Options::default()).unwrap();
    let bad = bad_octets();
    let path = [&*bad, b"@", &bad].concat();
    let fields = ["version", "suite", "group", "sni", "client-subject", "client-sha256", BAD];
    let tls = fields.map(|field| [field.as_bytes(), b"=", &bad].concat()).join(&b'\n');
    let session = SessionMeta {
        peer: &bad,
        listener: &bad,
        helo: &bad,
        protocol: &bad,
        tls: &tls,
        auth: &bad,
    };
    let mut encoded = Vec::new();
    session.encode(&mut encoded).unwrap();
    let meta = Meta {
        received_ns: 1_700_000_000_000_000_000,
        sealed_ns: 1_700_000_000_000_000_001,
        flags: RecordFlags::all() - RecordFlags::HEADERS_ONLY,
        session: &encoded,
        reverse_path: &path,
        reverse_params: &bad,
        sent_bytes: None,
        deviations: &bad,
    };
    let mut draft = Draft::default();
    let head = [b"Subject: ", BAD.as_bytes(), b"\r\n\r\n", &*bad, b"\r\n"].concat();
    writers[0].append(&mut draft, &head).unwrap();
    writers[0].seal(&mut draft, &meta, [(&*path, &*bad), (&*path, b"")]).unwrap();
    drop((writers, spool));
}

#[test]
fn a_list_of_messages_shows_no_octet_that_a_terminal_obeys() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join(format!("spool{BAD}"));
    bad_spool(&spool);
    let spool = spool.to_str().unwrap();
    for args in [&["ls", spool][..], &["ls", "--json", spool], &["stat", spool]] {
        shows(TOOLBOX, &[&["spool"], args].concat());
    }
    shows(TOOLBOX, &["spool", "stat", "--json", spool]);
    shows(TOOLBOX, &["spool", "cat", "--envelope", spool, "0-1-64"]);
    let told = shows(TOOLBOX, &["spool", "export", "--format", "jsonl", "-o", "-", spool]);
    let message: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(message["helo"].as_str().unwrap().starts_with(BAD), "JSON keeps every character");
    is_harmless("verify", &run(TOOLBOX, &["spool", "verify", "--json", spool]));
    // Of what is not there, and of damage.
    shows(TOOLBOX, &["spool", "ls", &format!("{spool}/{BAD}")]);
    fs::write(Path::new(spool).join("SPOOL"), bad_octets()).unwrap();
    shows(TOOLBOX, &["spool", "ls", spool]);
}

/// `value` with a bad text in place of each text that may be any.
fn spoil(value: &mut Value, is_run: &dyn Fn(&Value) -> bool) {
    let mut paths = Vec::new();
    texts(value, String::new(), &mut paths);
    for path in paths {
        let before = std::mem::replace(value.pointer_mut(&path).unwrap(), Value::Null);
        let bad = Value::String(format!("{BAD}\n{path}"));
        *value.pointer_mut(&path).unwrap() = bad;
        if !is_run(value) {
            *value.pointer_mut(&path).unwrap() = before;
        }
    }
}

/// JSON pointers to the texts in `value`.
fn texts(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::String(_) => into.push(at),
        Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(n, value)| texts(value, format!("{at}/{n}"), into));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| texts(value, format!("{at}/{name}"), into));
        }
        _ => {}
    }
}

/// A run with a bad text in every field of its result that takes one.
fn bad_run(dir: &Path, seed: &str) {
    write_run(dir, Mode::Open);
    let path = dir.join("run.json");
    let mut run: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    run["id"] = seed.into();
    run["plan"]["name"] = "x".into();
    run["plan"]["note"] = "x".into();
    run["plan"]["options"] = ["x"].into();
    run["plan"]["think"] = "x".into();
    run["verdict_reasons"] = ["x"].into();
    run["phases"]["mail"]["enhanced"] = serde_json::json!({ BAD: 7 });
    run["phases"]["mail"]["replies"]["550"] = 9.into();
    run["phases"]["mail"]["refusals"] = serde_json::json!({ format!("550 {BAD}"): 7 });
    let mut shard = run.clone();
    shard["id"] = "y".into();
    run["shards"] = serde_json::json!([{ "name": "a", "run": run }, { "name": "b", "run": shard }]);
    let is_run = |value: &Value| {
        let started =
            |value: &Value| value["started"].as_str().is_some_and(|text| !text.contains(MARK));
        serde_json::from_value::<Run>(value.clone()).is_ok()
            && started(value)
            && value["shards"].as_array().unwrap().iter().all(|shard| started(&shard["run"]))
    };
    spoil(&mut run, &is_run);
    assert!(run.to_string().matches(MARK).count() > 40, "texts were spoiled: {run}");
    fs::write(&path, run.to_string()).unwrap();
}

#[test]
fn reports_show_no_octet_that_a_terminal_obeys() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| {
        let path = dir.path().join(format!("{name}{BAD}"));
        bad_run(&path, name);
        path.to_str().unwrap().to_owned()
    });
    let (a, b) = (a.as_str(), b.as_str());
    shows(TOOLBOX, &["report", "show", a]);
    let told = shows(TOOLBOX, &["report", "show", "--json", a]);
    let run: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(run["plan"]["note"].as_str().unwrap().starts_with(BAD), "JSON keeps every character");
    shows(TOOLBOX, &["report", "compare", a, b]);
    shows(TOOLBOX, &["report", "html", "-o", "-", a]);
    let sum = dir.path().join(format!("sum{BAD}"));
    shows(TOOLBOX, &["report", "merge", "-o", sum.to_str().unwrap(), a, b]);
    shows(TOOLBOX, &["report", "merge", "--mixed", "-o", sum.to_str().unwrap(), a, b]);
    let page = dir.path().join("page.html");
    run_ok(&["report", "compare", "--html", page.to_str().unwrap(), a, b]);
    run_ok(&["report", "html", "-o", page.to_str().unwrap(), a]);
    let octets = fs::read(&page).unwrap();
    is_harmless("a page", &Ran { code: None, stdout: octets, stderr: Vec::new(), peak_bytes: 0 });
    damaged_runs(a);
}

#[track_caller]
fn run_ok(args: &[&str]) {
    let ran = run(TOOLBOX, args);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
}

/// Damage is told with a part of what is damaged.
fn damaged_runs(dir: &str) {
    let log = Path::new(dir).join("run.hlog");
    let whole = fs::read_to_string(&log).unwrap();
    let tag = phase_tag(ringpost::measure::Phase::Mail, ringpost::measure::Outcome::Refused5xx);
    for bad in
        [format!("{BAD}\n"), format!("Tag={BAD},0,1,1,AAAA\n"), format!("Tag={tag},{BAD},1,1,A\n")]
    {
        fs::write(&log, format!("{whole}{bad}")).unwrap();
        let ran = run(TOOLBOX, &["report", "show", dir]);
        is_harmless("a log", &ran);
        assert_eq!(ran.code, Some(65), "{}", ran.said());
    }
    let line = whole.lines().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).unwrap();
    let foreign = PathBuf::from(format!("{dir}.hlog"));
    fs::write(&foreign, format!("Tag={BAD},{line}\nTag=other{BAD},{line}\n").replace('\u{85}', ""))
        .unwrap();
    shows(TOOLBOX, &["report", "show", foreign.to_str().unwrap()]);
    for (name, text) in
        [("run.csv", format!("{BAD}\n")), ("run.json", format!("{{\"{BAD}\":{BAD}}}"))]
    {
        fs::write(Path::new(dir).join(name), text).unwrap();
        shows(TOOLBOX, &["report", "show", dir]);
    }
}

#[test]
fn a_wrong_command_line_is_told_without_steering_the_terminal() {
    for (program, args) in [
        (TOOLBOX, &[BAD][..]),
        (TOOLBOX, &["report", "show", BAD]),
        (TOOLBOX, &["report", "compare", BAD, BAD, "--fail-if", BAD]),
        (TOOLBOX, &["spool", "ls", "--since", BAD]),
        (TOOLBOX, &["spool", "export", "--format", BAD, "-o", "x"]),
        (BLAST, &[BAD]),
        (BLAST, &["127.0.0.1:9", "--fail-if", BAD]),
        (BLAST, &["127.0.0.1:9", "--rate", BAD]),
        (BLAST, &["127.0.0.1:9", "--arrivals", BAD]),
        (SINK, &["--listen", BAD]),
        (SINK, &["--auth", BAD]),
        (SINK, &["--spool", BAD, "--segment-size", BAD]),
        (SINK, &[&*format!("--{BAD}")]),
    ] {
        let ran = shows(program, args);
        assert_eq!(ran.stderr.iter().filter(|octet| **octet == b'\n').count(), 1, "{}", ran.said());
    }
}

/// What a server that means harm says at one place; a good one at all others.
fn bad_at(
    place: &'static str,
    code: &'static str,
) -> impl Fn(&str) -> Vec<u8> + Send + Clone + 'static {
    move |line: &str| {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        if word == place {
            let bad = bad_octets();
            let more = format!("{code}-5.7.1 ");
            return [more.as_bytes(), &bad, b"\r\n", code.as_bytes(), b" 5.7.1 ", &bad, b"\r\n"]
                .concat();
        }
        match word.as_str() {
            "" => "220 x ESMTP\r\n",
            "EHLO" => "250-x\r\n250-AUTH PLAIN\r\n250 PIPELINING\r\n",
            "AUTH" => "235 ok\r\n",
            "DATA" => "354 go\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 ok\r\n",
        }
        .as_bytes()
        .to_vec()
    }
}

#[test]
fn the_words_of_a_server_steer_no_terminal() {
    for (place, code, told) in [
        ("", "554", true),
        ("", "421", true),
        ("", "220", false),
        ("EHLO", "550", false),
        ("EHLO", "250", false),
        ("AUTH", "535", true),
        ("AUTH", "334", false),
        ("MAIL", "550", false),
        ("RCPT", "421", false),
        (".", "550", false),
        (".", "250", false),
    ] {
        let target = serve(bad_at(place, code));
        let load = ["-n", "3", "-c", "1", "--auth", "a:b", "--live", "off", &target];
        for more in [&[][..], &["--trace", "1"], &["--json"]] {
            let args = [&load[..], more].concat();
            let ran = run(BLAST, &args);
            let what = format!("{place} {code} {}", more.join(" "));
            is_harmless(&what, &ran);
            assert!(!told || ran.said().contains(MARK), "{what}: {}", ran.said());
        }
    }
}

#[test]
fn the_words_of_a_client_steer_no_terminal() {
    for more in [&["-v"][..], &["-vv"], &["-vv", "--log", "json"]] {
        let mut child = Command::new(SINK)
            .args(["--listen", "127.0.0.1:0", "--discard", "--cores", "1", "--max-sessions", "2"])
            .args(["--auth", "any"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let port = port_of(&mut child);
        for end in [&b"QUIT\r\n"[..], b"MAIL"] {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for verb in
                ["EHLO ", "AUTH PLAIN ", "MAIL FROM:<a> ", "RCPT TO:<", "VRFY ", "STARTTLS ", ""]
            {
                stream.write_all(&[verb.as_bytes(), &bad_octets(), b"\r\n"].concat()).unwrap();
            }
            stream.write_all(end).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }
        let ran = end_of(child);
        is_harmless(&more.join(" "), &ran);
        assert_eq!(ran.code, Some(0), "{}", ran.said());
        assert!(more == ["-v"] || ran.said().contains(MARK), "{more:?}: {}", ran.said());
    }
}

/// The port that a sink says it listens on; what it says before is not looked at.
fn port_of(child: &mut std::process::Child) -> u16 {
    let lead = "smtp://127.0.0.1:";
    let stderr = child.stderr.as_mut().unwrap();
    let mut said = Vec::new();
    loop {
        let mut octet = [0];
        stderr.read_exact(&mut octet).unwrap();
        said.extend(octet);
        let text = String::from_utf8_lossy(&said);
        // With --log json the line is an object, and the port is in a string.
        if let Some((_, rest)) = text.rsplit_once(lead)
            && rest.ends_with('\n')
        {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            return rest[..digits].parse().unwrap();
        }
    }
}
