//! What ended a run before its time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::measure::{ErrorKind, Phase};

/// What ended the run before its plan was done: an option that asked for it, or a signal; part of `run.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stopped {
    /// The option that asked for it, `--stop-on 5xx`, or the signal: `SIGINT`.
    pub by: String,
    /// Since the start of the run, warm-up included.
    pub at_s: f64,
    /// The target, where there are several; else `null`.
    pub target: Option<String>,
    /// The phase that was refused or failed; `message` where none was.
    pub phase: Phase,
    /// Of the reply; `null` where none came.
    pub code: Option<u16>,
    /// What failed without a reply.
    pub error: Option<ErrorKind>,
    /// The server's words, or what happened.
    pub text: String,
}

/// One sentence: `--stop-on 5xx ended the run after 0.3 s: rcpt was answered 550 5.1.1 no such user`.
impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, at_s, target, phase, code, error, text } = self;
        let phase = phase.name();
        write!(f, "{by} ended the run after {at_s:.1} s: ")?;
        if let Some(target) = target {
            write!(f, "{target}: ")?;
        }
        match (code, error) {
            (Some(code), _) => write!(f, "{phase} was answered {code} {text}"),
            (None, Some(_)) => write!(f, "{phase} failed: {text}"),
            (None, None) => f.write_str(text),
        }
    }
}
