//! The pages of the manual.

use clap::ValueEnum;

use super::markdown::{self, Block};

/// A page of the manual.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum Page {
    Sink,
    Blast,
    Spool,
    Report,
}

impl Page {
    /// The name that the user types: `ringpost man NAME`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Blast => "blast",
            Self::Spool => "spool",
            Self::Report => "report",
        }
    }

    /// The name for man(1), which is one word.
    pub(super) fn manual_name(self) -> String {
        format!("ringpost-{}", self.name())
    }

    fn source(self) -> &'static str {
        match self {
            Self::Sink => include_str!("../sink/manual.md"),
            Self::Blast => include_str!("../blast/manual.md"),
            Self::Spool => include_str!("../spool/manual.md"),
            Self::Report => include_str!("../report/manual.md"),
        }
    }

    pub(super) fn blocks(self) -> Vec<Block> {
        markdown::parse(self.source())
    }

    /// The first sentence of the page, which says what the program does.
    pub(super) fn summary(self) -> String {
        let blocks = self.blocks();
        let first = blocks.iter().find_map(|block| match block {
            Block::Paragraph(spans) => Some(markdown::plain(spans)),
            _ => None,
        });
        first.expect("a page begins with a paragraph")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the list that `ringpost man` prints fits into 80 columns.
    const SUMMARY_BYTES_MAX: usize = 80 - "  ringpost man report  ".len();

    #[test]
    fn each_page_begins_with_its_name_and_one_sentence() {
        for page in Page::value_variants() {
            let blocks = page.blocks();
            let Block::Heading { level: 1, text } = &blocks[0] else {
                panic!("{page:?}: no title")
            };
            let title = markdown::plain(text).replace(' ', "-");
            assert_eq!(title, page.manual_name());
            let summary = page.summary();
            assert!(
                summary.ends_with('.') && summary.len() <= SUMMARY_BYTES_MAX,
                "{page:?}: {summary}"
            );
        }
    }
}
