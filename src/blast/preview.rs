//! What a run would do, without doing it: no connection is opened and nothing is written.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::content::ContentError;
use super::corpus::{Corpus, Identity};
use super::describe::describe;
use super::misbehave::MisbehaviourKind;
use super::plan::{Load, Plan};
use super::targets::WeightedTarget;
use crate::run;
use crate::smtp::offered::Offered;

/// Lines of the example message that a dry run shows, and of its recipients: what fits on a screen.
const PREVIEW_LINES: usize = 16;

/// Octets of such a line.
const PREVIEW_LINE_BYTES: usize = 160;

/// The plan with what follows from it.
#[derive(Debug, Serialize)]
pub struct Preview {
    /// As it would stand in `run.json`.
    pub plan: run::RunPlan,
    pub targets: Vec<PreviewTarget>,
    /// The kernel interface.
    pub io: &'static str,
    pub cores: Vec<CoreShare>,
    /// Clients that break the rules.
    pub misbehave: Vec<PreviewMisbehaviour>,
    pub drain_s: f64,
    pub due: Due,
    pub corpus: CorpusFacts,
    /// Conditions that would fail the run.
    pub fail_if: Vec<String>,
    /// What would end the run early, and how connections are made again, as options that are no defaults.
    pub policy: Vec<String>,
    /// Where the artefacts would go.
    pub out: Option<PathBuf>,
    pub example: Example,
}

/// A target, and its part of the sessions.
#[derive(Debug, Serialize)]
pub struct PreviewTarget {
    pub target: String,
    pub weight: u32,
    /// Of one.
    pub share: f64,
    /// In the order in which they are tried.
    pub addresses: Vec<String>,
}

fn targets(plan: &Plan) -> Vec<PreviewTarget> {
    let all = plan.targets.all();
    let sum: u32 = all.iter().map(|of| of.weight).sum();
    let target = |of: &WeightedTarget| PreviewTarget {
        target: of.target.url.clone(),
        weight: of.weight,
        share: f64::from(of.weight) / f64::from(sum),
        addresses: of.target.addresses.iter().map(ToString::to_string).collect(),
    };
    all.iter().map(target).collect()
}

/// What one core gets.
#[derive(Debug, Serialize)]
pub struct CoreShare {
    pub cpu: usize,
    pub connections: u64,
    /// `None` where time ends the run.
    pub messages: Option<u64>,
    /// Mean of the messages or sessions due a second; `None` in a closed loop.
    pub rate: Option<f64>,
}

/// Connections that break one rule.
#[derive(Debug, Serialize)]
pub struct PreviewMisbehaviour {
    pub name: String,
    pub connections: u64,
}

/// What the schedule asks for over the whole run, warm-up and cool-down too: the mean, if arrivals are
/// random. `None` where that is not known before the run.
#[derive(Debug, Serialize)]
pub struct Due {
    pub messages: Option<u64>,
    pub sessions: Option<u64>,
}

/// The lower of two limits, where there is one.
fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

impl Due {
    fn of(plan: &Plan, messages: Option<u64>) -> Self {
        let arrivals = plan.due();
        let whole = |count: f64| count.round() as u64;
        match plan.load {
            Load::Closed => Self { messages, sessions: None },
            Load::Messages(_) => {
                Self { messages: least(messages, arrivals.map(whole)), sessions: None }
            }
            Load::Sessions(_) => {
                let (least, most) = plan.per_connection.unwrap_or((1, 1));
                let each = f64::midpoint(least as f64, most as f64);
                let sent = arrivals.map(|sessions| whole(sessions * each));
                Self { messages: self::least(messages, sent), sessions: arrivals.map(whole) }
            }
        }
    }
}

/// The messages as they are kept in memory.
#[derive(Debug, Serialize)]
pub struct CorpusFacts {
    /// Different ones; a run sends them over and over.
    pub messages: u64,
    pub envelopes: u64,
    /// Octets of a message: the least, the mean and the most.
    pub size_least: u64,
    pub size_mean: f64,
    pub size_most: u64,
    /// Recipients of a message, likewise.
    pub recipients_least: u32,
    pub recipients_mean: f64,
    pub recipients_most: u32,
    /// Octets of messages and envelopes together.
    pub memory: u64,
}

