//! How much memory the commands of the spool take, whatever it holds.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringpost::spool::{Delivery, DeliveryFate, Draft, Meta, Options, Place, Spool};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{Ran, SINK, TOOLBOX, end_of, run};

/// No command of the spool takes more memory.
const PEAK_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Octets of the large message, which is more than a command may hold once.
const MESSAGE_BYTES: usize = 160 * 1024 * 1024;

/// Recipients of the message with the large envelope, nearly as many as one can have. Their JSON is more than a
/// command may hold as objects.
const RECIPIENTS: usize = 225_000;

fn says(stream: &mut BufReader<TcpStream>, wire: &[u8], replies: usize) -> String {
    stream.get_mut().write_all(wire).unwrap();
    let mut line = String::new();
    for _ in 0..replies {
        line.clear();
        while stream.read_line(&mut line).unwrap() > 0 && line.as_bytes().get(3) == Some(&b'-') {
            line.clear();
        }
        assert!(line.starts_with(['2', '3']), "{line}");
    }
    line
}

/// Starts a sink with its spool in `dir`; also its address.
fn start(dir: &Path, options: &str) -> (Child, String) {
    let mut sink = Command::new(SINK)
        .args(["--cores", "1", "--io", "epoll", "--listen", "smtp://127.0.0.1:0"])
        .args(["--spool", dir.to_str().unwrap()])
        .args(options.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(sink.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("listening ") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the sink does not start");
    }
    let address = line.trim_end().rsplit('/').next().unwrap().to_owned();
    sink.stderr = Some(stderr.into_inner());
    (sink, address)
}

/// Ends a sink in order.
fn stop(sink: Child) -> Ran {
    kill_process(Pid::from_child(&sink), Signal::TERM).unwrap();
    let ran = end_of(sink);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
    ran
}

/// Sends the two messages to a sink with its spool in `dir`; their names.
fn fill(dir: &Path) -> [String; 2] {
    let options = "--max-size 256MiB --spool-limit 2GiB --max-recipients 1000000";
    let (sink, address) = start(dir, options);
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut stream = BufReader::new(stream);
    says(&mut stream, b"", 1);
    says(&mut stream, b"EHLO x\r\n", 1);
    says(&mut stream, b"MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n", 2);
    // A line that mbox quotes, one with two octets of UTF-8, and at the end an octet that is none.
    let lines = b"From here to there\r\n\xc3\xbc and so on and on and on and on\r\n";
    let piece = lines.repeat(20_000);
    let header = b"Subject: large\r\n\r\n";
    let pieces = MESSAGE_BYTES / piece.len();
    let bytes = header.len() + pieces * piece.len() + 1;
    says(&mut stream, format!("BDAT {bytes} LAST\r\n").as_bytes(), 0);
    says(&mut stream, header, 0);
    (0..pieces).for_each(|_| drop(says(&mut stream, &piece, 0)));
    let large = says(&mut stream, b"\xff", 1);
    says(&mut stream, b"MAIL FROM:<a@x.example>\r\n", 1);
    for _ in 0..RECIPIENTS / 1000 {
        says(&mut stream, &b"RCPT TO:<x>\r\n".repeat(1000), 1000);
    }
    let wide = says(&mut stream, b"BDAT 15 LAST\r\nSubject: wide\r\n", 1);
    says(&mut stream, b"QUIT\r\n", 1);
    stop(sink);
    [large, wide].map(|reply| reply.trim_end().rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn no_command_of_the_spool_takes_more_memory_for_large_messages_and_envelopes() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    let [large, wide] = fill(&spool);
    let spool = spool.to_str().unwrap().to_owned();
    let out = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let exports = ["maildir", "mbox", "eml", "jsonl", "smtp-sink"].map(|format| {
        ["export", &spool, "--format", format, "-o", &out(format)].map(str::to_owned).to_vec()
    });
    let others = [
        &["verify", &spool][..],
        &["ls", &spool],
        &["ls", &spool, "--json"],
        &["ls", &spool, "--json", "--reverse"],
        &["stat", &spool],
        &["cat", &spool, &large, "--envelope"],
        &["cat", &spool, &large, "--headers"],
        &["cat", &spool, &wide, "--envelope"],
    ];
    let others = others.map(|args| args.iter().map(|&arg| arg.to_owned()).collect());
    for args in exports.into_iter().chain(others) {
        let ran = run(TOOLBOX, &[&["spool".to_owned()], &*args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.peak_bytes <= PEAK_BYTES_MAX, "{args:?}: {} octets of memory", ran.peak_bytes);
        if args[0] == "export" {
            let written = bytes_in(&PathBuf::from(args.last().unwrap()), &args[3]);
            assert!(written > MESSAGE_BYTES as u64 * 9 / 10, "{args:?}: {written} octets");
        }
    }
}

/// Octets of the files of an export, which are then removed.
fn bytes_in(path: &Path, format: &str) -> u64 {
    let mut paths = vec![path.to_owned()];
    if format == "smtp-sink" {
        // The path is the start of the files' names.
        let all = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        let start = path.to_str().unwrap();
        paths = all.filter(|found| found.to_str().unwrap().starts_with(start)).collect();
    }
    let mut bytes = 0;
    while let Some(path) = paths.pop() {
        let metadata = fs::metadata(&path).unwrap();
        if metadata.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            bytes += metadata.len();
            fs::remove_file(path).unwrap();
        }
    }
    bytes
}

/// Entries of the file `delivered`, of so many messages. Held in memory, they would take more than a command may.
const DELIVERIES: u32 = 2_000_000;

/// A spool with one message, a live segment, and a file of deliveries in any order.
fn fill_delivered(dir: &Path) {
    let (spool, _, mut writers) = Spool::open(dir, Options::default()).unwrap();
    let mut draft = Draft::default();
    writers[0].append(&mut draft, b"Subject: hello\r\n\r\n").unwrap();
    let to: [(&[u8], &[u8]); 2] = [(b"b@y.test", b""), (b"c@y.test", b"")];
    let sealed =
        writers[0].seal(&mut draft, &Meta { sealed_ns: 7, ..Meta::default() }, to).unwrap();
    drop((writers, spool));
    let mut file = BufWriter::new(File::create(dir.join("delivered")).unwrap());
    let mut random = fastrand::Rng::with_seed(1);
    for number in 0..DELIVERIES {
        let is_ours = number == DELIVERIES / 2;
        let offset = if is_ours { sealed.place.offset } else { random.u32(1..1 << 20) * 64 };
        let delivery = Delivery {
            place: Place { offset, ..sealed.place },
            sealed_ns: 7,
            recipient: if is_ours { 1 } else { number % 1000 },
            fate: DeliveryFate::Delivered,
            code: 250,
            at_ns: 8,
        };
        file.write_all(&delivery.encode()).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn no_command_takes_more_memory_for_millions_of_deliveries_nor_does_the_start_of_a_sink() {
    let root = tempfile::tempdir().unwrap();
    let spool = root.path().join("spool");
    fill_delivered(&spool);
    let sorted = |is_sorted: bool| {
        let octets = fs::read(spool.join("delivered")).unwrap();
        let keys: Vec<_> =
            octets.chunks_exact(48).map(|octets| Delivery::decode(octets).unwrap().key()).collect();
        assert_eq!(keys.is_sorted(), is_sorted);
        assert!(keys.len() as u32 > DELIVERIES / 10 * 9);
    };
    let dir = spool.to_str().unwrap();
    sorted(false);
    for round in 0..2 {
        for args in
            [&["ls", dir, "--json", "--undelivered"][..], &["cat", dir, "0-1-64", "--envelope"]]
        {
            let ran = run(TOOLBOX, &[&["spool"], args].concat());
            assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.said());
            let told = ran.said().matches("\"delivered\"").count();
            assert_eq!(told, 1, "{args:?}: {}", ran.said());
            assert!(ran.peak_bytes <= PEAK_BYTES_MAX, "{args:?}: {} octets", ran.peak_bytes);
        }
        if round == 0 {
            let ran = stop(start(&spool, "--spool-limit 12MiB --etrn #q=127.0.0.1:9").0);
            assert!(ran.peak_bytes <= PEAK_BYTES_MAX, "a sink: {} octets", ran.peak_bytes);
            sorted(true);
        }
    }
}
