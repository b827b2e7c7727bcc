//! A page in the source format of man(1), for packages.

use roff::{Inline, Roff, bold, italic, roman};

use super::markdown::{Block, Style, StyledText};
use super::page::Page;

/// The first line of a page names the preprocessors that it needs: `t` is tbl(1), which draws tables.
const PREPROCESSORS: &str = "'\\\" t\n";

pub(super) fn render(page: Page) -> String {
    let mut roff = Roff::new();
    let title = page.manual_name();
    let version = format!("ringpost {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [title.to_uppercase().as_str(), "1", "", &version, "ringpost"]);
    // Left-aligned, no hyphens: options must not be cut.
    roff.control("nh", []).control("ad", ["l"]);
    roff.control("SH", ["NAME"]);
    let summary = page.summary();
    roff.text([roman(format!("{title} - {}", summary.trim_end_matches('.')))]);
    for (index, block) in page.blocks().iter().enumerate() {
        match block {
            Block::Heading { level: 1, .. } => {}
            // NAME has this sentence already.
            Block::Paragraph(_) if index == 1 => {
                roff.control("SH", ["DESCRIPTION"]);
            }
            block => add(&mut roff, block),
        }
    }
    format!("{PREPROCESSORS}{}", roff.render())
}

fn add(roff: &mut Roff, block: &Block) {
    match block {
        Block::Heading { level, text } => {
            let macro_name = if *level == 2 { "SH" } else { "SS" };
            let text = super::markdown::plain(text);
            let text = if *level == 2 { text.to_uppercase() } else { text };
            roff.control(macro_name, [text.as_str()]);
        }
        Block::Paragraph(text) => {
            roff.control("PP", []).text(inlines(text));
        }
        Block::Item(text) => {
            roff.control("IP", ["\\(bu", "2"]).text(inlines(text));
        }
        Block::Code(text) => {
            roff.control("PP", []).control("RS", ["4"]).control("nf", []);
            for line in text.lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []).control("RE", []);
        }
        Block::Table { head, rows } => add_table(roff, head, rows),
    }
}

/// A table for tbl(1). Each cell is a text block, and the last column gets the rest of the line.
fn add_table(roff: &mut Roff, head: &[Vec<StyledText>], rows: &[Vec<Vec<StyledText>>]) {
    let columns = head.len();
    assert!(columns > 0, "a table has columns");
    let mut format = vec!["lw(20)"; columns];
    format[columns - 1] = "lx";
    roff.control("PP", []).control("TS", []);
    roff.text([roman("allbox;")]);
    roff.text([roman(format!("{}.", format.join(" ")))]);
    let head = head.iter().any(|cell| !cell.is_empty()).then_some(head);
    for row in head.into_iter().chain(rows.iter().map(Vec::as_slice)) {
        for (index, cell) in row.iter().enumerate() {
            let before = if index == 0 { "T{" } else { "T}\tT{" };
            roff.text([roman(before)]).text(inlines(cell));
        }
        roff.text([roman("T}")]);
    }
    roff.control("TE", []);
}

fn inlines(spans: &[StyledText]) -> Vec<Inline> {
    let inline = |span: &StyledText| match span.style {
        Style::Plain => roman(&span.text),
        Style::Code | Style::Strong => bold(&span.text),
        Style::Emphasis => italic(&span.text),
    };
    spans.iter().map(inline).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_page_of_man_has_its_parts() {
        for page in Page::value_variants() {
            let source = render(*page);
            let title = page.manual_name();
            assert!(source.starts_with("'\\\" t\n"), "{page:?}");
            for part in [format!(".TH {} 1", title.to_uppercase()), ".SH NAME".to_owned()] {
                assert!(source.contains(&part), "{page:?}: {part}");
            }
            assert_eq!(
                source.matches("\n.TS").count(),
                source.matches("\n.TE").count(),
                "{page:?}"
            );
            assert_eq!(
                source.matches("\n.nf").count(),
                source.matches("\n.fi").count(),
                "{page:?}"
            );
        }
    }
}
