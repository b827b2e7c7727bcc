//! HELP: what a client may say here, and how (RFC 5321 §4.1.1.8).

use super::answer;
use super::argument::has_bad_octets;
use super::event::CommandEvent;
use super::machine::Server;
use super::state::Transaction;
use crate::smtp::extension::Extensions;
use crate::smtp::params::{On, param_keywords};
use crate::smtp::protocol::Protocol;

struct Topic {
    command: &'static str,
    known: Known,
    /// Syntax, then what it does.
    lines: [&'static str; 2],
    /// The command whose parameters are listed after the lines.
    params: Option<On>,
}

/// Where a command is known.
enum Known {
    Everywhere,
    In(Protocol),
    With(Extensions),
    /// EHLO: where extensions are spoken at all.
    Esmtp,
}

const fn topic(command: &'static str, known: Known, lines: [&'static str; 2]) -> Topic {
    Topic { command, known, lines, params: None }
}

const TOPICS: [Topic; 21] = [
    topic("HELO", Known::In(Protocol::Smtp), ["HELO <name>", "Introduces you"]),
    topic(
        "EHLO",
        Known::Esmtp,
        ["EHLO <name>", "Introduces you, and tells which extensions you may use"],
    ),
    topic(
        "LHLO",
        Known::In(Protocol::Lmtp),
        ["LHLO <name>", "Introduces you, and tells which extensions you may use"],
    ),
    Topic {
        command: "MAIL",
        known: Known::Everywhere,
        lines: ["MAIL FROM:<address> [parameters]", "Begins a message; <> is the null sender"],
        params: Some(On::Mail),
    },
    Topic {
        command: "RCPT",
        known: Known::Everywhere,
        lines: ["RCPT TO:<address> [parameters]", "Adds a recipient"],
        params: Some(On::Rcpt),
    },
    topic("DATA", Known::Everywhere, ["DATA", "Sends the message, up to a line with one dot"]),
    topic(
        "BDAT",
        Known::With(Extensions::CHUNKING),
        ["BDAT <octets> [LAST]", "Sends so many octets of the message, which follow at once"],
    ),
    topic(
        "AUTH",
        Known::With(Extensions::AUTH),
        ["AUTH <mechanism> [initial response]", "Logs you in"],
    ),
    topic("STARTTLS", Known::With(Extensions::STARTTLS), ["STARTTLS", "Begins TLS"]),
    topic(
        "XCLIENT",
        Known::With(Extensions::XCLIENT),
        ["XCLIENT <name>=<value>...", "Says for whom you speak, and begins anew"],
    ),
    topic("RSET", Known::Everywhere, ["RSET", "Forgets the message begun"]),
    topic("NOOP", Known::Everywhere, ["NOOP [anything]", "Does nothing"]),
    topic("QUIT", Known::Everywhere, ["QUIT", "Ends the session"]),
    topic("VRFY", Known::Everywhere, ["VRFY <name or address>", "Asks whether a user is known"]),
    topic("EXPN", Known::With(Extensions::EXPN), ["EXPN <list>", "Asks who is on a mailing list"]),
    topic(
        "ETRN",
        Known::With(Extensions::ETRN),
        [
            "ETRN [@ or #]<node>",
            "Begins the delivery of the mail that waits for a domain or in a queue",
        ],
    ),
    topic(
        "ATRN",
        Known::With(Extensions::ATRN),
        ["ATRN [<domain>,...]", "Turns the roles round and sends you the mail that waits for you"],
    ),
    topic("SEND", Known::With(Extensions::SEND), ["SEND FROM:<address>", LEGACY]),
    topic("SOML", Known::With(Extensions::SOML), ["SOML FROM:<address>", LEGACY]),
    topic("SAML", Known::With(Extensions::SAML), ["SAML FROM:<address>", LEGACY]),
    topic(
        "HELP",
        Known::With(Extensions::HELP),
        ["HELP [command]", "Lists the commands, or tells about one"],
    ),
];

