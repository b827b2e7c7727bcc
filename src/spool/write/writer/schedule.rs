//! The spool in one thread: a writer, its helper, the write-back, group commit, sessions and a disk take
//! turns in an order that a seed chooses. After every step, what got 250 is looked at again.
//!
//! `RINGPOST_SCHEDULE_SEEDS=1000000 cargo test --release --lib schedule` for more of them (`scripts/drills
//! schedule`). A failure names its seed, and `RINGPOST_SEED` begins with it. What was played is told as a range,
//! so that several runs add up.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use self::helper::SteppedHelper;
use self::world::{Scene, World};
use crate::spool::error::SpoolError;
use crate::spool::write::job::Ready;
use crate::spool::write::planted::{PlantedFault, plant};

mod disk;
mod helper;
mod promises;
mod world;

/// Seeds of a run of the tests, unless `RINGPOST_SCHEDULE_SEEDS` says otherwise.
const SEEDS: u64 = 20_000;
/// Time after which such a run begins no further seed: this is a slow build on a busy machine.
const SEEDS_S: u64 = 20;
/// Seeds within which a fault that is put back has to be found.
const SEEDS_PER_FAULT: u64 = 20_000;

thread_local! {
    /// The helper of the writer that runs on this thread.
    static HELPER: RefCell<Option<Rc<RefCell<SteppedHelper>>>> = const { RefCell::new(None) };
}

/// The writer waits for its helper: lets it work until there is an answer. `None` where the helper has a
/// thread of its own.
pub(in crate::spool::write) fn wait(ready: &Receiver<Ready>) -> Option<Ready> {
    let helper = HELPER.with_borrow(Clone::clone)?;
    loop {
        match ready.try_recv() {
            Ok(ready) => return Some(ready),
            Err(TryRecvError::Disconnected) => return Some(Err(SpoolError::Closed)),
            Err(TryRecvError::Empty) => {
                assert!(helper.borrow_mut().work(), "the writer waits, and the helper has no job");
            }
        }
    }
}

/// Plays the schedule of a seed to its end.
fn play(seed: u64, scene: Option<Scene>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let scene = scene.unwrap_or_else(|| Scene::new(&mut random));
    let mut world = World::new(scene, random);
    HELPER.set(Some(world.helper.clone()));
    let steps = world.random.u32(20..90);
    for _ in 0..steps {
        world.step();
        world.check();
    }
    world.end();
    HELPER.set(None);
}

/// Whether the seed's schedule keeps all promises; else why not.
fn outcome(seed: u64, scene: Option<Scene>) -> Result<(), Box<dyn std::any::Any + Send>> {
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, scene)));
    HELPER.set(None);
    played
}

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn what_got_250_is_there_whatever_the_order_of_steps() {
    let asked = number_from("RINGPOST_SCHEDULE_SEEDS");
    let first = number_from("RINGPOST_SEED").unwrap_or(0);
    let (next, end) = (AtomicU64::new(first), first + asked.unwrap_or(SEEDS));
    let until = Instant::now() + Duration::from_secs(SEEDS_S);
    let threads =
        if asked.is_some() { thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    let played = || {
        crate::notice::hush();
        while asked.is_some() || Instant::now() < until {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Err(why) = outcome(seed, None) {
                let scene = Scene::new(&mut fastrand::Rng::with_seed(seed));
                println!("seed {seed} breaks a promise: {scene:?}");
                resume_unwind(why);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(played);
        }
    });
    println!("schedules of seeds {first}..{}", next.load(Ordering::Relaxed).min(end));
}

/// The first seed that finds the fault.
fn finds(fault: Option<PlantedFault>, scene: Option<Scene>) -> Option<u64> {
    crate::notice::hush();
    plant(fault);
    let found = (0..SEEDS_PER_FAULT).find(|seed| outcome(*seed, scene).is_err());
    plant(None);
    found
}

#[test]
fn faults_that_were_mended_are_found_when_they_are_put_back() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let two_segments = Some(Scene::of_two_segments());
    let found = [
        ("a stale start", finds(Some(PlantedFault::StaleStart), None)),
        ("what waits is recycled", finds(Some(PlantedFault::TakesWhatWaits), None)),
        ("a ring of two segments", finds(None, two_segments)),
        (
            "a piece in a segment that was given up",
            finds(Some(PlantedFault::GoesOnInGivenUp), None),
        ),
    ];
    std::panic::set_hook(hook);
    println!("{found:?}");
    assert!(found.iter().all(|(_, seed)| seed.is_some()), "{found:?}");
}
