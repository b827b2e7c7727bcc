//! Two runs are called runs of one plan only where they sent the same, in the same way: each option of the generator
//! that changes that makes it another plan.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use ringpost::run::RunPlan;
use ringpost::run::merge::differences;

use super::help;

const BLAST: &str = env!("CARGO_BIN_EXE_ringpost-blast");

/// An option, a command line without it or with another value, and one with it. DIR is a folder with files, and TLS
/// stands for `--tls starttls --tls-insecure`.
const SENT: [(&str, &str, &str); 61] = [
    ("--connections", "", "--connections 3"),
    ("--messages", "", "--messages 100"),
    ("--duration", "", "--duration 5s"),
    ("--rate", "", "--rate 100"),
    ("--session-rate", "", "--session-rate 100"),
    ("--arrivals", "--rate 100", "--rate 100 --arrivals poisson"),
    ("--think", "", "--think 5ms"),
    ("--per-connection", "", "--per-connection 1..5"),
    ("--per-connection", "--per-connection 3", "--per-connection 1..5"),
    ("--misbehave", "", "--misbehave idle"),
    ("--warmup", "", "--warmup 1s"),
    ("--cooldown", "", "--cooldown 1s"),
    ("--drain", "", "--drain 1s"),
    ("--reply-timeout", "", "--reply-timeout 5s"),
    ("--size", "", "--size 2KiB"),
    ("--recipients", "", "--recipients 2"),
    ("--recipients", "--recipients 3", "--recipients 1..5"),
    ("--from", "", "--from a@b.example"),
    ("--to", "", "--to a@b.example"),
    ("--from-file", "", "--from-file DIR/addresses"),
    ("--to-file", "", "--to-file DIR/addresses"),
    ("--to-file", "--to-file DIR/others", "--to-file DIR/addresses"),
    ("--to-domain", "", "--to-domain b.example"),
    ("--subject", "", "--subject x"),
    ("--header", "", "--header X-A:b"),
    ("--no-headers", "", "--no-headers"),
    ("--no-size", "", "--no-size"),
    ("--body", "", "--body DIR/message"),
    ("--body", "--body DIR/other", "--body DIR/message"),
    ("--corpus", "", "--corpus DIR/message"),
    ("--corpus", "--corpus DIR/other", "--corpus DIR/message"),
    ("--csv", "", "--csv DIR/table"),
    ("--csv", "--csv DIR/tables", "--csv DIR/table"),
    ("--pipelining", "", "--pipelining full"),
    ("--chunking", "", "--chunking"),
    ("--depth", "--chunking", "--chunking --depth 4"),
    ("--hello", "", "--hello helo"),
    ("--helo", "", "--helo b.example"),
    ("--auth", "", "--auth a:b"),
    ("--auth-file", "", "--auth-file DIR/login"),
    ("--param", "", "--param MAIL:RET=HDRS"),
    ("--tls", "", "--tls starttls --tls-insecure"),
    ("--tls-insecure", "--tls starttls --tls-ca DIR/cert", "TLS "),
    ("--tls-servername", "TLS ", "TLS --tls-servername b.example"),
    ("--tls-share", "TLS ", "TLS --tls-share 50%"),
    ("--tls-resume", "TLS --per-connection 1", "TLS --per-connection 1 --tls-resume 50%"),
    ("--tls-versions", "TLS ", "TLS --tls-versions 1.3"),
    ("--tls-ciphers", "TLS ", "TLS --tls-ciphers TLS_AES_256_GCM_SHA384"),
    ("--tls-groups", "TLS ", "TLS --tls-groups x25519"),
    ("--tls-client-cert", "TLS ", "TLS --tls-client-cert DIR/cert --tls-client-key DIR/key"),
    (
        "--tls-client-cert",
        "TLS --tls-client-cert DIR/both",
        "TLS --tls-client-cert DIR/cert --tls-client-key DIR/key",
    ),
    ("--on-error", "", "--on-error stop"),
    ("--stop-on", "", "--stop-on 421"),
    ("--max-errors", "", "--max-errors 5"),
    ("--reconnect", "", "--reconnect never"),
    ("--connect-tries", "", "--connect-tries 9"),
    ("--ipv4", "", "--ipv4"),
    ("--recv-buffer", "", "--recv-buffer 4096"),
    ("--send-buffer", "", "--send-buffer 4096"),
    ("--close", "", "--close rst"),
    ("--lag-limit", "--rate 100", "--rate 100 --lag-limit 50%"),
];

