//! The end of `--help`: the exit codes, which come from the manual, and the name of the manual page.

use super::markdown::{self, Block};
use super::page::Page;
use super::terminal;
use crate::report::colour::Colour;

/// The largest width of clap's help.
const COLUMNS_MAX: usize = 100;

/// The examples of a program, its exit codes, and the name of its manual page.
pub(in crate::cli) fn help_end(page: Page, examples: &str) -> String {
    let width = terminal::columns().min(COLUMNS_MAX);
    let codes = terminal::render(&[exit_codes(page)], width, Colour::Plain);
    let gap = if examples.is_empty() { "" } else { "\n\n" };
    format!("{examples}{gap}Exit codes:\n{codes}\nThe manual: ringpost man {}", page.name())
}

/// The table of the section "Exit codes", without its head.
fn exit_codes(page: Page) -> Block {
    let blocks = page.blocks();
    let section = blocks.iter().skip_while(|block| match block {
        Block::Heading { text, .. } => markdown::plain(text) != "Exit codes",
        _ => true,
    });
    let table = section.skip(1).find_map(|block| match block {
        Block::Table { head, rows } => {
            let head = head.iter().map(|_| Vec::new()).collect();
            Some(Block::Table { head, rows: rows.clone() })
        }
        _ => None,
    });
    table.expect("each page has a table of exit codes")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::cli::exit::Exit;

    /// 128 and the number of the signal that ended a program.
    const SIGNALLED: [u8; 4] = [129, 130, 131, 143];

    fn codes(page: Page) -> Vec<u8> {
        let Block::Table { rows, .. } = exit_codes(page) else { unreachable!() };
        let cells = rows.iter().map(|row| markdown::plain(&row[0]));
        let codes = cells.flat_map(|cell| cell.split(", ").map(str::to_owned).collect::<Vec<_>>());
        codes.map(|code| code.parse().unwrap()).collect()
    }

    #[test]
    fn the_tables_of_exit_codes_name_codes_that_exist() {
        let general = [
            Exit::Ok,
            Exit::Usage,
            Exit::Data,
            Exit::NoInput,
            Exit::Unavailable,
            Exit::Software,
            Exit::Os,
            Exit::CantCreate,
            Exit::Io,
        ];
        for page in Page::value_variants() {
            let of_verdicts: &[u8] = match page {
                Page::Sink => &[],
                Page::Spool => &[130, 143],
                Page::Blast => &[1, 2, 3, 4, 66, 129, 130, 131, 143],
                Page::Report => &[1, 4, 5, 130, 143],
            };
            let codes = codes(*page);
            assert!(codes.is_sorted(), "{page:?}: {codes:?}");
            for code in &codes {
                let known = general.iter().any(|exit| *exit as u8 == *code)
                    || of_verdicts.contains(code)
                    || SIGNALLED.contains(code);
                assert!(known, "{page:?}: {code}");
            }
            assert!(of_verdicts.iter().all(|code| codes.contains(code)), "{page:?}: {codes:?}");
        }
    }

    #[test]
    fn the_end_of_the_help_has_examples_codes_and_the_page() {
        let end = help_end(Page::Sink, "Examples:\n  ringpost-sink");
        assert!(end.starts_with("Examples:\n  ringpost-sink\n\nExit codes:\n  0   "), "{end}");
        assert!(end.ends_with("\n\nThe manual: ringpost man sink"), "{end}");
    }
}
