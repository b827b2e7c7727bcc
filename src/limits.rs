//! Bounds that two rooms must agree on, or that an RFC sets: unit in the name, the reason beside it,
//! and what happens there. A bound that one file alone knows stands in that file.
//!
//! Where bounds depend on each other, the `const` asserts at the end fail the build.

/// Octets of one command line, CRLF included. RFC 5321 §4.5.3.1.4 asks for at least 512 and its
/// extensions for more. Longer: 500, and resync at CRLF.
pub const COMMAND_LINE_BYTES_MAX: usize = 4_096;

/// Octets of an AUTH command or of an answer to a challenge, CRLF included: what RFC 4954 §4 calls
/// sufficient. Longer: 500 5.5.6.
pub const AUTH_LINE_BYTES_MAX: usize = 12_288;

/// Octets of an AUTH command that the client writes, CRLF included (RFC 5321 §4.5.3.1.4). Beyond it
/// the initial response waits for an empty challenge (RFC 4954 §4).
pub const AUTH_COMMAND_BYTES_MAX: usize = 512;

/// Octets of the value of MAIL's AUTH parameter: by how much RFC 4954 §3 lengthens the command. More:
/// 501.
pub const AUTH_PARAM_BYTES_MAX: usize = 500;

/// Iterations of SCRAM that the server asks for: the least that RFC 7677 §4 allows, since the sink is
/// to be fast and guards nothing.
pub const SCRAM_ITERATIONS: u32 = 4_096;

/// Iterations of SCRAM that the client takes upon itself: a third of a second, once for each login.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Octets of a SCRAM client's nonce; the challenge that repeats it then fits a reply line.
pub const SCRAM_NONCE_BYTES_MAX: usize = 256;

/// Octets without a CRLF after which a peer is not speaking SMTP. Then: 421 and close.
pub const COMMAND_NOISE_BYTES_MAX: usize = 64 * 1024;

/// Octets of one reply line, CRLF included (RFC 5321 §4.5.3.1.5).
pub const REPLY_LINE_BYTES_MAX: usize = 512;

/// Lines of one multi-line reply that the client reads before it calls the server broken.
pub const REPLY_LINES_MAX: usize = 256;

/// Octets of a local part (RFC 5321 §4.5.3.1.1). Longer: 501.
pub const LOCAL_PART_BYTES_MAX: usize = 64;

/// Octets of a domain (RFC 5321 §4.5.3.1.2). Longer: 501.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Octets of a path, source route included. RFC 5321 §4.5.3.1.3 says 256, which is less than a full
/// local part and a full domain need; what arrives in one command line and keeps the two bounds
/// above is taken. Longer: 501.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Octets of the value of ENVID (RFC 3461 §4.4). More: 501.
pub const ENVID_BYTES_MAX: usize = 100;

/// Octets of the value of ORCPT (RFC 3461 §4.2). More: 501.
pub const ORCPT_BYTES_MAX: usize = 500;

/// Longest time that a message can be asked to be held, in seconds: nine digits (RFC 4865 §3).
pub const HOLD_S_MAX: u32 = 999_999_999;

/// Largest RCPTMAX that can be announced: six digits (RFC 9422 §4). Beyond it LIMITS is not offered.
pub const RCPTMAX_ANNOUNCED_MAX: usize = 999_999;

/// Candidates that the answer to an ambiguous VRFY names.
pub const VRFY_CANDIDATES_MAX: usize = 16;

/// Recipients of one message unless `--max-recipients` says otherwise; RFC 5321 §4.5.3.1.8 asks for
/// at least 100. The next one: 452, the earlier ones stay.
pub const RECIPIENTS_DEFAULT: usize = 1_000;

