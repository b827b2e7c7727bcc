//! Who is known: VRFY and EXPN (RFC 5321 §3.5), and RCPT where only known ones are taken (§3.4).

use ringpost::limits::VRFY_CANDIDATES_MAX;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::RecipientRule;

use super::world::PEOPLE;
use super::{BAD_ARGUMENT, BAD_OCTETS, NOT_DONE, Quirk, Reference, Said, is_printable};

/// A line of [`PEOPLE`]: kind, address, and the words behind them.
type Person = (&'static str, &'static str, Vec<&'static str>);

fn people() -> impl Iterator<Item = Person> {
    PEOPLE.lines().map(|line| {
        let mut words = line.split(' ');
        (words.next().unwrap(), words.next().unwrap(), words.collect())
    })
}

fn known_as(address: &[u8]) -> Option<Person> {
    people().find(|(_, own, _)| own.as_bytes().eq_ignore_ascii_case(address))
}

/// What is behind all aliases.
fn behind(person: Person) -> Person {
    match &person {
        ("alias", _, to) => behind(known_as(to[0].as_bytes()).unwrap()),
        _ => person,
    }
}

fn add(found: &mut Vec<Person>, person: Person) {
    let person = behind(person);
    if !found.contains(&person) {
        found.push(person);
    }
}

/// Whom a string may mean: an address, else a local part, else a full name or a word of one.
fn meant_by(text: &[u8]) -> Vec<Person> {
    let mut found = Vec::new();
    if text.contains(&b'@') {
        return known_as(text).map(behind).into_iter().collect();
    }
    // In the order of their addresses.
    let mut everyone: Vec<_> = people().collect();
    everyone.sort_by_key(|(_, own, _)| *own);
    for person in everyone.clone() {
        if person.1.split('@').next().unwrap().as_bytes().eq_ignore_ascii_case(text) {
            add(&mut found, person);
        }
    }
    if found.is_empty() && !text.is_empty() {
        for person in everyone.into_iter().filter(|(kind, ..)| matches!(*kind, "mailbox" | "busy"))
        {
            let full = person.2.join(" ").as_bytes().eq_ignore_ascii_case(text);
            if full || person.2.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(text)) {
                add(&mut found, person);
            }
        }
    }
    found
}

impl Reference<'_> {
    pub(super) fn vrfy(&mut self, argument: &[u8]) {
        if argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        if self.is(Quirk::VrfyResets) {
            self.reset();
        }
        if !is_printable(argument) {
            return self.error(BAD_OCTETS);
        }
        self.idle();
        if !self.offers(Extensions::VRFY) {
            return self.say("252/2.5.2");
        }
        let name = unwrapped(argument);
        let found = meant_by(name);
        match &found[..] {
            [] if name.eq_ignore_ascii_case(b"postmaster") => {
                let postmaster = format!("Postmaster@{}", self.policy.hostname);
                self.say_people("250/2.1.5", &[&postmaster], 0);
            }
            [] => self.say("550/5.1.1"),
            [(kind, own, words)] => match *kind {
                "forward" => self.say_people("251/2.1.5", words, 0),
                "moved" => self.say_people("551/5.1.6", words, 0),
                "ambiguous" => self.say_ambiguous(words),
                _ => self.say_people("250/2.1.5", &[own], 0),
            },
            several => {
                let own: Vec<_> = several.iter().map(|person| person.1).collect();
                self.say_ambiguous(&own);
            }
        }
    }

    pub(super) fn expn(&mut self, argument: &[u8]) {
        let directory = self.policy.commands.directory.is_some();
        let on = self.offers(Extensions::EXPN) || (directory && self.is(Quirk::ExpnAlwaysOn));
        if !on {
            return self.error(NOT_DONE);
        }
        if argument.is_empty() {
            return self.error(BAD_ARGUMENT);
        }
        if !is_printable(argument) {
            return self.error(BAD_OCTETS);
        }
        self.idle();
        let found = meant_by(unwrapped(argument));
        let lists: Vec<_> = found.iter().filter(|(kind, ..)| *kind == "list").collect();
        match &lists[..] {
            [] if found.is_empty() => self.say("550/5.1.1"),
            [] => self.say("550/5.2.4"),
            [(_, _, members)] => self.say_people("250/2.1.5", members, 0),
            several => {
                let own: Vec<_> = several.iter().map(|person| person.1).collect();
                self.say_ambiguous(&own);
            }
        }
    }

    /// One line more than there are candidates.
    fn say_ambiguous(&mut self, candidates: &[&str]) {
        let shown = &candidates[..candidates.len().min(VRFY_CANDIDATES_MAX)];
        self.say_people("553/5.1.4", shown, 1);
    }

    /// What RCPT is answered, and whether the recipient is taken.
    pub(super) fn welcome(&self, mailbox: &[u8]) -> (bool, Said, Option<&'static str>) {
        const TAKEN: (bool, Said, Option<&str>) = (true, "250/2.1.5", None);
        if self.policy.commands.recipients == RecipientRule::Any {
            return TAKEN;
        }
        let known = known_as(mailbox);
        let aliased = known.as_ref().is_some_and(|(kind, ..)| *kind == "alias");
        if aliased && self.is(Quirk::AliasIsEnough) {
            return TAKEN;
        }
        match known.map(behind) {
            Some(("forward", _, to)) => (true, "251/2.1.5", Some(to[0])),
            Some(("moved", _, to)) => (false, "551/5.1.6", Some(to[0])),
            Some(("busy", ..)) if !self.is(Quirk::BusyIsTaken) => (false, "450/4.2.1", None),
            Some(("ambiguous", ..)) => (false, "553/5.1.4", None),
            Some(_) => TAKEN,
            None => {
                let local = mailbox.split(|&b| b == b'@').next().unwrap();
                // RFC 5321 §4.5.1.
                let postmaster = local.eq_ignore_ascii_case(b"postmaster");
                if postmaster { TAKEN } else { (false, "550/5.1.1", None) }
            }
        }
    }
}

/// Without the brackets or the quotes around it.
fn unwrapped(argument: &[u8]) -> &[u8] {
    let inner = |open: &[u8], close: &[u8]| argument.strip_prefix(open)?.strip_suffix(close);
    inner(b"<", b">").or_else(|| inner(b"\"", b"\"")).unwrap_or(argument)
}
