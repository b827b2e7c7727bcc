//! The generator allocates nothing per message, by the clock or as fast as it can.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::misbehave::Misbehave;
use ringpost::blast::plan::{Load, Plan, Stop};
use ringpost::blast::policy::ErrorPolicy;
use ringpost::blast::reach::Reach;
use ringpost::blast::schedule::{Profile, Schedule, Spacing};
use ringpost::engine::{self, Io};
use ringpost::smtp::client::{Hello, Pipelining};
use ringpost::target::Target;
use ringpost::{blast, measure::Conditions};

/// Counts the allocations of the whole process: the server is another one.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system allocator unchanged; counting touches an atomic alone.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Sink {
    child: Child,
    target: String,
}

impl Sink {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringpost-sink"))
            .args(["--listen", "smtp://127.0.0.1:0", "--discard", "--cores", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).find(|line| line.starts_with("listening "));
        let target = said.expect("a listener")["listening ".len()..].to_owned();
        Self { child, target }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Allocations of a run with so many messages.
fn allocations(sink: &Sink, load: &Load, pipelining: Pipelining, messages: u64) -> u64 {
    let (engine, _) = engine::choose(Io::Auto).unwrap();
    let plan = Plan {
        targets: Target::parse(&sink.target, &[]).unwrap().into(),
        connections: 8,
        load: load.clone(),
        stop: Stop::Messages(messages),
        warmup: Duration::ZERO,
        cooldown: Duration::ZERO,
        drain: Duration::from_secs(10),
        think: None,
        content: Content::plain(Spread::one(1_024), "a@client.example", "b@server.example"),
        per_connection: None,
        pipelining,
        chunking: false,
        depth: 1,
        hello: Hello::Extended,
        helo: "client.example".to_owned(),
        login: None,
        cpus: engine::allowed().unwrap().into_iter().next_back().into_iter().collect(),
        engine,
        reach: Reach::default(),
        policy: ErrorPolicy::default(),
        misbehave: Misbehave::default(),
        trace: 0,
        out: None,
        fail_if: Conditions::default(),
        command: Vec::new(),
    };
    let before = ALLOCATIONS.load(Relaxed);
    let run = blast::run(&plan, Arc::default(), &mut |_, _, _| ()).unwrap().run;
    assert_eq!(run.messages_ok, messages);
    ALLOCATIONS.load(Relaxed) - before
}

#[test]
fn ten_times_the_messages_cost_no_more_allocations_but_those_of_each_second() {
    let sink = Sink::start();
    let profile = Profile::constant(4_000.0).unwrap();
    let by_the_clock = Load::Messages(Schedule { profile, spacing: Spacing::Poisson });
    for (load, pipelining) in [
        (Load::Closed, Pipelining::None),
        (Load::Closed, Pipelining::Full),
        (by_the_clock, Pipelining::None),
    ] {
        let few = allocations(&sink, &load, pipelining, 2_000);
        let many = allocations(&sink, &load, pipelining, 20_000);
        let more = many.saturating_sub(few);
        // A second's tally is some 60 boxes; a run takes a few seconds, more on a busy machine.
        assert!(more < 18_000 / 10, "{more} more for 18,000 messages: {load:?}, {pipelining:?}");
    }
}
