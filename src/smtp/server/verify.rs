//! VRFY, EXPN, and RCPT where the directory decides (RFC 5321 §3.5, §3.4).

use std::sync::Arc;

use super::answer;
use super::argument::has_bad_octets;
use super::event::CommandEvent;
use super::machine::Server;
use super::transaction::{RecipientRefusal, Welcome};
use crate::limits::VRFY_CANDIDATES_MAX;
use crate::smtp::directory::{Directory, DirectoryEntry, What};
use crate::smtp::extension::Extensions;
use crate::smtp::reply::{EnhancedCode, write_line};

impl Server {
    /// The transaction is left alone.
    pub(super) fn vrfy(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if let Some(fault) = argument_fault(argument) {
            return self.fail(fault, replies);
        }
        self.count_junk();
        let Some(directory) = self.directory_for(Extensions::VRFY) else {
            // Verifies nothing, and must not say that it did (RFC 5321 §3.5.3).
            self.say(&answer::VRFY_CANNOT, replies);
            return None;
        };
        let name = bare(argument);
        match directory.search(name)[..] {
            [] if name.eq_ignore_ascii_case(b"postmaster") => {
                let text = format!("<Postmaster@{}>", self.policy.hostname);
                self.say_line(250, true, (1, 5), text.as_bytes(), replies);
            }
            [] => self.say(&answer::USER_UNKNOWN, replies),
            [entry] => self.verified(&directory, entry, replies),
            ref several => {
                let addresses = several.iter().map(|entry| &*entry.address);
                self.ambiguous(&directory, addresses, replies);
            }
        }
        None
    }

    fn verified(&self, directory: &Directory, entry: &DirectoryEntry, replies: &mut Vec<u8>) {
        let (code, detail, lead, address) = match &entry.what {
            What::Forward(to) => (251, 5, "User not local; will forward to ", to),
            What::Moved(to) => (551, 6, "User not local; please try ", to),
            What::Ambiguous(candidates) => {
                return self.ambiguous(directory, candidates.iter().map(|c| &**c), replies);
            }
            What::Mailbox(_) | What::Busy(_) | What::Alias(_) | What::List(_) => {
                (250, 5, "", &entry.address)
            }
        };
        let mut text = lead.as_bytes().to_vec();
        directory.describe(address, &mut text);
        self.say_line(code, true, (1, detail), &text, replies);
    }

    /// 553, and the users that the name may mean.
    fn ambiguous<'a>(
        &self,
        directory: &Directory,
        candidates: impl Iterator<Item = &'a str>,
        replies: &mut Vec<u8>,
    ) {
        self.say_line(553, false, (1, 4), b"User ambiguous; possibilities are", replies);
        let mut candidates = candidates.take(VRFY_CANDIDATES_MAX).peekable();
        let mut text = Vec::new();
        while let Some(address) = candidates.next() {
            text.clear();
            directory.describe(address, &mut text);
            self.say_line(553, candidates.peek().is_none(), (1, 4), &text, replies);
        }
    }

    /// The transaction is left alone.
    pub(super) fn expn(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        let Some(directory) = self.directory_for(Extensions::EXPN) else {
            return self.fail(&answer::NOT_IMPLEMENTED, replies);
        };
        if let Some(fault) = argument_fault(argument) {
            return self.fail(fault, replies);
        }
        self.count_junk();
        let found = directory.search(bare(argument));
        let mut lists = found.iter().filter_map(|entry| match &entry.what {
            What::List(members) => Some((entry, members)),
            _ => None,
        });
        match (lists.next(), lists.next()) {
            (Some((_, members)), None) => {
                let mut text = Vec::new();
                for (n, member) in members.iter().enumerate() {
                    text.clear();
                    directory.describe(member, &mut text);
                    self.say_line(250, n + 1 == members.len(), (1, 5), &text, replies);
                }
            }
            (Some((first, _)), Some((second, _))) => {
                let all = [first, second].into_iter().chain(lists.map(|(entry, _)| entry));
                self.ambiguous(&directory, all.map(|entry| &*entry.address), replies);
            }
            (None, _) if found.is_empty() => self.say(&answer::USER_UNKNOWN, replies),
            (None, _) => self.say(&answer::NOT_A_LIST, replies),
        }
        None
    }

    /// Whether the directory lets mail to `address` in.
    #[cold]
    pub(super) fn look_up(&self, address: &[u8]) -> Result<Welcome, RecipientRefusal> {
        let directory = self.policy.commands.directory.as_deref();
        let entry = directory.and_then(|directory| directory.find(address));
        match entry.map(|entry| &entry.what) {
            None if is_postmaster(address) => Ok(Welcome::Taken),
            None => Err(RecipientRefusal::Fault(&answer::USER_UNKNOWN)),
            Some(What::Mailbox(_) | What::Alias(_) | What::List(_)) => Ok(Welcome::Taken),
            Some(What::Forward(to)) => Ok(Welcome::Forwarded(to.clone())),
            Some(What::Busy(_)) => Err(RecipientRefusal::Fault(&answer::MAILBOX_BUSY)),
            Some(What::Moved(to)) => Err(RecipientRefusal::Moved(to.clone())),
            Some(What::Ambiguous(_)) => Err(RecipientRefusal::Fault(&answer::USER_AMBIGUOUS)),
        }
    }

    fn directory_for(&self, extension: Extensions) -> Option<Arc<Directory>> {
        self.available.contains(extension).then(|| self.policy.commands.directory.clone()).flatten()
    }

    /// Appends one line of a reply whose text is known only now. `status` is subject and detail of
    /// its enhanced code.
    pub(super) fn say_line(
        &self,
        code: u16,
        last: bool,
        status: (u16, u16),
        text: &[u8],
        replies: &mut Vec<u8>,
    ) {
        let enhanced = EnhancedCode::new((code / 100) as u8, status.0, status.1);
        write_line(replies, code, last, self.enhanced().then_some(enhanced), text);
    }
}

fn argument_fault(argument: &[u8]) -> Option<&'static answer::Answer> {
    if argument.is_empty() {
        return Some(&answer::ARGUMENT_NEEDED);
    }
    has_bad_octets(argument).then_some(&answer::BAD_OCTETS)
}

/// The argument without the brackets or the quotes around it.
fn bare(argument: &[u8]) -> &[u8] {
    match argument {
        [b'<', inner @ .., b'>'] | [b'"', inner @ .., b'"'] => inner,
        _ => argument,
    }
}

/// Mail to Postmaster is always taken, at every domain (RFC 5321 §4.5.1).
fn is_postmaster(address: &[u8]) -> bool {
    let local = address.split(|&b| b == b'@').next().unwrap_or_default();
    local.eq_ignore_ascii_case(b"postmaster")
}