impl CorpusFacts {
    fn of(corpus: &Corpus) -> Self {
        let messages = corpus.messages();
        let sizes = || messages.iter().map(|message| message.size);
        let recipients = || messages.iter().map(|message| corpus.recipients(message));
        // A corpus is never empty.
        let count = messages.len() as f64;
        Self {
            messages: messages.len() as u64,
            envelopes: corpus.envelopes() as u64,
            size_least: sizes().min().unwrap_or(0),
            size_mean: sizes().sum::<u64>() as f64 / count,
            size_most: sizes().max().unwrap_or(0),
            recipients_least: recipients().min().unwrap_or(0),
            recipients_mean: recipients().map(f64::from).sum::<f64>() / count,
            recipients_most: recipients().max().unwrap_or(0),
            memory: corpus.bytes() as u64,
        }
    }
}

/// The first message of the first core, as it goes to a server that offers no extension. Its
/// run number and its due time are only examples.
#[derive(Debug, Serialize)]
pub struct Example {
    pub size: u64,
    /// The MAIL command, and the first of the RCPT commands.
    pub mail: String,
    pub rcpt: Vec<String>,
    pub recipients: u32,
    /// The first lines; long ones are cut off.
    pub lines: Vec<String>,
}

impl Example {
    fn of(corpus: &Corpus, now: Timestamp) -> Self {
        let (core, seq) = (0, 1);
        let message = corpus.pick(core, seq);
        let filling = corpus.filling(core, seq);
        let outgoing = corpus.outgoing(message, filling);
        let (mut mail, mut rcpt) = (Vec::new(), Vec::new());
        outgoing.write_mail(&mut mail, &Offered::default());
        outgoing.recipients.write_all(&mut rcpt, filling);
        let mut octets = message.octets();
        let due_unix_ns = now.as_nanosecond() as u64;
        message.identify(&mut octets, 0, Identity { core, conn: 1, seq, due_unix_ns, filling });
        Self {
            size: message.size,
            mail: first_lines(&mail).concat(),
            rcpt: first_lines(&rcpt),
            recipients: corpus.recipients(message),
            lines: first_lines(&octets),
        }
    }
}

fn first_lines(octets: &[u8]) -> Vec<String> {
    let lines = octets.split_inclusive(|octet| *octet == b'\n').take(PREVIEW_LINES);
    lines
        .map(|line| {
            let line = line.strip_suffix(b"\r\n").unwrap_or(line);
            String::from_utf8_lossy(&line[..line.len().min(PREVIEW_LINE_BYTES)]).into_owned()
        })
        .collect()
}

impl Preview {
    /// Renders the messages of `plan`, as a run does.
    ///
    /// # Errors
    /// What cannot be rendered.
    pub fn of(plan: &Plan) -> Result<Self, ContentError> {
        let now = Timestamp::now();
        let corpus = Corpus::render(plan, fastrand::u64(..), now)?;
        let cores = plan.cores();
        let share = |index| CoreShare {
            cpu: plan.cpus[index],
            connections: plan.connections_of(index) as u64,
            messages: plan.messages_of(index),
            rate: plan.mean_rate().map(|rate| rate / cores as f64),
        };
        let misbehaviour = |(kind, count): (MisbehaviourKind, usize)| PreviewMisbehaviour {
            name: kind.to_string(),
            connections: count as u64,
        };
        let described = describe(plan);
        Ok(Self {
            targets: targets(plan),
            io: plan.engine.name(),
            cores: (0..cores).map(share).collect(),
            misbehave: plan.misbehave.clients(plan.connections).map(misbehaviour).collect(),
            drain_s: plan.drain.as_secs_f64(),
            due: Due::of(plan, described.messages),
            corpus: CorpusFacts::of(&corpus),
            fail_if: plan.fail_if.0.iter().map(ToString::to_string).collect(),
            policy: plan.policy.in_words(),
            out: plan.out.clone(),
            example: Example::of(&corpus, now),
            plan: described,
        })
    }
}
