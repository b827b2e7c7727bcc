//! The generator allocates nothing per message, by the clock or as fast as it can.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringpost::blast;
use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Load, Plan, StopAfter};
use ringpost::blast::schedule::{Profile, Schedule, Spacing};
use ringpost::dial::Target;
use ringpost::engine::{self, Io};
use ringpost::host;
use ringpost::smtp::client::Pipelining;
use tempfile::TempDir;

/// Counts the allocations of all threads but the test's, which are the generator's cores: the server
/// is another process. The test's own thread collects what they hand over, a few boxes a second.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static COLLECTS: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // Where a thread ends its locals are gone, and what it allocates then is no message's.
    if COLLECTS.try_with(Cell::get) == Ok(false) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

// SAFETY: every call goes to the system allocator unchanged; counting touches an atomic and a
// thread's own flag, neither of which allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
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
    let targets = Target::parse(&sink.target, &[]).unwrap().into();
    let content = Content::plain(Spread::one(1_024), "a@client.example", "b@server.example");
    let cpus = host::allowed().unwrap().into_iter().next_back().into_iter().collect();
    let dir = TempDir::new().unwrap();
    let plan = Plan {
        // Its cores tell of each message, and another thread writes that.
        out: Some(dir.path().join("run")),
        connections: 8,
        load: load.clone(),
        stop: StopAfter::Messages(messages),
        pipelining,
        ..Plan::new(targets, content, cpus, engine)
    };
    COLLECTS.set(true);
    let before = ALLOCATIONS.load(Relaxed);
    let run = blast::run(&plan, Arc::default(), &mut |_, _, _| ()).unwrap().run;
    assert_eq!(run.counts.messages_ok, messages);
    ALLOCATIONS.load(Relaxed) - before
}

/// What a core may allocate beside its messages: a tally of some 20 boxes for each second in which a busy
/// machine keeps the collector from giving the last one back, and a queue that grows once.
const BESIDE: u64 = 100;

#[test]
fn eighteen_thousand_messages_more_cost_a_core_no_allocation() {
    let sink = Sink::start();
    let profile = Profile::constant(4_000.0).unwrap();
    let by_the_clock = Load::Messages(Schedule { profile, spacing: Spacing::Poisson });
    // The first run of a process makes what the others find.
    allocations(&sink, &Load::Closed, Pipelining::None, 200);
    for (load, pipelining) in [
        (Load::Closed, Pipelining::None),
        (Load::Closed, Pipelining::Full),
        (by_the_clock, Pipelining::None),
    ] {
        let few = allocations(&sink, &load, pipelining, 2_000);
        let many = allocations(&sink, &load, pipelining, 20_000);
        let more = many.saturating_sub(few);
        assert!(more < BESIDE, "{few}, then {many}: {load:?}, {pipelining:?}");
    }
}
