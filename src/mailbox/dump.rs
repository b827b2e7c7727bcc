//! Writes the dumps that Postfix's smtp-sink would have written of the same mail with `-d` or `-D`.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::body::Body;
use super::error::ExportError;
use super::files::{GrowingFile, NewFile, make_dirs};
use super::line_ends::{CrRule, LineEnds};
use super::received::Tracer;
use crate::spool::{Message, StoredEnvelope};

/// Files that messages share, as all of them get their names at the end.
const DUMP_FILES_MAX: usize = 100_000;

/// Files whose names are a strftime pattern of the time of the message.
pub(super) struct Dumps {
    template: String,
    /// How many messages were written. smtp-sink draws a random number for each; this number is unique.
    number: u32,
    /// As with `-D`: one file for all messages whose names are the same, by that name.
    shared: Option<HashMap<PathBuf, GrowingFile>>,
}

impl Dumps {
    pub(super) fn create(
        template: &Path,
        shared: bool,
        tracer: &Tracer,
    ) -> Result<Self, ExportError> {
        let template = template.to_string_lossy().into_owned();
        if tracer.format(0, &template).is_none() {
            return Err(ExportError::Template { template });
        }
        Ok(Self { template, number: 0, shared: shared.then(HashMap::new) })
    }

    pub(super) fn add(
        &mut self,
        message: &Message,
        body: &mut Body,
        tracer: &Tracer,
    ) -> Result<(), ExportError> {
        self.number += 1;
        let time = tracer.format(message.envelope.received_ns, &self.template);
        let mut name = time.unwrap_or_default();
        let number = self.number;
        let write = &mut |out: &mut dyn Write| write(&message.envelope, number, body, tracer, out);
        if let Some(files) = &mut self.shared {
            let name = PathBuf::from(name);
            if !files.contains_key(&name) {
                if files.len() >= DUMP_FILES_MAX {
                    return Err(ExportError::TooManyFiles { template: self.template.clone() });
                }
                make_parent(&name)?;
                files.insert(name.clone(), GrowingFile::create(&name)?);
            }
            return files[&name].append(write);
        }
        name.push_str(&format!("{:08x}", self.number));
        let name = Path::new(&name);
        make_parent(name)?;
        let mut file = NewFile::create(name)?;
        file.write(write)?;
        file.finish()
    }

    pub(super) fn finish(self) -> Result<(), ExportError> {
        self.shared.into_iter().flatten().try_for_each(|(_, file)| file.finish())
    }
}

fn make_parent(name: &Path) -> Result<(), ExportError> {
    name.parent().map_or(Ok(()), make_dirs)
}

/// Appends the envelope as header fields, a Received field as smtp-sink writes it, the message without any
/// CR, and an empty line.
fn write(
    envelope: &StoredEnvelope,
    number: u32,
    body: &mut Body,
    tracer: &Tracer,
    out: &mut dyn Write,
) -> io::Result<()> {
    let peer = client_address(&envelope.peer);
    let protocol = protocol(&envelope.protocol);
    let helo = printable(&envelope.helo);
    writeln!(out, "X-Client-Addr: {peer}\nX-Client-Proto: {protocol}")?;
    if !helo.is_empty() {
        writeln!(out, "X-Helo-Args: {helo}")?;
    }
    let from = arguments(&envelope.reverse_path, &envelope.reverse_params);
    writeln!(out, "X-Mail-Args: {from}")?;
    for to in envelope.recipients.iter() {
        writeln!(out, "X-Rcpt-Args: {}", arguments(to.path, to.params))?;
    }
    let name = if helo.is_empty() { format!("[{peer}]") } else { helo };
    let host = &tracer.hostname;
    // As Postfix writes dates: the day filled up with a space, the zone by number and by name.
    let date = tracer.format(envelope.received_ns, "%a, %e %b %Y %H:%M:%S %z (%Z)");
    let date = date.unwrap_or_default();
    writeln!(out, "Received: from {name} ([{peer}])")?;
    writeln!(out, "\tby {host} (smtp-sink) with {protocol} id {number:08x};\n\t{date}")?;
    let mut lines = LineEnds::new(CrRule::All, out);
    body.copy(&mut lines)?;
    lines.finish()?.write_all(b"\n")
}

/// The address without its port; IPv6 has a prefix.
fn client_address(peer: &[u8]) -> String {
    let peer = printable(peer);
    match peer.parse::<std::net::SocketAddr>() {
        Ok(address) if address.is_ipv6() => format!("ipv6:{}", address.ip()),
        Ok(address) => address.ip().to_string(),
        Err(_) => "local".into(),
    }
}

/// smtp-sink knows no AUTH and no TLS by name.
fn protocol(word: &[u8]) -> &'static str {
    match word {
        word if word.starts_with(b"LMTP") => "LMTP",
        word if word.starts_with(b"ESMTP") => "ESMTP",
        _ => "SMTP",
    }
}

/// The arguments of `MAIL FROM:` or `RCPT TO:`.
fn arguments(path: &[u8], params: &[u8]) -> String {
    let space = if params.is_empty() { "" } else { " " };
    format!("<{}>{space}{}", printable(path), printable(params))
}

/// Printable ASCII, with a question mark for each other octet.
fn printable(text: &[u8]) -> String {
    let shown = |&b: &u8| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '?' };
    text.iter().map(shown).collect()
}
