//! `ringpost spool ls`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::pick::Pick;
use super::{DIR_DEFAULT, printable, put, tell_of, time};
use crate::cli::exit::Exit;
use crate::mailbox::{add_deliveries, as_json, subject_of};
use crate::notice::without_controls;
use crate::spool::{CopyError, Deliveries, Message, Reader, StoredEnvelope};

#[derive(Debug, Args)]
pub struct Ls {
    /// The --spool directory of the sink
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// Stop after this many messages
    #[arg(short = 'n', long, value_name = "N")]
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
        let reader = Reader::open(&self.dir)?;
        let selection = self.pick.selection(&self.dir)?;
        let known = Deliveries::read(&self.dir)?;
        let mut listing = if self.reverse { reader.newest_first() } else { reader.oldest_first() };
        if !self.json {
            let names = ["ID", "RECEIVED", "BYTES", "FROM", "TO", "FLAGS", "SUBJECT"];
            put(out, format_args!("{}", row(names)))?;
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
            let settled = known.of(&message);
            if self.json {
                let mut object = as_json(&message, subject.as_deref());
                add_deliveries(&mut object, settled);
                put(out, format_args!("{object}"))?;
            } else {
                let row = as_row(&message, settled.len(), &subject.unwrap_or_default());
                put(out, format_args!("{row}"))?;
            }
        }
        out.flush().map_err(CopyError::Out)?;
        Ok(tell_of(&listing.survey()))
    }
}

fn row([id, time, bytes, from, to, flags, subject]: [&str; 7]) -> String {
    let line =
        format!("{id:<18} {time:<24} {bytes:>10}  {from:<30} {to:<36} {flags:<12} {subject}");
    line.trim_end().to_owned()
}

/// `settled` is the count of recipients that do not wait any more.
fn as_row(message: &Message, settled: usize, subject: &str) -> String {
    let StoredEnvelope { received_ns, flags, reverse_path, recipients, .. } = &message.envelope;
    let first = recipients.first().map_or_else(String::new, |to| printable(&to.path));
    let to = match recipients.len() {
        0 | 1 => first,
        count => format!("{first} +{}", count - 1),
    };
    let mut names: Vec<_> = flags.names().map(str::to_owned).collect();
    if settled > 0 {
        names.push(format!("settled-{settled}/{}", recipients.len()));
    }
    row([
        &message.place.to_string(),
        &time(*received_ns),
        &message.envelope.sent_bytes.unwrap_or(message.bytes).to_string(),
        &format!("<{}>", printable(reverse_path)),
        &to,
        &names.join(","),
        &without_controls(subject),
    ])
}
