//! The programs as children: what they say, how they end, and how much memory they took.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A program that runs longer hangs. A loaded machine needs a small part of it.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const TOOLBOX: &str = env!("CARGO_BIN_EXE_ringpost");
pub(crate) const SINK: &str = env!("CARGO_BIN_EXE_ringpost-sink");
pub(crate) const BLAST: &str = env!("CARGO_BIN_EXE_ringpost-blast");

/// A program that has ended.
pub(crate) struct Ran {
    pub code: Option<i32>,
    /// What came on stdout and stderr.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The most memory that it had at once.
    pub peak_bytes: u64,
}

impl Ran {
    pub(crate) fn said(&self) -> String {
        let [out, err] = [&self.stdout, &self.stderr].map(|octets| String::from_utf8_lossy(octets));
        format!("{out}{err}")
    }
}

/// Runs a program to its end, which must come.
pub(crate) fn run(program: &str, args: &[impl AsRef<OsStr>]) -> Ran {
    let child = Command::new(program)
        .args(args)
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    end_of(child)
}

/// Waits for the end of a child, which must come.
pub(crate) fn end_of(mut child: Child) -> Ran {
    let [stdout, stderr] = [
        Box::new(child.stdout.take().unwrap()) as Box<dyn Read + Send>,
        Box::new(child.stderr.take().unwrap()),
    ]
    .map(|mut from| {
        thread::spawn(move || {
            let mut octets = Vec::new();
            from.read_to_end(&mut octets).unwrap();
            octets
        })
    });
    let deadline = Instant::now() + LIMIT;
    let pid = child.id() as libc::pid_t;
    let (mut status, mut usage, mut peak_bytes) = (0, None, None);
    while usage.is_none() {
        // Its usage counts the memory of this process too, from which it was split off.
        peak_bytes = peak_so_far(pid).or(peak_bytes);
        // SAFETY: a rusage is plain numbers, so that zeros are one; both pointers are to live values.
        let mut spent: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: as above; the child is ours, and nobody else waits for it.
        let waited = unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, &mut spent) };
        if waited == pid {
            usage = Some((spent.ru_maxrss as u64 * 1024).min(faulted_in(spent.ru_minflt as u64)));
        } else if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it hangs: {}", String::from_utf8_lossy(&stderr.join().unwrap()));
        } else {
            thread::sleep(Duration::from_millis(5));
        }
    }
    Ran {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
        peak_bytes: peak_bytes.or(usage).unwrap_or(0),
    }
}

/// The most memory that so many page faults can have given to a program which had ended before anybody could look
/// at it. The kernel maps up to 64 KiB of a file at one fault, and of memory one page, which may be a huge one.
fn faulted_in(faults: u64) -> u64 {
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    let page = if huge.is_ok_and(|text| text.contains("[always]")) { 2 << 20 } else { 64 << 10 };
    faults * page
}

/// The most memory that a running program had at once so far.
fn peak_so_far(pid: libc::pid_t) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Serves in the background and gives its address: `answer` makes of a line, or of nothing at the begin of a
/// connection, the octets that the client gets.
pub(crate) fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), answer.clone());
            // Clients that go away are expected.
            thread::spawn(move || drop(converse(&stream, answer)));
        }
    });
    address
}

fn converse(mut stream: &TcpStream, answer: impl Fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    stream.write_all(&answer(""))?;
    let (mut reader, mut line, mut in_message) = (BufReader::new(stream), Vec::new(), false);
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if in_message && text != "." {
            continue;
        }
        let octets = answer(&text);
        in_message = octets.starts_with(b"354");
        stream.write_all(&octets)?;
    }
    Ok(())
}