/// Octets of one message unless `--max-size` says otherwise. RFC 5321 §4.5.3.1.7 asks for at least
/// 64 KiB. More: read to the true end, then 552.
pub const MESSAGE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Recipients beyond the limit of one message that are answered 452 without counting as errors; a
/// client that sends its list in one flight learns of the limit only afterwards (Postfix:
/// smtpd_recipient_overshoot_limit).
pub const RECIPIENTS_OVERSHOOT_MAX: u32 = 1_000;

/// Commands that may fail uncounted after a refused MAIL, RCPT or BDAT: those that were on their way in
/// the same flight and cannot work without it (RFC 2920 §3.1).
pub const FOLLOWERS_MAX: u32 = 1_000;

/// Errors of one session since its last accepted message, after which it gets 421 and is closed
/// (Postfix: smtpd_hard_error_limit).
pub const SESSION_ERRORS_MAX: u32 = 20;

/// Commands since the last accepted message that do no work (NOOP, RSET, VRFY, HELP, a repeated
/// greeting, tiny BDAT chunks); each further one counts as an error (Postfix:
/// smtpd_junk_command_limit).
pub const SESSION_JUNK_MAX: u32 = 100;

/// Octets of a BDAT chunk below which it counts as junk unless it is the last.
pub const BDAT_TINY_BYTES: u64 = 64;

/// Queued reply octets after which no more input is taken until they are sent; bounds the memory that
/// a peer which never reads can take. With the reply that reaches it they fit a buffer of 64 KiB.
pub const REPLY_QUEUE_BYTES_MAX: usize = 48 * 1024;

/// Receive buffer of a session that is waiting: small, because most sessions wait most of the time.
pub const RECV_SMALL_BYTES: usize = 2 * 1024;

/// Receive buffer of a session that waits for the rest of a TLS record of which more than a small one holds came.
pub const RECV_RECORD_BYTES: usize = 20 * 1024;

/// Octets of such buffers, and of those with unfinished handshakes, that the TLS sessions of one core may wait
/// with at the same time. When one more is needed, the session is closed that has waited longest with one.
pub const TLS_KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Receive buffer that a session borrows while octets are there. One read of this size holds a whole
/// flight of pipelined BDAT transactions.
pub const RECV_LARGE_BYTES: usize = 64 * 1024;

/// Octets per second of message content that a peer must keep on average (Postfix:
/// smtpd_min_data_rate).
pub const DATA_RATE_MIN_DEFAULT: u64 = 500;

/// Octets of a PROXY header of version 2 with all its extensions. 536 must be taken (proxy-protocol
/// §2.2); extensions that tell of a TLS client's certificate may need more. Larger: closed.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;

/// Octets of plaintext in one TLS record (RFC 8446 §5.1).
pub const TLS_RECORD_PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Octets that a TLS record has at most beyond its plaintext where we seal it: header, nonce or content type, tag.
pub const TLS_RECORD_OVERHEAD_BYTES_MAX: usize = 64;

/// Octets of one TLS record on the wire that a peer may send, header included (RFC 5246 §6.2.3). Larger: an alert,
/// and closed.
pub const TLS_RECORD_BYTES_MAX: usize = 5 + TLS_RECORD_PLAIN_BYTES_MAX + 2_048;

/// Octets that a TLS client may make the server keep: a cut record, and records with parts of a handshake message
/// that is not complete. The message itself may have a few octets in each record. More: closed.
pub const TLS_SERVER_KEPT_BYTES_MAX: usize = 32 * 1024;

/// The same for a server, which may send a long chain of certificates.
pub const TLS_CLIENT_KEPT_BYTES_MAX: usize = 64 * 1024;

/// Time for a whole handshake of TLS, in milliseconds, however it is cut. Longer: closed.
pub const TLS_HANDSHAKE_MS: u64 = 10_000;

/// Callers over the limit of one core that are parted from so gently at once: each holds one of the
/// descriptors that are kept back from sessions. The others are closed after their 421.
pub const LINGERERS_MAX: usize = 16;

/// Beat of a core's watch over deadlines. Deadlines are kept to this resolution, so that arming one
/// costs a store and no timer.
pub const WATCH_TICK_MS: u64 = 250;

