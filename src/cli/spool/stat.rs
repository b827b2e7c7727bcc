//! `ringpost spool stat`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;

use super::pick::Pick;
use super::progress::ByteProgress;
use super::{DIR_DEFAULT, put, put_json, tell_of, time};
use crate::cli::exit::Exit;
use crate::cli::value;
use crate::human::{self, counted, octets};
use crate::limits::PROGRESS_SHOWN_BYTES;
use crate::mailbox::{DomainCount, RateSlot, Statistics};
use crate::printable::printable;
use crate::report::bins;
use crate::spool::{CopyError, Deliveries, Reader, Survey};

/// Columns of the rate over time.
const RATE_SLOTS: usize = 60;
/// Bars of the size histogram.
const SIZE_BARS: usize = 16;
const BAR_COLUMNS: u64 = 40;

#[derive(Debug, Args)]
pub struct Stat {
    /// The --spool directory of the sink
    #[arg(default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// How many domains of senders and of recipients to show
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value::whole_in_memory)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) pick: Pick,
}

impl Stat {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Exit, CopyError> {
        let reader = Reader::open(&self.dir)?;
        let selection = self.pick.selection(|| Deliveries::read(&self.dir))?;
        let progress = ByteProgress::over(reader.file_bytes());
        let mut statistics = Statistics::default();
        let mut listing = reader.oldest_first();
        let mut shown = 0;
        while let Some(message) = listing.next() {
            let message = message?;
            match selection.takes(&mut listing, &message) {
                Ok(true) => statistics.add(&message),
                Ok(false) => {}
                Err(error) if error.is_recycled() => {}
                Err(error) => return Err(error),
            }
            let walked = listing.bytes_walked();
            if walked >= shown + PROGRESS_SHOWN_BYTES / 64 {
                shown = walked;
                progress.set(walked);
            }
        }
        progress.finish();
        let survey = listing.survey();
        if self.json {
            let mut object = json!(survey);
            if let serde_json::Value::Object(of_messages) = statistics.to_json(RATE_SLOTS, self.top)
            {
                for (name, value) in of_messages {
                    object[name] = value;
                }
            }
            put_json(out, &object)?;
        } else {
            self.put_text(out, &statistics, &survey)?;
        }
        out.flush().map_err(CopyError::Out)?;
        Ok(tell_of(&survey))
    }

    fn put_text(
        &self,
        out: &mut impl Write,
        statistics: &Statistics,
        survey: &Survey,
    ) -> Result<(), CopyError> {
        put(out, format_args!("messages   {}", human::count(statistics.messages())))?;
        put(out, format_args!("bytes      {}", octets(statistics.bytes())))?;
        if let Some((first, last)) = statistics.received_ns() {
            put(out, format_args!("received   {} to {}", time(first), time(last)))?;
        }
        for (name, count) in statistics.flags() {
            put(out, format_args!("flag       {:>10}  {name}", human::count(count)))?;
        }
        put(out, format_args!("\nin the whole spool"))?;
        let (segments, bytes) = (human::count(survey.segments), octets(survey.file_bytes));
        put(out, format_args!("segments   {segments}, {bytes} on the disk"))?;
        put(out, format_args!("unfinished {}", counted(survey.orphaned_fragments, "fragment")))?;
        put(out, format_args!("open       {}", counted(survey.open_records, "record")))?;
        put(
            out,
            format_args!("recycled   {} in part", counted(survey.recycled_messages, "message")),
        )?;
        for core in &survey.cores {
            let (number, messages) = (core.core, counted(core.messages, "message"));
            let bytes = octets(core.bytes);
            put(out, format_args!("core {number:<5} {messages}, {bytes}"))?;
        }
        put_rate(out, &statistics.rate(RATE_SLOTS))?;
        put_sizes(out, statistics.sizes())?;
        put_domains(out, "senders", &statistics.senders(self.top))?;
        put_domains(out, "recipients", &statistics.recipients(self.top))
    }
}

/// One line: a column for each slot, as high as its share of the fullest.
fn put_rate(out: &mut impl Write, slots: &[RateSlot]) -> Result<(), CopyError> {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let Some(fullest) = slots.iter().max_by_key(|slot| slot.messages) else { return Ok(()) };
    let most = fullest.messages;
    let column = |slot: &RateSlot| match slot.messages {
        0 => ' ',
        count => COLUMNS[(count * 8).div_ceil(most.max(1)) as usize - 1],
    };
    let line: String = slots.iter().map(column).collect();
    let rate = human::rate(most as f64 / fullest.seconds as f64);
    let seconds = fullest.seconds;
    put(out, format_args!("\nrate       {line}  {seconds} s a column, at most {rate} messages/s"))
}

fn put_sizes(out: &mut impl Write, sizes: &Histogram<u64>) -> Result<(), CopyError> {
    if sizes.is_empty() {
        return Ok(());
    }
    let quantile = |q| human::bytes(sizes.value_at_quantile(q) as f64);
    let (mean, max) = (human::bytes(sizes.mean()), human::bytes(sizes.max() as f64));
    put(
        out,
        format_args!(
            "\nsizes      mean {mean}, p50 {}, p90 {}, p99 {}, max {max}",
            quantile(0.5),
            quantile(0.9),
            quantile(0.99)
        ),
    )?;
    put(out, format_args!("{:>10} {:>10}", "from", "messages"))?;
    let bars = bins::bins(sizes, SIZE_BARS);
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1);
    for bar in bars {
        let columns = (bar.count * BAR_COLUMNS).div_ceil(most) as usize;
        let from = human::bytes(bar.from_ns as f64);
        put(
            out,
            format_args!("{from:>10} {:>10}  {}", human::count(bar.count), "█".repeat(columns)),
        )?;
    }
    Ok(())
}

fn put_domains(out: &mut impl Write, what: &str, shares: &[DomainCount]) -> Result<(), CopyError> {
    if shares.is_empty() {
        return Ok(());
    }
    put(out, format_args!("\n{what}"))?;
    for share in shares {
        put(out, format_args!("{:>21}  {}", human::count(share.count), printable(&share.name)))?;
    }
    Ok(())
}
