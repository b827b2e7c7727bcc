//! Markdown as the manual uses it: headings, paragraphs, lists, tables and blocks of code.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// A piece of a page: a page is a list of them, from top to bottom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Block {
    Heading { level: u8, text: Vec<StyledText> },
    Paragraph(Vec<StyledText>),
    Item(Vec<StyledText>),
    Code(String),
    Table { head: Vec<Vec<StyledText>>, rows: Vec<Vec<Vec<StyledText>>> },
}

/// Text in one style.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct StyledText {
    pub(super) text: String,
    pub(super) style: Style,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Style {
    #[default]
    Plain,
    /// Text that is typed or printed exactly like this.
    Code,
    Emphasis,
    Strong,
}

/// The text without its styles.
pub(super) fn plain(spans: &[StyledText]) -> String {
    spans.iter().map(|span| span.text.as_str()).collect()
}

/// Reads a page. The text of a link is kept, and its address is dropped.
pub(super) fn parse(source: &str) -> Vec<Block> {
    let mut builder = PageBuilder::default();
    for event in Parser::new_ext(source, Options::ENABLE_TABLES) {
        builder.take(event);
    }
    builder.blocks
}

#[derive(Default)]
struct PageBuilder {
    blocks: Vec<Block>,
    /// The inline text that is being read.
    spans: Vec<StyledText>,
    /// The cells of the row that is being read.
    cells: Vec<Vec<StyledText>>,
    style: Style,
    in_code_block: bool,
    in_item: bool,
}

impl PageBuilder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.push(&text, self.style),
            Event::Code(text) => self.push(&text, Style::Code),
            // A line of the source ends inside a paragraph.
            Event::SoftBreak | Event::HardBreak => self.push(" ", self.style),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Emphasis => self.style = Style::Emphasis,
            Tag::Strong => self.style = Style::Strong,
            Tag::CodeBlock(_) => self.in_code_block = true,
            Tag::Item => self.in_item = true,
            Tag::Table(_) => self.blocks.push(Block::Table { head: Vec::new(), rows: Vec::new() }),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong => self.style = Style::Plain,
            TagEnd::Heading(level) => {
                let text = self.spans();
                self.blocks.push(Block::Heading { level: number(level), text });
            }
            TagEnd::Paragraph if !self.in_item => {
                let text = self.spans();
                self.blocks.push(Block::Paragraph(text));
            }
            TagEnd::Item => {
                let text = self.spans();
                self.blocks.push(Block::Item(text));
                self.in_item = false;
            }
            TagEnd::CodeBlock => {
                let text = plain(&self.spans());
                self.blocks.push(Block::Code(text.trim_end().to_owned()));
                self.in_code_block = false;
            }
            TagEnd::TableCell => {
                let cell = self.spans();
                self.cells.push(cell);
            }
            TagEnd::TableHead | TagEnd::TableRow => self.end_row(tag == TagEnd::TableHead),
            _ => {}
        }
    }

    fn end_row(&mut self, is_head: bool) {
        let cells = std::mem::take(&mut self.cells);
        if let Some(Block::Table { head, rows }) = self.blocks.last_mut() {
            if is_head {
                *head = cells;
            } else {
                rows.push(cells);
            }
        }
    }

    fn push(&mut self, text: &str, style: Style) {
        let style = if self.in_code_block { Style::Code } else { style };
        match self.spans.last_mut() {
            Some(last) if last.style == style => last.text.push_str(text),
            _ => self.spans.push(StyledText { text: text.to_owned(), style }),
        }
    }

    fn spans(&mut self) -> Vec<StyledText> {
        std::mem::take(&mut self.spans)
    }
}

fn number(level: HeadingLevel) -> u8 {
    level as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, style: Style) -> StyledText {
        StyledText { text: text.to_owned(), style }
    }

    #[test]
    fn a_page_becomes_blocks() {
        let source = "# A `b`\n\nOne *two*\nthree [four](five).\n\n- six\n- **seven**\n\n```sh\n# eight\nnine\n```\n\n\
                      | a | b |\n|---|---|\n| `c\\|d` | e |\n";
        let plain = |text| vec![span(text, Style::Plain)];
        assert_eq!(
            parse(source),
            [
                Block::Heading {
                    level: 1,
                    text: vec![span("A ", Style::Plain), span("b", Style::Code)]
                },
                Block::Paragraph(vec![
                    span("One ", Style::Plain),
                    span("two", Style::Emphasis),
                    span(" three four.", Style::Plain),
                ]),
                Block::Item(plain("six")),
                Block::Item(vec![span("seven", Style::Strong)]),
                Block::Code("# eight\nnine".to_owned()),
                Block::Table {
                    head: vec![plain("a"), plain("b")],
                    rows: vec![vec![vec![span("c|d", Style::Code)], plain("e")]],
                },
            ]
        );
    }
}
