//! The live view: a run on one screen of the terminal, while it goes on.
//!
//! It is drawn on the alternate screen of stderr, so that the former content of the terminal comes back,
//! with the report below it. The terminal is not in raw mode: keys do what they always do, and Ctrl-C is
//! the signal that ends the run. Only cells that changed are written, a few times a second.

mod view;

use std::io::{self, BufWriter, Stderr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, size};

pub use self::view::RunLength;
use self::view::View;
use crate::limits::LIVE_FRAME_MS;
use crate::measure::{Interval, Snapshot};
use crate::printable::printable;

/// Smallest terminal, in columns and rows, that the view fits.
const SIZE_MIN: (u16, u16) = (76, 16);

/// Whether a view has the terminal; there is one terminal and one view.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The view on a terminal, which is given back when this is dropped.
pub struct Live {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
    view: View,
    drawn: Instant,
}

impl Live {
    /// Takes the terminal over; `None` where it is too small or cannot be written.
    /// `targets` are the names of several targets, and empty for one.
    pub fn start(
        title: String,
        targets: Vec<String>,
        length: RunLength,
        coloured: bool,
    ) -> Option<Self> {
        let (columns, rows) = size().ok()?;
        if columns < SIZE_MIN.0 || rows < SIZE_MIN.1 {
            return None;
        }
        TAKEN.store(true, Relaxed);
        if execute!(io::stderr(), EnterAlternateScreen, Hide).is_err() {
            restore();
            return None;
        }
        // A frame is one write: stderr itself has no buffer.
        let backend = CrosstermBackend::new(BufWriter::new(io::stderr()));
        let Ok(terminal) = Terminal::new(backend) else {
            restore();
            return None;
        };
        let shown = |text: String| printable(&text).into_owned();
        let targets = targets.into_iter().map(shown).collect();
        let view = View::new(shown(title), targets, length, coloured);
        Some(Self { terminal, view, drawn: Instant::now() })
    }

    /// Takes in a second that is complete.
    pub fn interval(&mut self, elapsed: Duration, interval: &Interval, totals: Snapshot) {
        self.view.take(interval);
        self.refresh(elapsed, totals);
    }

    /// Draws what is new, unless it was drawn just now.
    pub fn refresh(&mut self, elapsed: Duration, totals: Snapshot) {
        self.view.elapsed = elapsed;
        self.view.now = totals;
        if self.drawn.elapsed() >= Duration::from_millis(LIVE_FRAME_MS) {
            self.drawn = Instant::now();
            // A terminal that is gone must not end a run.
            drop(self.terminal.draw(|frame| self.view.draw(frame)));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether a view has the terminal.
pub fn is_shown() -> bool {
    TAKEN.load(Relaxed)
}

/// Gives the terminal back if a view has it, also from a thread that is about to end the program.
pub fn restore() {
    if TAKEN.swap(false, Relaxed) {
        drop(execute!(io::stderr(), LeaveAlternateScreen, Show));
    }
}
