//! Faults in maps. A file can lose a page under its map, because somebody cuts the file or its disk fails.
//! That must cost a segment, not the process.
//!
//! # The invariant
//!
//! A store through a map to such a page is SIGBUS. The handler here puts anonymous memory under the rest of
//! that map and notes it, so that the store succeeds. The code that stores has to ask [`Guarded::is_hit`]
//! before it believes that the store reached the file.
//!
//! - An entry of the table names a range that is mapped: [`Guarded`] owns both, and takes the entry out
//!   before the map goes. The faulting thread holds its map for as long as the handler runs, and other
//!   maps lie elsewhere, so the entry that the address lies in is the right one.
//! - The handler calls nothing but atomics, mmap and sigaction, all of which a signal may interrupt.
//! - After a fault elsewhere the handler puts the former action back, and the fault happens again.

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

use memmap2::MmapRaw;

/// Maps of segments at once: those that each core writes and has ready, and those of full segments that
/// are kept for their next life. More: no segment is made, and mail is refused.
const MAPS_GUARDED_MAX: usize = 4_096;

/// `base` of an entry that is free, and of one that is being filled in: no map begins there.
const FREE: usize = 0;
const CLAIMED: usize = 1;

struct GuardedRange {
    base: AtomicUsize,
    len: AtomicUsize,
    hit: AtomicBool,
}

static TABLE: [GuardedRange; MAPS_GUARDED_MAX] = [const {
    GuardedRange {
        base: AtomicUsize::new(FREE),
        len: AtomicUsize::new(0),
        hit: AtomicBool::new(false),
    }
}; MAPS_GUARDED_MAX];

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);

static FORMER: OnceLock<libc::sigaction> = OnceLock::new();

/// A map whose faults are survived.
pub(super) struct Guarded {
    // Unmapped after the entry was freed.
    raw: MmapRaw,
    entry: &'static GuardedRange,
}

impl Guarded {
    pub(super) fn new(raw: MmapRaw) -> io::Result<Self> {
        install()?;
        let claim = |entry: &&GuardedRange| {
            let claimed = Ordering::AcqRel;
            entry.base.compare_exchange(FREE, CLAIMED, claimed, Ordering::Relaxed).is_ok()
        };
        let Some(entry) = TABLE.iter().find(claim) else {
            return Err(io::Error::other("there are too many maps"));
        };
        entry.hit.store(false, Ordering::Relaxed);
        entry.len.store(raw.len(), Ordering::Release);
        entry.base.store(raw.as_mut_ptr() as usize, Ordering::Release);
        Ok(Self { raw, entry })
    }

    /// Whether as many maps are left as are in use. Then a map may be retained that is not needed now.
    pub(super) fn are_few() -> bool {
        let is_free = |entry: &&GuardedRange| entry.base.load(Ordering::Relaxed) == FREE;
        TABLE.iter().filter(is_free).count() >= MAPS_GUARDED_MAX / 2
    }

    pub(super) fn raw(&self) -> &MmapRaw {
        &self.raw
    }

    /// Whether a page of the map was missing: what was stored to it, and above it, is not in the file.
    pub(super) fn is_hit(&self) -> bool {
        // The compiler must not move earlier stores past this. The handler runs on the thread that stores.
        compiler_fence(Ordering::SeqCst);
        self.entry.hit.load(Ordering::Acquire)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.entry.base.store(FREE, Ordering::Release);
    }
}

fn install() -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), i32>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
        put_handler().map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))
    });
    outcome.map_err(io::Error::from_raw_os_error)
}

fn put_handler() -> io::Result<()> {
    // SAFETY: all zeros is a valid value of this C structure.
    let (mut former, mut ours): (libc::sigaction, libc::sigaction) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: asks for the present action; `former` is ours to be written.
    check(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut former) })?;
    let former = FORMER.get_or_init(|| former);
    ours.sa_sigaction = on_fault as *const () as usize;
    // On the stack that the standard library has set up for such handlers, where a thread has one.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    ours.sa_mask = former.sa_mask;
    // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for and keeps to what a handler may do.
    check(unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) })
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a valid `info`. Its address is one only where
    // the kernel itself raised the signal: then the code is above 0.
    let fault = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    if fault.is_some_and(cover) {
        return;
    }
    let former = FORMER.get().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the former action came from the kernel; a null pointer would change nothing, and cannot be,
    // since the handler is put in place after it was noted.
    unsafe { libc::sigaction(signal, former, ptr::null_mut()) };
}

