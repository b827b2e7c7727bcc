//! `ringpost report delivery`: runs held against the spools of the sinks behind the server.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::ReportError;
use crate::cli::exit;
use crate::cli::value;
use crate::delivery::{self, JoinOptions, Joined, SentRun};
use crate::notice::notice;
use crate::report::colour::Colour;
use crate::report::columns::Width;
use crate::report::delivery as shown;
use crate::run::hgrm;
use crate::run::{Conditions, Judged, Loaded, Run, Verdict};

/// Say what became of the messages of a run behind the server that took them
///
/// The run needs its run.msgs (ringpost-blast --out), and the server must send its mail on to a ringpost-sink that
/// keeps it. The unit is a delivery: a message for one recipient.
#[derive(Args, Debug)]
pub(super) struct DeliveryArgs {
    /// Directories of runs of ringpost-blast
    #[arg(required = true, value_name = "RUN_DIR")]
    runs: Vec<PathBuf>,
    /// A spool of a sink behind the server; may be given more than once
    #[arg(long, required_unless_present = "not_kept", value_name = "DIR")]
    spool: Vec<PathBuf>,
    /// Wait until everything has come, or nothing has come for so long
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "0s")]
    wait: Duration,
    /// Is added to the times of the sink, such as 12ms or -3s, where its clock is not that of the generator
    #[arg(long, value_name = "TIME", value_parser = offset, default_value = "0s", allow_hyphen_values = true)]
    clock_offset: i64,
    /// The sink did not keep messages for this domain (--keep DOMAIN=none), or for none (*): what is not there is
    /// unknown and not lost. May be given more than once
    #[arg(long, value_name = "DOMAIN")]
    not_kept: Vec<String>,
    /// Fail (exit code 1) if this is true, such as 'lost>0,doubled>0,altered>0,delivery.p99>5s'. Other figures:
    /// transit.p50, bounced, reordered, unknown, delivered, those of ringpost-blast --fail-if. May be given more than
    /// once
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Conditions>,
    /// Print the result as one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Also write the result as one self-contained page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also write the delivery times as an HdrHistogram log (delivery.hlog) and as percentiles (delivery.hgrm) into
    /// this directory, and the result (delivery.json)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// A time with a sign, in nanoseconds.
fn offset(text: &str) -> Result<i64, String> {
    let (sign, length) = match text.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = value::duration(length).map_err(|error| error.to_string())?;
    i64::try_from(length.as_nanos()).map(|ns| sign * ns).map_err(|_| "it is too long".to_owned())
}

impl DeliveryArgs {
    pub(super) fn run(&self) -> Result<u8, ReportError> {
        let conditions =
            Conditions(self.fail_if.iter().flat_map(|list| list.0.iter().copied()).collect());
        if let Some(change) = conditions.0.iter().find(|condition| condition.is_change()) {
            return Err(ReportError::NoChange(*change));
        }
        let runs = self.runs.iter().map(|dir| SentRun::open(dir)).collect::<Result<Vec<_>, _>>()?;
        let options = JoinOptions {
            clock_offset_ns: self.clock_offset,
            not_kept: self.not_kept.iter().map(|name| name.to_ascii_lowercase()).collect(),
        };
        let joined = delivery::join(&runs, &self.spool, &options, self.wait)?;
        let mut run = self.figures(&conditions)?;
        run.delivery = Some(Box::new(joined.result.clone()));
        let judged = conditions.judge(&run);
        if let Some(dir) = &self.out {
            write(dir, &joined)?;
        }
        if let Some(path) = &self.html {
            let times = &joined.deliveries;
            let times = [&times.delivery_ns, &times.transit_ns];
            fs::write(path, shown::html(&joined.result, times, &judged))
                .map_err(|error| ReportError::Create { path: path.clone(), error })?;
        }
        let told = match self.json {
            true => exit::tell_json(json(&joined)),
            false => {
                let room = (Colour::of_stdout(), Width::of_stdout());
                exit::tell(shown::text(&joined.result, &judged, room))
            }
        };
        told.map_err(ReportError::Stdout)?;
        if self.json {
            for failed in judged.iter().filter(|one| one.fails()) {
                notice!("ringpost: {failed}");
            }
        }
        let failed = judged.iter().any(Judged::fails);
        Ok(if failed { Verdict::ThresholdFailed.exit_code() } else { 0 })
    }

    /// The other figures that a condition may be about.
    fn figures(&self, conditions: &Conditions) -> Result<Run, ReportError> {
        let needed = conditions.0.iter().find(|condition| !condition.is_of_delivery());
        match (needed, self.runs.as_slice()) {
            (None, _) => Ok(Run::default()),
            (Some(_), [dir]) => Ok(Loaded::open(dir)?.run),
            (Some(condition), _) => Err(ReportError::OneRun(*condition)),
        }
    }
}

fn json(joined: &Joined) -> String {
    serde_json::to_string(&joined.result).expect("string keys and plain values") + "\n"
}

/// Writes the files of a result.
fn write(dir: &Path, joined: &Joined) -> Result<(), ReportError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ReportError::Create { path, error }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let path = dir.join("delivery.hgrm");
    let percentiles = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(&path)?);
        hgrm::write(&mut out, &joined.deliveries.delivery_ns)?;
        out.flush()
    };
    percentiles().map_err(failed(&path))?;
    let path = dir.join("delivery.hlog");
    let log = || -> io::Result<()> {
        let mut out = BufWriter::new(File::create(&path)?);
        joined.write_log(&mut out)?;
        out.flush()
    };
    log().map_err(failed(&path))?;
    let path = dir.join("delivery.json");
    fs::write(&path, json(joined)).map_err(failed(&path))
}
