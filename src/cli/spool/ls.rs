//! `ringpost spool ls`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::pick::Pick;
use super::{DIR_DEFAULT, put, put_json, shown, tell_of, time};
use crate::cli::exit::Exit;
use crate::cli::value;
use crate::human;
use crate::mailbox::{MessageJson, subject_of};
use crate::printable::printable;
use crate::report::columns::{Column, Layout, Width};
use crate::spool::{CopyError, Deliveries, Message, Reader, StoredEnvelope};

#[derive(Debug, Args)]
pub struct Ls {
    /// The --spool directory of the sink
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// Stop after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = value::whole_in_memory)]
    limit: Option<usize>,
    /// Newest first; without it oldest first
    #[arg(long)]
    reverse: bool,
    /// Print one JSON object on each line, with the whole envelope
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) pick: Pick,
}

impl Ls {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let width = Width::of_stdout();
        let layout = layout(width);
        let reader = Reader::open(&self.dir)?;
        let known = Deliveries::read(&self.dir)?;
        let selection = self.pick.selection(|| Ok(known.clone()))?;
        let mut listing = if self.reverse { reader.newest_first() } else { reader.oldest_first() };
        if !self.json {
            put(out, format_args!("{}", layout.head()))?;
        }
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0
            && let Some(message) = listing.next()
        {
            let message = message?;
            let picked = selection.takes(&mut listing, &message).and_then(|taken| {
                Ok(if taken { Some(subject_of(&mut listing, &message)?) } else { None })
            });
            let subject = match picked {
                Ok(Some(subject)) => subject,
                Ok(None) => continue,
                Err(error) if error.is_recycled() => continue,
                Err(error) => return Err(error),
            };
            left -= 1;
            let settled = known.of(&message)?;
            if self.json {
                let object = MessageJson::new(&message, subject.as_deref(), &settled);
                put_json(out, &object)?;
            } else {
                let cells = cells(&message, settled.len(), &subject.unwrap_or_default(), width);
                put(out, format_args!("{}", layout.row(&cells)))?;
            }
        }
        out.flush().map_err(CopyError::Out)?;
        Ok(tell_of(&listing.survey()))
    }
}

/// From so many columns on, a row has every column.
const FULL_COLUMNS: usize = 160;

/// The columns of a list. A narrow terminal shows no flags, then no sender, and a shorter time.
fn layout(width: Width) -> Layout {
    let full = [
        Column::left("ID", 18, 0),
        Column::left("RECEIVED", 26, 0),
        Column::right("BYTES", 11, 0),
        Column::left("FROM", 32, 1),
        Column::left("TO", 38, 0),
        Column::left("FLAGS", 14, 2),
        Column::text("SUBJECT"),
    ];
    let narrow = [
        Column::left("ID", 14, 0),
        Column::left("RECEIVED", 21, 0),
        Column::right("BYTES", 12, 0),
        Column::left("FROM", 26, 1),
        Column::left("TO", 22, 0),
        Column::left("FLAGS", 14, 2),
        Column::text("SUBJECT"),
    ];
    Layout::new(if width.columns() >= FULL_COLUMNS { &full } else { &narrow }, 0, width)
}

/// `settled` is the count of recipients that do not wait any more.
fn cells(message: &Message, settled: usize, subject: &str, width: Width) -> [String; 7] {
    let StoredEnvelope { received_ns, flags, reverse_path, recipients, .. } = &message.envelope;
    let first = recipients.get(0).map_or_else(String::new, |to| shown(to.path));
    let to = match recipients.len() {
        0 | 1 => first,
        count => format!("{first} +{}", count - 1),
    };
    let mut names: Vec<_> = flags.names().map(str::to_owned).collect();
    if settled > 0 {
        names.push(format!("settled-{settled}/{}", recipients.len()));
    }
    let received = time(*received_ns);
    let received = match width.columns() >= FULL_COLUMNS {
        true => received,
        // To the second, without the marks that a program needs: `2026-05-04 12:30:00`.
        false => received.get(..19).unwrap_or(&received).replace('T', " "),
    };
    [
        message.place.to_string(),
        received,
        human::count(message.envelope.sent_bytes.unwrap_or(message.bytes)),
        format!("<{}>", shown(reverse_path)),
        to,
        names.join(","),
        printable(subject).into_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_shows_what_a_message_is_recognised_by() {
        for columns in 80..200 {
            let layout = layout(Width::of_columns(columns));
            let head = layout.head();
            assert!(head.chars().count() <= columns, "{columns}: {head}");
            for name in ["ID", "RECEIVED", "BYTES", "TO", "SUBJECT"] {
                assert!(head.contains(name), "{columns}: {head}");
            }
        }
        assert!(layout(Width::FULL).head().contains("FLAGS"));
    }
}