/// Beats that a session gets to react after its deadline woke it; then its socket is shut, because
/// it hangs in a send to a peer that does not read.
pub const WATCH_GRACE_TICKS: u32 = 4;

/// Time that open messages get to finish after SIGTERM.
pub const DRAIN_S_DEFAULT: u64 = 10;

/// Descriptors that sessions may not use: spool, listeners, signals, logs.
pub const DESCRIPTORS_RESERVED: u64 = 64;

/// Submission queue of one core's ring.
pub const RING_ENTRIES: u32 = 4_096;

/// Completion queue of one core's ring. The kernel keeps what does not fit, at a cost.
pub const RING_COMPLETIONS: u32 = 32_768;

/// Smallest spool segment: it must hold any envelope and a full receive buffer.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// Largest spool segment: offsets inside one are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Smallest spool segment that the format can work with; the command line asks for more.
pub const SEGMENT_BYTES_FLOOR: u64 = 64 * 1024;

/// A segment's length is a multiple of this: whole pages on every machine we know.
pub const SEGMENT_STEP_BYTES: u64 = 64 * 1024;

/// Room at the end of a segment below which a piece that does not fit goes to the next segment whole
/// instead of being split: at most this much is wasted, and a message of one piece stays one record.
pub const SEGMENT_REST_BYTES: usize = RECV_LARGE_BYTES;

/// Pieces of messages that are open on one core: each takes at most 40 octets of memory until its message is sealed,
/// and clients that send by single octets in turns make a piece of each. More: 452.
pub const OPEN_PIECES_MAX: usize = 1_000_000;

/// Pause of the helper thread before it tries again to find room for a segment.
pub const SPOOL_RETRY_MS: u64 = 500;

/// Octets that a reader of the spool takes from a file at once.
pub const SPOOL_READ_BYTES: usize = 256 * 1024;

/// Octets of segment files below which a command that reads them all shows no progress: it is over
/// before anybody would look.
pub const PROGRESS_SHOWN_BYTES: u64 = 256 * 1024 * 1024;

/// Octets that an export gathers before it writes.
pub const EXPORT_WRITE_BYTES: usize = 256 * 1024;

/// Step in which the helper thread has a segment written, and waits for it: some milliseconds of a disk.
pub const WRITE_STEP_BYTES: usize = 4 * 1024 * 1024;

/// Octets of one record's encoded envelope: every recipient at full length with parameters.
pub const ENVELOPE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Octets that the encoded envelope has before each value: each path, and each parameter text.
pub const ENVELOPE_VALUE_HEAD_BYTES: usize = 4;

/// Octets of an encoded envelope that are kept for all but paths and parameters, with their heads: the names of
/// client, listener, login and deviations, and what is known of TLS.
pub const ENVELOPE_REST_BYTES_MAX: usize = 64 * 1024;

/// Trace fields after which a message is taken to go round in circles, and is not handed on: the least
/// that RFC 5321 §6.3 allows.
pub const HOPS_MAX: usize = 100;

/// Recipients of one transaction of the relay: as many as every server must take (RFC 5321
/// §4.5.3.1.8).
pub const RELAY_RECIPIENTS_MAX: usize = 100;

/// Questions of the cores, and notes of deliveries, that wait in a queue; the sender of one more waits.
pub const RELAY_ASKS_MAX: usize = 64;
pub const RELAY_NOTES_MAX: usize = 64;

/// Longest latency that a histogram holds, in nanoseconds: one hour. Longer ones are clamped and
/// counted.
pub const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Longest session that a histogram holds, in nanoseconds: no run is longer, with its warm-up, cool-down and
/// drain, because each of its four parts is at most [`DURATION_S_MAX`].
pub const SESSION_NS_MAX: u64 = 4 * DURATION_S_MAX * 1_000_000_000;

/// Transactions that one flight of pipelined BDAT may hold (`--depth`).
pub const DEPTH_MAX: usize = 1_024;

