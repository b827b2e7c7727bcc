//! Text laid out in the columns of a terminal: tables whose cells wrap, or whose least columns are left out,
//! and lines that wrap between words.

use std::io::{self, IsTerminal};

use textwrap::core::display_width;

/// The narrowest layout; on a narrower terminal, lines wrap as the terminal does it.
const COLUMNS_MIN: usize = 80;

/// Spaces between two columns where there is little room.
const GAP: usize = 2;

/// A column of text that wraps has at least this width; otherwise others are left out for it.
const TEXT_COLUMNS_MIN: usize = 14;

/// The room for a line of text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Width(usize);

impl Width {
    /// As much as is needed: a file or a pipe has no edge.
    pub const FULL: Self = Self(usize::MAX);

    pub fn of_columns(columns: usize) -> Self {
        Self(columns.max(COLUMNS_MIN))
    }

    /// Of stdout: the terminal's; where stdout is none, `COLUMNS` if that is set, else [`Self::FULL`].
    pub fn of_stdout() -> Self {
        Self::of(io::stdout(), io::stdout().is_terminal())
    }

    /// The same of stderr.
    pub fn of_stderr() -> Self {
        Self::of(io::stderr(), io::stderr().is_terminal())
    }

    fn of(stream: impl std::os::fd::AsFd, terminal: bool) -> Self {
        let size = terminal.then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten();
        let set = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let columns = size.map(|size| usize::from(size.ws_col)).or_else(set);
        columns.filter(|&columns| columns > 0).map_or(Self::FULL, Self::of_columns)
    }

    pub fn columns(self) -> usize {
        self.0
    }

