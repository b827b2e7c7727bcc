//! What is sent to whom.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::blast::content::mail::{self, MailForm, with_crlf};
use crate::blast::content::spread::Spread;
use crate::blast::content::table::{self, Table, TableError};
use crate::blast::content::template::{Scope, Template};
use crate::blast::content::{Bodies, Choice, Content, ContentError};
use crate::cli::value;
use crate::host;
use crate::limits::CORPUS_MEMORY_DEFAULT;

const FROM_DEFAULT: &str = "blast@client.example";
const TO_DEFAULT: &str = "sink@server.example";

#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(super) struct ContentArgs {
    /// Size of the whole message in octets: SIZE, MIN..MAX, SIZE:WEIGHT,SIZE:WEIGHT,...,
    /// lognormal:MEDIAN,SIGMA or lognormal:MEDIAN,p99=SIZE
    #[arg(long, value_name = "SIZES", value_parser = value::size_spread, default_value = "1KiB")]
    size: Spread,
    /// Send this message, with header and body. It is a template, and line ends become CRLF
    ///
    /// In a template, {seq} is the number of the message in 12 digits ({seq:N} its last N), {rand} is
    /// eight random characters ({rand:N} is N of them), {rcpt} is the first recipient, {from} is the
    /// sender, {date} is the time of the start, {csv.COLUMN} is a value of --csv, and {{ is one {
    #[arg(long, value_name = "FILE", conflicts_with = "size")]
    body: Option<PathBuf>,
    /// Send stored messages, each in turn: a message, a directory of messages, an mbox, a Maildir or a
    /// spool of ringpost-sink
    #[arg(long, value_name = "PATH", conflicts_with_all = ["size", "body"])]
    corpus: Option<PathBuf>,
    /// Send each message of a spool with the envelope with which it was received
    #[arg(long, requires = "corpus", conflicts_with_all = ["from", "from_file", "to", "to_file", "to_domain", "recipients"])]
    recorded_envelopes: bool,
    /// Memory that the messages may use; all are rendered before the run begins
    #[arg(long, value_name = "SIZE", value_parser = value::size, default_value_t = CORPUS_MEMORY_DEFAULT)]
    corpus_memory: u64,
    /// Recipients of each message: N, MIN..MAX or N:WEIGHT,N:WEIGHT,...; with more than one, a
    /// single --to gets a number after its local part
    #[arg(long, value_name = "COUNTS", value_parser = value::count_spread, default_value = "1")]
    recipients: Spread,
    /// Envelope sender, a template; <> is the null sender. May be given more than
    /// once [default: blast@client.example]
    #[arg(long, value_name = "ADDR[:WEIGHT]")]
    from: Vec<String>,
    /// Envelope senders, one in each line of FILE, also with :WEIGHT
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    from_file: Option<PathBuf>,
    /// Envelope recipient, a template; may be given more than once [default: sink@server.example]
    #[arg(long, value_name = "ADDR[:WEIGHT]")]
    to: Vec<String>,
    /// Envelope recipients, one in each line of FILE, also with :WEIGHT
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
    /// A domain that replaces the domain of the recipient; may be given more than once
    #[arg(long, value_name = "NAME[:WEIGHT]")]
    to_domain: Vec<String>,
    /// A header line, a template. It replaces the generator's line of that name. May be given more than
    /// once
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Add no header lines except those of --header and --subject. Without X-Ringpost, a message cannot
    /// be recognised later
    #[arg(long)]
    no_headers: bool,
    /// Subject, a template
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// A file with values for {csv.COLUMN}: the first line names the columns, and each message takes the
    /// next row
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Leave SIZE= out of MAIL, also where the server offers SIZE
    #[arg(long)]
    no_size: bool,
    /// Seed of the message texts, and of the order of sizes, senders and recipients
    #[arg(long, value_name = "N", default_value_t = 42, value_parser = value::whole)]
    seed: u64,
}

