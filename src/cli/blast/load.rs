//! How much is sent when.

use std::time::Duration;

use clap::Args;

use crate::blast::plan::Stop;
use crate::cli::value;

const CONNECTIONS_DEFAULT: usize = 64;
const DURATION_DEFAULT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(next_help_heading = "Load")]
pub(super) struct LoadArgs {
    /// Connections open at once
    #[arg(short, long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT)]
    pub(super) connections: usize,
    /// End after N messages
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration",
          value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Begin no message later than this [default: 10s]
    #[arg(short = 'z', long, value_name = "DURATION", value_parser = value::duration)]
    duration: Option<Duration>,
    /// Time at the start that is not counted; -n counts its messages too
    #[arg(long, value_name = "DURATION", value_parser = value::duration, default_value = "0s")]
    pub(super) warmup: Duration,
    /// Messages after which a connection is closed and a new one opened [default: no limit]
    #[arg(long, value_name = "N")]
    pub(super) per_connection: Option<u64>,
}

impl LoadArgs {
    pub(super) fn stop(&self) -> Stop {
        match self.messages {
            Some(messages) => Stop::Messages(messages),
            None => Stop::Duration(self.duration.unwrap_or(DURATION_DEFAULT)),
        }
    }
}
