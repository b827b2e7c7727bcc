//! The machine that the program runs on, as the kernel tells of it: CPUs and what they were used for,
//! descriptors, the clock. Knows no socket and no mail.

mod affinity;
mod clock;
pub mod cpu;
mod descriptors;

pub use affinity::{CoresError, allowed, cpus, pin};
pub use clock::unix_ns;
pub use cpu::{CpuTime, PageFaults, waited_by_task, waited_by_thread};
pub use descriptors::raise_descriptor_limit;
