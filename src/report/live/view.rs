//! What the live view shows: one screen, drawn from the seconds of a run.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use crate::human;
use crate::limits::LIVE_SECONDS_MAX;
use crate::measure::{Interval, Mode, Phase, Snapshot, Tally};
use crate::report::figure::SECOND_MIN;
use crate::report::words::{percentile_rows, phase_title};
use crate::run::Latency;

/// How long a run is to be, for the head of the view.
#[derive(Clone, Copy, Debug)]
pub enum RunLength {
    Time(Duration),
    Messages(u64),
}

/// What is shown; pure, so that a test can draw it anywhere.
pub(super) struct View {
    title: String,
    /// Their names where there are several; else nothing.
    targets: Vec<String>,
    length: RunLength,
    coloured: bool,
    pub(super) elapsed: Duration,
    pub(super) now: Snapshot,
    /// The last whole second: the part of the run where it is not measured, messages per second, and its headline.
    second: (&'static str, f64, Latency),
    /// Messages per second, and p99 in microseconds where there is one, of the last seconds.
    rates: VecDeque<Option<u64>>,
    tails: VecDeque<Option<u64>>,
    /// The measured seconds so far, and what a frame shows of them: percentiles are looked up once a
    /// second and not for each frame.
    sum: Option<Box<Tally>>,
    run: Latency,
    phases: Vec<PhaseLine>,
}

/// One row of the phase table.
struct PhaseLine {
    title: String,
    latency: Latency,
    codes: String,
    /// Something was not accepted.
    refused: bool,
}

impl View {
    pub(super) fn new(
        title: String,
        targets: Vec<String>,
        length: RunLength,
        coloured: bool,
    ) -> Self {
        Self {
            title,
            targets,
            length,
            coloured,
            elapsed: Duration::ZERO,
            now: Snapshot::default(),
            second: ("", 0.0, Latency::default()),
            rates: VecDeque::with_capacity(LIVE_SECONDS_MAX),
            tails: VecDeque::with_capacity(LIVE_SECONDS_MAX),
            sum: None,
            run: Latency::default(),
            phases: Vec::new(),
        }
    }

    /// Takes in a second that is complete.
    pub(super) fn take(&mut self, interval: &Interval) {
        let tally = &interval.tally;
        let mode = if tally.open.is_some() { Mode::Open } else { Mode::Closed };
        let sum = self.sum.get_or_insert_with(|| Box::new(Tally::new(mode)));
        if !interval.warmup {
            sum.add(tally);
            self.run = Latency::from(sum.headline());
            self.phases = phase_lines(sum);
            self.phases.extend(target_lines(&self.targets, sum));
        }
        let seconds = interval.seconds();
        if seconds < SECOND_MIN {
            return;
        }
        let rate = tally.counts.messages_ok as f64 / seconds;
        let latency = Latency::from(tally.headline());
        let part = match (interval.warmup, interval.after) {
            (true, _) => "  warm-up",
            (_, true) => "  after the measured time",
            _ => "",
        };
        self.second = (part, rate, latency);
        let (rate, p99_us) = (Some(rate.round() as u64), latency.p99.map(|ns| ns / 1_000));
        for (history, value) in [(&mut self.rates, rate), (&mut self.tails, p99_us)] {
            if history.len() == LIVE_SECONDS_MAX {
                history.pop_front();
            }
            history.push_back(value);
        }
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let phases = (Phase::ALL.len() + self.targets.len()) as u16 + 2;
        let [head, graphs, tables, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(5),
            Constraint::Max(phases),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head(head.width)), head);
        self.graphs(frame, graphs);
        let [left, right] =
            Layout::horizontal([Constraint::Length(32), Constraint::Min(40)]).areas(tables);
        self.percentiles(frame, left);
        self.phases(frame, right);
        let hint = "Ctrl-C ends the run with its report; again: at once";
        frame.render_widget(Paragraph::new(self.dim(hint)), foot);
    }