/// Options that change nothing that is sent, each with the reason; and those that are tried in another way.
const UNSENT: [(&str, &str); 19] = [
    ("--allow-target", "says what may be sent to"),
    ("--cores", "has a field that runs of one load may differ in"),
    ("--corpus-memory", "refuses messages and changes none"),
    ("--dry-run", "sends nothing"),
    ("--exit-zero", "is about the exit code"),
    ("--fail-if", "is in `thresholds`"),
    ("--io", "is in `machine`"),
    ("--ipv6", "as --ipv4, which the target has"),
    ("--json", "is about the report"),
    ("--live", "is about the progress"),
    ("--name", "is the name of one run"),
    ("--note", "is a note on one run"),
    ("--out", "is where the result goes"),
    ("--recorded-envelopes", "needs a spool; src/blast/describe.rs tries it"),
    ("--seed", "has a field that runs of one load may differ in"),
    ("--source", "is of one machine: runs of one load have different ones"),
    ("--tls-ca", "says whom to trust"),
    ("--tls-client-key", "belongs to the certificate, or is refused"),
    ("--trace", "is about what is shown"),
];

/// What `--dry-run` says of a command line.
fn plan(dir: &Path, arguments: &str) -> RunPlan {
    let arguments = arguments.replace("TLS ", "--tls starttls --tls-insecure ");
    let arguments = arguments.replace("DIR", dir.to_str().unwrap());
    let mut command = Command::new(BLAST);
    command.env_remove("RINGPOST_AUTH").args(arguments.split_whitespace());
    let done = command.args(["--dry-run", "--json", "127.0.0.1:1"]).output().unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    serde_json::from_value(told["plan"].clone()).unwrap()
}

fn pem(what: &str, octets: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(octets);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

fn files(dir: &Path) {
    let pair = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = made.signing_key.serialize_der();
        (pem("CERTIFICATE", made.cert.der()), pem("PRIVATE KEY", &key))
    };
    let ((cert, key), (other, other_key)) = (pair("a.example"), pair("b.example"));
    for (name, text) in [
        ("addresses", "a@b.example\nb@b.example\n"),
        ("others", "a@b.example\nc@b.example\n"),
        ("message", "Subject: a\r\n\r\nbody\r\n"),
        ("other", "Subject: b\r\n\r\nbody\r\n"),
        ("table", "mail\na@b.example\n"),
        ("tables", "mail\nb@b.example\n"),
        ("login", "a:b\n"),
        ("cert", &cert),
        ("key", &key),
        ("both", &format!("{other}{other_key}")),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn each_option_that_changes_what_is_sent_makes_it_another_plan() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let of_one_run = ["command", "name", "note", "seed", "cores"];
    let differs = |[a, b]: [&str; 2]| {
        let [a, b] = [a, b].map(|arguments| plan(dir.path(), arguments));
        let found = differences(&a, &b);
        found.iter().any(|difference| !of_one_run.contains(&difference.field.as_str()))
    };
    let same: Vec<_> = SENT.iter().filter(|(_, before, with)| !differs([before, with])).collect();
    assert!(same.is_empty(), "called the same plan: {same:#?}");
}

#[test]
fn each_option_of_the_generator_is_known_to_change_what_is_sent_or_not() {
    let offered: BTreeSet<String> =
        help::options(&help::text(&[BLAST])).into_iter().map(|(name, _)| name).collect();
    let sent = SENT.iter().map(|(option, ..)| *option);
    let known: BTreeSet<String> =
        sent.chain(UNSENT.iter().map(|(option, _)| *option)).map(str::to_owned).collect();
    assert_eq!(offered, known);
    assert!(UNSENT.iter().all(|(_, why)| !why.is_empty()));
}
