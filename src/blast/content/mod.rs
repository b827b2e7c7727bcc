//! What is sent to whom, before it is rendered: [`template`] and [`spread`] say how messages differ,
//! [`table`] and [`mail`] read files.

pub mod mail;
pub mod spread;
pub mod table;
pub mod template;

use std::io;

use self::mail::{MailError, Mails};
use self::spread::Spread;
use self::table::{Table, TableError};
use self::template::{Template, TemplateError};
use crate::human::bytes;
use crate::limits::{
    CORPUS_MEMORY_DEFAULT, FLIGHT_REPLIES_MAX, GENERATED_BYTES_MAX, PATH_BYTES_MAX,
};
use crate::stamp::STAMP_BYTES;

/// Octets of the smallest message of ours: the stamp, the empty line, and a body of an empty line.
pub const MESSAGE_BYTES_MIN: u64 = STAMP_BYTES as u64 + 4;

/// The same without the stamp: an empty line.
pub const BARE_BYTES_MIN: u64 = 2;

/// Where message octets come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Bodies {
    /// Written by us; octets of the whole message.
    Sizes(Spread),
    /// One message, header and body, with placeholders. Line ends are CRLF.
    Given(Template),
    /// Sent as they are.
    Kept(Mails),
}

/// One of several patterns for an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub pattern: Template,
    pub weight: u32,
    /// The option, or file and line; for errors.
    pub place: String,
}

impl Choice {
    /// The one pattern that `option` gives, without placeholders.
    pub fn literal(text: &str, option: &str) -> Self {
        let pattern = Template::literal(text.as_bytes());
        Self { pattern, weight: 1, place: option.to_owned() }
    }
}

/// What a run sends, and to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub bodies: Bodies,
    /// Of each message.
    pub recipients: Spread,
    /// Neither is ever empty.
    pub from: Vec<Choice>,
    pub to: Vec<Choice>,
    /// Take the place of the domain in `to`; empty for none.
    pub to_domains: Vec<(String, u32)>,
    /// No header line of ours goes into the messages, the stamp neither.
    pub bare: bool,
    /// Whole header lines, without CRLF.
    pub headers: Vec<Template>,
    pub table: Option<Table>,
    /// `KEY` or `KEY=VALUE`, for MAIL and for each RCPT; sent whether the server offers them or not.
    pub mail_params: Vec<String>,
    pub rcpt_params: Vec<String>,
    /// Whether MAIL goes without SIZE=, also where SIZE is offered.
    pub size_unsaid: bool,
    /// Octets that the rendered messages may take.
    pub memory_max: u64,
    pub seed: u64,
}

/// What is wrong with a text that becomes part of a command.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextFault {
    #[error("holds a CR, LF or NUL; these would forge commands, so leave them out")]
    Control,
    #[error("gives '{0}', which holds a space or an angle bracket; write the bare address or name")]
    Brackets(String),
    #[error("gives {0} octets; at most {PATH_BYTES_MAX} fit a command line")]
    TooLong(usize),
    #[error("gives an empty text")]
    Empty,
}

/// Why messages cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// `place` is an option, or a file and a line.
    #[error("{place} {fault}")]
    Text { place: String, fault: TextFault },
    #[error("{place} gives '{text}', whose weight is none; write a number from 1 to {}", u32::MAX)]
    Weight { place: String, text: String },
    #[error("{place}: {fault}")]
    Template { place: String, fault: TemplateError },
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(
        "{place}, column '{column}' holds a CR, LF or NUL; these would forge commands, so leave them out"
    )]
    Field { place: String, column: String },
    #[error("--header '{0}' is no header line; write 'Name: value'")]
    Header(String),
    #[error("--size {size} is too small for the header of a message; give at least {least}")]
    TooSmall { size: u64, least: u64 },
    #[error("--size {} is too large; give at most {}", bytes(*size as f64), bytes(GENERATED_BYTES_MAX as f64))]
    TooLong { size: u64 },
    #[error("--recipients {0} is out of range; give 1 to {FLIGHT_REPLIES_MAX}")]
    Recipients(u64),
    #[error(
        "{messages} different messages of {mean} octets on average take {needed} octets of memory, and \
         {limit} are allowed; make them fewer or smaller, or raise --corpus-memory"
    )]
    TooLarge { messages: usize, mean: u64, needed: u64, limit: u64 },
}

impl ContentError {
    /// What a file that the user named could not be read for.
    pub fn unread(&self) -> Option<&io::Error> {
        match self {
            Self::Table(TableError::Read { error, .. })
            | Self::Mail(MailError::Read { error, .. }) => Some(error),
            _ => None,
        }
    }
}

impl Content {
    /// Messages of ours from one address to another.
    pub fn plain(size: Spread, from: &str, to: &str) -> Self {
        Self {
            bodies: Bodies::Sizes(size),
            recipients: Spread::one(1),
            from: vec![Choice::literal(from, "--from")],
            to: vec![Choice::literal(to, "--to")],
            to_domains: Vec::new(),
            bare: false,
            headers: Vec::new(),
            table: None,
            mail_params: Vec::new(),
            rcpt_params: Vec::new(),
            size_unsaid: false,
            memory_max: CORPUS_MEMORY_DEFAULT,
            seed: 0,
        }
    }