    /// The targets by name, or how many there are where the names leave no room for the rest.
    fn title(&self, room: usize) -> String {
        match self.title.chars().count() > room && !self.targets.is_empty() {
            true => human::counted(self.targets.len() as u64, "target"),
            false => self.title.clone(),
        }
    }

    fn head(&self, width: u16) -> Vec<Line<'_>> {
        let now = &self.now;
        let (part, rate, _) = self.second;
        let done = now.messages_ok + now.messages_failed;
        let whole = match self.length {
            RunLength::Time(time) => format!("of {}", human::seconds(time.as_secs_f64())),
            RunLength::Messages(all) => format!("{} of {}", human::count(done), human::count(all)),
        };
        let progress = format!("  {:.1} s {whole}{part}", self.elapsed.as_secs_f64());
        let room = usize::from(width).saturating_sub(progress.chars().count());
        let mut counts = vec![
            self.strong(format!("{} msg/s", human::rate(rate)), Color::Cyan),
            Span::raw(format!("  {} accepted", human::count(now.messages_ok))),
        ];
        let failed = format!("{} failed", human::count(now.messages_failed));
        let errors = human::counted(now.errors, "error");
        for (count, words) in [(now.messages_failed, failed), (now.errors, errors)] {
            if count > 0 {
                counts.push(self.strong(format!("  {words}"), Color::Red));
            }
        }
        counts.push(Span::raw(format!(
            "  {} in flight  {}  {}",
            human::count(now.in_flight),
            human::counted(now.connections, "connection"),
            human::bytes(now.bytes as f64),
        )));
        vec![
            Line::from(vec![self.strong(self.title(room), Color::Reset), Span::raw(progress)]),
            Line::from(counts),
        ]
    }

    fn graphs(&self, frame: &mut Frame<'_>, area: Rect) {
        let halves =
            Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas::<2>(area);
        let most = |values: &VecDeque<Option<u64>>| values.iter().copied().flatten().max();
        let (rate, tail) = (most(&self.rates), most(&self.tails).map(|us| us * 1_000));
        let titles = [
            format!(" accepted per second, up to {} ", human::known(rate, human::count)),
            format!(" p99, up to {} ", human::time(tail)),
        ];
        for ((values, title), (area, colour)) in [&self.rates, &self.tails]
            .into_iter()
            .zip(titles)
            .zip(halves.into_iter().zip([Color::Cyan, Color::Yellow]))
        {
            let width = usize::from(area.width.saturating_sub(2));
            let last = values.iter().skip(values.len().saturating_sub(width)).copied();
            let graph = Sparkline::default()
                .block(Block::bordered().title(title))
                .style(self.colour(colour))
                .data(last);
            frame.render_widget(graph, area);
        }
    }

    fn percentiles(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(sum) = &self.sum else { return };
        let metric = if sum.open.is_some() { "response" } else { "service" };
        let (now, run) = (self.second.2, self.run);
        let rows = percentile_rows(&run).into_iter().zip(percentile_rows(&now));
        let rows = rows.map(|((name, all), (_, last))| {
            Row::new([name.to_owned(), right(human::time(last)), right(human::time(all))])
        });
        let head = [metric.to_owned(), right("last second"), right("run")];
        let table = Table::new(rows, [9, 11, 10].map(Constraint::Length))
            .header(Row::new(head).style(Modifier::DIM))
            .column_spacing(0);
        frame.render_widget(table, area);
    }

    fn phases(&self, frame: &mut Frame<'_>, area: Rect) {
        // Below the head; where not all fit, the last line says so.
        let room = usize::from(area.height.saturating_sub(1));
        let hidden = match self.phases.len() > room {
            true => self.phases.len() + 1 - room,
            false => 0,
        };
        let rows = self.phases[..self.phases.len() - hidden].iter().map(|line| {
            let latency = &line.latency;
            let [p50, p99, max] =
                [latency.p50, latency.p99, latency.max].map(|ns| right(human::time(ns)));
            let style = if line.refused { self.colour(Color::Red) } else { Style::new() };
            Row::new([line.title.clone(), p50, p99, max, format!("  {}", line.codes)]).style(style)
        });
        let more = (hidden > 0).then(|| Row::new([format!("{hidden} more")]).style(Modifier::DIM));
        let rows = rows.chain(more);
        let widths = [
            Constraint::Length(12),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Fill(1),
        ];
        let head =
            ["phase".to_owned(), right("p50"), right("p99"), right("max"), "  replies".to_owned()];
        let table =
            Table::new(rows, widths).header(Row::new(head).style(Modifier::DIM)).column_spacing(0);
        frame.render_widget(table, area);
    }

    fn colour(&self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn strong(&self, text: String, colour: Color) -> Span<'static> {
        Span::styled(text, self.colour(colour).add_modifier(Modifier::BOLD))
    }

    fn dim<'t>(&self, text: &'t str) -> Span<'t> {
        Span::styled(text, Modifier::DIM)
    }
}

