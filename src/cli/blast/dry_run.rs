//! `ringpost-blast --dry-run`: the plan, for people or as JSON.

use std::fmt::{self, Display, Write as _};

use super::Error;
use crate::blast::plan::Plan;
use crate::blast::preview::{CoreShare, Example, Preview};
use crate::cli::exit;
use crate::human;
use crate::printable::printable;

pub(super) fn print(plan: &Plan, json: bool) -> Result<(), Error> {
    let preview = Preview::of(plan)?;
    if json {
        let json = serde_json::to_string(&preview).map_err(|error| Error::Report(error.into()))?;
        exit::tell_json(json + "\n").map_err(Error::Report)
    } else {
        exit::tell(text(&preview)).map_err(Error::Report)
    }
}

/// Rows of a name and what is said of it.
#[derive(Default)]
struct Rows(String);

impl Rows {
    fn row(&mut self, name: &str, said: impl Display) {
        self.text(format_args!("  {name:<14}{said}"));
    }

    fn text(&mut self, said: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{said}");
    }

    fn given(&mut self, name: &str, said: Option<impl Display>) {
        if let Some(said) = said {
            self.row(name, said);
        }
    }
}

fn text(preview: &Preview) -> String {
    let mut rows = Rows("Dry run: nothing was sent.\n\n".to_owned());
    load(&mut rows, preview);
    content(&mut rows, preview);
    for condition in &preview.fail_if {
        rows.row("fails if", condition);
    }
    for option in &preview.policy {
        rows.row("policy", option);
    }
    let out = preview.out.as_ref().map(|dir| dir.display());
    rows.given("artefacts", out);
    example(&mut rows, &preview.example);
    rows.0
}

fn load(rows: &mut Rows, preview: &Preview) {
    let plan = &preview.plan;
    let span = |seconds: f64| (seconds > 0.0).then(|| human::seconds(seconds));
    for target in &preview.targets {
        let share = match preview.targets.len() {
            1 => String::new(),
            _ => format!(", {} of the sessions", human::percent(target.share)),
        };
        rows.row(
            "target",
            format_args!("{} ({}){share}", target.target, target.addresses.join(", ")),
        );
    }
    rows.row("connections", plan.connections);
    rows.row("interface", preview.io);
    for share in &preview.cores {
        rows.row("core", CoreLine(share, plan.arrivals_of.as_deref()));
    }
    rows.row(
        "load",
        match (&plan.rate, &plan.arrivals_of, &plan.arrivals) {
            (Some(rate), Some(of), Some(arrivals)) => {
                format!("by the clock, {rate} {of}/s, {arrivals} arrivals")
            }
            _ => "closed loop".to_owned(),
        },
    );
    rows.given("sessions due", preview.due.sessions.map(human::count));
    rows.given("messages due", preview.due.messages.map(human::count));
    rows.given(
        "each sends",
        plan.per_connection.map(|count| format!("{} on average", human::counted(count, "message"))),
    );
    rows.given("think time", plan.think.as_ref());
    for share in &preview.misbehave {
        let connections = human::counted(share.connections, "connection");
        rows.row("misbehaves", format_args!("{}, {connections}", share.name));
    }
    rows.given("warm-up", span(plan.warmup_s));
    rows.given("measured", plan.duration_s.map(human::seconds));
    rows.given("cool-down", span(plan.cooldown_s));
    rows.row("drain", format_args!("at most {}", human::seconds(preview.drain_s)));
}

fn content(rows: &mut Rows, preview: &Preview) {
    let (plan, corpus) = (&preview.plan, &preview.corpus);
    rows.row(
        "pipelining",
        match (plan.chunking, plan.depth) {
            (true, depth) => format!("{}, BDAT, {depth} in one flight", plan.pipelining),
            (false, _) => plan.pipelining.clone(),
        },
    );
    match plan.hello.as_str() {
        "none" => rows.row("greeting", "none"),
        verb => rows.row(&verb.to_uppercase(), &plan.helo),
    }
    rows.given("TLS", Some(&plan.tls).filter(|mode| *mode != "none"));
    rows.given("AUTH", plan.auth.as_ref());
    let sizes = between(corpus.size_least, corpus.size_most);
    let mean = human::bytes(corpus.size_mean);
    rows.row("size", format_args!("{sizes} octets, mean {mean}, from {}", plan.size));
    let recipients = between(corpus.recipients_least.into(), corpus.recipients_most.into());
    rows.row("recipients", format_args!("{recipients}, mean {:.2}", corpus.recipients_mean));
    rows.row("from, to", format_args!("{}, {}", plan.from, plan.to));
    rows.row(
        "corpus",
        format_args!(
            "different messages: {}, different envelopes: {}; {} of memory; seed {}",
            human::count(corpus.messages),
            human::count(corpus.envelopes),
            human::bytes(corpus.memory as f64),
            plan.seed
        ),
    );
}

fn between(least: u64, most: u64) -> String {
    let [least, most] = [least, most].map(human::count);
    if least == most { least } else { format!("{least} to {most}") }
}

struct CoreLine<'a>(&'a CoreShare, Option<&'a str>);

impl Display for CoreLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(share, of) = self;
        let connections = human::counted(share.connections, "connection");
        write!(f, "on CPU {}, {connections}", share.cpu)?;
        if let Some(messages) = share.messages {
            write!(f, ", {}", human::counted(messages, "message"))?;
        }
        if let (Some(rate), Some(of)) = (share.rate, of) {
            write!(f, ", {} {of}/s", human::rate(rate))?;
        }
        Ok(())
    }
}

fn example(rows: &mut Rows, example: &Example) {
    let size = human::count(example.size);
    rows.text(format_args!("\nThe first message of the first core, {size} octets, begins so:\n"));
    for line in [&example.mail].into_iter().chain(&example.rcpt) {
        rows.text(format_args!("  {}", printable(line)));
    }
    let more = example.recipients as usize - example.rcpt.len();
    if more > 0 {
        rows.text(format_args!("  ... and {} more", human::counted(more as u64, "recipient")));
    }
    rows.text("");
    for line in &example.lines {
        rows.text(format_args!("  {}", printable(line)).to_string().trim_end());
    }
}