/// Replies that one flight may call for. A server that answers while we still write must never find
/// our receive buffer full, or both sides wait for each other (RFC 2920 §3.1): 4,096 replies of 30
/// octets fit the 128 KiB that Linux starts with.
pub const FLIGHT_REPLIES_MAX: usize = 4_096;

/// Octets that a generator session gathers before it sends them; bounds its memory where messages
/// are large.
pub const SEND_PIECE_BYTES: usize = 256 * 1024;

/// Octets that the generator's messages may take in memory unless `--corpus-memory` says otherwise.
/// More: the run is refused.
pub const CORPUS_MEMORY_DEFAULT: u64 = 1024 * 1024 * 1024;

/// Messages of a corpus, rows of a CSV file, or lines of a list: each makes a message of its own, kept
/// in memory. More: refused.
pub const CORPUS_MESSAGES_MAX: usize = 1_000_000;

/// Octets of a CSV file or of a list that messages are made from.
pub const TABLE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Octets of a file of certificates or keys: ten times all CAs that browsers trust. Longer: it is not read.
pub const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Tickets that a server sends after a handshake of TLS 1.3, each good for one session (RFC 8446 §C.4): one
/// for the next connection, one for a second beside it.
pub const TLS_TICKETS_DEFAULT: usize = 2;

/// Tickets that a server may be told to send: as many connections as a client makes at once. More: they would
/// be most of what a handshake sends.
pub const TLS_TICKETS_MAX: usize = 16;

/// Octets of a file of accounts, or of the addresses of a directory: a million of them.
pub const ADDRESSES_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A length of time that may be asked for: ten years. Sums of a few, in nanoseconds, still fit 63 bits.
pub const DURATION_S_MAX: u64 = 315_360_000;

/// Octets of one generated message.
pub const GENERATED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Time that a server may take for a reply, unless another is asked for. RFC 5321 §4.5.3.2 grants minutes; a measurement that
/// stands still for one has its answer.
pub const REPLY_S_MAX: u64 = 60;

/// Beat of the generator's progress line, and of its watch for the end of the run.
pub const PROGRESS_MS: u64 = 100;

/// Time that messages begun last, and QUIT, get for their answers, also when the time to finish is over. QUIT behind
/// the last message gets no more than this or the time to finish.
pub const LAST_ANSWERS_NS: u64 = 2_000_000_000;

/// Failures in a row after which a target that never answered counts as unreachable, unless the user
/// says otherwise.
pub const UNREACHED_TRIES: u32 = 3;

/// Time between two handovers of a core's tally: one line of `run.hlog` and `run.csv`.
pub const INTERVAL_NS: u64 = 1_000_000_000;

/// Lateness of the generator that is put down to timers and the scheduler of the machine, whatever
/// the response time: no verdict below it.
pub const SEND_LAG_NOISE_NS: u64 = 1_000_000;

/// Samples from which a quantile below 1 is told: 2 for the median, 100 for p99, 10,000 for p99.99. Of fewer
/// none is above it, so it would be their maximum under another name: with N samples, those from N/(N+1) on
/// are (NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.5.2).
pub fn samples_min(quantile: f64) -> u64 {
    debug_assert!((0.0..1.0).contains(&quantile), "the maximum is no quantile here: {quantile}");
    (1.0 / (1.0 - quantile)).round() as u64
}

/// Whether so many samples carry a quantile: the one rule of all reports, files and conditions.
pub fn carries(samples: u64, quantile: f64) -> bool {
    samples >= samples_min(quantile)
}

/// Targets of one run: each costs a core some 70 KiB for its latencies.
pub const TARGETS_MAX: usize = 32;
pub const TARGET_WEIGHT_MAX: u32 = 1_000;

/// Recipients that one message is given where many are too many: RFC 5321 §4.5.3.1.8 has servers take
/// the first hundred, and most stop at a thousand.
pub const MISBEHAVIOUR_RECIPIENTS: usize = 1_100;
pub const RECIPIENTS_GRANTED: usize = 100;

