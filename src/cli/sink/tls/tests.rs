//! Options of TLS that go together, and those that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use clap::Parser as _;

use super::super::options::SinkOptions;
use super::*;

fn options(line: &str) -> Result<SinkOptions, String> {
    let words = std::iter::once("ringpost-sink").chain(line.split_whitespace());
    SinkOptions::try_parse_from(words).map_err(|error| error.to_string())
}

/// The exit code and the line of what is wrong, without a look at any file.
fn refusal(line: &str) -> Option<(u8, String)> {
    let options = options(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let checked = options.tls.check(&options.listen);
    checked.err().map(|error| (error.code(), error.to_string()))
}

#[test]
fn what_needs_a_certificate_says_so_and_names_the_remedy() {
    for line in [
        "--listen smtps://127.0.0.1:0",
        "--listen lmtps://localhost:24",
        "--tls-client-auth request",
        "--tls-client-ca f",
        "--tls-sni-strict",
        "--require-tls",
        "--auth-tls-only",
        "--tls-versions 1.3",
        "--tls-ciphers TLS_AES_128_GCM_SHA256",
        "--tls-groups x25519",
        "--tls-tickets 0",
        "--tls-tickets 2",
        "--tls-keylog f",
    ] {
        let (code, why) = refusal(line).unwrap_or_else(|| panic!("{line}"));
        let named = line.trim_start_matches("--listen ").split(' ').next().unwrap();
        assert!(why.starts_with(named) && why.contains("--tls-self-signed"), "{line}: {why}");
        assert_eq!(code, Exit::Usage as u8);
        assert_eq!(refusal(&format!("{line} --tls-self-signed")).is_some(), line.contains("-ca "));
    }
    assert_eq!(refusal(""), None);
}

/// A server has a certificate of each kind for the same names.
#[test]
fn a_policy_names_each_host_once() {
    let names =
        ["mx.example", "localhost", "mx2.example", "mx.example", "MX2.example", "a.example"];
    let names = names.map(str::to_owned);
    let hosts = hosts(names.iter());
    assert_eq!(hosts, ["mx.example", "mx2.example", "a.example"]);
    assert_eq!(mta_sts(&hosts).matches("mx: ").count(), 3);
}

#[test]
fn certificates_and_keys_go_in_pairs() {
    for (line, sound) in [
        ("--tls-cert a", true),
        ("--tls-cert a --tls-key b", true),
        ("--tls-cert a --tls-key b --tls-cert c --tls-key d", true),
        ("--tls-cert a --tls-cert c", true),
        ("--tls-cert a --tls-cert c --tls-key d", false),
        ("--tls-cert a --tls-key b --tls-key d", false),
        ("--tls-cert a --tls-client-ca f", false),
        ("--tls-cert a --tls-client-ca f --tls-client-auth require", true),
    ] {
        assert_eq!(refusal(line).is_none(), sound, "{line}");
    }
    for line in ["--tls-key a", "--tls-ca-out a", "--tls-self-signed --tls-cert a"] {
        assert!(options(line).is_err(), "{line}");
    }
}

#[test]
fn names_are_refused_with_the_nearest_one() {
    for (line, words) in [
        ("--tls-ciphers TLS_AES_128_GCM_SHA265", "did you mean TLS_AES_128_GCM_SHA256?"),
        ("--tls-ciphers RC4", "there are TLS_AES_128_GCM_SHA256, "),
        ("--tls-groups x25591", "did you mean x25519?"),
        ("--tls-groups curve", "X25519MLKEM768"),
        ("--tls-versions 1.1", "has 1.2 and 1.3"),
        ("--tls-versions 1.3,SSLv3", "has 1.2 and 1.3"),
        ("--tls-self-signed=exired", "expired"),
        ("--tls-client-auth requir", "require"),
        ("--tls-tickets 17", "at most 16"),
    ] {
        let told = options(line).unwrap_err();
        assert!(told.contains(words), "{line}: {told}");
    }
    let tls = |line: &str| options(line).unwrap().tls;
    let chosen = tls("--tls-self-signed --tls-versions 1.2 --tls-ciphers TLS_AES_128_GCM_SHA256");
    let refused = chosen.set_up("mx.example").err().unwrap();
    assert_eq!(refused.code(), Exit::Usage as u8);
    assert!(refused.to_string().contains("not among the versions"), "{refused}");
}

#[test]
fn the_ca_is_written_or_it_is_told_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let set_up = |file: &Path| {
        let line = format!("--tls-self-signed --tls-ca-out {}", file.display());
        options(&line).unwrap().tls.set_up("mx.example")
    };
    assert!(set_up(&file).unwrap().is_some());
    assert_eq!(read_roots(&file).unwrap().len(), 1);
    // That of the sink before is replaced, and nothing else is.
    let first = fs::read(&file).unwrap();
    assert!(set_up(&file).is_ok());
    assert_ne!(fs::read(&file).unwrap(), first);
    let precious = dir.path().join("precious");
    fs::write(&precious, "do not lose this").unwrap();
    let refused = set_up(&precious).err().unwrap();
    assert_eq!(refused.code(), Exit::CantCreate as u8);
    assert!(refused.to_string().contains("not overwritten"), "{refused}");
    assert_eq!(fs::read(&precious).unwrap(), b"do not lose this");
    // Nor is that of a sink with something beside it, such as a key.
    for kept in [[&b"# of mine\n"[..], &first].concat(), [&first, &b"a key\n"[..]].concat()] {
        fs::write(&precious, &kept).unwrap();
        let refused = set_up(&precious).err().unwrap();
        assert!(refused.to_string().contains("not overwritten"), "{refused}");
        assert_eq!(fs::read(&precious).unwrap(), kept);
    }
    let large = fs::File::create(&precious).unwrap();
    large.set_len(PEM_BYTES_MAX + 1).unwrap();
    let refused = set_up(&precious).err().unwrap();
    assert!(refused.to_string().contains("not overwritten"), "{refused}");
    assert_eq!(large.metadata().unwrap().len(), PEM_BYTES_MAX + 1);
    assert!(options("").unwrap().tls.set_up("mx.example").unwrap().is_none());
}

#[test]
fn what_is_no_file_to_write_to_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    let set_up = |option: &str, file: &Path| {
        let line = format!("--tls-self-signed {option} {}", file.display());
        options(&line).unwrap().tls.set_up("mx.example")
    };
    for option in ["--tls-ca-out", "--tls-keylog"] {
        for (file, words) in
            [(fifo.as_path(), "nobody reads it"), (dir.path(), ""), (Path::new("/no/such"), "")]
        {
            let refused = set_up(option, file).err().unwrap();
            assert_eq!(refused.code(), Exit::CantCreate as u8, "{option}: {refused}");
            let told = refused.to_string();
            assert!(told.starts_with("cannot write the ") && told.contains(words), "{told}");
        }
    }
    // A pipe with a reader gets the CA.
    let reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    assert!(set_up("--tls-ca-out", &fifo).unwrap().is_some());
    drop(reader);
    let keys = dir.path().join("keys");
    assert!(set_up("--tls-keylog", &keys).unwrap().is_some());
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_policy_of_mta_sts_names_each_host() {
    let policy = mta_sts(&["a.example", "*.b.example"]);
    assert_eq!(
        policy,
        "version: STSv1\nmode: testing\nmx: a.example\nmx: *.b.example\nmax_age: 86400\n"
    );
}
