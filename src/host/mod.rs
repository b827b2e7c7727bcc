//! The machine that the program runs on, as the kernel describes it: CPUs and their use, descriptors, the
//! clock, and files of text. This room knows nothing of sockets or mail.

mod affinity;
mod clock;
pub mod cpu;
mod descriptors;
mod text_file;

pub use affinity::{CoresError, allowed, cpus, pin};
pub use clock::unix_ns;
pub use cpu::{CpuTime, PageFaults, waited_by_task, waited_by_thread};
pub use descriptors::raise_descriptor_limit;
pub use text_file::{open_regular, open_to_write, read_regular, read_text};