/// What was sent where an answer was wrong: so many are told.
pub const MISBEHAVIOUR_EXAMPLES_MAX: usize = 12;

/// Time between two frames of the live view: what an eye follows, at a few thousandths of a core.
pub const LIVE_FRAME_MS: u64 = 250;

/// Seconds that the live view keeps for its graphs: more than any terminal has columns.
pub const LIVE_SECONDS_MAX: usize = 512;

const _: () = assert!(COMMAND_LINE_BYTES_MAX <= RECV_LARGE_BYTES);
const _: () = assert!(TLS_RECORD_BYTES_MAX <= RECV_RECORD_BYTES);
const _: () = assert!(2 * RECV_SMALL_BYTES <= RECV_RECORD_BYTES, "the pool tells them apart");
const _: () = assert!(2 * RECV_RECORD_BYTES <= RECV_LARGE_BYTES, "the pool tells them apart");
const _: () = assert!(TLS_RECORD_BYTES_MAX < TLS_SERVER_KEPT_BYTES_MAX);
const _: () = assert!(TLS_SERVER_KEPT_BYTES_MAX <= TLS_CLIENT_KEPT_BYTES_MAX);
const _: () = assert!(PROXY_HEADER_BYTES_MAX <= u16::MAX as usize, "its length has 16 bits");
const _: () = assert!((LINGERERS_MAX as u64) < DESCRIPTORS_RESERVED);
const _: () = assert!(COMMAND_LINE_BYTES_MAX < COMMAND_NOISE_BYTES_MAX);
const _: () = assert!(COMMAND_LINE_BYTES_MAX < AUTH_LINE_BYTES_MAX);
const _: () = assert!(AUTH_LINE_BYTES_MAX < COMMAND_NOISE_BYTES_MAX);
const _: () = assert!(4 * (SCRAM_NONCE_BYTES_MAX + 64) / 3 + 6 < REPLY_LINE_BYTES_MAX);
const _: () =
    assert!(COMMAND_LINE_BYTES_MAX <= u16::MAX as usize, "spans of an envelope are 16 bits");
const _: () = assert!(ENVELOPE_BYTES_MAX <= u32::MAX as usize, "starts in an envelope are 32 bits");
const _: () = assert!(2 * RECV_SMALL_BYTES <= RECV_LARGE_BYTES, "the pool tells them apart");
const _: () = assert!(PATH_BYTES_MAX + 64 < COMMAND_LINE_BYTES_MAX);
const _: () = assert!(LOCAL_PART_BYTES_MAX + 1 + DOMAIN_BYTES_MAX < PATH_BYTES_MAX);
const _: () =
    assert!(SEGMENT_BYTES_MIN as usize > ENVELOPE_BYTES_MAX + RECV_LARGE_BYTES + 64 * 1024);
const _: () = assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64);
const _: () = assert!(SEGMENT_BYTES_FLOOR <= SEGMENT_BYTES_MIN);
const _: () = assert!(SEGMENT_BYTES_MIN.is_multiple_of(SEGMENT_STEP_BYTES));
const _: () = assert!(SEGMENT_BYTES_MAX.is_multiple_of(SEGMENT_STEP_BYTES));
const _: () = assert!(RING_COMPLETIONS > RING_ENTRIES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_needs_a_sample_above_it() {
        let needs = [(0.5, 2), (0.75, 4), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1_000)];
        for (quantile, samples) in needs.into_iter().chain([(0.9999, 10_000)]) {
            assert!(carries(samples, quantile) && !carries(samples - 1, quantile), "{quantile}");
            let rank = |samples: u64| (samples as f64 * quantile - 1e-9).ceil() as u64;
            assert!(rank(samples) < samples && rank(samples - 1) == samples - 1, "{quantile}");
        }
    }
}
