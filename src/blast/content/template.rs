//! Text with placeholders: `{seq}`, `{rand}`, `{rcpt}`, `{from}`, `{date}`, `{csv.COLUMN}`.
//!
//! A placeholder is resolved when the text is read, so that an unknown one is refused before anything
//! is opened; what differs from message to message becomes a [`Blank`] of fixed width.

use crate::smtp::blank::{BLANK_BYTES_MAX, Blank, Fill};

/// Digits of `{seq}`.
const SEQ_WIDTH: usize = 12;
/// Digits of the largest number.
const SEQ_WIDTH_MAX: usize = 20;
/// Characters of `{rand}`.
const RAND_WIDTH: usize = 8;
/// Octets between the braces; a longer text is none.
const NAME_BYTES_MAX: usize = 80;

const _: () = assert!(SEQ_WIDTH <= SEQ_WIDTH_MAX && SEQ_WIDTH_MAX <= BLANK_BYTES_MAX);
const _: () = assert!(RAND_WIDTH <= BLANK_BYTES_MAX, "a blank has room for its text");

/// A text that is rendered once for each message.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// As given.
    text: Vec<u8>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    Number(usize),
    Random(usize),
    Recipient,
    From,
    Date,
    Column(usize),
}

/// Where a template is used, which decides what it may name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// A forward-path: neither path is known.
    Recipient,
    /// The reverse-path: the recipient is known.
    From,
    /// Header and body.
    Message,
}

/// Why a text is no template.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    #[error(
        "there is no {{{0}}}; write {{seq}}, {{rand}}, {{rand:N}}, {{rcpt}}, {{from}}, {{date}} or \
         {{csv.COLUMN}}, and {{{{ for a brace"
    )]
    Unknown(String),
    #[error("{{{0}}} is not known here; it can stand in {1} only")]
    Scope(String, &'static str),
    #[error("{{{0}}} has no width from 1 to {1}; write {{{2}:{3}}}, for example")]
    Width(String, usize, &'static str, usize),
    #[error("{{csv.{0}}} needs --csv FILE")]
    NoTable(String),
    #[error("the CSV file has no column '{column}'; it has {columns}")]
    NoColumn { column: String, columns: String },
}

/// Octets and the places in them that change.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct RenderedText {
    pub octets: Vec<u8>,
    /// In the order of their places.
    pub blanks: Vec<Blank>,
}

impl RenderedText {
    /// Appends `other` with its blanks.
    pub fn push(&mut self, other: &Self) {
        let start = self.octets.len();
        self.octets.extend_from_slice(&other.octets);
        self.blanks.extend(other.blanks.iter().map(|b| Blank { at: start + b.at, ..*b }));
    }

    fn push_blank(&mut self, width: usize, fill: Fill) {
        self.blanks.push(Blank { at: self.octets.len(), width, fill });
        self.octets.resize(self.octets.len() + width, b'0');
    }
}

/// What one message fills its templates with.
#[derive(Debug)]
pub struct TemplateValues<'a> {
    pub row: &'a [String],
    pub from: &'a RenderedText,
    pub recipient: &'a RenderedText,
    pub date: &'a str,
    /// Random places of this message so far: no two of them get the same text.
    pub salt: u32,
}

impl Template {
    /// Reads a text that may name `columns`, which are those of the CSV file if there is one.
    pub fn parse(
        text: &[u8],
        columns: Option<&[String]>,
        scope: Scope,
    ) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(brace) = memchr::memchr(b'{', rest) {
            literal.extend_from_slice(&rest[..brace]);
            rest = &rest[brace..];
            if rest.starts_with(b"{{") {
                literal.push(b'{');
                rest = &rest[2..];
            } else if let Some(name) = placeholder(rest) {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(piece(name, columns, scope)?);
                rest = &rest[name.len() + 2..];
            } else {
                literal.push(b'{');
                rest = &rest[1..];
            }
        }
        literal.extend_from_slice(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { text: text.to_vec(), pieces })
    }

    /// Text without placeholders: a brace is a brace.
    pub fn literal(text: &[u8]) -> Self {
        Self { text: text.to_vec(), pieces: vec![Piece::Text(text.to_vec())] }
    }

    /// As given.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// What stands outside of placeholders.
    pub fn literals(&self) -> Vec<u8> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            _ => Vec::new(),
        };
        self.pieces.iter().flat_map(text).collect()
    }

    /// Columns of the CSV file that it names.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Column(index) => Some(*index),
            _ => None,
        })
    }

    /// Those of them that stand before the empty line that ends a header.
    pub fn header_columns(&self) -> impl Iterator<Item = usize> {
        let (mut head, mut columns) = (Vec::new(), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => head.extend_from_slice(text),
                Piece::Column(index) => {
                    columns.push(*index);
                    head.push(b'x');
                }
                _ => head.push(b'x'),
            }
            if head.starts_with(b"\r\n") || memchr::memmem::find(&head, b"\r\n\r\n").is_some() {
                break;
            }
        }
        columns.into_iter()
    }

    /// The text for one message, with a blank for each part that is filled in when it is sent.
    pub fn render(&self, scene: &mut TemplateValues<'_>) -> RenderedText {
        let mut out = RenderedText::default();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.octets.extend_from_slice(text),
                Piece::Number(width) => out.push_blank(*width, Fill::Number),
                Piece::Random(width) => {
                    scene.salt += 1;
                    out.push_blank(*width, Fill::Random { salt: scene.salt });
                }
                Piece::Recipient => out.push(scene.recipient),
                Piece::From => out.push(scene.from),
                Piece::Date => out.octets.extend_from_slice(scene.date.as_bytes()),
                Piece::Column(index) => push_lines(&scene.row[*index], &mut out.octets),
            }
        }
        out
    }
}