/// Puts memory under the guarded map that holds `address`, from its page on. Returns whether there is such
/// a map.
fn cover(address: usize) -> bool {
    let holds = |entry: &&GuardedRange| {
        let base = entry.base.load(Ordering::Acquire);
        let len = entry.len.load(Ordering::Acquire);
        // The base is read twice, so that base and length are those of one registration.
        let steady = entry.base.load(Ordering::Acquire) == base;
        steady && base > CLAIMED && address >= base && address - base < len
    };
    let Some(entry) = TABLE.iter().find(holds) else { return false };
    let page = address & !(PAGE_BYTES.load(Ordering::Relaxed) - 1);
    let end = entry.base.load(Ordering::Relaxed) + entry.len.load(Ordering::Relaxed);
    // SAFETY: `page..end` is the rest of a map that the faulting thread holds; what replaces it is
    // as readable and writable as it was, and nobody has references into it.
    let covered = unsafe {
        libc::mmap(
            page as *mut libc::c_void,
            end - page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if covered == libc::MAP_FAILED {
        return false;
    }
    entry.hit.store(true, Ordering::Release);
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use memmap2::MmapOptions;

    use super::*;

    const PAGES: usize = 16;
    const CHILD: &str = "RINGPOST_TEST_FAULT_CHILD";

    fn page() -> usize {
        rustix::param::page_size()
    }

    fn mapped() -> (std::fs::File, MmapRaw) {
        let file = tempfile::tempfile().unwrap();
        file.set_len((PAGES * page()) as u64).unwrap();
        let raw = MmapOptions::new().len(PAGES * page()).map_raw(&file).unwrap();
        (file, raw)
    }

    fn store(raw: &MmapRaw, at: usize, octet: u8) -> u8 {
        let target = raw.as_mut_ptr().wrapping_add(at);
        // SAFETY: inside of the map, in every call below.
        unsafe {
            target.write_volatile(octet);
            target.read_volatile()
        }
    }

    #[test]
    fn a_store_behind_the_end_of_the_file_is_survived_and_told_of() {
        let (file, raw) = mapped();
        let guarded = Guarded::new(raw).unwrap();
        let neighbour = Guarded::new(mapped().1).unwrap();
        file.set_len(3 * page() as u64 + 5).unwrap();
        for at in [2 * page(), 3 * page() + 9] {
            assert_eq!(store(guarded.raw(), at, 1), 1);
            assert!(!guarded.is_hit(), "the page in which the file ends is there whole");
        }
        // The rest of the map is put there at once; pages before it may still be missed.
        for at in [9 * page() + 7, PAGES * page() - 1, 4 * page()] {
            assert_eq!(store(guarded.raw(), at, 2), 2);
            assert!(guarded.is_hit());
        }
        assert_eq!(store(guarded.raw(), 9 * page() + 7, 3), 3);
        assert!(!neighbour.is_hit());
        drop(guarded);
        assert!(!Guarded::new(mapped().1).unwrap().is_hit(), "an entry begins anew");
    }

    #[test]
    fn threads_that_fault_at_the_same_time_do_not_meet() {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..200 {
                        let (file, raw) = mapped();
                        let guarded = Guarded::new(raw).unwrap();
                        let torn = (thread + round) % 3 > 0;
                        file.set_len(if torn { page() } else { PAGES * page() } as u64).unwrap();
                        for at in 0..PAGES {
                            store(guarded.raw(), at * page(), at as u8);
                        }
                        assert_eq!(guarded.is_hit(), torn);
                    }
                });
            }
        });
    }

    /// Not a test of its own: the other half of the next one, in a process that it may end.
    #[test]
    fn the_child_that_faults_outside_of_every_guarded_map() {
        let Ok(guards) = std::env::var(CHILD) else { return };
        let guarded = (guards == "1").then(|| Guarded::new(mapped().1).unwrap());
        let (file, raw) = mapped();
        file.set_len(0).unwrap();
        store(&raw, 0, 1);
        drop(guarded);
    }

    #[test]
    fn a_fault_elsewhere_ends_the_process_as_it_would_without_us() {
        for guards in ["0", "1"] {
            let name =
                "spool::write::sigbus::tests::the_child_that_faults_outside_of_every_guarded_map";
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(CHILD, guards)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.signal(), Some(libc::SIGBUS), "{guards}: {status}");
        }
    }
}
