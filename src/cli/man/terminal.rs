//! A page as text, wrapped to a width, with or without colours.

use textwrap::core::display_width;
use textwrap::{Options, WordSplitter};

use super::markdown::{Block, Style, StyledText};
use crate::report::colour::Colour;
use crate::report::columns::Width;

/// The largest width on a wide terminal: longer lines are hard to read.
const COLUMNS_MAX: usize = 110;
/// The width when stdout is not a terminal and `COLUMNS` is not set.
const COLUMNS_DEFAULT: usize = 100;
const INDENT: &str = "  ";
/// The space between two columns of a table.
const GAP: &str = "  ";
/// If a row has more lines than this, an empty line separates the rows of its table.
const CLOSE_LINES_MAX: usize = 2;

/// The width that text may use on stdout, in columns.
pub(super) fn columns() -> usize {
    match Width::of_stdout() {
        Width::FULL => COLUMNS_DEFAULT,
        width => width.columns().min(COLUMNS_MAX),
    }
}

/// Wraps text to `width` columns. Only lines of code and single long words may be longer.
pub(super) fn render(blocks: &[Block], width: usize, colour: Colour) -> String {
    let mut out = String::new();
    let mut after_item = false;
    for block in blocks {
        let is_item = matches!(block, Block::Item(_));
        if !(out.is_empty() || is_item && after_item) {
            out.push('\n');
        }
        out.push_str(&render_block(block, width, colour));
        out.push('\n');
        after_item = is_item;
    }
    out
}

fn render_block(block: &Block, width: usize, colour: Colour) -> String {
    match block {
        Block::Heading { level, text } => {
            let indent = if *level > 2 { INDENT } else { "" };
            let text: Vec<_> = text
                .iter()
                .map(|span| StyledText { style: Style::Strong, ..span.clone() })
                .collect();
            wrap(&styled(&text, colour), width, indent, indent)
        }
        Block::Paragraph(text) => wrap(&styled(&quoted(text), colour), width, INDENT, INDENT),
        Block::Item(text) => wrap(&styled(&quoted(text), colour), width, "  • ", "    "),
        Block::Code(text) => {
            let line = |line: &str| match line {
                "" => String::new(),
                line => format!("{INDENT}{INDENT}{}", paint(line, Style::Code, colour)),
            };
            text.lines().map(line).collect::<Vec<_>>().join("\n")
        }
        Block::Table { head, rows } => {
            let rows: Vec<_> = rows.iter().map(|row| quoted_end(row)).collect();
            table(head, &rows, width, colour)
        }
    }
}

fn wrap(text: &str, width: usize, first: &str, later: &str) -> String {
    let options = whole_words(width).initial_indent(first).subsequent_indent(later);
    textwrap::fill(text, options.break_words(false))
}

/// Lines are broken only at spaces: an option such as `--when-full` stays whole.
fn whole_words(width: usize) -> Options<'static> {
    Options::new(width).word_splitter(WordSplitter::NoHyphenation)
}

/// Narrow columns get the width that they need. The wide ones share the rest equally.
fn table(
    head: &[Vec<StyledText>],
    rows: &[Vec<Vec<StyledText>>],
    width: usize,
    colour: Colour,
) -> String {
    let strong = |span: &StyledText| StyledText { style: Style::Strong, ..span.clone() };
    let head: Vec<String> = head
        .iter()
        .map(|cell| styled(&cell.iter().map(strong).collect::<Vec<_>>(), colour))
        .collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| styled(cell, colour)).collect()).collect();
    let gaps = GAP.len() * (head.len() - 1);
    let widths = widths(&head, &rows, width.saturating_sub(INDENT.len() + gaps));
    let drawn: Vec<Vec<String>> = rows.iter().map(|row| draw_row(row, &widths)).collect();
    let apart = drawn.iter().any(|row| row.len() > CLOSE_LINES_MAX);
    let between = if apart { "\n\n" } else { "\n" };
    let body = drawn.iter().map(|row| row.join("\n")).collect::<Vec<_>>().join(between);
    if head.iter().all(String::is_empty) {
        return body;
    }
    let line = "─".repeat(widths.iter().sum::<usize>() + gaps);
    format!("{}\n{INDENT}{line}\n{body}", draw_row(&head, &widths).join("\n"))
}

/// Makes the widest columns narrower, to one width, until all fit into `available`. A word is cut only
/// if nothing else helps.
fn widths(head: &[String], rows: &[Vec<String>], available: usize) -> Vec<usize> {
    let cells = |column: usize| {
        head.get(column).into_iter().chain(rows.iter().filter_map(move |row| row.get(column)))
    };
    let natural = |column| cells(column).map(|cell| display_width(cell)).max().unwrap_or(0);
    let longest_word = |column| {
        cells(column).flat_map(|cell| cell.split(' ')).map(display_width).max().unwrap_or(0)
    };
    let natural: Vec<usize> = (0..head.len()).map(natural).collect();
    let words: Vec<usize> = (0..head.len()).map(longest_word).collect();
    let at = |cap: usize, least: &[usize]| -> Vec<usize> {
        let widths = natural.iter().zip(least);
        widths.map(|(natural, least)| (*natural).min(cap.max(*least)).max(1)).collect()
    };
    let widest = natural.iter().copied().max().unwrap_or(0);
    let nothing = vec![0; words.len()];
    let capped = |least: &[usize]| {
        let caps = (1..=widest).rev().map(|cap| at(cap, least));
        caps.into_iter().find(|widths| widths.iter().sum::<usize>() <= available)
    };
    capped(&words).or_else(|| capped(&nothing)).unwrap_or_else(|| at(1, &nothing))
}