/// The phases in which anything happened.
fn phase_lines(sum: &Tally) -> Vec<PhaseLine> {
    let line = |phase| {
        let codes: Vec<String> = sum
            .replies(phase)
            .map(|(code, count)| format!("{code} × {}", human::count(count)))
            .collect();
        PhaseLine {
            title: phase_title(phase).to_owned(),
            latency: Latency::from(sum.phase(phase)),
            codes: codes.join("  "),
            refused: sum.split(phase).apart().next().is_some(),
        }
    };
    let lines = Phase::ALL.into_iter().map(line);
    lines.filter(|line| line.latency.count > 0 || !line.codes.is_empty()).collect()
}

/// What came of each target.
fn target_lines(names: &[String], sum: &Tally) -> Vec<PhaseLine> {
    let line = |(index, name): (usize, &String)| {
        let of = sum.targets.get(index);
        let failed = of.map_or(0, |of| of.messages_failed);
        let mut codes = format!("{} ok", human::count(of.map_or(0, |of| of.messages_ok)));
        if failed > 0 {
            codes += &format!("  {} failed", human::count(failed));
        }
        // Last, since it is what may be cut off: the number tells it too.
        codes += &format!("  {}", name.split_once("://").map_or(name.as_str(), |(_, rest)| rest));
        PhaseLine {
            title: format!("target {}", index + 1),
            latency: of.map(|of| Latency::from(&of.headline_ns)).unwrap_or_default(),
            codes,
            refused: failed > 0 || of.is_none_or(|of| of.connections_opened == 0),
        }
    };
    names.iter().enumerate().map(line).collect()
}

