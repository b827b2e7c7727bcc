//! The live view: a run on one screen of the terminal, while it goes on.
//!
//! It is drawn on the alternate screen of stderr, so that the former content of the terminal comes back,
//! with the report below it. The terminal is not in raw mode: keys do what they always do, and Ctrl-C is
//! the signal that ends the run. Only cells that changed are written, a few times a second. A frame that the
//! terminal does not take, because Ctrl-S has stopped it or its window hangs, is dropped: a run waits for no terminal.

mod view;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, size};
use ratatui::layout::{Position, Rect};

pub use self::view::RunLength;
use self::view::View;
use crate::limits::LIVE_FRAME_MS;
use crate::measure::{Interval, Snapshot};
use crate::notice::put_frame;
use crate::printable::printable;

/// Smallest terminal, in columns and rows, that the view fits.
const SIZE_MIN: (u16, u16) = (76, 16);

/// Whether a view has the terminal; there is one terminal and one view.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether the terminal was to be given back and did not take it.
static OWED: AtomicBool = AtomicBool::new(false);

/// What is drawn and not yet shown.
#[derive(Clone, Default)]
struct FrameBuffer(Rc<RefCell<Vec<u8>>>);

impl Write for FrameBuffer {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(octets);
        Ok(octets.len())
    }

    /// A frame is shown as a whole, when all of it is drawn.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The view on a terminal, which is given back when this is dropped.
pub struct Live {
    terminal: Terminal<CrosstermBackend<FrameBuffer>>,
    frame: FrameBuffer,
    /// The terminal has not taken the last frame: it shows something else than what was drawn.
    stale: bool,
    view: View,
    drawn: Instant,
}

impl Live {
    /// Takes the terminal over; `None` where it is too small or does not take it.
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
        let frame = FrameBuffer::default();
        let terminal = Terminal::new(CrosstermBackend::new(frame.clone())).ok()?;
        let mut begin = Vec::new();
        queue!(begin, EnterAlternateScreen, Hide).ok()?;
        TAKEN.store(true, Relaxed);
        if put_frame(&begin).is_err() {
            restore();
            return None;
        }
        let shown = |text: String| printable(&text).into_owned();
        let targets = targets.into_iter().map(shown).collect();
        let view = View::new(shown(title), targets, length, coloured);
        Some(Self { terminal, frame, stale: false, view, drawn: Instant::now() })
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
            self.show();
        }
    }

    /// Draws a frame: what has changed since the last one, or all of it if the terminal did not take that. A
    /// terminal that is gone must not end a run.
    fn show(&mut self) {
        if self.stale
            && let Ok(size) = self.terminal.size()
        {
            drop(self.terminal.resize(Rect::from((Position::ORIGIN, size))));
        }
        let drawn = self.terminal.draw(|frame| self.view.draw(frame)).is_ok();
        let frame = self.frame.0.take();
        self.stale = put_frame(&frame).is_err() || !drawn;
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
        OWED.store(put_frame(&end()).is_err(), Relaxed);
    }
}

/// What has to come before a report on the same terminal, if that did not take it when it was given back.
pub fn owed() -> Vec<u8> {
    if OWED.swap(false, Relaxed) { end() } else { Vec::new() }
}

fn end() -> Vec<u8> {
    let mut end = Vec::new();
    // A vector takes everything.
    let _ = queue!(end, LeaveAlternateScreen, Show);
    end
}
