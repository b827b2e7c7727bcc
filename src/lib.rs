//! ringpost: an SMTP sink on io_uring with a memory-mapped spool, and a load generator with honest
//! latency histograms.
//!
//! The path of a message through the sink:
//!
//! ```text
//! kernel --recv--> [engine] buffer --&[u8]--> [smtp] Event::Body(&[u8]) --copy--> [spool] record
//!                                    uses [scan]                                    | seal
//! kernel <--send-- replies <--------- [sink] session <--- the message is kept ------+
//! ```
//!
//! Each module is a room. It imports the rooms of its last column and no others, and all of them are below
//! it. `tests/tidy` holds this table and the one in README against the code.
//!
//! | room | what it holds | imports |
//! |---|---|---|
//! | `bin` | the three programs: allocator and `main` | everything |
//! | [`cli`] | command lines and `--help`: clap types in, checked plans out; the manual, exit codes | sink, blast, report, delivery, mailbox, relay, rules, dial, smtp, spool, engine, tls, run, measure, host, human, notice, printable, limits |
//! | [`report`] | how a run is shown: text, live view, HTML with charts; two runs compared | run, measure, human, notice, printable, limits |
//! | [`delivery`] | a run held against a spool: delivered, lost, doubled, altered, late | run, smtp, spool, stamp, measure |
//! | [`blast`] | the generator: plan, load schedule, message content, cores and targets, session, bad clients, search for a rate, self-test | dial, smtp, stamp, spool, engine, run, measure, host, human, notice, printable, limits |
//! | [`sink`] | the server: listen, accept, PROXY header, limits for peers, session, message, group commit, counters | relay, rules, smtp, spool, engine, tls, host, scan, human, notice, printable, limits |
//! | [`relay`] | ETRN and ATRN: the queue of waiting mail, and its delivery to the next server | mailbox, dial, smtp, spool, engine, host, human, notice, printable, limits |
//! | [`mailbox`] | stored messages: selected, counted, exported as Maildir, mbox, eml or JSON lines | smtp, stamp, spool, scan, printable, limits |
//! | [`run`] | one run as files (JSON, hlog, hgrm, CSV, messages): written, read, merged; verdict, thresholds, curve | smtp, measure, host, human, printable, limits |
//! | [`dial`] | one client conversation with a target: connect, send, read replies | smtp, engine, tls |
//! | [`engine`] | sockets, tasks, timers and signals on io_uring (tokio-uring) or epoll (tokio) | tls, limits |
//! | [`tls`] | TLS 1.2 and 1.3 without I/O, on rustls: open, seal, close, facts; certificates | limits |
//! | [`rules`] | faults on demand: which fault strikes which session, decided by a seed | nothing |
//! | [`smtp`] | the protocol of both sides: commands, replies, extensions, AUTH, envelope, dots; it does no I/O | scan, limits |
//! | [`spool`] | the store: the format of its files, `write/` with recovery, `read/` with verification | human, notice, limits |
//! | [`stamp`] | the header line `X-Ringpost`, by which a message is recognised again | nothing |
//! | [`measure`] | latency histograms and counters of one core by phase and outcome, and their sums | printable, limits |
//! | [`scan`] | fast search in octets: CRLF, dots, bare CR and LF, the end of a header | nothing |
//! | [`host`] | the machine: CPUs, affinity, descriptors, clock | nothing |
//! | [`human`] | numbers as people read them: times, counts, rates, sizes, shares | nothing |
//! | [`limits`] | limits that relate rooms or come from an RFC | nothing |
//! | `notice` | one line on stderr, which nobody has to read | printable |
//! | `printable` | text from elsewhere, made fit for a terminal | nothing |
//!
//! [`smtp`], [`spool`] and [`engine`] do not know each other. They meet in few files of [`sink`], [`blast`]
//! and [`relay`]. [`smtp`] and [`scan`] name no socket, file, clock or runtime.

pub mod blast;
pub mod cli;
pub mod delivery;
pub mod dial;
pub mod engine;
pub mod host;
pub mod human;
pub mod limits;
pub mod mailbox;
pub mod measure;
mod notice;
mod printable;
pub mod relay;
pub mod report;
pub mod rules;
pub mod run;
pub mod scan;
pub mod sink;
pub mod smtp;
pub mod spool;
pub mod stamp;
pub mod tls;
