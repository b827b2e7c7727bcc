//! The spool: every message that a sink has taken, in append-only segment files, one log for each core.
//!
//! A [`Writer`] stores through a memory map. A [`Reader`] uses read(2), in the same process or in
//! another, while the sink runs. This page describes the format to the byte: a reader can be written
//! from it alone, and `tests/peers/spool_reader.py` was.
//!
//! # The directory
//!
//! ```text
//! DIR/SPOOL                  "ringpost-spool 2\n"; the sink that writes here holds flock(2) on it
//! DIR/c<core>-<number>.seg   core: at least 3 decimal digits, number: at least 8, zero padded
//! DIR/c<core>-<number>.new   a segment that is being made, new or recycled: it holds no message
//! DIR/numbers                from which number on segments have had none; may be missing
//! DIR/delivered              what was handed on to other servers; may be missing
//! DIR/marks                  a name that is kept free (see "What may be added")
//! DIR/quarantine/            a spool of its own: doubtful segments, as they were found
//! ```
//!
//! The directories have mode 0700, the files 0600. The segment numbers of a core only grow: a segment
//! file that is recycled gets a new number and a new name, which no file has. A segment has no more zeros in
//! its name than it must have. Readers and writers open regular files alone: they follow no symbolic link
//! inside a spool, and wait for no FIFO. They ignore all other files, and say so of those that look like
//! segments.
//!
//! # A segment
//!
//! All numbers are unsigned and little endian. CRC is CRC-32C (Castagnoli polynomial 0x1EDC6F41,
//! reflected, initial value and final xor 0xFFFFFFFF; "123456789" gives 0xE3069283).
//!
//! | at | octets | segment header |
//! |---:|---:|---|
//! | 0 | 8 | `RINGPOST` |
//! | 8 | 4 | version, 2 |
//! | 12 | 4 | number, as in the file name |
//! | 16 | 2 | core, as in the file name |
//! | 18 | 6 | zero |
//! | 24 | 8 | length of the file when it was made, octets |
//! | 32 | 8 | when it was made, Unix nanoseconds |
//! | 40 | 8 | nonce, random |
//! | 48 | 4 | mark: so many octets from the start of the file have reached the disk; 0 while none are known to |
//! | 52 | 4 | check of the mark; 0 while the mark is 0 |
//! | 56 | 4 | zero |
//! | 60 | 4 | CRC of octets 0 to 47 |
//!
//! The writer sets the mark after a sync of everything below it has succeeded. The mark may lag, and it
//! always stands where a record ends. Its check is the commit word (below) of the sequence number
//! 2^64 - 1 - mark. In version 1, octets 48 to 59 are zero, the CRC covers octets 0 to 59, and nothing is
//! known of the disk. Everything else is the same, and a `SPOOL` file that says 1 is valid too.
//!
//! While a file has the length in which it was made, its last 8 octets are a canary, and no record
//! reaches to them. The canary is the nonce or 0x0101010101010101, so that none of its octets is zero. The
//! writer sees by the canary whether somebody has cut the file, even if the file was made longer again
//! afterwards. Readers pass over it.
//!
//! A segment gets its name after its header is stored. So the first 64 octets of a segment are zero only
//! after a crash of the machine, or where it was damaged:
//!
//! - If all other octets are zero too, but for the canary, the segment was never begun and holds nothing.
//! - If others are not zero, the segment has lost its header. Where the length of the file is a multiple
//!   of 65,536, as it was made, a power cut can have done this, and the segment is torn. A file of another
//!   length was cut by an opener, and so was on the disk before: the segment is damaged.
//!
//! Records follow from offset 64 on, without gaps. A segment may be cut after its last record.
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
//! | 12 | 4 | draft: which of the core's open messages this is a piece of; never 0 |
//! | 16 | 8 | sequence: one more than that of the record before it in the segment |
//! | 24 | 8 | octets of the message's body up to the end of this record |
//! | 32 | 4 | B: octets of body in this record |
//! | 36 | 4 | E: octets of envelope in this record; 0 in a fragment |
//! | 40 | 4 | flags; 0 in a fragment |
//! | 44 | 4 | segment of the previous fragment of this message, or 0 |
//! | 48 | 4 | offset of the previous fragment in that segment, or 0 for none |
//! | 52 | 4 | CRC of body and envelope |
//! | 56 | 4 | CRC of octets 0 to 55 |
//! | 60 | 4 | commit word |
//!
//! After the header come B octets of body, E octets of envelope, and zeros up to the next multiple of 8,
//! where the next header begins.
//!
//! The commit word is never 0. With all arithmetic modulo 2^64:
//!
//! ```text
//! mixed  = ((nonce xor sequence) * 0x9E3779B97F4A7C15) xor number
//! commit = ((mixed xor (mixed >> 32)) and 0xFFFFFFFF) or 1
//! ```
//!
//! Flags: 1 a bare CR in the body, 2 a bare LF, 4 BDAT, 8 octets above 0x7F, 16 SMTPUTF8, 32 a NUL,
//! 64 LMTP, 128 TLS, 256 only the header block was stored (tag 13).
//!
//! # A message
//!
//! A message exists if and only if these hold:
//!
//! - Its last record, a single or a seal, is there and sound.
//! - The chain of links to previous fragments that begins at this record ends at a fragment without a link.
//! - Each fragment of the chain is sound, has the same draft, and holds as many octets of the body as the
//!   later records leave to it.
//!
//! Its body is the bodies of the fragments, first to last, and then that of the seal. Its name is the
//! place of its last record, `<core>-<segment>-<offset>` in decimal.
//!
//! Most messages arrive in one piece and are one single record. Otherwise the first pieces of the message
//! are fragments: many messages are open on a core at once, and the record that is open at the end of the
//! log becomes a fragment when another message needs that place, or when the segment is full. A chain may
//! lead from one segment to another, but never to another core. A fragment to which no seal leads is
//! dead room, and the writer gives it back: a segment that it has left and that holds nothing else is
//! removed, and at the end of the log it stores zeros over the headers of dead fragments, from the last to
//! the first, and goes on at the first. It takes nothing back for which a sync was asked, so the mark is
//! never above the end of the log. What stands after the end is part of no record, and is overwritten.
//!
//! # The envelope
//!
//! It is a row of values, each with its tag (2 octets) and its length (2) before it. Skip unknown tags. A
//! text that is missing is empty. Paths have no angle brackets; parameters are the raw text after the path.
//!
//! | tag | value |
//! |---:|---|
//! | 1 | time of the first octet, 8 octets, Unix nanoseconds |
//! | 2 | time of the end of data, likewise |
//! | 3, 4 | the client's address, the address that it connected to |
//! | 5 | argument of HELO, EHLO or LHLO |
//! | 6 | protocol (RFC 3848) |
//! | 7 | TLS: lines `name=value` with LF between (below); missing if the message came in plain text |
//! | 8 | identity of AUTH |
//! | 9, 10 | reverse path, its parameters |
//! | 11 | path of a recipient; one for each, in order |
//! | 12 | parameters of the recipient before it |
//! | 13 | octets of the message as it was sent, 8 octets; only with flag 256 |
//! | 14 | how the client strayed from the grammar of SMTP: names of ASCII letters, digits and hyphens, with commas between |
//!
//! The lines of tag 7 are `version` (`TLSv1.2`, `TLSv1.3`), `suite` and `group` (names of IANA), `sni` (the name
//! that the client asked for), `resumed=yes`, `client-sha256` (of the client's certificate, hexadecimal) and
//! `client-subject` (its distinguished name). What is not known or not so has no line. Skip unknown names.
//!
//! # Numbers
//!
//! The file `numbers` has 16 octets: `RPNUMB`, the octets 1 and 0, a number (4), and the CRC of the 12 octets
//! before it. No segment was ever given that number or a higher one. The writer raises it before it uses
//! numbers, in steps, and lowers it to what it has used when it ends in order. So a number is given once in
//! the life of a spool, also if its segments are moved away. The highest number is 4,000,000,000; a file
//! with a higher one is read as any other, and is no reason to give higher ones. If the file is missing or
//! damaged, the numbers go on above those of the segments that are there, and in `quarantine`. When they are
//! used up, the writer takes no more mail, and never begins again at a lower one. With segments of 32 MiB that
//! is after 128 PiB; with the smallest of the sink, of 4 MiB, after half a year at a gigabyte a second.
//!
//! # Deliveries
//!
//! The file `delivered` says what became of recipients whose mail a sink has handed on (ETRN, ATRN). It
//! is a row of records of 48 octets, one for each recipient. New ones are appended.
//!
//! | at | octets | delivery |
//! |---:|---:|---|
//! | 0 | 4 | `RPD` and the octet 1 |
//! | 4 | 1 | 1 delivered, 2 refused for good |
//! | 5 | 1 | zero |
//! | 6 | 2 | core |
//! | 8 | 4 | segment |
//! | 12 | 4 | offset: with core and segment, the name of the message |
//! | 16 | 4 | number of the recipient, from 0 on, in the order of the envelope |
//! | 20 | 2 | code of the reply that decided it |
//! | 22 | 2 | zero |
//! | 24 | 8 | time of the end of data of the message, as in its envelope |
//! | 32 | 8 | when it was decided, Unix nanoseconds |
//! | 40 | 4 | zero |
//! | 44 | 4 | CRC of octets 0 to 43 |
//!
//! A record belongs to a message only if both name and time are those of the message. Readers pass over a
//! record with a wrong CRC, and over fewer than 48 octets at the end of the file. A recipient without a
//! record still waits. The sink writes the record after the next server has answered, so after a crash
//! between the two it sends the message again. Under [`Durability::Sync`] the record is on the disk before
//! the next message is sent. Now and then the sink drops the records of segments that are gone: it writes
//! the file anew as `delivered.new` and renames that.
//!
//! # What may be added
//!
//! These may come without a new version, because a program that does not know them passes over them and reads
//! the rest right: tags of the envelope, names in tags 7 and 14, flags, and files and directories beside those
//! that are listed above. `marks` is the name of a file for notes on messages (read, labels, removed), each
//! under the name of its message. Nothing writes it yet, and readers and writers leave it alone.
//!
//! All else is a new version: another header of segments or records, another kind of record, another meaning of
//! a field, wider numbers. The marker names the version, and each segment names its own. A program that does
//! not know the version of the marker touches nothing. A sink that opens a spool of version 1 makes the marker say 2 and goes
//! on in new segments of version 2; the old ones stay as they are, and are read and recycled as all others.
//!
//! # What a crash leaves
//!
//! The writer stores in this order:
//!
//! 1. the marker `RPR` 1 at the end of the log, where 64 zeros were;
//! 2. the payload;
//! 3. zeros after the payload, with the 64 of the next slot;
//! 4. octets 0 to 59 of the header;
//! 5. the commit word, with release ordering.
//!
//! A reader judges the 64 octets where the next header should be:
//!
//! | what is there | how it came | what a reader does |
//! |---|---|---|
//! | no octet, or fewer than 64 in a file of full length | the segment was cut here, or is full | clean end |
//! | fewer than 64 octets in a file that was cut | no opener cuts there | stops; reports the place |
//! | zeros | nothing was begun here | clean end |
//! | marker, commit word 0 | the writer is storing the record, or died while it did; nobody acknowledged it | end; nothing is lost |
//! | sound header, sound payload | committed | takes it |
//! | sound header, payload CRC wrong or octets after the payload not zero | a power cut before write-back, or damage | passes over the record; reports the place |
//! | anything else | a power cut before write-back, or damage | stops; reports the place |
//!
//! The mark tells a power cut from damage. A doubtful place at the mark or above it is a torn end, which a
//! power cut may leave; a doubtful place below the mark is damage. An end below the mark is damage too,
//! however clean it looks. An end above the mark is torn if sound record headers follow later in the
//! file, since the writer leaves no gaps. In version 1, which has no mark, every doubtful place is damage.
//! A segment header with a number or a core that is not that of the file name is damage: the file was renamed,
//! or a power cut came while it was reused, and of the new name and the new header only one has reached the
//! disk. Any other header that is neither zero nor sound is damage too.
//!
//! And it judges the messages:
//!
//! | what is there | how it came | what a reader does |
//! |---|---|---|
//! | fragments without a seal | discarded, or open at the crash | counts them, lists nothing |
//! | a seal whose chain leads below the lowest segment | the ring has recycled the start | counts it, lists nothing |
//! | a seal whose chain breaks at a torn fragment, or after the end of a segment that is not damaged | a power cut, or a disk that failed | reports it as torn, lists nothing |
//! | a seal whose chain breaks elsewhere | damage | reports it, lists nothing |
//!
//! The order of the stores protects against the death of the process, since the page cache survives it. A
//! crash of the machine is another matter: the kernel writes pages back in any order, or not at all. The
//! checksums are there for that, and, for what is acknowledged under [`Durability::Sync`], the barrier
//! before the 250. Octets of a recycled segment's earlier life cannot pass for records, since the nonce is
//! new, and since the slot after a record is zeroed before that record is committed. A reader that meets a
//! doubtful place in a live spool reads that place and the segment header once more before it believes
//! what it saw: it may have read a header that was half stored, or a file that was being recycled. If it
//! came there over fragments, it also looks whether the last of them is still there. If not, the writer has
//! taken it back, and the reader goes on after the last record before it that is no fragment.
//!
//! # What an opener does
//!
//! A sink that opens a spool removes the segments that were being made. It syncs every other segment, sets
//! its mark and cuts it after its last record; it removes a segment that has no record. The mark stays below
//! the first record with a torn payload, so that this record is not called damaged the next time. If nothing
//! in the spool is doubtful, fragments that no message needs count as no records there. If a segment ends
//! at a doubtful place, the sink first puts a copy into `quarantine`, up to the last octet that is not zero.
//! It moves a segment there whose header is doubtful or lost. What is in `quarantine` is never recycled
//! or deleted, and does not count against the limit.
//!
//! # Reading it from Rust
//!
//! ```
//! use ringpost::spool::{Draft, Meta, Options, Reader, Spool, TicketFate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! // What a sink does. `Options::default()` has one core and a limit of 4 GiB.
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
//!     assert_eq!(message.envelope.recipients.get(0).unwrap().path, b"b@y.test");
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
mod file;
mod format;
mod options;
mod read;
mod recipients;
mod stored_tls;
mod write;

pub use envelope::{Meta, SessionMeta, StoredEnvelope, Text, text};
pub use error::{Doubt, SpoolError};
pub use format::{BadPlace, Delivery, DeliveryFate, Place, RecordFlags};
pub use options::{Durability, Options, WhenFull};
pub use read::{
    CopyError, CoreSurvey, Damage, Deliveries, Listing, Message, Messages, Reader, Survey,
};
pub use recipients::{Recipient, RecipientList};
pub use stored_tls::{StoredClient, StoredTls};
pub use write::{
    Barrier, DeliveryLog, Draft, Recovery, Sealed, Spool, Stats, Ticket, TicketFate, Watermark,
    Writer,
};
