//! A progress bar for long work, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

use crate::limits::PROGRESS_SHOWN_BYTES;

/// Shows how many octets are done, of how many. Shows nothing for little work, or if stderr is not a
/// terminal.
pub(super) struct ByteProgress {
    bar: ProgressBar,
}

impl ByteProgress {
    pub(super) fn over(bytes: u64) -> Self {
        if bytes < PROGRESS_SHOWN_BYTES {
            return Self { bar: ProgressBar::hidden() };
        }
        // The crate draws on stderr, and only where that is a terminal.
        let bar = ProgressBar::new(bytes);
        let style = ProgressStyle::with_template(
            "{wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left {msg}",
        );
        bar.set_style(style.expect("the template is well formed"));
        Self { bar }
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    pub(super) fn set(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
