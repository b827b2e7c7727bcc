//! Who is known here: what VRFY and EXPN are answered from (RFC 5321 §3.5), and RCPT where a
//! listener asks for it.
//!
//! One line of the text is one entry: a kind, an address, and what the kind needs. `#` starts a
//! line that is passed over; addresses and names are ASCII; letters count alike in either case.
//!
//! ```text
//! mailbox    ada@example.org       Ada Lovelace
//! busy       charles@example.org   Charles Babbage
//! alias      countess@example.org  ada@example.org
//! forward    byron@example.org     byron@elsewhere.example
//! moved      mary@example.org      mary@new.example
//! ambiguous  king@example.org      ada@example.org byron@example.org
//! list       engines@example.org   ada@example.org charles@example.org
//! ```

use std::cmp::Ordering;

use super::path::is_mailbox;
use crate::limits::REPLY_LINES_MAX;

/// Entries by address.
///
/// INVARIANT: sorted by address in lower case, no address twice, every chain of aliases ends.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    entries: Vec<DirectoryEntry>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirectoryEntry {
    /// `local-part@domain`, as the text spells it.
    pub address: Box<str>,
    pub what: What,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// With its full name, which may be empty.
    Mailbox(Box<str>),
    /// A mailbox that takes no mail now, with its full name.
    Busy(Box<str>),
    /// Another name of the entry with this address.
    Alias(Box<str>),
    /// Mail is taken and forwarded to this address.
    Forward(Box<str>),
    /// Mail is refused: the user is at this address now.
    Moved(Box<str>),
    /// A name that may mean any of these addresses; mail is refused.
    Ambiguous(Vec<Box<str>>),
    /// A mailing list of these addresses.
    List(Vec<Box<str>>),
}

/// What is wrong with the text of a directory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct DirectoryError {
    /// Counted from 1.
    pub line: usize,
    pub fault: DirectoryFault,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DirectoryFault {
    #[error(
        "'{0}' is no kind of entry; write mailbox, busy, alias, forward, moved, ambiguous or list"
    )]
    Kind(String),
    #[error("holds an octet that is no printable ASCII")]
    Octets,
    #[error("'{0}' is no address; write local-part@domain")]
    Address(String),
    #[error("{kind} takes {wanted} after its own address")]
    Count { kind: &'static str, wanted: &'static str },
    #[error("{0} stands on an earlier line already")]
    Twice(String),
    #[error("the alias leads to {0}, which has no entry; use 'forward' for a foreign address")]
    Nowhere(String),
    #[error("the alias leads in a circle")]
    Circle,
}

