//! The files of one run: `run.hlog`, `run.csv` and `run.msgs` grow by the second, `run.hgrm` and `run.json` are
//! written at the end. `run.json` appears whole and last, so where it exists, the others are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::hlog::{HEADLINE_CLOSED, HEADLINE_OPEN, HlogWriter};
use super::messages::{RunMessagesWriter, SentEnvelope, SentMessage};
use super::result::Run;
use super::{hgrm, series};
use crate::measure::{Interval, Mode, Totals};
use crate::printable;

pub const RUN_JSON: &str = "run.json";
pub const RUN_HLOG: &str = "run.hlog";
pub const RUN_HGRM: &str = "run.hgrm";
pub const RUN_CSV: &str = "run.csv";
pub const RUN_MSGS: &str = "run.msgs";

#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    #[error("{} already holds a run; name another directory, or move it away", .0.display())]
    Taken(PathBuf),
    #[error("cannot write {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

/// A directory that is made ready for the artefacts of a run which has not begun.
pub struct NewRunDir {
    dir: PathBuf,
    hlog: File,
    csv: BufWriter<File>,
    headline: &'static str,
}

/// A directory that takes the artefacts of one run.
pub struct RunDir {
    dir: PathBuf,
    hlog: HlogWriter<BufWriter<File>>,
    csv: BufWriter<File>,
}

impl NewRunDir {
    /// Makes the directory where it is missing and opens the files that grow. To be called before
    /// the clock starts; a directory that holds any file of a run is refused and left as it is.
    pub fn create(dir: &Path, mode: Mode) -> Result<Self, ArtefactError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        let names = [RUN_JSON, RUN_HLOG, RUN_HGRM, RUN_CSV, RUN_MSGS];
        if names.iter().any(|name| dir.join(name).exists()) {
            return Err(ArtefactError::Taken(dir.to_owned()));
        }
        let headline = match mode {
            Mode::Closed => HEADLINE_CLOSED,
            Mode::Open => HEADLINE_OPEN,
        };
        let path = dir.join(RUN_HLOG);
        let hlog = File::create_new(&path).map_err(at(&path))?;
        let path = dir.join(RUN_CSV);
        let csv = BufWriter::new(File::create_new(&path).map_err(at(&path))?);
        let mut made = Self { dir: dir.to_owned(), hlog, csv, headline };
        // It is better to learn now than after the run that the disk is full.
        let columns = writeln!(made.csv, "{}", series::COLUMNS).and_then(|()| made.csv.flush());
        match columns {
            Ok(()) => Ok(made),
            Err(error) => {
                made.abandon();
                Err(at(&path)(error))
            }
        }
    }

    /// Makes `run.msgs`, with everything that is known before the clock starts.
    pub fn messages(
        &self,
        envelopes: impl Iterator<Item = SentEnvelope>,
        messages: impl Iterator<Item = SentMessage>,
    ) -> Result<RunMessagesWriter, ArtefactError> {
        let path = self.dir.join(RUN_MSGS);
        RunMessagesWriter::create(&path, envelopes, messages).map_err(at(&path))
    }

    /// Says when the clock of the run started: all times in the files count from there.
    pub fn begin(self, started: Timestamp) -> Result<RunDir, ArtefactError> {
        let Self { dir, hlog, csv, headline } = self;
        let path = dir.join(RUN_HLOG);
        let begun = HlogWriter::begin(BufWriter::new(hlog), started.into(), headline);
        let begun = begun.and_then(|mut hlog| hlog.flush().map(|()| hlog));
        Ok(RunDir { hlog: begun.map_err(at(&path))?, dir, csv })
    }

    /// Removes its files, where the run does not begin.
    pub fn abandon(self) {
        remove(&self.dir);
    }
}

/// Removes the files that grow. One that cannot be removed is named the next time, when its directory is
/// refused.
fn remove(dir: &Path) {
    for name in [RUN_HLOG, RUN_CSV, RUN_MSGS] {
        drop(fs::remove_file(dir.join(name)));
    }
}

impl RunDir {
    /// As [`NewRunDir::create`], for a run whose start is known.
    pub fn create(dir: &Path, started: Timestamp, mode: Mode) -> Result<Self, ArtefactError> {
        let begun = NewRunDir::create(dir, mode)?.begin(started);
        if begun.is_err() {
            remove(dir);
        }
        begun
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// An error of `run.msgs`.
    pub fn messages_failed(&self, error: io::Error) -> ArtefactError {
        at(&self.dir.join(RUN_MSGS))(error)
    }

    /// Adds one second to the files that grow, and flushes them: a run that is killed leaves all
    /// whole seconds behind.
    pub fn interval(&mut self, interval: &Interval) -> Result<(), ArtefactError> {
        self.hlog
            .write(interval)
            .and_then(|()| self.hlog.flush())
            .map_err(at(&self.dir.join(RUN_HLOG)))?;
        series::Second::from(interval)
            .write(&mut self.csv)
            .and_then(|()| self.csv.flush())
            .map_err(at(&self.dir.join(RUN_CSV)))
    }

    /// Removes the files that grow, where the run does not begin.
    pub fn abandon(self) {
        remove(&self.dir);
    }

    /// Writes the files of the end.
    pub fn finish(self, run: &Run, totals: &Totals) -> Result<(), ArtefactError> {
        let path = self.dir.join(RUN_HGRM);
        let mut out = BufWriter::new(File::create(&path).map_err(at(&path))?);
        hgrm::write(&mut out, totals.tally.headline())
            .and_then(|()| out.flush())
            .map_err(at(&path))?;
        let path = self.dir.join(RUN_JSON);
        let part = self.dir.join("run.json.part");
        let json = serde_json::to_string_pretty(run).expect("string keys and plain values") + "\n";
        fs::write(&part, printable::json(&json).as_bytes())
            .and_then(|()| fs::rename(&part, &path))
            .map_err(at(&path))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ArtefactError {
    let path = path.to_owned();
    move |error| ArtefactError::Io { path, error }
}
