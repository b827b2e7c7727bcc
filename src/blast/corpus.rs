//! Messages, rendered before the clock starts: while it runs they are copied and their stamp patched.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::plan::{Bodies, Plan};
use crate::limits::CORPUS_BYTES;
use crate::smtp::body;
use crate::smtp::outgoing::{MailParams, Outgoing, Recipients, render_params};
use crate::smtp::stamp::{STAMP_BYTES, Stamp, body_crc, digits, patch};

/// The stamp, the empty line, and a body of an empty line.
pub const MESSAGE_BYTES_MIN: u64 = STAMP_BYTES as u64 + 4;

/// Octets of a text line without CRLF (RFC 5322 §2.1.1).
const LINE_BYTES: usize = 78;
/// One line in so many begins with a dot, so that stuffing has work.
const DOTTED_LINES: usize = 16;
/// Different messages of one size; together they should stay in a core's cache.
const SAME_SIZE_BYTES: u64 = 256 * 1024;
const SAME_SIZE_MAX: u64 = 64;
/// Different sizes that stand for an even distribution.
const SIZES_MIN: u64 = 8;
const SIZES_MAX: u64 = 256;

/// Digits of the number in a Message-ID, which makes it unique.
const ID_CORE_DIGITS: usize = 4;
const ID_SEQ_DIGITS: usize = 12;

/// What tells messages apart; changes with each of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    pub core: u16,
    pub seq: u64,
    pub due_unix_ns: u64,
}

/// One rendered message in the form in which it is sent.
#[derive(Debug)]
pub struct Letter {
    /// The stamp comes first. Dot-stuffed and ending in CRLF, or raw.
    octets: Box<[u8]>,
    /// Octets before dot-stuffing.
    pub size: u64,
    pub eight_bit: bool,
    /// Where the Message-ID keeps its digits for core and number, if there is one.
    id: Option<[Range<usize>; 2]>,
}

impl Letter {
    /// The octets to send, but for the identity.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Writes the identity into a copy of [`Letter::octets`], or of a first piece of it that is
    /// longer than the header.
    #[inline]
    pub fn identify(&self, copy: &mut [u8], identity: Identity) {
        patch(copy, identity.core, identity.seq, identity.due_unix_ns);
        if let Some([core, seq]) = &self.id {
            digits(&mut copy[core.clone()], u64::from(identity.core));
            digits(&mut copy[seq.clone()], identity.seq);
        }
    }
}

/// All messages of a run, and the envelope that they share.
#[derive(Debug)]
pub struct Corpus {
    letters: Vec<Letter>,
    from: Box<[u8]>,
    params: MailParams,
    recipients: Recipients,
    seed: u64,
}

impl Corpus {
    /// Renders the messages of `plan`. The same seed makes the same messages, but for `run`, which
    /// is in each stamp, and the date.
    pub fn render(plan: &Plan, run: u64, now: Timestamp) -> Self {
        let mut random = fastrand::Rng::with_seed(plan.seed);
        let writer = Writer { plan, run, date: rfc_5322_date(now) };
        let letters = match &plan.bodies {
            Bodies::Given(octets) => vec![writer.given(octets)],
            Bodies::Sizes(min, max) => {
                sizes(*min, *max).map(|size| writer.written(size, &mut random)).collect()
            }
        };
        let mut recipients = Recipients::default();
        let rcpt_params = render_params(&plan.rcpt_params);
        for n in 0..plan.recipients {
            let path = recipient(&plan.to, plan.recipients, n);
            recipients.push_with(path.as_bytes(), &rcpt_params);
        }
        let params = MailParams::new(&plan.mail_params, plan.needs_smtputf8());
        Self { letters, from: plan.from.as_bytes().into(), params, recipients, seed: plan.seed }
    }

    /// The message that `seq` of `core` sends: by arithmetic, so that a run can be repeated.
    #[inline]
    pub fn pick(&self, core: u16, seq: u64) -> &Letter {
        let count = self.letters.len() as u64;
        let drawn = mix(self.seed ^ (u64::from(core) << 48) ^ seq) % count;
        &self.letters[drawn as usize]
    }

