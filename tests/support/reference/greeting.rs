//! HELO, EHLO, LHLO and what they announce (RFC 5321 §4.1.1.1), and HELP.

use ringpost::limits::RCPTMAX_ANNOUNCED_MAX;
use ringpost::smtp::auth::Mechanism;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::Protocol;

use super::path::host;
use super::{BAD_ARGUMENT, BAD_OCTETS, NOT_DONE, Quirk, Reference, is_printable, lenient};

/// Keywords of EHLO, but for those with arguments.
const PLAIN: [(Extensions, &str); 17] = [
    (Extensions::PIPELINING, "PIPELINING"),
    (Extensions::EIGHT_BIT_MIME, "8BITMIME"),
    (Extensions::SMTPUTF8, "SMTPUTF8"),
    (Extensions::CHUNKING, "CHUNKING"),
    (Extensions::BINARYMIME, "BINARYMIME"),
    (Extensions::ENHANCED_STATUS_CODES, "ENHANCEDSTATUSCODES"),
    (Extensions::DSN, "DSN"),
    (Extensions::DELIVERBY, "DELIVERBY"),
    (Extensions::MT_PRIORITY, "MT-PRIORITY"),
    (Extensions::REQUIRETLS, "REQUIRETLS"),
    (Extensions::STARTTLS, "STARTTLS"),
    (Extensions::HELP, "HELP"),
    (Extensions::VRFY, "VRFY"),
    (Extensions::EXPN, "EXPN"),
    (Extensions::SEND, "SEND"),
    (Extensions::SOML, "SOML"),
    (Extensions::SAML, "SAML"),
];