impl ContentArgs {
    /// Reads the files and the templates. The parameters are those of MAIL and RCPT.
    pub(super) fn content(
        self,
        chunking: bool,
        mail_params: Vec<String>,
        rcpt_params: Vec<String>,
    ) -> Result<Content, ContentError> {
        let table = self.csv.as_deref().map(Table::load).transpose()?;
        let columns = table.as_ref().map(|table| &table.columns[..]);
        let subject = self.subject.iter().map(|text| ("--subject", format!("Subject: {text}")));
        let headers = self.header.iter().map(|line| ("--header", line.clone())).chain(subject);
        let headers = headers
            .map(|(option, line)| template(line.as_bytes(), columns, Scope::Message, option))
            .collect::<Result<_, _>>()?;
        let from = self.from.iter().map(|text| if text == "<>" { "" } else { text.as_str() });
        let of = ("--from", Scope::From, FROM_DEFAULT);
        let from = choices(from, self.from_file.as_deref(), columns, of)?;
        let to = self.to.iter().map(String::as_str);
        let of = ("--to", Scope::Recipient, TO_DEFAULT);
        let to = choices(to, self.to_file.as_deref(), columns, of)?;
        let bodies = match (&self.body, &self.corpus) {
            (Some(path), _) => {
                let read = host::read_text(path, self.corpus_memory);
                let octets = read
                    .map_err(|error| TableError::Read { path: path.clone(), error })
                    .map(|octets| with_crlf(&octets))?;
                let place = path.display().to_string();
                Bodies::Given(template(&octets, columns, Scope::Message, &place)?)
            }
            (None, Some(path)) => {
                let form = MailForm {
                    envelopes: self.recorded_envelopes,
                    raw: chunking,
                    headed: !self.no_headers,
                };
                Bodies::Kept(mail::load(path, self.corpus_memory, form)?)
            }
            (None, None) => Bodies::Sizes(self.size),
        };
        Ok(Content {
            bodies,
            recipients: self.recipients,
            from,
            to,
            to_domains: self
                .to_domain
                .iter()
                .map(|text| weighted(text, "--to-domain"))
                .collect::<Result<_, _>>()?,
            bare: self.no_headers,
            headers,
            table,
            mail_params,
            size_unsaid: self.no_size,
            rcpt_params,
            memory_max: self.corpus_memory,
            seed: self.seed,
        })
    }
}

/// The addresses of `option`, or those of its file, or the default.
fn choices<'a>(
    given: impl Iterator<Item = &'a str>,
    file: Option<&Path>,
    columns: Option<&[String]>,
    (option, scope, default): (&str, Scope, &str),
) -> Result<Vec<Choice>, ContentError> {
    let choice = |text: &str, place: String| {
        let (text, weight) = weighted(text, &place)?;
        let pattern = template(text.as_bytes(), columns, scope, &place)?;
        Ok(Choice { pattern, weight, place })
    };
    if let Some(path) = file {
        let place = |line| format!("{} line {line}", path.display());
        let listed = table::list(path)?.into_iter();
        return listed.map(|listed| choice(&listed.text, place(listed.line))).collect();
    }
    let given: Vec<_> =
        given.map(|text| choice(text, option.to_owned())).collect::<Result<_, _>>()?;
    if given.is_empty() { Ok(vec![choice(default, option.to_owned())?]) } else { Ok(given) }
}

fn template(
    text: &[u8],
    columns: Option<&[String]>,
    scope: Scope,
    place: &str,
) -> Result<Template, ContentError> {
    let place = || place.to_owned();
    Template::parse(text, columns, scope)
        .map_err(|fault| ContentError::Template { place: place(), fault })
}

/// A text that may end in `:WEIGHT`. Digits after the last colon are a weight, or a mistake.
fn weighted(text: &str, place: &str) -> Result<(String, u32), ContentError> {
    let number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let Some((address, digits)) = text.rsplit_once(':').filter(|(_, digits)| number(digits)) else {
        return Ok((text.to_owned(), 1));
    };
    match digits.parse() {
        Ok(weight @ 1..) => Ok((address.to_owned(), weight)),
        _ => Err(ContentError::Weight { place: place.to_owned(), text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_stand_behind_a_colon_and_nothing_else_does() {
        for (text, expected) in [
            ("a@b.example:70", ("a@b.example", 70)),
            ("a@b.example", ("a@b.example", 1)),
            ("a@[IPv6:2001:db8::1]", ("a@[IPv6:2001:db8::1]", 1)),
            ("a@[IPv6:2001:db8::1]:3", ("a@[IPv6:2001:db8::1]", 3)),
            ("{rand:4}@b.example", ("{rand:4}@b.example", 1)),
            ("", ("", 1)),
        ] {
            let split = weighted(text, "--to").unwrap();
            assert_eq!(split, (expected.0.to_owned(), expected.1), "{text}");
        }
        for bad in ["a@b.example:0", "a@b.example:99999999999", "a@b.example:4294967296"] {
            let error = weighted(bad, "--to").unwrap_err().to_string();
            assert!(error.starts_with("--to") && error.contains(bad), "{error}");
        }
    }
}
