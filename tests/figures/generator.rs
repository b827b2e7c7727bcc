//! The generator as a program, which may be held up at random moments.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use ringpost::host;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::pulse::tell;

/// What takes a second may take a minute on a busy machine; what takes longer hangs.
const RUN_S_MAX: u64 = 120;

/// What holds the generator up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Disturbance {
    None,
    /// Stopped now and then, for up to 200 ms.
    Stopped,
    /// Stopped for half of the time, a few milliseconds each.
    Slowed,
}

/// One run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) run: Value,
    pub(crate) errors: String,
    /// Its artefacts are in `run` below it.
    pub(crate) dir: tempfile::TempDir,
}

impl Ran {
    /// A count of `run.json`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.run[name].as_u64().unwrap_or_else(|| panic!("{name} in {}", self.run))
    }

    pub(crate) fn float(&self, path: &str) -> f64 {
        let value = self.run.pointer(path).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("{path} in {}", self.run))
    }

    pub(crate) fn verdict(&self) -> &str {
        self.run["verdict"].as_str().unwrap()
    }
}

/// Kills the program where a test ends before it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A list of CPUs for `--cores`: `count` of those that this process may use.
pub(crate) fn cores(count: usize) -> String {
    let mut cpus = host::allowed().unwrap();
    let first = cpus.len().saturating_sub(count);
    // A range of one is a list, where a number would be a count.
    cpus.drain(first..).map(|cpu| format!("{cpu}-{cpu}")).collect::<Vec<_>>().join(",")
}

/// Whether the machine has so many CPUs.
pub(crate) fn has_cores(count: usize) -> bool {
    host::allowed().unwrap().len() >= count
}

/// Tries of a run for whose io_uring the kernel has no memory: its limit is one for all programs of a user.
const URING_TRIES: u32 = 20;

/// What such a generator says.
const NO_MEMORY: &str = "cannot start: io_uring refused with ENOMEM";

/// Runs the generator to its end. Its artefacts go into a directory of its own. Where there is no memory for its
/// io_uring, that is told, and the run is judged on epoll.
pub(crate) fn run(arguments: &[String], disturbance: Disturbance, seed: u64) -> Ran {
    for _ in 0..URING_TRIES {
        match try_run(arguments, disturbance, seed) {
            Ok(ran) => return ran,
            Err(told) => assert!(told.contains(NO_MEMORY), "{told}"),
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    tell(&format!(
        "not judged on io_uring, for which there was no memory: {}",
        arguments.join(" ")
    ));
    let mut arguments = arguments.to_vec();
    match arguments.iter().position(|word| word == "--io") {
        Some(at) => arguments[at + 1] = "epoll".to_owned(),
        None => arguments.extend(words("--io epoll")),
    }
    try_run(&arguments, disturbance, seed).unwrap_or_else(|told| panic!("{told}"))
}

/// One try. Fails with what there is to tell where the generator left no result.
fn try_run(arguments: &[String], disturbance: Disturbance, seed: u64) -> Result<Ran, String> {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpost-blast"));
    let errors = std::fs::File::create(dir.path().join("stderr")).unwrap();
    command.args(arguments).args(["--live", "off", "--out"]).arg(dir.path().join("run"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let mut child = Guard(command.spawn().unwrap());
    let status = wait(&mut child.0, disturbance, seed)
        .unwrap_or_else(|| panic!("{arguments:?} did not end within {RUN_S_MAX} s"));
    let errors = std::fs::read_to_string(dir.path().join("stderr")).unwrap();
    let file = dir.path().join("run/run.json");
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{arguments:?}: {error}; {status}; {errors}"))?;
    Ok(Ran { status, run: serde_json::from_str(&text).unwrap(), errors, dir })
}

/// Waits for the end, and holds the program up meanwhile.
fn wait(child: &mut Child, disturbance: Disturbance, seed: u64) -> Option<ExitStatus> {
    let mut random = random(seed);
    let pid = Pid::from_child(child);
    let deadline = Instant::now() + Duration::from_secs(RUN_S_MAX);
    let pause = |ms| std::thread::sleep(Duration::from_millis(ms));
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        let (go_ms, stop_ms) = match disturbance {
            Disturbance::None => (5, 0),
            Disturbance::Stopped => (random.u64(5..150), random.u64(1..200)),
            Disturbance::Slowed => (random.u64(1..6), random.u64(1..6)),
        };
        pause(go_ms);
        if stop_ms > 0 && child.try_wait().unwrap().is_none() {
            // A child that was not waited for keeps its number.
            kill_process(pid, Signal::STOP).unwrap();
            pause(stop_ms);
            kill_process(pid, Signal::CONT).unwrap();
        }
    }
    None
}

/// Random numbers from a seed. Those of seeds that follow each other are independent.
pub(crate) fn random(seed: u64) -> fastrand::Rng {
    let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    fastrand::Rng::with_seed(mixed ^ (mixed >> 32))
}

/// A command line from words with blanks between them.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