    #[inline]
    pub fn outgoing(&self, letter: &Letter) -> Outgoing<'_> {
        Outgoing {
            from: &self.from,
            recipients: &self.recipients,
            params: &self.params,
            size: letter.size,
            eight_bit: letter.eight_bit,
        }
    }

    pub fn recipients(&self) -> u32 {
        self.recipients.count() as u32
    }

    /// Octets of the longest message as it is sent.
    pub fn longest(&self) -> usize {
        self.letters.iter().map(|letter| letter.octets.len()).max().unwrap_or(0)
    }
}

/// The address as given for one recipient; more get a number behind the local part.
fn recipient(to: &str, count: usize, n: usize) -> String {
    match to.rsplit_once('@') {
        _ if count == 1 => to.to_owned(),
        Some((local, domain)) => format!("{local}{n}@{domain}"),
        None => format!("{to}{n}"),
    }
}

fn sizes(min: u64, max: u64) -> impl Iterator<Item = u64> {
    let mean = (min + max).div_ceil(2);
    let count = if min == max {
        (SAME_SIZE_BYTES / mean).clamp(1, SAME_SIZE_MAX)
    } else {
        (CORPUS_BYTES / mean).clamp(SIZES_MIN, SIZES_MAX)
    };
    (0..count).map(move |n| min + (max - min) * n / (count - 1).max(1))
}

/// A good mixing of 64 bits (the finaliser of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn rfc_5322_date(now: Timestamp) -> String {
    let utc = now.to_zoned(TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&utc).unwrap_or_default()
}

struct Writer<'a> {
    plan: &'a Plan,
    run: u64,
    date: String,
}

impl Writer<'_> {
    /// A message of exactly `size` octets. Headers are put in as long as there is room.
    fn written(&self, size: u64, random: &mut fastrand::Rng) -> Letter {
        let size = size as usize;
        let mut header = Vec::new();
        let mut id = None;
        for (n, line) in self.header_lines().iter().enumerate() {
            if STAMP_BYTES + header.len() + line.len() + 4 > size {
                break;
            }
            if n == 0 {
                id = Some(id_places(line));
            }
            header.extend_from_slice(line.as_bytes());
        }
        header.extend_from_slice(b"\r\n");
        let mut text = Vec::with_capacity(size);
        write_text(&mut text, size - STAMP_BYTES - header.len(), random);
        self.letter(&header, &text, id)
    }

    /// The user's message with our stamp before it. Line ends become CRLF.
    fn given(&self, octets: &[u8]) -> Letter {
        let octets = with_crlf(octets);
        let header_end = if octets.starts_with(b"\r\n") {
            2
        } else {
            memchr::memmem::find(&octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 4)
        };
        let (header, text) = octets.split_at(header_end);
        self.letter(header, text, None)
    }

    fn letter(&self, header: &[u8], text: &[u8], id: Option<[Range<usize>; 2]>) -> Letter {
        let stamp = Stamp {
            run: self.run,
            size: text.len() as u64,
            crc: body_crc(text),
            ..Stamp::default()
        };
        let mut raw = Vec::with_capacity(STAMP_BYTES + header.len() + text.len());
        stamp.write(&mut raw);
        raw.extend_from_slice(header);
        raw.extend_from_slice(text);
        let size = raw.len() as u64;
        let eight_bit = !raw.is_ascii();
        let octets = if self.plan.chunking {
            raw
        } else {
            let mut stuffed = Vec::with_capacity(raw.len() + raw.len() / 64);
            body::stuff(&raw, &mut stuffed);
            stuffed
        };
        Letter { octets: octets.into_boxed_slice(), size, eight_bit, id }
    }

    fn header_lines(&self) -> [String; 8] {
        let Plan { from, to, helo, recipients, .. } = self.plan;
        let run = self.run;
        [
            format!(
                "Message-ID: <{run:016x}.{:0core$}.{:0seq$}@{helo}>\r\n",
                0,
                0,
                core = ID_CORE_DIGITS,
                seq = ID_SEQ_DIGITS
            ),
            format!("From: <{from}>\r\n"),
            format!("Date: {}\r\n", self.date),
            format!("To: <{}>\r\n", recipient(to, *recipients, 0)),
            "Subject: a message to measure with\r\n".to_owned(),
            "MIME-Version: 1.0\r\n".to_owned(),
            "Content-Type: text/plain; charset=us-ascii\r\n".to_owned(),
            "Content-Transfer-Encoding: 7bit\r\n".to_owned(),
        ]
    }
}

