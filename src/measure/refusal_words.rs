//! The table of what a server said when it refused.

use std::collections::BTreeMap;

use super::kind::Phase;
use crate::printable::printable_octets;

/// Different texts that one core counts apart in one interval.
const RECORDED_MAX: usize = 64;

/// Different texts of a sum: of all cores and intervals of a run, or of merged runs. A server that puts
/// something new into each refusal must not make the sum grow with the run.
const SUMMED_MAX: usize = 256;

/// Octets of a text that are kept, with the mark of a cut.
const WORDS_BYTES_MAX: usize = 160;

const CUT: &[u8] = "…".as_bytes();

/// From this length on, a word with a digit in it is taken for a number of the message: an id of a queue,
/// a mailbox that is one of many, a time. Codes, parts of addresses and short times stay.
const NUMBER_BYTES_MIN: usize = 4;

/// Counts by phase, reply code and words, of refusals alone. What finds no room is in no entry: it is
/// the difference to the count of the code in the table of replies.
#[derive(Clone, Debug)]
pub struct RefusalWords {
    entries: Vec<Worded>,
    /// The words of all entries, one after the other.
    words: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Worded {
    phase: Phase,
    code: u16,
    /// Its words in `words`.
    from: usize,
    to: usize,
    count: u64,
}

impl RefusalWords {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(RECORDED_MAX),
            words: Vec::with_capacity(RECORDED_MAX * WORDS_BYTES_MAX),
        }
    }

    /// Counts a refusal with the text of the reply, which follows its code. Allocates nothing.
    pub(super) fn record(&mut self, phase: Phase, code: u16, said: &[u8]) {
        debug_assert!(code >= 400, "{code} is no refusal");
        let mut folded = [0; WORDS_BYTES_MAX];
        let len = fold(said, &mut folded);
        self.count(phase, code, (&folded[..len], 1), RECORDED_MAX);
    }

    /// Adds to an entry what was recorded or read elsewhere.
    pub(crate) fn add_words(&mut self, phase: Phase, code: u16, words: &[u8], count: u64) {
        self.count(phase, code, (words, count), SUMMED_MAX);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for entry in &other.entries {
            self.add_words(entry.phase, entry.code, other.words_of(entry), entry.count);
        }
    }

    /// Back to nothing, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.words.clear();
    }

    /// The refusals of a phase by code and words, as in `550 5.1.1 no such user`, fit to print.
    pub fn of(&self, phase: Phase) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.phase == phase) {
            let line = format!("{} {}", entry.code, printable_octets(self.words_of(entry)));
            // Octets that are no text look alike.
            *counts.entry(line.trim_end().to_owned()).or_default() += entry.count;
        }
        counts
    }

    fn words_of(&self, entry: &Worded) -> &[u8] {
        &self.words[entry.from..entry.to]
    }

    fn count(&mut self, phase: Phase, code: u16, (words, more): (&[u8], u64), most: usize) {
        let Self { entries, words: all } = self;
        let known = entries.iter_mut().find(|entry| {
            (entry.phase, entry.code) == (phase, code) && all[entry.from..entry.to] == *words
        });
        if let Some(entry) = known {
            entry.count += more;
        } else if entries.len() < most {
            let from = all.len();
            all.extend_from_slice(words);
            entries.push(Worded { phase, code, from, to: all.len(), count: more });
        }
    }

    fn sorted(&self) -> Vec<(Phase, u16, &[u8], u64)> {
        let row = |entry: &Worded| (entry.phase, entry.code, entry.from..entry.to, entry.count);
        let rows = self.entries.iter().map(row);
        let mut rows: Vec<_> =
            rows.map(|(phase, code, at, count)| (phase, code, &self.words[at], count)).collect();
        rows.sort_unstable();
        rows
    }
}