/// Appends a field; a line of it that ends in LF alone ends in CRLF, as in a message (RFC 5321 §2.3.8).
fn push_lines(field: &str, out: &mut Vec<u8>) {
    let mut lines = field.split('\n');
    out.extend_from_slice(lines.next().unwrap_or_default().as_bytes());
    for line in lines {
        if out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(b'\n');
        out.extend_from_slice(line.as_bytes());
    }
}

/// What is between the braces at the start of `text`, if it looks like a name: a lower-case letter
/// first, all in one line.
fn placeholder(text: &[u8]) -> Option<&str> {
    let inner = &text[1..text.len().min(NAME_BYTES_MAX + 2)];
    let name = &inner[..memchr::memchr(b'}', inner)?];
    let name = std::str::from_utf8(name).ok()?;
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.contains(|c: char| c.is_control() || c == '{');
    plain.then_some(name)
}

fn piece(name: &str, columns: Option<&[String]>, scope: Scope) -> Result<Piece, TemplateError> {
    let within = |piece, scopes: &[Scope], places| {
        if scopes.contains(&scope) {
            Ok(piece)
        } else {
            Err(TemplateError::Scope(name.to_owned(), places))
        }
    };
    if let Some(column) = name.strip_prefix("csv.") {
        let columns = columns.ok_or_else(|| TemplateError::NoTable(column.to_owned()))?;
        let index = columns.iter().position(|c| c == column);
        return index.map(Piece::Column).ok_or_else(|| TemplateError::NoColumn {
            column: column.to_owned(),
            columns: columns.join(", "),
        });
    }
    match name.split_once(':').map_or((name, None), |(name, width)| (name, Some(width))) {
        ("seq", given) => width(name, given, SEQ_WIDTH, SEQ_WIDTH_MAX, "seq").map(Piece::Number),
        ("rand", given) => {
            width(name, given, RAND_WIDTH, BLANK_BYTES_MAX, "rand").map(Piece::Random)
        }
        ("rcpt", None) => within(
            Piece::Recipient,
            &[Scope::From, Scope::Message],
            "--from, --subject, --header and --body",
        ),
        ("from", None) => within(Piece::From, &[Scope::Message], "--subject, --header and --body"),
        ("date", None) => within(Piece::Date, &[Scope::Message], "--subject, --header and --body"),
        _ => Err(TemplateError::Unknown(name.to_owned())),
    }
}

fn width(
    name: &str,
    given: Option<&str>,
    default: usize,
    most: usize,
    what: &'static str,
) -> Result<usize, TemplateError> {
    let Some(given) = given else { return Ok(default) };
    let width = given.parse().ok().filter(|width| (1..=most).contains(width));
    width.ok_or_else(|| TemplateError::Width(name.to_owned(), most, what, default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::blank::{Filling, fill};

    fn render(text: &str) -> String {
        let columns = ["name".to_owned(), "First Name".to_owned()];
        let template = Template::parse(text.as_bytes(), Some(&columns), Scope::Message).unwrap();
        let literal = |text: &str| RenderedText { octets: text.into(), blanks: Vec::new() };
        let mut recipient = literal("to");
        recipient.push_blank(4, Fill::Number);
        let mut scene = TemplateValues {
            row: &["Ada".to_owned(), "A B".to_owned()],
            from: &literal("me@a.example"),
            recipient: &recipient,
            date: "today",
            salt: 0,
        };
        let mut rendered = template.render(&mut scene);
        let filling = Filling { number: 123_456, seed: 9 };
        fill(&rendered.blanks, &mut rendered.octets, 0, filling);
        String::from_utf8(rendered.octets).unwrap()
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(render("no braces"), "no braces");
        assert_eq!(render("{seq}/{seq:3}/{seq:7}"), "000000123456/456/0123456");
        assert_eq!(render("<{rcpt}> {from} {date}"), "<to3456> me@a.example today");
        assert_eq!(render("{csv.name}, {csv.First Name}"), "Ada, A B");
        let random = render("{rand}{rand:3}");
        assert_eq!(random.len(), 11);
        let twice = render("{rand} {rand}");
        assert_ne!(twice[..8], twice[9..]);
    }

    #[test]
    fn other_braces_stay() {
        assert_eq!(render("{{seq}"), "{seq}");
        for text in ["{", "{}", "a { b } c", "{\n}", "{Seq}", "}{", "{a{seq:1}"] {
            assert_eq!(render(text), text.replace("{seq:1}", "6"));
        }
        let long = format!("{{{}}}", "x".repeat(NAME_BYTES_MAX + 1));
        assert_eq!(render(&long), long);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let error = |text: &str, scope| {
            Template::parse(text.as_bytes(), None, scope).unwrap_err().to_string()
        };
        assert!(error("{nonsense}", Scope::Message).contains("there is no {nonsense}"));
        assert!(error("{csv.a}", Scope::Message).contains("--csv"));
        assert!(error("{rcpt}", Scope::Recipient).contains("--from"));
        assert!(error("{from}", Scope::From).contains("--subject"));
        for bad in ["{rand:0}", "{rand:65}", "{rand:x}", "{seq:21}", "{seq:}"] {
            assert!(error(bad, Scope::Message).contains("no width"), "{bad}");
        }
        let columns = ["a".to_owned(), "b".to_owned()];
        let error = Template::parse(b"{csv.c}", Some(&columns), Scope::Recipient).unwrap_err();
        assert_eq!(error.to_string(), "the CSV file has no column 'c'; it has a, b");
    }
}