/// Where the Message-ID line, which follows the stamp, keeps its two numbers.
fn id_places(line: &str) -> [Range<usize>; 2] {
    let core = STAMP_BYTES + line.find('.').unwrap_or(0) + 1;
    let seq = core + ID_CORE_DIGITS + 1;
    [core..core + ID_CORE_DIGITS, seq..seq + ID_SEQ_DIGITS]
}

/// Writes exactly `size` octets of text in lines, the last of which ends in CRLF too; `size` is at
/// least 2.
fn write_text(text: &mut Vec<u8>, size: usize, random: &mut fastrand::Rng) {
    const WORDS: [&str; 16] = [
        "ring", "post", "the", "of", "queue", "and", "letter", "to", "carried", "in", "measured",
        "is", "mailbox", "a", "deliver", "sooner",
    ];
    let end = text.len() + size;
    while text.len() < end {
        let left = end - text.len() - 2;
        // One octet alone would be left, too few for a line end.
        let line = if left == LINE_BYTES + 1 { LINE_BYTES - 1 } else { left.min(LINE_BYTES) };
        let line_end = text.len() + line;
        if line > 0 && random.usize(..DOTTED_LINES) == 0 {
            text.push(b'.');
        }
        while text.len() < line_end {
            text.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
            text.push(b' ');
        }
        text.truncate(line_end);
        if text.last() == Some(&b' ') {
            text.pop();
            text.push(b'.');
        }
        text.extend_from_slice(b"\r\n");
    }
}

