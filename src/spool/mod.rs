//! The spool: every message a sink took, in append-only segment files, one log for each core.
//!
//! Writers store through a map ([`Writer`]); readers use `read` ([`Reader`]), in this process or in
//! any other, while the sink runs. This page is the format to the byte: a reader can be written from
//! it alone, and one was (`tests/peers/spool_reader.py`).
//!
//! # The directory
//!
//! ```text
//! DIR/SPOOL                  "ringpost-spool 2\n"; flock(2)ed by the sink that writes here
//! DIR/c<core>-<number>.seg   core: at least 3 decimal digits, number: at least 8, zero padded
//! DIR/c<core>-<number>.new   a segment in the making, new or recycled: it holds nothing
//! DIR/delivered              what was handed on to other servers; may be missing
//! DIR/quarantine/            a spool of its own, of segments in doubt, as they were found
//! ```
//!
//! Mode 0700, files 0600. Segment numbers of a core only grow; a recycled segment file gets a new
//! number and a new name. Other files are none of ours and are ignored.
//!
//! # A segment
//!
//! All numbers are little endian and unsigned. CRC is CRC-32C (Castagnoli polynomial 0x1EDC6F41,
//! reflected, initial value and final xor 0xFFFFFFFF; "123456789" gives 0xE3069283).
//!
//! | at | octets | segment header |
//! |---:|---:|---|
//! | 0 | 8 | `RINGPOST` |
//! | 8 | 4 | version, 2 |
//! | 12 | 4 | number, as in the file name |
//! | 16 | 2 | core, as in the file name |
//! | 18 | 6 | zero |
//! | 24 | 8 | octets of the file when it was made |
//! | 32 | 8 | when it was made, Unix nanoseconds |
//! | 40 | 8 | nonce, random |
//! | 48 | 4 | mark: octets of this file that were on the disk once; 0 for none known |
//! | 52 | 4 | check of the mark; 0 while the mark is 0 |
//! | 56 | 4 | zero |
//! | 60 | 4 | CRC of octets 0 to 47 |
//!
//! The mark is written after a sync of everything below it has succeeded, may lag behind, and stands
//! where a record ends. Its check is the commit word (below) of the sequence number 2^64 - 1 - mark. In
//! version 1 octets 48 to 59 are zero, the CRC is of octets 0 to 59, and nothing is known of the disk;
//! all else is the same, and a `SPOOL` file that says 1 is as good.
//!
//! The last 8 octets of a file in the length in which it was made are a canary, and no record reaches to
//! them: nonce or 0x0101010101010101, so that none is zero. Its writer knows by them that nobody has cut
//! the file, and made it longer again; readers pass over them.
//!
//! A segment gets its name when its header is there. One of zeros alone, but for the canary, never began, and holds nothing: a
//! power cut leaves it. One whose first 64 octets are zeros and that holds anything else has lost its
//! header: a torn one, as a power cut leaves it, where its length is a multiple of 65,536, as when it
//! was made; one that was cut was on the disk before, and is damaged. Records follow from offset 64,
//! without gaps. A segment may be cut behind its last record.
//!
//! # A record
//!
//! | at | octets | record header |
//! |---:|---:|---|
//! | 0 | 4 | `RPR` and the octet 1 |
//! | 4 | 1 | kind: 1 single, 2 fragment, 3 seal |
//! | 5 | 1 | zero |
//! | 6 | 2 | core |
//! | 8 | 4 | number of this segment |
//! | 12 | 4 | draft: which open message of the core; never 0 |
//! | 16 | 8 | sequence: one more than the record before it in the segment |
//! | 24 | 8 | octets of the message's body up to and with this record |
//! | 32 | 4 | B: octets of body in this record |
//! | 36 | 4 | E: octets of envelope in this record; 0 in a fragment |
//! | 40 | 4 | flags; 0 in a fragment |
//! | 44 | 4 | segment of the previous fragment of this message, or 0 |
//! | 48 | 4 | offset of the previous fragment in that segment, or 0 for none |
//! | 52 | 4 | CRC of body and envelope |
//! | 56 | 4 | CRC of octets 0 to 55 |
//! | 60 | 4 | commit word |
//!
//! Behind the header stand B octets of body, then E octets of envelope, then zeros up to the next
//! multiple of 8, where the next header begins.
//!
//! The commit word is never 0. With all arithmetic modulo 2^64:
//!
//! ```text
//! mixed  = ((nonce xor sequence) * 0x9E3779B97F4A7C15) xor number
//! commit = ((mixed xor (mixed >> 32)) and 0xFFFFFFFF) or 1
//! ```
//!
//! Flags: 1 bare CR in the body, 2 bare LF, 4 BDAT, 8 octets above 0x7F, 16 SMTPUTF8, 32 NUL,
//! 64 LMTP, 128 TLS, 256 only the header block was kept (tag 13).
//!
//! # A message
//!
//! exists if and only if its last record, a single or a seal, is there and sound, and the chain of
//! back links from it ends at a fragment without one, each fragment sound, of the same draft, and with
//! the body octets that the later records leave to it. Its body is that of the fragments, first to
//! last, and then of the seal. Its name is the place of the last record,
//! `<core>-<segment>-<offset>` in decimal.
//!
//! A message that came whole is one single record, and that is the common case. Otherwise its first
//! pieces are fragments: many messages are open on a core at once, and a record that is open at the
//! head of the log becomes a fragment when another message needs the head, or when the segment ends.
//! A chain may cross segments, never cores. A fragment that no seal links to is dead room.
//!
//! # The envelope
//!
//! Values one after the other: tag (2 octets), length (2), value. Skip unknown tags. A missing text
//! is empty. Paths are without angle brackets; parameters are the raw text behind the path.
//!
//! | tag | value |
//! |---:|---|
//! | 1 | time of the first octet, 8 octets, Unix nanoseconds |
//! | 2 | time of the end of data, likewise |
//! | 3, 4 | client's address, address it came to |
//! | 5 | argument of HELO, EHLO or LHLO |
//! | 6 | protocol (RFC 3848) |
//! | 7, 8 | TLS version and cipher, identity of AUTH |
//! | 9, 10 | reverse path, its parameters |
//! | 11 | path of a recipient; one for each, in order |
//! | 12 | parameters of the recipient before it |
//! | 13 | octets of the message as it was sent, 8 octets; only with flag 256 |
//!
//! # Deliveries
//!
//! The file `delivered` says what became of recipients whose mail a sink handed on (ETRN, ATRN). It is
//! a row of records of 48 octets, appended to; a record tells of one recipient.
//!
//! | at | octets | delivery |
//! |---:|---:|---|
//! | 0 | 4 | `RPD` and the octet 1 |
//! | 4 | 1 | 1 delivered, 2 refused for good |
//! | 5 | 1 | zero |
//! | 6 | 2 | core |
//! | 8 | 4 | segment |
//! | 12 | 4 | offset: with the two before, the name of the message |
//! | 16 | 4 | number of the recipient, from 0 on, in the order of the envelope |
//! | 20 | 2 | reply code that decided it |
//! | 22 | 2 | zero |
//! | 24 | 8 | time of the end of data of the message, as in its envelope |
//! | 32 | 8 | when it was decided, Unix nanoseconds |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC of octets 0 to 43 |
//!
//! It belongs to a message only where name and time are the message's. A record with a wrong CRC, and
//! fewer than 48 octets at the end, are passed over. Recipients without a record wait. The record is
//! written when the next server has answered, so that a crash between the two means that a message
//! is sent twice; under [`Durability::Sync`] it is on the disk before the next message is sent. Records
//! of segments that are gone are dropped now and then: the file is written anew as `delivered.new`,
//! which takes its name.
//!
//! # What a crash leaves
//!
//! The writer stores, in this order: the marker `RPR` 1 at the head of the log, where 64 zeros were;
//! the payload; zeros behind it, the next slot's 64 among them; octets 0 to 59 of the header; and the
//! commit word, with release. A reader judges the 64 octets where the next header should be:
//!
//! | what is there | how it came | what a reader does |
//! |---|---|---|
//! | no octet, or fewer than 64 of a file in full length | the segment was cut here, or is full | clean end |
//! | fewer than 64 octets of a file that was cut | nothing is cut there | stops; reports the place |
//! | zeros | nothing was begun | clean end |
//! | marker, commit word 0 | the writer is at it, or died at it; it was never acknowledged | end; nothing is lost |
//! | sound header, sound payload | committed | takes it |
//! | sound header, payload CRC wrong | power cut before write-back, or damage | stops; reports the place |
//! | anything else | likewise | stops; reports the place |
//!
//! The mark tells the last two apart. A doubt at or above it is a torn end, which a power cut is allowed
//! to leave; a doubt below it is damage. So is an end below the mark, however clean it looks. An end
//! above it with sound record headers further on is torn too: the writer leaves no gaps. Without a mark
//! (version 1) every doubt is damage. A header that says another number than the file name is a torn
//! recycling, of which name or header came to the disk alone; one that says another core, and any other that
//! is not zero and not sound, is damage.
//!
//! and of the messages:
//!
//! | what is there | how it came | what a reader does |
//! |---|---|---|
//! | fragments without a seal | discarded, or open at the crash | counts them, lists nothing |
//! | a seal whose chain reaches below the lowest segment | the ring took the start | counts it, lists nothing |
//! | a seal whose chain breaks behind the end of a segment that is not damaged | power cut, or a disk that failed | reports it as torn, lists nothing |
//! | a seal whose chain breaks elsewhere | damage | reports it, lists nothing |
//!
//! Store order protects against the death of the process: the page cache lives on. A crash of the
//! machine writes pages back in any order or not at all; against it stand the checksums, and for what
//! was acknowledged under [`Durability::Sync`] the barrier before the 250. Octets of a recycled
//! segment's earlier life cannot pass for records: the nonce is new, and the slot behind the last
//! record is zeroed before that record is committed. A reader that meets a doubt in a live spool looks
//! a second time, and at the segment header too, before it believes it: it may have read a header half
//! stored, or a file recycled under it.
//!
//! # What an opener does
//!
//! A sink that opens a spool removes what was in the making, has every segment synced, marked and cut behind its last record, and removes
//! those without one. Of a segment that ends in a doubt it first puts a copy into `quarantine`, up to the
//! last octet that is not zero; one whose header is in doubt, or that holds something without having
//! one, is moved there. What is there is never reused or deleted, and not counted against the limit.
//!
//! # Reading it from Rust
//!
//! ```
//! use ringpost::spool::{Draft, Meta, Options, Reader, Spool, TicketFate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! // What a sink does. `Options::default()` is one core and 4 GiB at most.
//! let (spool, _, mut writers) = Spool::open(dir.path(), Options::default())?;
//! let (mut draft, meta) = (Draft::default(), Meta { reverse_path: b"a@x.test", ..Meta::default() });
//! let to: [(&[u8], &[u8]); 1] = [(b"b@y.test", b"NOTIFY=NEVER")];
//! writers[0].append(&mut draft, b"Subject: hello\r\n\r\nworld\r\n")?;
//! let sealed = writers[0].seal(&mut draft, &meta, to)?;
//! // Under `Durability::Process` this is known at once.
//! assert_eq!(writers[0].fate(sealed.ticket), TicketFate::Kept);
//!
//! // Needs no lock: the sink may go on writing.
//! let reader = Reader::open(dir.path())?;
//! let mut listing = reader.newest_first();
//! while let Some(message) = listing.next() {
//!     let message = message?;
//!     let mut body = Vec::new();
//!     listing.copy_body(&message, u64::MAX, &mut body)?;
//!     assert_eq!(message.envelope.recipients[0].path, b"b@y.test");
//!     assert_eq!(body, b"Subject: hello\r\n\r\nworld\r\n");
//! }
//! assert!(listing.survey().is_sound());
//!
//! // By the name in the sink's reply, here 0-1-64.
//! let message = reader.get(sealed.place.to_string().parse()?)?;
//! assert_eq!(reader.body(&message)?.len() as u64, message.bytes);
//!
//! // Every checksum, on two threads.
//! assert_eq!(reader.survey(2, &|_| {})?.messages, 1);
//! # drop((writers, spool));
//! # Ok(())
//! # }
//! ```

mod envelope;
mod error;
mod format;
mod options;
mod read;
mod write;

pub use envelope::{Envelope, Meta, Recipient, text};
pub use error::{Doubt, SpoolError};
pub use format::{BadPlace, Delivery, DeliveryFate, Place, RecordFlags};
pub use options::{Durability, Options, WhenFull};
pub use read::{
    CopyError, CoreSurvey, Damage, Deliveries, Listing, Message, Messages, Reader, Survey,
};
pub use write::{
    Barrier, DeliveryLog, Draft, Recovery, Sealed, Spool, Stats, Ticket, TicketFate, Watermark,
    Writer,
};
