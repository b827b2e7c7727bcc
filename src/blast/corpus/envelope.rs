//! Envelopes, rendered before the clock starts.

use crate::blast::content::mail::Recorded;
use crate::blast::content::spread::deal;
use crate::blast::content::table::TableRow;
use crate::blast::content::template::{RenderedText, TemplateValues};
use crate::blast::content::{Choice, Content, ContentError, check_text};
use crate::limits::FLIGHT_REPLIES_MAX;
use crate::smtp::blank::Blank;
use crate::smtp::outgoing::{Recipients, render_params};

/// One envelope; many messages may share it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct RenderedEnvelope {
    pub(super) from: RenderedText,
    pub(super) recipients: Recipients,
    /// Whether a path is not ASCII.
    pub(super) smtputf8: bool,
}

impl RenderedEnvelope {
    pub(super) fn bytes(&self) -> usize {
        self.from.octets.len() + self.recipients.bytes()
    }
}

/// What is dealt out to the messages in turn: each pattern as often as its weight asks, in an order
/// that the seed decides.
pub(super) struct Cards {
    counts: std::vec::IntoIter<u64>,
    from: Deck,
    to: Deck,
    domains: Deck,
}

type Deck = std::iter::Cycle<std::vec::IntoIter<usize>>;

impl Cards {
    pub(super) fn shuffle(content: &Content, messages: usize, random: &mut fastrand::Rng) -> Self {
        let mut counts = content.recipients.deal(messages, 1, FLIGHT_REPLIES_MAX as u64);
        random.shuffle(&mut counts);
        let recipients = counts.iter().sum::<u64>() as usize;
        let weights = |choices: &[Choice]| choices.iter().map(|choice| choice.weight).collect();
        let domains = content.to_domains.iter().map(|(_, weight)| *weight).collect();
        let from = shuffled(weights(&content.from), messages, random);
        let to = shuffled(weights(&content.to), recipients, random);
        let domains = shuffled(domains, recipients, random);
        Self { counts: counts.into_iter(), from, to, domains }
    }
}

/// At least `count` indices of `weights`. Where all weigh the same, every index comes once before any
/// comes again, so that the recipients of one message differ as far as they can.
fn shuffled(weights: Vec<u32>, count: usize, random: &mut fastrand::Rng) -> Deck {
    let even = weights.iter().all(|weight| *weight == weights[0]);
    let rounds = if even { count.div_ceil(weights.len().max(1)) } else { 1 };
    let size = if even { weights.len() } else { count };
    let mut cards = Vec::with_capacity(rounds * size);
    for _ in 0..rounds {
        let start = cards.len();
        cards.extend(deal(&weights, size));
        random.shuffle(&mut cards[start..]);
    }
    cards.into_iter().cycle()
}

/// Makes the envelopes of one content.
pub(super) struct Addressing<'a> {
    pub(super) content: &'a Content,
    pub(super) rcpt_params: Vec<u8>,
}

impl<'a> Addressing<'a> {
    pub(super) fn new(content: &'a Content) -> Self {
        Self { content, rcpt_params: render_params(&content.rcpt_params) }
    }

    /// The next envelope, and its first recipient, which header and body may name.
    pub(super) fn next(
        &self,
        cards: &mut Cards,
        row: Option<&TableRow>,
    ) -> Result<(RenderedEnvelope, RenderedText, u32), ContentError> {
        let count = cards.counts.next().unwrap_or(1);
        let nobody = RenderedText::default();
        let fields = row.map_or(&[][..], |row| &row.fields);
        let mut scene =
            TemplateValues { row: fields, from: &nobody, recipient: &nobody, date: "", salt: 0 };
        let mut paths: Vec<RenderedText> = Vec::with_capacity(count as usize);
        for n in 0..count {
            let choice = &self.content.to[cards.to.next().unwrap_or(0)];
            let mut path = choice.pattern.render(&mut scene);
            if let Some(index) = cards.domains.next() {
                path = at_domain(path, &self.content.to_domains[index].0);
            }
            if count > 1 && (self.content.to.len() == 1 || paths.contains(&path)) {
                path = numbered(path, n);
            }
            self.check(&path, choice, row, false)?;
            paths.push(path);
        }
        let choice = &self.content.from[cards.from.next().unwrap_or(0)];
        let mut scene = TemplateValues { recipient: &paths[0], ..scene };
        let from = choice.pattern.render(&mut scene);
        self.check(&from, choice, row, true)?;
        let salt = scene.salt;
        let mut recipients = Recipients::default();
        for path in &paths {
            recipients.push_blank(&path.octets, &path.blanks, &self.rcpt_params);
        }
        let smtputf8 = !(from.octets.is_ascii() && paths.iter().all(|p| p.octets.is_ascii()));
        Ok((RenderedEnvelope { from, recipients, smtputf8 }, paths.swap_remove(0), salt))
    }

    /// The envelope with which a message was received.
    pub(super) fn recorded(
        &self,
        recorded: &Recorded,
    ) -> Result<(RenderedEnvelope, RenderedText, u32), ContentError> {
        let mut recipients = Recipients::default();
        let mut smtputf8 = !recorded.from.is_ascii();
        check_text(&recorded.from, &recorded.place, true)?;
        for path in &recorded.recipients {
            check_text(path, &recorded.place, false)?;
            recipients.push_with(path, &self.rcpt_params);
            smtputf8 |= !path.is_ascii();
        }
        let rendered = |octets: &[u8]| RenderedText { octets: octets.to_vec(), blanks: Vec::new() };
        let first = recorded.recipients.first().map_or(&[][..], |path| path);
        Ok((
            RenderedEnvelope { from: rendered(&recorded.from), recipients, smtputf8 },
            rendered(first),
            0,
        ))
    }

    /// Refuses what cannot stand in a command, and says in which file and line it stands.
    fn check(
        &self,
        path: &RenderedText,
        choice: &Choice,
        row: Option<&TableRow>,
        may_be_empty: bool,
    ) -> Result<(), ContentError> {
        let row = row.filter(|_| choice.pattern.columns().next().is_some());
        match self.content.table.as_ref().zip(row) {
            Some((table, row)) => {
                let place = format!("{} ({})", choice.place, table.place(row));
                check_text(&path.octets, &place, may_be_empty)
            }
            None => check_text(&path.octets, &choice.place, may_be_empty),
        }
    }
}

/// The same local part at another domain.
fn at_domain(mut path: RenderedText, domain: &str) -> RenderedText {
    let at = memchr::memrchr(b'@', &path.octets).unwrap_or(path.octets.len());
    path.octets.truncate(at);
    path.blanks.retain(|blank| blank.at < at);
    path.octets.push(b'@');
    path.octets.extend_from_slice(domain.as_bytes());
    path
}

/// The same path with a number after the local part.
fn numbered(mut path: RenderedText, n: u64) -> RenderedText {
    let at = memchr::memrchr(b'@', &path.octets).unwrap_or(path.octets.len());
    let digits = n.to_string();
    path.octets.splice(at..at, digits.bytes());
    let moved = |blank: &mut Blank| {
        if blank.at >= at {
            blank.at += digits.len();
        }
    };
    path.blanks.iter_mut().for_each(moved);
    path
}