/// Each LF without a CR gets one, and so does an end without a line end.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 32 + 2);
    let mut done = 0;
    for lf in memchr::memchr_iter(b'\n', octets) {
        out.extend_from_slice(&octets[done..lf]);
        if out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(b'\n');
        done = lf + 1;
    }
    out.extend_from_slice(&octets[done..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blast::plan::{Load, Stop};
    use crate::engine::EngineKind;
    use crate::smtp::body::{Piece, Unstuffer};
    use crate::smtp::client::Pipelining;
    use crate::target::Target;

    fn plan(bodies: Bodies, chunking: bool) -> Plan {
        Plan {
            target: Target::parse("smtp+unix:/x", &[]).unwrap(),
            connections: 1,
            load: Load::Closed,
            stop: Stop::Messages(1),
            warmup: Duration::ZERO,
            cooldown: Duration::ZERO,
            drain: Duration::ZERO,
            think: None,
            bodies,
            recipients: 2,
            per_connection: None,
            pipelining: Pipelining::None,
            chunking,
            depth: 1,
            from: "a@b.example".to_owned(),
            to: "c@d.example".to_owned(),
            mail_params: Vec::new(),
            rcpt_params: Vec::new(),
            helo: "e.example".to_owned(),
            login: None,
            seed: 7,
            cpus: vec![0],
            engine: EngineKind::Epoll,
            out: None,
            fail_if: crate::measure::Conditions::default(),
            command: Vec::new(),
        }
    }

    fn render(bodies: Bodies, chunking: bool) -> Corpus {
        Corpus::render(&plan(bodies, chunking), 0xabc, Timestamp::UNIX_EPOCH)
    }

    fn body_of(message: &[u8]) -> &[u8] {
        &message[memchr::memmem::find(message, b"\r\n\r\n").unwrap() + 4..]
    }

    fn unstuffed(octets: &[u8]) -> Vec<u8> {
        let wire = [octets, b".\r\n"].concat();
        let (mut unstuffer, mut input, mut message) = (Unstuffer::default(), &wire[..], Vec::new());
        while let Some(piece) = unstuffer.step(&mut input) {
            match piece {
                Piece::Text(octets) => message.extend_from_slice(octets),
                Piece::End => return message,
            }
        }
        panic!("no end of data");
    }

    #[test]
    fn messages_have_the_size_asked_for_and_a_true_stamp() {
        for size in (MESSAGE_BYTES_MIN..700).chain([1024, 4095, 70_000]) {
            let corpus = render(Bodies::Sizes(size, size), true);
            let letter = &corpus.letters[0];
            assert_eq!(letter.size, size);
            let message = letter.octets();
            assert_eq!(message.len() as u64, size);
            assert!(message.ends_with(b"\r\n"));
            let stamp = Stamp::find(message).unwrap();
            let body = body_of(message);
            assert_eq!((stamp.size, stamp.crc), (body.len() as u64, body_crc(body)), "{size}");
            assert!(body.split(|&b| b == b'\n').all(|line| line.len() <= LINE_BYTES + 1));
        }
    }

    #[test]
    fn stuffed_and_raw_forms_are_one_message_and_dots_occur() {
        let raw = render(Bodies::Sizes(9_000, 9_000), true);
        let stuffed = render(Bodies::Sizes(9_000, 9_000), false);
        for (raw, stuffed) in raw.letters.iter().zip(&stuffed.letters) {
            assert_eq!(unstuffed(stuffed.octets()), raw.octets());
            assert_eq!(raw.size, stuffed.size);
        }
        assert!(stuffed.longest() > 9_000, "no line began with a dot");
    }

    #[test]
    fn the_identity_is_patched_into_stamp_and_message_id_and_nowhere_else() {
        let corpus = render(Bodies::Sizes(1024, 1024), true);
        let letter = &corpus.letters[0];
        let mut copy = letter.octets().to_vec();
        letter.identify(&mut copy, Identity { core: 3, seq: 12_345, due_unix_ns: 99 });
        let stamp = Stamp::find(&copy).unwrap();
        assert_eq!((stamp.core, stamp.seq, stamp.due_unix_ns), (3, 12_345, 99));
        let text = String::from_utf8(copy.clone()).unwrap();
        assert!(text.contains("<0000000000000abc.0003.000000012345@e.example>\r\n"), "{text}");
        let changed = copy.iter().zip(letter.octets()).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 1 + 5 + 2 + 1 + 5);
    }

    #[test]
    fn sizes_spread_evenly_from_end_to_end() {
        let corpus = render(Bodies::Sizes(1_000, 5_000), true);
        let sizes: Vec<u64> = corpus.letters.iter().map(|letter| letter.size).collect();
        assert_eq!((sizes[0], sizes[sizes.len() - 1]), (1_000, 5_000));
        let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
        assert!((2_990..=3_010).contains(&mean), "{mean}");
        let picked: std::collections::HashSet<u64> =
            (0..10_000).map(|seq| corpus.pick(0, seq).size).collect();
        assert!(picked.len() > sizes.len() * 9 / 10);
    }

    #[test]
    fn the_same_seed_makes_the_same_messages() {
        let (one, two) =
            (render(Bodies::Sizes(512, 2048), false), render(Bodies::Sizes(512, 2048), false));
        assert!(one.letters.iter().zip(&two.letters).all(|(a, b)| a.octets == b.octets));
        assert!((0..99).all(|seq| one.pick(1, seq).octets == two.pick(1, seq).octets));
    }

    #[test]
    fn a_given_message_keeps_its_octets_but_for_line_ends() {
        let given = b"Subject: x\n\n.dot\r\nlast \xc3\xa9".to_vec();
        let corpus = render(Bodies::Given(given), true);
        let letter = &corpus.letters[0];
        assert_eq!(&letter.octets()[STAMP_BYTES..], b"Subject: x\r\n\r\n.dot\r\nlast \xc3\xa9\r\n");
        assert!(letter.eight_bit);
        let stamp = Stamp::find(letter.octets()).unwrap();
        assert_eq!(stamp.crc, body_crc(b".dot\r\nlast \xc3\xa9\r\n"));
    }

    #[test]
    fn more_than_one_recipient_are_numbered() {
        assert_eq!(recipient("c@d", 1, 0), "c@d");
        assert_eq!(recipient("c+@d", 3, 2), "c+2@d");
        assert_eq!(render(Bodies::Sizes(512, 512), true).recipients(), 2);
    }
}
