//! A curve read back from the directory that a sweep or a search wrote.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::{Curve, RateStep, SCHEMA, step_dir};
use crate::host;
use crate::run::LoadError;
use crate::run::load::{JSON_BYTES_MAX, is_modest, read_run};

/// The tasks with the name of what they mark.
const TASKS: [(&str, &str); 2] = [("sweep", "knee"), ("find-max", "max")];

/// What is read of the JSON; the rest follows from the runs of the steps.
#[derive(Deserialize)]
struct StoredCurve {
    schema: u32,
    #[serde(default)]
    slo: Option<String>,
    found_msg_s: Option<f64>,
    said: Vec<String>,
    steps: Vec<StoredStep>,
}

#[derive(Deserialize)]
struct StoredStep {
    asked_msg_s: f64,
    kept: Option<bool>,
}

impl Curve {
    /// The curve in `dir`; `None` if no sweep and no search wrote into it.
    ///
    /// # Errors
    /// When a file of it is missing, damaged or of another version.
    pub fn open(dir: &Path) -> Result<Option<Self>, LoadError> {
        for (task, mark) in TASKS {
            let path = dir.join(format!("{task}.json"));
            let json = match host::read_regular(&path, JSON_BYTES_MAX) {
                Ok(json) => json,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
                Err(error) => return Err(LoadError::Io { path, error }),
            };
            if !is_modest(&json) {
                return Err(LoadError::Many(path));
            }
            let stored: StoredCurve = serde_json::from_slice(&json)
                .map_err(|error| LoadError::Json { path: path.clone(), error })?;
            if stored.schema != SCHEMA {
                return Err(LoadError::OtherSchema { path, found: stored.schema.into() });
            }
            let step = |(index, step): (usize, &StoredStep)| {
                let run = read_run(&dir.join(step_dir(index + 1, step.asked_msg_s)))?;
                Ok(RateStep {
                    asked: step.asked_msg_s,
                    run,
                    kept: step.kept.filter(|_| task == "find-max"),
                })
            };
            let steps: Result<Vec<_>, LoadError> =
                stored.steps.iter().enumerate().map(step).collect();
            return Ok(Some(Self {
                task,
                steps: steps?,
                said: stored.said,
                slo: stored.slo,
                mark: stored.found_msg_s.map(|rate| (rate, mark)),
            }));
        }
        Ok(None)
    }
}
