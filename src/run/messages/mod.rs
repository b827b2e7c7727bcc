//! `run.msgs`: what became of each message of a run, by core and number, and to whom each was sent.
//!
//! All numbers are little endian. The file is a head and blocks:
//!
//! | octets | of the head |
//! |---|---|
//! | 0..8 | `RPMSGS01` |
//! | 8..16 | `run=` of the stamps |
//! | 16..24 | start of the clock of the run, Unix nanoseconds |
//! | 24..32 | seed of the run, which fills random places of addresses |
//! | 32..36, 36..40, 40..44 | cores, different messages, and different envelopes |
//! | 44..46 | `shard=` of the stamps |
//! | 46..60 | 0 |
//! | 60..64 | CRC-32C of octets 0..60 |
//!
//! | octets | of a block |
//! |---|---|
//! | 0 | kind: 1 envelopes, 2 messages, 3 fates, 4 the end |
//! | 1 | 0 |
//! | 2..4 | core of the fates |
//! | 4..8, 8..12 | how many things it holds, and octets of them |
//! | 12..16 | CRC-32C of the block with 0 in this place |
//! | 16..24 | lowest `seq` of the fates; in the end block, messages whose fate is not in the file |
//! | 24.. | the things |
//!
//! An envelope is a u16, its recipients, and for each: u16 octets of the path, u16 places in it that differ by
//! message, the path, and for each place u16 where, u8 how wide, u8 kind (0 number, 1 random), u32 salt.
//! A message is a u32, which envelope it has, and a u64, its octets. Message `seq` of `core` is the one with index
//! `((seq - 1) * cores + core) % messages`.
//!
//! A fate has 16 octets: u32 `seq` less the lowest; u8 outcome (0 accepted, 1 refused with 4xx, 2 refused in
//! another way, 3 without an answer) and 128 if it is in the figures of the run; u8 target, from 0 on; u16 recipients that
//! were accepted; u64 when its last reply came or it was given up, nanoseconds since the start.
//!
//! A file without an end block is torn: the run was killed, or the file was cut.

mod fate;
mod format;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod write;

pub use fate::MessageFate;
pub use format::MessagesHead;
pub use read::{FatesEnd, MessagesError, RunMessages};
pub use table::{PathPattern, SentEnvelope, SentMessage, SentTable};
pub use write::RunMessagesWriter;
