//! The files of a run, while it goes on.

use jiff::Timestamp;

use super::message_log::FateCollector;
use crate::measure::{Interval, Totals};
use crate::run::messages::{MessagesHead, RunMessagesWriter};
use crate::run::{ArtefactError, NewRunDir, Run, RunDir};

/// The files of a run. When one cannot be written, no more are, and the run goes on: its report is
/// still worth something.
pub(super) struct Artefacts {
    files: Option<OpenFiles>,
    fates: Option<FateCollector>,
    failed: Option<ArtefactError>,
}

struct OpenFiles {
    dir: RunDir,
    messages: RunMessagesWriter,
    /// Messages whose fates found no room.
    missed: u64,
}

impl Artefacts {
    pub(super) fn begin(
        files: Option<(NewRunDir, Result<RunMessagesWriter, ArtefactError>)>,
        fates: Option<FateCollector>,
        started: Timestamp,
        head: &MessagesHead,
    ) -> Self {
        let begin = |(dir, messages): (NewRunDir, Result<RunMessagesWriter, ArtefactError>)| {
            let (mut messages, dir) = (messages?, dir.begin(started)?);
            messages.begin(head).map_err(|error| dir.messages_failed(error))?;
            Ok(OpenFiles { dir, messages, missed: 0 })
        };
        match files.map(begin).transpose() {
            Ok(files) => Self { files, fates, failed: None },
            Err(error) => Self { files: None, fates, failed: Some(error) },
        }
    }

    pub(super) fn interval(&mut self, interval: &Interval) {
        self.write(|files| {
            files.dir.interval(interval)?;
            files.messages.flush().map_err(|error| files.dir.messages_failed(error))
        });
    }

    /// Takes what the cores say of their messages.
    pub(super) fn fates(&mut self) {
        while let Some(mut given) = self.fates.as_ref().and_then(FateCollector::take) {
            self.write(|files| {
                files.missed += given.missed;
                let written = files.messages.fates(given.core, &mut given.fates);
                written.map_err(|error| files.dir.messages_failed(error))
            });
            if let Some(fates) = &self.fates {
                fates.reuse(given);
            }
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut OpenFiles) -> Result<(), ArtefactError>) {
        let Some(files) = &mut self.files else { return };
        if let Err(error) = write(files) {
            self.failed = Some(error);
            self.files = None;
        }
    }

    pub(super) fn finish(mut self, run: &Run, totals: &Totals) -> Option<ArtefactError> {
        self.fates();
        let Self { files, failed, .. } = self;
        let Some(OpenFiles { dir, messages, missed }) = files else { return failed };
        // A core that died may have taken fates with it: without an end the file says so.
        if totals.cores_lost == 0
            && let Err(error) = messages.finish(missed)
        {
            return Some(dir.messages_failed(error));
        }
        dir.finish(run, totals).err()
    }
}