const LEGACY: &str = "The same as MAIL";

impl Server {
    pub(super) fn help(&mut self, argument: &[u8], replies: &mut Vec<u8>) -> Option<CommandEvent> {
        if !self.available.contains(Extensions::HELP) {
            return self.fail(&answer::NOT_IMPLEMENTED, replies);
        }
        if has_bad_octets(argument) {
            return self.fail(&answer::BAD_OCTETS, replies);
        }
        let word = argument.trim_ascii();
        let named = |topic: &&Topic| word.eq_ignore_ascii_case(topic.command.as_bytes());
        let topic = self.topics().find(named);
        match topic {
            _ if word.is_empty() => self.list_topics(replies),
            _ if word.eq_ignore_ascii_case(b"STATUS") => self.tell_status(replies),
            Some(topic) => self.explain(topic, replies),
            None => return self.fail(&answer::UNKNOWN_TOPIC, replies),
        }
        self.count_junk();
        None
    }

    fn topics(&self) -> impl Iterator<Item = &'static Topic> + use<'_> {
        let announced = self.announced();
        TOPICS.iter().filter(move |topic| match topic.known {
            Known::Everywhere => true,
            Known::In(protocol) => protocol == self.policy.protocol,
            Known::With(extension) => announced.contains(extension),
            Known::Esmtp => self.policy.protocol == Protocol::Smtp && self.policy.commands.esmtp,
        })
    }

    fn list_topics(&self, replies: &mut Vec<u8>) {
        let mut text = b"Commands:".to_vec();
        for topic in self.topics() {
            text.push(b' ');
            text.extend_from_slice(topic.command.as_bytes());
        }
        self.say_line(214, false, (0, 0), &text, replies);
        let more = b"Say HELP and a command for its syntax, or HELP STATUS";
        self.say_line(214, true, (0, 0), more, replies);
    }

    fn explain(&self, topic: &Topic, replies: &mut Vec<u8>) {
        let [syntax, meaning] = topic.lines;
        self.say_line(214, false, (0, 0), syntax.as_bytes(), replies);
        let mut params = topic.params.map(|on| param_keywords(on, self.available).peekable());
        let listed = params.as_mut().is_some_and(|keywords| keywords.peek().is_some());
        self.say_line(214, !listed, (0, 0), meaning.as_bytes(), replies);
        if let Some(keywords) = params.filter(|_| listed) {
            let mut text = b"Parameters:".to_vec();
            for keyword in keywords {
                text.push(b' ');
                text.extend_from_slice(keyword.as_bytes());
            }
            self.say_line(214, true, (0, 0), &text, replies);
        }
    }

    /// 211: the system status of RFC 821 §4.2, which gave it no command of its own.
    fn tell_status(&self, replies: &mut Vec<u8>) {
        let protocol = match self.policy.protocol {
            Protocol::Smtp => "SMTP",
            Protocol::Lmtp => "LMTP",
        };
        let name = format!("ringpost at {}, speaking {protocol}", self.policy.hostname);
        self.say_line(211, false, (0, 0), name.as_bytes(), replies);
        let mut you = b"You have not said who you are".to_vec();
        if !self.hello.is_empty() {
            you = b"You are ".to_vec();
            you.extend_from_slice(&self.hello);
        }
        self.say_line(211, false, (0, 0), &you, replies);
        let state = match self.transaction {
            Transaction::Idle => "No message is open".to_owned(),
            Transaction::Failed { .. } => "A message failed; say RSET".to_owned(),
            Transaction::Mail { .. } | Transaction::Chunks(_) => {
                let count = self.envelope.recipient_count();
                let s = if count == 1 { "" } else { "s" };
                format!("A message is open, for {count} recipient{s}")
            }
        };
        self.say_line(211, true, (0, 0), state.as_bytes(), replies);
    }
}
