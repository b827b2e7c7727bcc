//! Messages, rendered before the clock starts: while it runs they are copied and their blanks filled.

mod envelope;
mod rendered;
mod writer;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::envelope::{Addressing, Cards, RenderedEnvelope};
pub use self::rendered::{Identity, Rendered};
use self::writer::MessageWriter;
use super::content::spread::{Spread, unit};
use super::content::template::TemplateValues;
use super::content::{Bodies, Choice, Content, ContentError};
use super::plan::Plan;
use super::random::{RandomPurpose, stream};
use crate::limits::{FLIGHT_REPLIES_MAX, GENERATED_BYTES_MAX};
use crate::run::messages::{MessagesHead, PathPattern, SentEnvelope, SentMessage};
use crate::smtp::blank::Filling;
use crate::smtp::outgoing::{MailParams, Outgoing};
use crate::stamp::STAMP_BYTES;

/// Octets of rendered messages that the generator draws from, unless single ones are larger.
const CORPUS_BYTES: u64 = 64 * 1024 * 1024;

/// Different messages of one size; together they should stay in a core's cache.
const SAME_SIZE_BYTES: u64 = 256 * 1024;
const SAME_SIZE_MAX: u64 = 64;
/// Different sizes that stand for an even distribution.
const SIZES_MIN: u64 = 8;
const SIZES_MAX: u64 = 256;
/// Different messages that stand for weights and long tails, unless a file has more lines.
const VARIED_MAX: u64 = 4_096;
/// A mean that a cut changes by less than this share is not told.
const CUT_TOLD: f64 = 0.01;
/// What one recipient takes, roughly.
const RECIPIENT_BYTES: f64 = 64.0;

/// All messages of a run, and their envelopes.
#[derive(Debug)]
pub struct Corpus {
    /// INVARIANT: not empty, and the envelope of each is one of `envelopes`.
    messages: Vec<Rendered>,
    envelopes: Vec<RenderedEnvelope>,
    /// For envelopes in ASCII, and for others.
    params: [MailParams; 2],
    /// Octets of the mails that messages share.
    shared: u64,
    seed: u64,
    cores: u64,
}

impl Corpus {
    /// Renders the messages of `plan`. The same seed makes the same messages, but for `run`, which
    /// is in each stamp and Message-ID, and the date.
    ///
    /// # Errors
    /// What cannot be rendered: a forged address, too small a size, too much memory.
    pub fn render(plan: &Plan, run: u64, now: Timestamp) -> Result<Self, ContentError> {
        let content = &plan.content;
        let mut rendering = Rendering::begin(plan, run, now)?;
        let mut corpus = Self {
            messages: Vec::with_capacity(rendering.messages),
            envelopes: Vec::new(),
            params: [false, true].map(|utf8| mail_params(content, utf8)),
            shared: shared(content),
            seed: content.seed,
            cores: plan.cores() as u64,
        };
        let mut memory = 0;
        for n in 0..rendering.messages {
            let (mut message, envelope) = rendering.next(n)?;
            memory += message.own.len() as u64;
            if corpus.envelopes.last() != Some(&envelope) {
                memory += envelope.bytes() as u64;
                corpus.envelopes.push(envelope);
            }
            if corpus.shared + memory > content.memory_max {
                return Err(too_large(content, rendering.messages, memory / (n as u64 + 1)));
            }
            message.envelope = corpus.envelopes.len() as u32 - 1;
            corpus.messages.push(message);
        }
        assert!(!corpus.messages.is_empty(), "cores take the messages in turn");
        Ok(corpus)
    }

    /// The message that `seq` of `core` sends: by arithmetic, so that a run can be repeated, and each in
    /// turn, so that no line of a file is left out where each core sends its share.
    #[inline]
    pub fn pick(&self, core: u16, seq: u64) -> &Rendered {
        let number = self.filling(core, seq).number - 1;
        &self.messages[(number % self.messages.len() as u64) as usize]
    }

    /// What blanks of message `seq` of `core` are filled with: cores number their messages in turn, so
    /// that no two have the same number, and none is left out where each core sends its share.
    #[inline]
    pub fn filling(&self, core: u16, seq: u64) -> Filling {
        debug_assert!(seq > 0, "messages are numbered from 1 on");
        Filling { number: (seq - 1) * self.cores + u64::from(core) + 1, seed: self.seed }
    }