    /// Checks what can be checked before anything is rendered.
    pub fn check(&self) -> Result<(), ContentError> {
        let all = 1..=FLIGHT_REPLIES_MAX as u64;
        let (fewest, most) = self.recipients.bounds().unwrap_or((*all.start(), *all.end()));
        if let Some(count) = [fewest, most].into_iter().find(|count| !all.contains(count)) {
            return Err(ContentError::Recipients(count));
        }
        if let Bodies::Sizes(sizes) = &self.bodies
            && let Some((smallest, size)) = sizes.bounds()
        {
            let least = self.bytes_min();
            if size > GENERATED_BYTES_MAX {
                return Err(ContentError::TooLong { size });
            }
            if smallest < least {
                return Err(ContentError::TooSmall { size: smallest, least });
            }
        }
        for choice in self.from.iter().chain(&self.to) {
            check_no_control(&choice.pattern.literals(), &choice.place)?;
        }
        for (domain, _) in &self.to_domains {
            check_text(domain.as_bytes(), "--to-domain", false)?;
        }
        for param in self.mail_params.iter().chain(&self.rcpt_params) {
            check_param(param)?;
        }
        self.headers.iter().try_for_each(check_header)?;
        self.check_table()
    }

    /// Octets of the smallest message of ours, without header lines of the user's.
    pub fn bytes_min(&self) -> u64 {
        if self.bare { BARE_BYTES_MIN } else { MESSAGE_BYTES_MIN }
    }

    /// No field that goes into an envelope or a header may hold what forges a line.
    fn check_table(&self) -> Result<(), ContentError> {
        let Some(table) = &self.table else { return Ok(()) };
        let paths = self.from.iter().chain(&self.to).map(|choice| &choice.pattern);
        let lines = paths.chain(&self.headers).flat_map(Template::columns);
        let mut used: Vec<usize> = match &self.bodies {
            Bodies::Given(message) => lines.chain(message.header_columns()).collect(),
            _ => lines.collect(),
        };
        used.sort_unstable();
        used.dedup();
        for row in &table.rows {
            for &column in &used {
                if row.fields[column].bytes().any(forges) {
                    let column = table.columns[column].clone();
                    return Err(ContentError::Field { place: table.place(row), column });
                }
            }
        }
        Ok(())
    }

    /// Octets of the messages, as the report shows them.
    pub fn sizes(&self) -> String {
        match &self.bodies {
            Bodies::Sizes(spread) => spread.to_string(),
            Bodies::Given(body) => body.text().len().to_string(),
            Bodies::Kept(kept) => {
                let sizes = || kept.mails.iter().map(|mail| mail.size);
                let least = sizes().min().unwrap_or(0);
                Spread::Even(least, sizes().max().unwrap_or(least)).to_string()
            }
        }
    }

    /// Whether messages differ in more than their size and text.
    pub fn varied(&self) -> bool {
        let list = matches!(self.bodies, Bodies::Sizes(Spread::Lognormal { .. } | Spread::List(_)));
        list || !self.recipients.is_one()
            || self.from.len() + self.to.len() > 2
            || self.to_domains.len() > 1
            || self.table.is_some()
    }
}

/// The pattern, or how many there are.
pub fn in_words(choices: &[Choice]) -> String {
    match choices {
        [one] => one.pattern.text(),
        many => format!("{} addresses", many.len()),
    }
}

/// What forges a command or a header line.
fn forges(octet: u8) -> bool {
    matches!(octet, b'\r' | b'\n' | 0)
}

fn check_no_control(text: &[u8], place: &str) -> Result<(), ContentError> {
    match text.iter().copied().any(forges) {
        true => Err(ContentError::Text { place: place.to_owned(), fault: TextFault::Control }),
        false => Ok(()),
    }
}

/// Refuses a parameter that would not be one: with a blank in it, it would be two. It may hold brackets, as
/// `AUTH=<>` does (RFC 4954 §5).
fn check_param(word: &str) -> Result<(), ContentError> {
    let plain = word.replace(['<', '>'], "");
    let judged = if plain.is_empty() { word } else { &plain };
    check_text(judged.as_bytes(), "--param", false)
}

/// Octets of the quoted local part that `text` begins with (RFC 5321 §4.1.2), or 0.
fn quoted_part(text: &[u8]) -> usize {
    let Some(inner) = text.strip_prefix(b"\"") else { return 0 };
    let mut escaped = false;
    let closes = |octet: &u8| {
        let closes = *octet == b'"' && !escaped;
        escaped = *octet == b'\\' && !escaped;
        closes
    };
    inner.iter().position(closes).map_or(0, |end| end + 2)
}

/// Refuses a text that cannot stand in a command; `place` says where it comes from. Blanks and brackets
/// may stand in the quotes of a local part.
pub fn check_text(text: &[u8], place: &str, may_be_empty: bool) -> Result<(), ContentError> {
    check_no_control(text, place)?;
    let fault = if text[quoted_part(text)..].iter().any(|b| matches!(b, b' ' | b'<' | b'>')) {
        TextFault::Brackets(String::from_utf8_lossy(text).into_owned())
    } else if text.len() > PATH_BYTES_MAX {
        TextFault::TooLong(text.len())
    } else if text.is_empty() && !may_be_empty {
        TextFault::Empty
    } else {
        return Ok(());
    };
    Err(ContentError::Text { place: place.to_owned(), fault })
}

/// A name of printable characters, a colon, no line end (RFC 5322 §2.2).
fn check_header(header: &Template) -> Result<(), ContentError> {
    let text = header.text();
    let name = text.split(':').next().unwrap_or_default();
    let named =
        text.contains(':') && !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    if !named || text.bytes().any(forges) {
        return Err(ContentError::Header(text.escape_debug().to_string()));
    }
    Ok(())
}