/// The order of entries does not count: it is the order in which they were first seen.
impl PartialEq for RefusalWords {
    fn eq(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

/// Writes the text with `#` for each number of the message, and cut where it is too long, so that what a
/// server says to many messages is one text. Gives its length.
fn fold(said: &[u8], into: &mut [u8; WORDS_BYTES_MAX]) -> usize {
    let mut len = 0;
    let same_word = |a: &u8, b: &u8| a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric();
    for word in said.chunk_by(same_word) {
        let number = word.len() >= NUMBER_BYTES_MIN && word.iter().any(u8::is_ascii_digit);
        let word = if number { b"#" } else { word };
        let fits = word.len().min(WORDS_BYTES_MAX - len);
        into[len..len + fits].copy_from_slice(&word[..fits]);
        len += fits;
        if fits < word.len() {
            return cut(into);
        }
    }
    len
}

/// Ends a full text with the mark of a cut, between two characters of UTF-8.
fn cut(text: &mut [u8; WORDS_BYTES_MAX]) -> usize {
    let most = WORDS_BYTES_MAX - CUT.len();
    let continues = |at: &usize| text[*at] & 0xc0 == 0x80;
    let end = (most - 3..=most).rev().find(|at| !continues(at)).unwrap_or(most);
    text[end..end + CUT.len()].copy_from_slice(CUT);
    end + CUT.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(said: &[u8]) -> String {
        let mut table = RefusalWords::new();
        table.record(Phase::Rcpt, 550, said);
        table.of(Phase::Rcpt).into_keys().next().unwrap()
    }

    #[test]
    fn a_flood_of_different_texts_fills_a_bounded_table_and_the_sum_is_bounded_too() {
        let mut sum = RefusalWords::new();
        let total = |table: &RefusalWords| table.entries.iter().map(|it| it.count).sum::<u64>();
        for core in 0..10 {
            let mut table = RefusalWords::new();
            let capacity = (table.entries.capacity(), table.words.capacity());
            for n in 1..1_000 {
                // Each of another length, most of them too long.
                let text = format!("{}{}", "x".repeat(core), "no ".repeat(n));
                table.record(Phase::Rcpt, 550, text.as_bytes());
                table.record(Phase::Rcpt, 550, &text.as_bytes()[1..]);
            }
            assert!(table.entries.len() == RECORDED_MAX, "{}", table.entries.len());
            assert_eq!((table.entries.capacity(), table.words.capacity()), capacity);
            sum.add(&table);
        }
        assert_eq!(sum.entries.len(), SUMMED_MAX);
        let before = total(&sum);
        sum.add(&sum.clone());
        assert_eq!(total(&sum), 2 * before, "what has room is counted on");
    }

    #[test]
    fn texts_that_differ_in_numbers_of_the_message_are_one() {
        let mut table = RefusalWords::new();
        for (mailbox, queue) in [("user7041", "4F1A2B3C"), ("user12", "x9zzzzz"), ("b0b9", "2026")]
        {
            let text = format!("5.1.1 <{mailbox}@example> unknown; id={queue}, wait 300 s");
            table.record(Phase::Rcpt, 550, text.as_bytes());
        }
        table.record(Phase::Rcpt, 550, b"5.1.1 other");
        let line = "550 5.1.1 <#@example> unknown; id=#, wait 300 s".to_owned();
        let expected = BTreeMap::from([(line, 3), ("550 5.1.1 other".to_owned(), 1)]);
        assert_eq!(table.of(Phase::Rcpt), expected);
        assert_eq!(table.of(Phase::Mail), BTreeMap::new());
    }

    #[test]
    fn words_are_cut_between_characters_and_fit_to_print() {
        assert_eq!(told(b"5.7.1 \x1b[1m no\x07\r"), "550 5.7.1 ?[1m no??");
        assert_eq!(told(b"\xff\xfe"), "550 \u{fffd}\u{fffd}");
        assert_eq!(told(b""), "550");
        let whole = "x".repeat(WORDS_BYTES_MAX);
        assert_eq!(told(whole.as_bytes()), format!("550 {whole}"));
        for (character, bytes) in [("x", 1), ("ü", 2), ("日", 3), ("🦀", 4)] {
            let text = format!("ab {}", character.repeat(200));
            let kept = (WORDS_BYTES_MAX - CUT.len() - "ab ".len()) / bytes;
            assert_eq!(told(text.as_bytes()), format!("550 ab {}…", character.repeat(kept)));
        }
        assert!(told(&[0x80; 500]).ends_with('…'), "octets that are no text");
    }
}
