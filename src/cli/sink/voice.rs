//! The options of the sink for what it says while it works.

use clap::{ArgAction, Args, ValueEnum};

use super::live::SinkLiveArg;
use crate::sink::{LogFormat, LogLevel, LogPlan};

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct VoiceOptions {
    /// -v: print a line on stderr when a session ends. -vv: print commands and replies too, without
    /// passwords and without the content of messages
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    /// What stderr gets: text, or json (one object on each line, and nothing else)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: LogArg,

    /// What stderr shows each second: rate, sessions, accepted messages and refusals
    #[arg(long, value_name = "WHAT", default_value = "auto")]
    pub(super) live: SinkLiveArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogArg {
    Text,
    Json,
}

impl VoiceOptions {
    pub(super) fn is_json(&self) -> bool {
        matches!(self.log, LogArg::Json)
    }

    pub(super) fn log(&self) -> LogPlan {
        let level = match self.verbose {
            0 => LogLevel::Off,
            1 => LogLevel::Sessions,
            _ => LogLevel::Dialogue,
        };
        let format = match self.log {
            LogArg::Text => LogFormat::Text,
            LogArg::Json => LogFormat::Json,
        };
        LogPlan { level, format }
    }
}