impl Reference<'_> {
    /// Whether the listener has it now, with all that it stands on.
    pub(super) fn offers(&self, extension: Extensions) -> bool {
        self.offers_under(self.secured, extension)
    }

    /// Whether the listener has it under TLS, or before.
    pub(super) fn offers_under(&self, tls: bool, extension: Extensions) -> bool {
        let commands = &self.policy.commands;
        let listed = |extension| self.policy.extensions.contains(extension);
        let old = [
            Extensions::HELP,
            Extensions::VRFY,
            Extensions::EXPN,
            Extensions::SEND,
            Extensions::SOML,
            Extensions::SAML,
        ];
        let stands = match extension {
            Extensions::SMTPUTF8 => listed(Extensions::EIGHT_BIT_MIME),
            Extensions::BINARYMIME => listed(Extensions::CHUNKING),
            Extensions::AUTH => !self.mechanisms().is_empty() && (tls || self.logs_in_plainly()),
            Extensions::VRFY | Extensions::EXPN => commands.directory.is_some(),
            Extensions::SEND | Extensions::SOML | Extensions::SAML => commands.legacy,
            Extensions::LIMITS => self.policy.recipients_max <= RCPTMAX_ANNOUNCED_MAX,
            // RFC 8689 §2: under TLS only.
            Extensions::REQUIRETLS => tls || self.is(Quirk::RequireTlsInPlainText),
            // RFC 3207 §4.2: not under TLS.
            Extensions::STARTTLS => self.policy.tls.offered && !tls,
            _ => true,
        };
        listed(extension) && stands && (commands.esmtp || old.contains(&extension))
    }

    pub(super) fn hello(&mut self, verb: &[u8], name: &[u8]) {
        if verb == b"EHLO" && !self.policy.commands.esmtp && !self.is(Quirk::EhloAlways) {
            return self.error(NOT_DONE);
        }
        let mut odd = self.line_odd.clone();
        if self.lenient() {
            match lenient::hello(name) {
                _ if name.is_empty() => return self.error(BAD_ARGUMENT),
                None => return self.error(BAD_OCTETS),
                Some(true) => drop(odd.insert("hello-not-a-domain")),
                Some(false) => {}
            }
        } else if !is_printable(name) {
            return self.error(BAD_OCTETS);
        } else if host(name) != Ok(name.len()) {
            return self.error(BAD_ARGUMENT);
        }
        if self.greeted {
            self.idle();
        }
        self.greeted = true;
        self.extended = verb != b"HELO";
        self.hello = name.to_vec();
        self.hello_odd = odd;
        self.reset();
        let announced = if self.extended { self.announced() } else { Vec::new() };
        self.say(format!("250 {}", announced.join("|")).trim_end());
    }

    /// Lines of the answer to EHLO behind the first, in alphabetical order.
    fn announced(&self) -> Vec<String> {
        let mut lines: Vec<String> = PLAIN
            .iter()
            .filter(|(extension, _)| self.offers(*extension))
            .map(|(_, keyword)| (*keyword).to_owned())
            .collect();
        if self.offers(Extensions::SIZE) {
            let most = self.policy.message_bytes_max;
            // RFC 1870 §4.
            lines.push(format!("SIZE {}", if most == u64::MAX { 0 } else { most }));
        }
        if self.offers(Extensions::FUTURERELEASE) {
            let hold = self.policy.commands.hold;
            let latest = str::from_utf8(hold.latest.text()).unwrap();
            lines.push(format!("FUTURERELEASE {} {latest}Z", hold.seconds_max));
        }
        if self.offers(Extensions::LIMITS) {
            lines.push(format!("LIMITS RCPTMAX={}", self.policy.recipients_max));
        }
        if self.offers(Extensions::AUTH) {
            let names: Vec<_> = self.mechanisms().into_iter().map(Mechanism::name).collect();
            lines.push(format!("AUTH {}", names.join(" ")));
        }
        if self.circumstances.trusted {
            lines.push("XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT".to_owned());
        }
        lines.sort();
        lines
    }

    pub(super) fn help(&mut self, argument: &[u8]) {
        if !self.offers(Extensions::HELP) {
            return self.error(NOT_DONE);
        }
        if !is_printable(argument) {
            return self.error(BAD_OCTETS);
        }
        let topic = argument.trim_ascii().to_ascii_uppercase();
        let smtp = self.policy.protocol == Protocol::Smtp;
        let lines = match &topic[..] {
            b"STATUS" => {
                self.idle();
                return self.say("211/2.0.0*3");
            }
            b"HELO" if smtp => 2,
            b"EHLO" if smtp && self.policy.commands.esmtp => 2,
            b"LHLO" if !smtp => 2,
            b"" | b"DATA" | b"RSET" | b"NOOP" | b"QUIT" | b"VRFY" | b"HELP" => 2,
            b"BDAT" if self.offers(Extensions::CHUNKING) => 2,
            b"AUTH" if self.offers(Extensions::AUTH) => 2,
            b"STARTTLS" if self.offers(Extensions::STARTTLS) => 2,
            b"EXPN" if self.offers(Extensions::EXPN) => 2,
            b"SEND" if self.offers(Extensions::SEND) => 2,
            b"SOML" if self.offers(Extensions::SOML) => 2,
            b"SAML" if self.offers(Extensions::SAML) => 2,
            b"XCLIENT" if self.circumstances.trusted => 2,
            // A line more tells of the parameters that there are.
            b"MAIL" => 2 + usize::from(self.offers_mail_param()),
            b"RCPT" => 2 + usize::from(self.offers(Extensions::DSN)),
            _ => return self.error("504/5.5.4"),
        };
        self.idle();
        self.say(&format!("214/2.0.0*{lines}"));
    }

    fn offers_mail_param(&self) -> bool {
        let bringers = [
            Extensions::SIZE,
            Extensions::EIGHT_BIT_MIME,
            Extensions::SMTPUTF8,
            Extensions::DSN,
            Extensions::DELIVERBY,
            Extensions::FUTURERELEASE,
            Extensions::MT_PRIORITY,
            Extensions::REQUIRETLS,
            Extensions::AUTH,
        ];
        bringers.iter().any(|bringer| self.offers(*bringer))
    }
}