    #[inline]
    pub fn outgoing(&self, message: &Rendered, filling: Filling) -> Outgoing<'_> {
        let envelope = &self.envelopes[message.envelope as usize];
        Outgoing {
            from: &envelope.from.octets,
            from_blanks: &envelope.from.blanks,
            recipients: &envelope.recipients,
            params: &self.params[usize::from(envelope.smtputf8)],
            size: message.size,
            eight_bit: message.eight_bit,
            filling,
        }
    }

    /// How many recipients `message` has.
    pub fn recipients(&self, message: &Rendered) -> u32 {
        self.envelopes[message.envelope as usize].recipients.count() as u32
    }

    /// Every different message.
    pub fn messages(&self) -> &[Rendered] {
        &self.messages
    }

    /// What `run.msgs` says first of a run that begins at `start_unix_ns`.
    pub fn messages_head(&self, run: u64, start_unix_ns: u64) -> MessagesHead {
        MessagesHead {
            run,
            shard: 0,
            start_unix_ns,
            seed: self.seed,
            cores: self.cores as u32,
            messages: self.messages.len() as u32,
            envelopes: self.envelopes.len() as u32,
        }
    }

    /// Every envelope, as `run.msgs` keeps them.
    pub fn sent_envelopes(&self) -> impl Iterator<Item = SentEnvelope> {
        let path = |(path, blanks): (&[u8], _)| PathPattern {
            octets: path.into(),
            blanks: Iterator::collect(blanks),
        };
        self.envelopes.iter().map(move |envelope| SentEnvelope {
            recipients: envelope.recipients.paths().map(path).collect(),
        })
    }

    /// Every different message, as `run.msgs` keeps them.
    pub fn sent_messages(&self) -> impl Iterator<Item = SentMessage> {
        let sent = |message: &Rendered| {
            let Rendered { envelope, size, .. } = *message;
            SentMessage { envelope, size }
        };
        self.messages.iter().map(sent)
    }

    /// How many envelopes are kept.
    pub fn envelopes(&self) -> usize {
        self.envelopes.len()
    }

    /// Octets of all that is kept.
    pub fn bytes(&self) -> usize {
        let messages = self.messages.iter().map(|message| message.own.len());
        let own: usize = messages.chain(self.envelopes.iter().map(RenderedEnvelope::bytes)).sum();
        own + self.shared as usize
    }

    /// Whether some address is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        self.envelopes.iter().any(|envelope| envelope.smtputf8)
    }

    /// Octets of the longest message as it is sent.
    pub fn longest(&self) -> usize {
        let octets = |message: &Rendered| message.parts().map(<[u8]>::len).iter().sum();
        self.messages.iter().map(octets).max().unwrap_or(0)
    }
}

/// What is on the way from a content to its messages.
struct Rendering<'a> {
    content: &'a Content,
    messages: usize,
    random: fastrand::Rng,
    /// Of messages that we write.
    sizes: Vec<u64>,
    cards: Cards,
    addressing: Addressing<'a>,
    writer: MessageWriter<'a>,
    date: String,
}

impl<'a> Rendering<'a> {
    fn begin(plan: &'a Plan, run: u64, now: Timestamp) -> Result<Self, ContentError> {
        let content = &plan.content;
        if let Bodies::Kept(kept) = &content.bodies {
            debug_assert_eq!(kept.raw, plan.chunking, "read for another form of sending");
        }
        let messages = message_count(content)?;
        let mut random = stream(content.seed, RandomPurpose::Content, 0);
        let mut sizes = match &content.bodies {
            Bodies::Sizes(spread) => {
                spread.deal(messages, content.bytes_min(), GENERATED_BYTES_MAX)
            }
            _ => Vec::new(),
        };
        random.shuffle(&mut sizes);
        let cards = Cards::shuffle(content, messages, &mut random);
        let (helo, headers, raw) = (&plan.helo, &content.headers, plan.chunking);
        let addressing = Addressing::new(content);
        let stretch = matches!(&content.bodies, Bodies::Sizes(s) if s.bounds().is_none());
        let writer = MessageWriter { run, helo, headers, raw, stretch, bare: content.bare };
        let date = rfc_5322_date(now);
        Ok(Self { content, messages, random, sizes, cards, addressing, writer, date })
    }

    fn next(&mut self, n: usize) -> Result<(Rendered, RenderedEnvelope), ContentError> {
        let row = self.content.table.as_ref().map(|table| &table.rows[n % table.rows.len()]);
        let mail = match &self.content.bodies {
            Bodies::Kept(kept) => Some(&kept.mails[n % kept.mails.len()]),
            _ => None,
        };
        let (envelope, recipient, salt) = match mail.and_then(|mail| mail.envelope.as_ref()) {
            Some(recorded) => self.addressing.recorded(recorded)?,
            None => self.addressing.next(&mut self.cards, row)?,
        };
        let row = row.map_or(&[][..], |row| &row.fields);
        let (from, recipient, date) = (&envelope.from, &recipient, &self.date);
        let mut scene = TemplateValues { row, from, recipient, date, salt };
        let message = match (&self.content.bodies, mail) {
            (_, Some(mail)) => self.writer.kept(mail, &mut scene),
            (Bodies::Given(body), _) => self.writer.given(body, &mut scene),
            _ => self.writer.written(self.sizes[n], &mut scene, &mut self.random)?,
        };
        Ok((message, envelope))
    }
}

