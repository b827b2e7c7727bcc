//! A run as it may be shown: the same, and every text in it fit to print.
//!
//! `run.json` comes from anywhere: from another machine, from a stranger's bug report. Its texts reach the
//! terminal in many places, so they are made harmless in one, before a report is drawn.

use serde_json::Value;

use super::curve::Curve;
use super::load::Loaded;
use super::result::Run;
use crate::printable::{lines, printable};

impl Run {
    /// The run with a `?` for each character, in any of its texts, that a terminal may obey. Its figures are
    /// the same.
    #[must_use]
    pub fn shown(&self) -> Self {
        let shown =
            |run: &Self| serde_json::from_value(harmless(serde_json::to_value(run).ok()?)).ok();
        // What cannot be written as JSON was not read from it: it is this program's own.
        let mut run: Self = shown(self).unwrap_or_else(|| self.clone());
        // Of all texts the note alone may have several lines.
        run.plan.note = lines(&self.plan.note).into_owned();
        run
    }
}

impl Loaded {
    /// See [`Run::shown`].
    #[must_use]
    pub fn shown(self) -> Self {
        Self { run: self.run.shown(), ..self }
    }
}

impl Curve {
    /// See [`Run::shown`].
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.steps.iter_mut().for_each(|step| step.run = step.run.shown());
        self.said.iter_mut().for_each(|said| *said = printable(said).into_owned());
        self.slo = self.slo.map(|slo| printable(&slo).into_owned());
        self
    }
}

/// The value with every text in it made fit to print, names too.
fn harmless(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable(&text).into_owned()),
        Value::Array(values) => Value::Array(values.into_iter().map(harmless).collect()),
        Value::Object(fields) => {
            let field =
                |(name, value): (String, Value)| (printable(&name).into_owned(), harmless(value));
            Value::Object(fields.into_iter().map(field).collect())
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Shard;

    #[test]
    fn every_text_of_a_run_is_fit_to_print_and_no_figure_changes() {
        let bad = || "a\x1b]0;x\x07\u{9b}2J\u{202e}\nb".to_owned();
        let mut run = Run { id: bad(), rate_msg_s: Some(0.1 + 0.2), ..Run::default() };
        run.plan.command = vec![bad(); 2];
        run.plan.note = bad();
        run.counts.messages_ok = u64::MAX;
        run.phases.entry(crate::measure::Phase::Mail).or_default().enhanced.insert(bad(), 7);
        run.shards = vec![Shard { name: bad(), run: run.clone() }];
        let shown = run.shown();
        let text = format!("{shown:?}");
        assert!(!text.contains("\\u{") && !text.contains("\x1b"), "{text}");
        assert_eq!(shown.id, "a?]0;x??2J??b");
        assert!(shown.plan.note.ends_with("?\nb"));
        assert_eq!((shown.rate_msg_s, shown.counts), (run.rate_msg_s, run.counts));
        assert_eq!(shown.shards[0].name, "a?]0;x??2J??b");
        let plain = Run { id: "0123".to_owned(), ..Run::default() };
        assert_eq!(plain.shown(), plain);
    }
}
