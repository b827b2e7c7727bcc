//! What a run leaves behind.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Report")]
pub(super) struct ArtefactArgs {
    /// Put run.json, run.hlog, run.hgrm, run.csv and report.html there
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Print the result as one JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}