    /// A line, wrapped between words; all but its first line begin with `indent` spaces.
    pub fn wrap(self, indent: usize, line: &str) -> String {
        if display_width(line) <= self.0 {
            return line.to_owned();
        }
        let begin = line.len() - line.trim_start().len();
        let room = self.0.saturating_sub(indent).max(TEXT_COLUMNS_MIN);
        // The first line has the room of the others and its own beginning, which must not wrap away.
        let (head, rest) = line.split_at(begin);
        let first = self.0.saturating_sub(begin);
        let mut lines = pieces(rest, first, room).into_iter();
        let mut out = head.to_owned() + &lines.next().unwrap_or_default();
        for line in lines {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push_str(&line);
        }
        out
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    /// Its usual width, with the gap before it; where there is little room, what its cells need.
    pub width: usize,
    pub align: Align,
    /// Columns with a higher number are left out first; those with 0 never are.
    pub spare: u8,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Align {
    Left,
    Right,
    /// Left, and wrapped in the room that the others leave. For the last column.
    Text,
}

impl Column {
    pub const fn right(title: &'static str, width: usize, spare: u8) -> Self {
        Self { title, width, align: Align::Right, spare }
    }

    pub const fn left(title: &'static str, width: usize, spare: u8) -> Self {
        Self { title, width, align: Align::Left, spare }
    }

    pub const fn text(title: &'static str) -> Self {
        Self { title, width: TEXT_COLUMNS_MIN, align: Align::Text, spare: 0 }
    }
}

/// A table, ready for one row after the other.
#[derive(Clone, Debug)]
pub struct Layout {
    columns: Vec<Column>,
    /// `None` where the column is left out.
    widths: Vec<Option<usize>>,
    indent: usize,
    width: Width,
}

impl Layout {
    /// For rows that are not known yet: each column needs its usual width.
    pub fn new(columns: &[Column], indent: usize, width: Width) -> Self {
        Self::with(columns, indent, width, |column| columns[column].width.saturating_sub(GAP))
    }

    /// For these rows.
    pub fn of_rows(columns: &[Column], rows: &[Vec<String>], indent: usize, width: Width) -> Self {
        let needs = |column: usize| {
            let cells = rows.iter().map(|row| display_width(&row[column]));
            cells.max().unwrap_or(0).max(display_width(columns[column].title))
        };
        Self::with(columns, indent, width, needs)
    }

    fn with(
        columns: &[Column],
        indent: usize,
        width: Width,
        needs: impl Fn(usize) -> usize,
    ) -> Self {
        let room = width.0.saturating_sub(indent);
        let usual = |(at, column): (usize, &Column)| match column.align {
            Align::Text => needs(at) + GAP,
            Align::Left if at == 0 => column.width.max(needs(at)),
            _ => column.width.max(needs(at) + 1),
        };
        let mut widths: Vec<Option<usize>> =
            columns.iter().enumerate().map(usual).map(Some).collect();
        let total = |widths: &[Option<usize>]| widths.iter().flatten().sum::<usize>();
        if total(&widths) > room {
            for (at, column) in columns.iter().enumerate() {
                widths[at] = Some(match column.align {
                    Align::Text => needs(at).min(TEXT_COLUMNS_MIN) + GAP,
                    _ => needs(at) + if at == 0 { 0 } else { GAP },
                });
            }
        }
        while total(&widths) > room {
            let spare = (0..columns.len())
                .filter(|&at| widths[at].is_some() && columns[at].spare > 0)
                .max_by_key(|&at| columns[at].spare);
            let Some(least) = spare else { break };
            widths[least] = None;
        }
        // What is left over goes to the text.
        let left = room.saturating_sub(total(&widths));
        if let Some(text) = columns.iter().position(|column| column.align == Align::Text) {
            widths[text] = widths[text].map(|width| width.saturating_add(left));
        }
        Self { columns: columns.to_vec(), widths, indent, width }
    }

    pub fn head(&self) -> String {
        let titles: Vec<String> =
            self.columns.iter().map(|column| column.title.to_owned()).collect();
        self.row(&titles)
    }

    /// One row, which may take several lines; without a newline at its end.
    pub fn row<S: AsRef<str>>(&self, cells: &[S]) -> String {
        assert_eq!(cells.len(), self.columns.len(), "each column has its cell");
        let mut lines: Vec<String> = Vec::new();
        let mut at = self.indent;
        for ((column, width), cell) in self.columns.iter().zip(&self.widths).zip(cells) {
            let Some(width) = *width else { continue };
            let gap = if at == self.indent || column.align == Align::Right { 0 } else { GAP };
            let room = match column.align {
                Align::Right if at > self.indent => width.saturating_sub(1),
                Align::Right => width,
                _ => width.saturating_sub(gap),
            };
            // A row of a file is one line, however long.
            let whole = self.width == Width::FULL || display_width(cell.as_ref()) <= room;
            let parts = match whole {
                true => vec![cell.as_ref().to_owned()],
                false => pieces(cell.as_ref(), room, room),
            };
            for (line, part) in parts.into_iter().enumerate() {
                if lines.len() <= line {
                    lines.push(String::new());
                }
                let pad = match column.align {
                    Align::Right => (at + width).saturating_sub(display_width(&part)),
                    _ => at + gap,
                };
                let used = display_width(&lines[line]);
                let least = usize::from(used > 0);
                lines[line] += &" ".repeat(pad.saturating_sub(used).max(least));
                lines[line] += &part;
            }
            at = at.saturating_add(width);
        }
        debug_assert!(self.width == Width::FULL || at <= self.width.0 || self.is_stubborn());
        lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
    }

    /// Whether even the columns that never go are too wide.
    fn is_stubborn(&self) -> bool {
        self.columns
            .iter()
            .zip(&self.widths)
            .all(|(column, width)| column.spare == 0 || width.is_none())
    }
}

/// Whether a long word, such as an address, may be cut after this character.
fn is_joint(c: char) -> bool {
    matches!(c, '@' | '.' | '-' | '/' | '+' | ':' | ',' | '_' | '=' | '·')
}

/// The lines of a text: cut between words, after a joint of a word that is longer than a line, and
/// only where there is none, within it.
fn pieces(text: &str, first: usize, later: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    let room = |lines: &Vec<String>| if lines.len() == 1 { first.max(1) } else { later.max(1) };
    let mut put = |lines: &mut Vec<String>, part: &str| {
        let width = display_width(part);
        if used > 0 && used + display_width(part.trim_end()) > room(lines) {
            lines.push(String::new());
            used = 0;
        }
        let part = if used == 0 && lines.len() > 1 { part.trim_start() } else { part };
        lines.last_mut().expect("one is there from the start").push_str(part);
        used += width;
    };
    for word in text.split_inclusive(' ') {
        let most = first.min(later).max(1);
        if display_width(word.trim_end()) <= most {
            put(&mut lines, word);
            continue;
        }
        for part in word.split_inclusive(is_joint) {
            if display_width(part.trim_end()) <= most {
                put(&mut lines, part);
                continue;
            }
            let mut rest = String::new();
            for c in part.chars() {
                rest.push(c);
                if display_width(&rest) >= most {
                    put(&mut lines, &std::mem::take(&mut rest));
                }
            }
            put(&mut lines, &rest);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::left("name", 10, 0),
        Column::right("count", 40, 1),
        Column::right("extra", 40, 2),
        Column::text("replies"),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = [
            "end of data",
            "1,234",
            "a word of twenty-five chars",
            "250: 1  451: 2  452: 3  550: 4",
        ];
        vec![row.map(str::to_owned).to_vec()]
    }

    #[test]
    fn a_table_with_room_has_its_usual_widths() {
        let layout = Layout::of_rows(&COLUMNS, &rows(), 2, Width::FULL);
        let line = layout.row(&rows()[0]);
        assert_eq!(line.find("1,234"), Some(2 + 11 + 40 - 5));
        assert!(line.ends_with("chars  250: 1  451: 2  452: 3  550: 4"), "{line}");
    }

    #[test]
    fn without_room_columns_shrink_then_the_least_goes_and_text_wraps() {
        for columns in 80..140 {
            let layout = Layout::of_rows(&COLUMNS, &rows(), 2, Width::of_columns(columns));
            for line in layout.row(&rows()[0]).lines().chain(layout.head().lines()) {
                assert!(display_width(line) <= columns, "{columns}: {line}");
            }
        }
        let wide = Column::right("wide", 10, 3);
        let columns = [COLUMNS[0], wide, COLUMNS[3]];
        let row = ["a".to_owned(), "x".repeat(70), "250: 1  451: 2".to_owned()].to_vec();
        let layout =
            Layout::of_rows(&columns, std::slice::from_ref(&row), 0, Width::of_columns(80));
        assert_eq!(layout.row(&row), "a     250: 1  451: 2");
        assert_eq!(layout.head(), "name  replies");
    }

    #[test]
    fn the_first_column_needs_no_gap() {
        let columns = [Column::right("due/s", 10, 0), Column::right("wide", 10, 0)];
        let row = ["1,000".to_owned(), "x".repeat(73)].to_vec();
        let layout =
            Layout::of_rows(&columns, std::slice::from_ref(&row), 0, Width::of_columns(80));
        assert_eq!(layout.head().lines().count(), 1);
        assert_eq!(layout.row(&row).chars().count(), 80);
    }

    #[test]
    fn words_are_cut_only_where_they_are_longer_than_a_line() {
        assert_eq!(pieces("one two three", 7, 7), ["one two", "three"]);
        assert_eq!(pieces("someone@mail.example", 10, 10), ["someone@", "mail.", "example"]);
        assert_eq!(pieces("abcdefgh", 3, 3), ["abc", "def", "gh"]);
        assert_eq!(pieces("", 3, 3), [""]);
        let width = Width::of_columns(80);
        let line = format!("  name           {}", "word ".repeat(30).trim_end());
        let wrapped = width.wrap(17, &line);
        assert!(wrapped.lines().all(|line| display_width(line) <= 80), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with(&" ".repeat(17))), "{wrapped}");
        assert_eq!(Width::FULL.wrap(17, &line), line);
    }
}