impl Directory {
    /// Reads the text of a directory.
    ///
    /// # Errors
    /// [`DirectoryError`] tells the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        let mut numbered = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |fault| DirectoryError { line: index + 1, fault };
            numbered.push((index + 1, parse_line(line).map_err(at)?));
        }
        // Stable: of equal addresses the later line comes later.
        numbered.sort_by(|(_, a), (_, b)| compare(a.address.as_bytes(), b.address.as_bytes()));
        for pair in numbered.windows(2) {
            let [(_, first), (line, second)] = pair else { continue };
            if first.address.eq_ignore_ascii_case(&second.address) {
                let fault = DirectoryFault::Twice(second.address.to_string());
                return Err(DirectoryError { line: *line, fault });
            }
        }
        let (lines, entries): (Vec<_>, Vec<_>) = numbered.into_iter().unzip();
        let directory = Self { entries };
        for (entry, line) in directory.entries.iter().zip(lines) {
            directory.check_alias(entry).map_err(|fault| DirectoryError { line, fault })?;
        }
        Ok(directory)
    }

    fn check_alias(&self, entry: &DirectoryEntry) -> Result<(), DirectoryFault> {
        let mut at = entry;
        for _ in 0..=self.entries.len() {
            let What::Alias(target) = &at.what else { return Ok(()) };
            let next = self.entry(target.as_bytes());
            at = next.ok_or_else(|| DirectoryFault::Nowhere(target.to_string()))?;
        }
        Err(DirectoryFault::Circle)
    }

    /// The entry of an address, or of what it is an alias of; never an alias.
    pub fn find(&self, address: &[u8]) -> Option<&DirectoryEntry> {
        self.entry(address).map(|entry| self.resolve(entry))
    }

    /// Entries that `text` may mean, each once, none an alias: the one of an address, else those of
    /// a local part, else those with it as full name or as a word of one.
    pub fn search(&self, text: &[u8]) -> Vec<&DirectoryEntry> {
        if text.contains(&b'@') {
            return self.find(text).into_iter().collect();
        }
        let by_local_part = self.matching(|entry| entry.local_part().eq_ignore_ascii_case(text));
        // Nothing is no name, although entries may have none.
        if !by_local_part.is_empty() || text.is_empty() {
            return by_local_part;
        }
        self.matching(|entry| {
            let name = entry.name().as_bytes();
            name.eq_ignore_ascii_case(text)
                || name.split(|&b| b == b' ').any(|word| word.eq_ignore_ascii_case(text))
        })
    }

    /// Writes `Full Name <address>`, or `<address>` where no name is known.
    pub fn describe(&self, address: &str, out: &mut Vec<u8>) {
        let name = self.entry(address.as_bytes()).map_or("", DirectoryEntry::name);
        out.extend_from_slice(name.as_bytes());
        if !name.is_empty() {
            out.push(b' ');
        }
        out.push(b'<');
        out.extend_from_slice(address.as_bytes());
        out.push(b'>');
    }

    fn matching(&self, is_meant: impl Fn(&DirectoryEntry) -> bool) -> Vec<&DirectoryEntry> {
        let mut found: Vec<&DirectoryEntry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| is_meant(entry)) {
            let entry = self.resolve(entry);
            if !found.contains(&entry) {
                found.push(entry);
            }
        }
        found
    }

    fn resolve<'a>(&'a self, mut entry: &'a DirectoryEntry) -> &'a DirectoryEntry {
        while let What::Alias(target) = &entry.what {
            let Some(next) = self.entry(target.as_bytes()) else { break };
            entry = next;
        }
        entry
    }

    fn entry(&self, address: &[u8]) -> Option<&DirectoryEntry> {
        let found = self.entries.binary_search_by(|e| compare(e.address.as_bytes(), address));
        found.ok().map(|index| &self.entries[index])
    }
}

impl DirectoryEntry {
    /// The full name, or nothing.
    pub fn name(&self) -> &str {
        match &self.what {
            What::Mailbox(name) | What::Busy(name) => name,
            _ => "",
        }
    }

    fn local_part(&self) -> &[u8] {
        self.address.rsplit_once('@').map_or("", |(local, _)| local).as_bytes()
    }
}

/// Order of addresses, in which letters count alike in either case.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}

fn parse_line(line: &str) -> Result<DirectoryEntry, DirectoryFault> {
    if !line.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
        return Err(DirectoryFault::Octets);
    }
    let mut words = line.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    let own = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let name = || rest.join(" ").into();
    let what = match kind {
        "mailbox" => What::Mailbox(name()),
        "busy" => What::Busy(name()),
        "alias" => What::Alias(one("alias", &rest)?),
        "forward" => What::Forward(one("forward", &rest)?),
        "moved" => What::Moved(one("moved", &rest)?),
        "ambiguous" => What::Ambiguous(many("ambiguous", &rest, 2)?),
        "list" => What::List(many("list", &rest, 1)?),
        _ => return Err(DirectoryFault::Kind(kind.to_owned())),
    };
    Ok(DirectoryEntry { address: address(own)?, what })
}

fn one(kind: &'static str, rest: &[&str]) -> Result<Box<str>, DirectoryFault> {
    match rest {
        [only] => address(only),
        _ => Err(DirectoryFault::Count { kind, wanted: "one address" }),
    }
}

