//! Certificates and keys as files: what is wrong ends the sink with a code, or changes nothing.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ringpost::tls::{self, ClientOptions, Pair, TlsSettings, Trust};
use rustix::process::Signal;
use rustls::{ClientConnection, StreamOwned};

use crate::program::{LIMIT, Program};

/// Writes a certificate for `name` and its key.
fn issue(dir: &Path, name: &str) -> [PathBuf; 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let put = |label: &str, end: &str, der: &[u8]| {
        let path = dir.join(format!("{name}.{end}"));
        let text = BASE64_STANDARD.encode(der);
        fs::write(&path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))
            .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    [put("CERTIFICATE", "pem", certificate.der()), put("PRIVATE KEY", "key", key.serialized_der())]
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Exit code and stderr of a sink that cannot begin.
fn refused(options: &[&str]) -> (Option<i32>, String) {
    // A sink that begins all the same is ended.
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_ringpost-sink")]);
    command.args(["--discard", "--cores", "1", "--listen", "127.0.0.1:0"]);
    let done = command.args(options).output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn what_is_wrong_with_a_file_is_one_line_and_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = issue(dir.path(), "a.example");
    let [_, other] = issue(dir.path(), "b.example");
    let junk = dir.path().join("junk");
    fs::write(&junk, "hello\n").unwrap();
    let gone = dir.path().join("gone");
    for (options, code, words) in [
        (["--tls-cert", text(&gone), "--tls-key", text(&key)], 66, "--tls-self-signed"),
        (["--tls-cert", text(&certificate), "--tls-key", text(&gone)], 66, "cannot read the key"),
        (["--tls-cert", text(&junk), "--tls-key", text(&key)], 65, "not PEM"),
        (["--tls-cert", text(&key), "--tls-key", text(&certificate)], 65, "but a private key"),
        (["--tls-cert", text(&certificate), "--tls-key", text(&other)], 65, "another certificate"),
        (
            ["--tls-self-signed", "--tls-client-auth", "require", "--tls-client-ca=/"],
            66,
            "cannot read the CA",
        ),
        (["--tls-self-signed", "--tls-keylog", text(dir.path()), "--json"], 73, "cannot write"),
        (["--tls-self-signed", "--tls-ciphers", "RC4", "--json"], 64, "no such cipher suite"),
        (["--listen", "smtps://127.0.0.1:0", "--json", "--no-ext=DSN"], 64, "--tls-self-signed"),
        (["--tls-self-signed", "--require-tls", "--no-ext", "STARTTLS"], 64, "smtps://"),
        (["--tls-self-signed", "--require-tls", "--esmtp", "off"], 64, "smtps://"),
        (["--tls-self-signed", "--auth-tls-only", "--auth", "none"], 64, "--auth any"),
        (
            ["--tls-self-signed", "--tls-ciphers", "ECDHE-RSA-AES128-GCM-SHA256", "--json"],
            64,
            "RSA or ECDSA",
        ),
        (
            ["--tls-self-signed", "--tls-versions=1.2", "--tls-groups", "X25519MLKEM768"],
            64,
            "TLS 1.2",
        ),
    ] {
        let (told, stderr) = refused(&options);
        assert_eq!((told, stderr.lines().count()), (Some(code), 1), "{options:?}: {stderr}");
        assert!(stderr.contains(words), "{options:?}: {stderr}");
    }
}

#[test]
fn a_pipe_to_which_nobody_writes_is_not_waited_for_and_a_directory_is_no_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    for (file, words) in [(fifo.as_path(), "nobody writes to it"), (dir.path(), "directory")] {
        let (code, stderr) = refused(&["--tls-cert", text(file)]);
        assert_eq!((code, stderr.lines().count()), (Some(66), 1), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_certificate_is_told_at_the_start_and_after_a_reload_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = issue(dir.path(), "a.example");
    let [second, second_key] = issue(dir.path(), "b.example");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let options = [
        "--tls-cert",
        text(&certificate),
        "--tls-key",
        text(&key),
        "--discard",
        "--cores=1",
        "--log=json",
    ];
    let (sink, said) = Program::start_in_json(&options);
    let all = said.join("\n");
    assert!(all.contains("holds a key and others may open it (mode 0644)"), "{all}");
    for words in [r#""event":"certificate""#, "a.example", r#""tlsa":"3 1 1 "#, "version: STSv1"] {
        assert!(all.contains(words), "{words}: {all}");
    }
    let whole = fs::read(&key).unwrap();
    fs::write(&key, "hello\n").unwrap();
    sink.signal(Signal::HUP);
    let told = sink.line(|line| line.contains("SIGHUP"));
    assert!(told.contains("not PEM") && told.contains("what was read before stays"), "{told}");
    fs::write(&key, whole).unwrap();
    fs::copy(&second, &certificate).unwrap();
    fs::copy(&second_key, &key).unwrap();
    sink.signal(Signal::HUP);
    let told = sink.line(|line| line.contains(r#""event":"certificate""#));
    assert!(told.contains("b.example"), "{told}");
    let told = sink.line(|line| line.contains("SIGHUP"));
    assert!(told.contains("read the certificate again"), "{told}");
    sink.stop();
}

#[test]
fn a_certificate_that_is_made_is_not_read_again() {
    let (sink, said) =
        Program::start_in_json(&["--tls-self-signed", "--discard", "--cores=1", "--log=json"]);
    let told = said.iter().filter(|line| line.contains(r#""event":"certificate""#));
    assert_eq!(told.count(), 1, "{said:?}");
    sink.signal(Signal::HUP);
    let told = sink.line(|line| line.contains("SIGHUP"));
    assert!(told.contains("no --tls-client-ca to read again"), "{told}");
    sink.stop();
}

/// Whether the sink lets a client in that shows this certificate.
fn lets_in(port: u16, [certificate, key]: &[PathBuf; 2]) -> bool {
    let octets = |path: &Path| fs::read(path).unwrap();
    let chain = tls::read_chain(&octets(certificate)).unwrap();
    let pair = Pair::new(chain, tls::read_key(&octets(key)).unwrap()).unwrap();
    let options = ClientOptions {
        settings: TlsSettings::default(),
        trust: Trust::Anybody,
        pair: Some(pair),
        key_log: None,
    };
    let configs = options.configs("127.0.0.1", 0).unwrap();
    let client = ClientConnection::new(configs.full, configs.server).unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut greeting = [0; 4];
    let read = StreamOwned::new(client, socket).read_exact(&mut greeting);
    read.is_ok() && greeting == *b"220 "
}

#[test]
fn the_ca_of_clients_is_read_again_and_a_bad_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [one, other] = ["a.example", "b.example"].map(|name| issue(dir.path(), name));
    let ca = dir.path().join("ca.pem");
    fs::copy(&one[0], &ca).unwrap();
    let options = ["--tls-self-signed", "--tls-client-auth", "require", "--discard", "--cores=1"];
    let sink = Program::start("smtps", &[&options[..], &["--tls-client-ca", text(&ca)]].concat());
    let becomes = |expected: [bool; 2]| {
        // Each core takes it in its own time.
        (0..400).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            [lets_in(sink.port, &one), lets_in(sink.port, &other)] == expected
        })
    };
    assert!(becomes([true, false]));
    fs::write(&ca, "hello\n").unwrap();
    sink.signal(Signal::HUP);
    let told = sink.line(|line| line.contains("SIGHUP"));
    assert!(told.contains("not PEM") && told.contains("what was read before stays"), "{told}");
    assert!(becomes([true, false]));
    fs::copy(&other[0], &ca).unwrap();
    sink.signal(Signal::HUP);
    let told = sink.line(|line| line.contains("SIGHUP"));
    assert!(told.contains("read the CA of client certificates again"), "{told}");
    assert!(becomes([false, true]));
    sink.stop();
}

#[test]
fn starttls_in_the_octets_behind_a_proxy_header_is_answered() {
    let options = ["--tls-self-signed", "--proxy-protocol", "127.0.0.1", "--discard", "--cores=1"];
    let sink = Program::start("smtp", &options);
    let mut socket = TcpStream::connect(("127.0.0.1", sink.port)).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\nEHLO me\r\nSTARTTLS\r\n").unwrap();
    // The greeting, and the answer to STARTTLS.
    let mut said = String::new();
    while said.matches("220 ").count() < 2 || !said.ends_with("\r\n") {
        let mut octet = [0];
        socket.read_exact(&mut octet).unwrap_or_else(|error| panic!("{error}: {said}"));
        said.push(char::from(octet[0]));
    }
    let options = ClientOptions {
        settings: TlsSettings::default(),
        trust: Trust::Anybody,
        pair: None,
        key_log: None,
    };
    let configs = options.configs("127.0.0.1", 0).unwrap();
    let mut client = ClientConnection::new(configs.full, configs.server).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    drop(socket);
    sink.stop();
}
