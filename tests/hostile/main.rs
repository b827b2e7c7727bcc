//! Input from strangers: nothing that is printed steers a terminal, and whatever is read takes bounded time
//! and memory.

mod memory;
mod printed;
mod program;
#[path = "../report/support.rs"]
mod report;
mod runs;