/// At most as many as one reply may have lines.
fn many(kind: &'static str, rest: &[&str], least: usize) -> Result<Vec<Box<str>>, DirectoryFault> {
    if !(least..=REPLY_LINES_MAX).contains(&rest.len()) {
        let wanted = if least > 1 { "2 to 256 addresses" } else { "1 to 256 addresses" };
        return Err(DirectoryFault::Count { kind, wanted });
    }
    rest.iter().map(|word| address(word)).collect()
}

fn address(word: &str) -> Result<Box<str>, DirectoryFault> {
    if is_mailbox(word.as_bytes()) {
        Ok(word.into())
    } else {
        Err(DirectoryFault::Address(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# the analytical engine
mailbox ada@example.org Ada Lovelace
mailbox  grace@example.org\tGrace Hopper
busy Charles@Example.org Charles Babbage
mailbox henry@example.org Henry Babbage
alias countess@example.org lady@example.org
alias lady@example.org ADA@example.org
list engines@example.org ada@example.org x@elsewhere.example

mailbox ada@other.example
";

    fn addresses(directory: &Directory, text: &str) -> Vec<String> {
        directory.search(text.as_bytes()).iter().map(|e| e.address.to_string()).collect()
    }

    #[test]
    fn entries_are_found_by_address_local_part_and_name_and_aliases_are_followed() {
        let directory = Directory::parse(TEXT).unwrap();
        assert_eq!(addresses(&directory, "ADA@EXAMPLE.ORG"), ["ada@example.org"]);
        assert_eq!(addresses(&directory, "countess@example.org"), ["ada@example.org"]);
        assert_eq!(addresses(&directory, "Countess"), ["ada@example.org"]);
        assert_eq!(addresses(&directory, "ada"), ["ada@example.org", "ada@other.example"]);
        assert_eq!(addresses(&directory, "ada lovelace"), ["ada@example.org"]);
        assert_eq!(addresses(&directory, "hopper"), ["grace@example.org"]);
        assert_eq!(addresses(&directory, "Babbage").len(), 2);
        assert!(addresses(&directory, "").is_empty() && addresses(&directory, "x@y").is_empty());
        assert!(directory.find(b"charles@example.org").is_some());
    }

    #[test]
    fn names_are_shown_where_they_are_known() {
        let directory = Directory::parse(TEXT).unwrap();
        let shown = |address| {
            let mut out = Vec::new();
            directory.describe(address, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown("grace@example.org"), "Grace Hopper <grace@example.org>");
        assert_eq!(shown("ada@other.example"), "<ada@other.example>");
        assert_eq!(shown("x@elsewhere.example"), "<x@elsewhere.example>");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, error) in [
            ("\npostbox a@b", "line 2: 'postbox' is no kind of entry"),
            ("mailbox", "line 1: '' is no address"),
            ("mailbox ada", "line 1: 'ada' is no address"),
            ("mailbox a@b J\u{fc}rgen", "line 1: holds an octet"),
            ("mailbox a@b\u{1}", "line 1: holds an octet"),
            ("forward a@b", "line 1: forward takes one address"),
            ("moved a@b c@d e@f", "line 1: moved takes one address"),
            ("list a@b", "line 1: list takes 1 to 256"),
            ("ambiguous a@b c@d", "line 1: ambiguous takes 2 to 256"),
            ("list a@b c", "line 1: 'c' is no address"),
            ("mailbox a@b\n#\nbusy A@B", "line 3: A@B stands on an earlier line"),
            ("alias a@b c@d", "line 1: the alias leads to c@d"),
            ("alias c@d a@b\nalias a@b c@d", "leads in a circle"),
        ] {
            let told = Directory::parse(text).unwrap_err().to_string();
            assert!(told.contains(error), "{text:?}: {told}");
        }
        let long = format!("list a@b {}", "c@d ".repeat(REPLY_LINES_MAX + 1));
        assert!(Directory::parse(&long).is_err());
        assert!(Directory::parse("").is_ok());
    }
}
