//! Colours of a terminal, and whether they are wanted.

use std::io::{self, IsTerminal};

use crate::run::Verdict;

/// Whether the user wants no colours: `NO_COLOR` is set and not empty. No other place reads it.
pub fn is_unwanted() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    Plain,
    Ansi,
}

impl Colour {
    /// For stdout: plain where it is not a terminal, or where the user wants no colours.
    pub fn of_stdout() -> Self {
        if is_unwanted() || !io::stdout().is_terminal() { Self::Plain } else { Self::Ansi }
    }

    /// `text` in the colour of an SGR code, such as `1;31`.
    pub fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// Better than before.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Worse than before.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(super) fn verdict(self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Ok => "1;32",
            Verdict::Failures | Verdict::TargetLimited => "1;33",
            Verdict::ThresholdFailed
            | Verdict::Stopped
            | Verdict::Unreachable
            | Verdict::GeneratorLimited => "1;31",
        };
        self.paint(code, &verdict.name().to_uppercase())
    }
}