/// The lines of one row.
fn draw_row(cells: &[String], widths: &[usize]) -> Vec<String> {
    let wrapped: Vec<_> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| textwrap::wrap(cell, whole_words(*width)))
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let line = |index: usize| {
        let cells = wrapped.iter().zip(widths).map(|(lines, width)| {
            let text = lines.get(index).map_or("", |line| line);
            format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
        });
        let line = cells.collect::<Vec<_>>().join(GAP);
        format!("{INDENT}{}", line.trim_end())
    };
    (0..height).map(line).collect()
}

/// Code inside a sentence gets quotes where it looks like the words around it: a terminal may show no
/// colours.
fn quoted(spans: &[StyledText]) -> Vec<StyledText> {
    let quote = |span: &StyledText| {
        let wanted = span.style == Style::Code && looks_like_prose(&span.text);
        let text = if wanted { format!("'{}'", span.text) } else { span.text.clone() };
        StyledText { text, ..*span }
    };
    spans.iter().map(quote).collect()
}

fn looks_like_prose(code: &str) -> bool {
    let is_word = code.len() > 1 && code.bytes().all(|octet| octet.is_ascii_lowercase());
    is_word || code.contains(' ') && !code.contains('\'')
}

/// The last column of a table holds sentences; the columns before it hold values alone.
fn quoted_end(row: &[Vec<StyledText>]) -> Vec<Vec<StyledText>> {
    let mut row = row.to_vec();
    if let Some(cell) = row.last_mut().filter(|cell| cell.len() > 1) {
        *cell = quoted(cell);
    }
    row
}

/// Gives each word a colour of its own, so that no colour continues on the next line.
fn styled(spans: &[StyledText], colour: Colour) -> String {
    let words = |span: &StyledText| {
        let painted = span.text.split(' ').map(|word| paint(word, span.style, colour));
        painted.collect::<Vec<_>>().join(" ")
    };
    spans.iter().map(words).collect()
}

fn paint(text: &str, style: Style, colour: Colour) -> String {
    let code = match style {
        Style::Code => "36",
        Style::Emphasis => "3",
        Style::Strong => "1",
        Style::Plain => return text.to_owned(),
    };
    if text.is_empty() { String::new() } else { colour.paint(code, text) }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::markdown::{self, plain};
    use super::super::page::Page;
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words: Vec<String> = text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        words.sort();
        words
    }

    fn text(block: &Block) -> String {
        match block {
            Block::Heading { text, .. } | Block::Paragraph(text) | Block::Item(text) => plain(text),
            Block::Code(text) => text.clone(),
            Block::Table { head, rows } => {
                let cells = head.iter().chain(rows.iter().flatten());
                cells.map(|cell| plain(cell)).collect::<Vec<_>>().join(" ")
            }
        }
    }

    /// The text as a terminal shows it.
    fn without_escapes(text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while let Some((before, escape)) = rest.split_once('\x1b') {
            shown.push_str(before);
            rest = escape.split_once('m').expect("a colour ends with m").1;
        }
        shown + rest
    }

    #[test]
    fn nothing_of_a_page_is_lost() {
        for page in Page::value_variants() {
            let blocks = page.blocks();
            let all = blocks.iter().map(text).collect::<Vec<_>>().join(" ");
            for colour in [Colour::Plain, Colour::Ansi] {
                let shown = without_escapes(&render(&blocks, 1_000, colour));
                assert_eq!(words(&all), words(&shown), "{page:?}, {colour:?}");
            }
        }
    }

    #[test]
    fn lines_fit_the_terminal_and_colours_end_with_them() {
        for page in Page::value_variants() {
            let blocks = page.blocks();
            for width in [72, 80, 100, 160] {
                let coloured = render(&blocks, width, Colour::Ansi);
                let plain = render(&blocks, width, Colour::Plain);
                assert!(!plain.contains('\x1b'));
                assert_eq!(without_escapes(&coloured), plain, "{page:?} at {width}");
                for line in coloured.lines().filter(|line| line.contains('\x1b')) {
                    assert!(line.matches('\x1b').count() % 2 == 0, "{line:?}");
                }
                let code: Vec<_> = blocks
                    .iter()
                    .filter_map(|block| match block {
                        Block::Code(text) => Some(text.lines()),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                for line in plain.lines() {
                    let columns = line.chars().count();
                    assert!(
                        columns <= width || code.contains(&line.trim_start()),
                        "{page:?}: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_small_page_looks_like_this() {
        let source = "# ringpost x\n\nIt does *this* with `all` and `ringpost x`.\n\n- one\n- two\n\n```sh\nringpost x\n\n  more\n```\n\n\
                      | option | what |\n|---|---|\n| `--a` | one two three four five |\n| `--b` | `six` seven |\n";
        let expected = "\
ringpost x

  It does this with 'all' and
  'ringpost x'.

  • one
  • two

    ringpost x

      more

  option  what
  ──────────────────────────────
  --a     one two three four
          five
  --b     'six' seven
";
        let shown = render(&markdown::parse(source), 32, Colour::Plain);
        assert_eq!(shown, expected, "\n{shown}");
    }
}