/// At the right of a column of ten.
fn right(text: impl AsRef<str>) -> String {
    format!("{:>10}", text.as_ref())
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::measure::{Collected, MessageSample, Outcome, RecipientCounts, team};

    fn screen(view: &View) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        (0..24).map(|y| (0..100).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    fn view(coloured: bool) -> View {
        view_of(&[], coloured)
    }

    /// Of several targets every fourth message is of the second, refused each third time, all others are of
    /// the first, and there is no connection with the rest.
    fn view_of(targets: &[&str], coloured: bool) -> View {
        let (mut recorders, mut collector) = team(1, Mode::Closed, Duration::ZERO, None);
        let mut recorder = recorders.pop().unwrap();
        for n in 0..500 {
            recorder.tick(n * 4_000_000);
            recorder.record_phase(
                Phase::Rcpt,
                Outcome::of_reply(if n % 9 == 0 { 451 } else { 250 }),
                1_000,
            );
            recorder.count_reply(Phase::Rcpt, if n % 9 == 0 { 451 } else { 250 }, None);
            let message = MessageSample {
                outcome: Outcome::Accepted,
                bytes: 10,
                recipients: RecipientCounts::of(Outcome::Accepted, 1),
                start_ns: n * 4_000_000,
                ended_ns: n * 4_000_000 + 2_000_000,
                service_ns: 2_000_000,
                open: None,
            };
            recorder.record_message(&message);
            if targets.is_empty() {
                continue;
            }
            let outcome = if n % 12 == 3 { Outcome::Refused5xx } else { Outcome::Accepted };
            recorder
                .record_message_to(usize::from(n % 4 == 3), &MessageSample { outcome, ..message });
            if n < 2 {
                recorder.connection_opened_to(n as usize);
            }
        }
        recorder.finish(2_000_000_000);
        let title =
            if targets.is_empty() { "smtp://a.example".to_owned() } else { targets.join(", ") };
        let names = targets.iter().map(|&name| name.to_owned()).collect();
        let mut view = View::new(title, names, RunLength::Messages(1_000), coloured);
        while let Collected::Interval(interval) = collector.next(Duration::ZERO) {
            view.take(&interval);
        }
        view.elapsed = Duration::from_secs(2);
        view.now =
            Snapshot { messages_ok: 500, in_flight: 7, connections: 3, ..Snapshot::default() };
        view
    }

    #[test]
    fn one_screen_has_rate_percentiles_phases_and_codes() {
        let shown = screen(&view(true));
        for part in [
            "smtp://a.example  2.0 s 500 of 1,000",
            "250 msg/s  500 accepted  7 in flight  3 connections",
            "accepted per second, up to 250",
            "2.00 ms",
            "250 × 444  451 × 56",
            "Ctrl-C ends the run",
        ] {
            assert!(shown.iter().any(|line| line.contains(part)), "{part}: {shown:#?}");
        }
        assert!(shown.iter().any(|line| line.contains('█')), "{shown:#?}");
    }

    #[test]
    fn without_colour_nothing_is_lost_and_no_cell_has_one() {
        let plain = view(false);
        assert_eq!(screen(&plain), screen(&view(true)));
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| plain.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        assert!(
            buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
        );
    }

    #[test]
    fn several_targets_have_a_row_each_and_one_in_trouble_is_red() {
        let names = ["smtp://a:25", "smtp://b:25", "smtp+unix:/c"];
        let view = view_of(&names, true);
        let shown = screen(&view);
        assert!(shown[0].starts_with("smtp://a:25, smtp://b:25, smtp+unix:/c  2.0 s 500 of 1,000"));
        for (title, rest) in [
            ("target 1", "2.01 ms   2.01 ms   2.01 ms  375 ok  a:25 "),
            ("target 2", "2.01 ms         -   2.01 ms  83 ok  42 failed  b:25 "),
            ("target 3", "-         -         -  0 ok  smtp+unix:/c "),
        ] {
            let row = shown.iter().find(|line| line.contains(title)).unwrap();
            assert!(row.contains(rest), "{rest}: {row}");
        }
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let red = |title: &str| {
            let y = shown.iter().position(|line| line.contains(title)).unwrap();
            buffer[(32, y as u16)].fg == Color::Red
        };
        assert_eq!(["target 1", "target 2", "target 3"].map(red), [false, true, true]);
    }

    #[test]
    fn more_targets_than_fit_leave_the_rest_of_the_view_as_it_is_and_are_counted() {
        let names: Vec<String> = (1..=32).map(|n| format!("smtp://192.0.2.{n}:25")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let shown = screen(&view_of(&names, true));
        assert!(shown[0].starts_with("32 targets  2.0 s 500 of 1,000 "), "{}", shown[0]);
        assert!(shown[23].contains("Ctrl-C ends the run"), "{shown:#?}");
        let rows = shown.iter().filter(|line| line.contains("target ")).count();
        assert!(rows > 9, "{shown:#?}");
        assert!(shown[22].contains(&format!("{} more", 32 - rows)), "{shown:#?}");
    }

    #[test]
    fn before_the_first_second_there_is_a_screen_too() {
        let view =
            View::new("t".to_owned(), Vec::new(), RunLength::Time(Duration::from_secs(9)), true);
        assert!(screen(&view)[0].contains("0.0 s of 9.00 s"));
    }
}