/// How many different messages represent the content: at least one for each line of its files, and
/// whole rounds of what has the most lines or the finest weights.
fn message_count(content: &Content) -> Result<usize, ContentError> {
    let (mean, enough) = match &content.bodies {
        Bodies::Sizes(spread) if content.varied() => (spread.mean(), VARIED_MAX),
        Bodies::Sizes(spread) if !spread.is_one() => (spread.mean(), SIZES_MAX),
        Bodies::Sizes(spread) => {
            let mean = spread.mean();
            (mean, ((SAME_SIZE_BYTES as f64 / mean) as u64).clamp(1, SAME_SIZE_MAX))
        }
        Bodies::Given(body) => (body.text().len() as f64, 1),
        Bodies::Kept(kept) => (STAMP_BYTES as f64, kept.mails.len() as u64),
    };
    let mean = (mean + content.recipients.mean() * RECIPIENT_BYTES) as u64 + 1;
    let enough = if content.varied() { VARIED_MAX } else { enough };
    let fit =
        (CORPUS_BYTES.min(content.memory_max) / mean).clamp(SIZES_MIN.min(enough), enough) as usize;
    let round = rounds(content).max().unwrap_or(1);
    let messages = fit.max(round).next_multiple_of(round);
    if mean.saturating_mul(messages as u64).saturating_add(shared(content)) > content.memory_max {
        return Err(too_large(content, messages, mean));
    }
    Ok(messages)
}

/// For each part of the content, of how many messages it is a whole round.
fn rounds(content: &Content) -> impl Iterator<Item = usize> {
    let weights = |choices: &[Choice]| unit(choices.iter().map(|choice| choice.weight));
    let bodies = match &content.bodies {
        Bodies::Sizes(spread) => spread.unit(),
        Bodies::Given(_) => 1,
        Bodies::Kept(kept) => kept.mails.len(),
    };
    let fine = [
        content.recipients.unit(),
        weights(&content.from),
        weights(&content.to).div_ceil(content.recipients.mean() as usize),
        unit(content.to_domains.iter().map(|(_, weight)| *weight)),
    ];
    // Finer weights than this are approximated; every line of a file is sent.
    let fine = fine.into_iter().filter(|round| *round <= VARIED_MAX as usize);
    let lines = [content.table.as_ref().map_or(1, |table| table.rows.len()), bodies];
    let lists = [content.from.len(), content.to.len().div_ceil(content.recipients.mean() as usize)];
    fine.chain(lines).chain(lists)
}

/// A sentence for each distribution that what one message can have cuts, with the mean that results.
pub fn cuts(content: &Content) -> Vec<String> {
    let Ok(messages) = message_count(content) else { return Vec::new() };
    let cut = |option: &str, spread: &Spread, least: u64, most: u64| {
        let dealt = spread.deal(messages, least, most);
        let mean = dealt.iter().map(|value| *value as f64).sum::<f64>() / messages as f64;
        let asked = spread.mean();
        (spread.bounds().is_none() && (mean / asked - 1.0).abs() > CUT_TOLD).then(|| {
            format!(
                "{option} {spread} is cut to {least} to {most}, which is what one message can have: the \
                 mean is {mean:.0} in place of {asked:.0}"
            )
        })
    };
    let sizes = match &content.bodies {
        Bodies::Sizes(sizes) => cut("--size", sizes, content.bytes_min(), GENERATED_BYTES_MAX),
        _ => None,
    };
    let recipients = cut("--recipients", &content.recipients, 1, FLIGHT_REPLIES_MAX as u64);
    sizes.into_iter().chain(recipients).collect()
}

/// Octets of the mails that are there already, whatever is rendered from them.
fn shared(content: &Content) -> u64 {
    match &content.bodies {
        Bodies::Kept(kept) => kept.mails.iter().map(|mail| mail.octets.len() as u64).sum(),
        _ => 0,
    }
}

/// `own` is the mean of what each message has to itself.
fn too_large(content: &Content, messages: usize, own: u64) -> ContentError {
    let needed = own.saturating_mul(messages as u64).saturating_add(shared(content));
    let mean = needed / messages as u64;
    ContentError::TooLarge { messages, mean, needed, limit: content.memory_max }
}

fn rfc_5322_date(now: Timestamp) -> String {
    let utc = now.to_zoned(TimeZone::UTC);
    jiff::fmt::rfc2822::to_string(&utc).unwrap_or_default()
}

fn mail_params(content: &Content, smtputf8: bool) -> MailParams {
    let params = MailParams::new(&content.mail_params, smtputf8);
    if content.size_unsaid { params.without_size() } else { params }
}

#[cfg(test)]
mod tests;
