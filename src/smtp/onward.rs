//! A stored message on its way to the next server: what goes with it, given what that server offers.

use super::envelope::BodyKind;
use super::extension::Extensions;
use super::lenient;
use super::offered::Offered;
use super::outgoing::MailParams;
use super::params::{On, param_words, parse_params};
use super::path::is_mailbox;
use super::syntax::Syntax;
use crate::limits::HOPS_MAX;

/// What decides how a message may travel on.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// Parameters of MAIL as they came.
    pub params: &'a [u8],
    /// Octets that will be sent.
    pub size: u64,
    /// Whether an octet above 127 is among them.
    pub eight_bit: bool,
    /// Whether all is lines: no CR, LF or NUL that has no business in text (RFC 5321 §2.3.8).
    pub lines: bool,
    /// Whether MAIL carried SMTPUTF8.
    pub smtputf8: bool,
    /// Seconds since the message came.
    pub age_s: u64,
    /// Servers that it has passed: its Received fields.
    pub hops: usize,
    /// Whether the connection is under TLS with a server that has proved who it is.
    pub verified: bool,
}

/// How a message goes on to the next server.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub params: MailParams,
    /// BDAT, which carries every octet as it is; DATA otherwise.
    pub chunking: bool,
}

/// Why a message cannot go to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lack {
    #[error("the server does not offer {0}, which the message needs")]
    Extension(&'static str),
    #[error("the message has {size} octets and the server takes {most}")]
    Size { size: u64, most: u64 },
    #[error("the time that its BY parameter allows is over")]
    Late,
    #[error(
        "it asks for REQUIRETLS, and the connection is not under TLS with a certificate that was verified"
    )]
    Tls,
    #[error("its parameters cannot be read")]
    Params,
    #[error("one of its addresses would not stay within its command")]
    Path,
    #[error("it has passed {0} servers and seems to be in a mail loop")]
    Loop(usize),
}

/// Whether a stored path may stand between the brackets of a command: it is a mailbox as listeners read one, so that
/// nothing in it ends the line, the path or the word. A sink stores no other; a spool may come from elsewhere.
pub fn is_sendable(path: &[u8]) -> bool {
    let ends_line = path.iter().any(|&octet| octet != b'\t' && octet.is_ascii_control());
    !ends_line && (path.is_empty() || is_mailbox(path) || lenient::is_mailbox(path))
}

impl Onward<'_> {
    /// # Errors
    /// [`Lack`] says why the message must not go to this server.
    pub fn prepare(&self, offered: &Offered) -> Result<Transfer, Lack> {
        if self.hops >= HOPS_MAX {
            return Err(Lack::Loop(self.hops));
        }
        let known = parse_params(self.params, On::Mail, Extensions::ALL, Syntax::Lenient)
            .map_err(|_| Lack::Params)?;
        let need = |extension: Extensions, name| {
            if offered.has(extension) { Ok(()) } else { Err(Lack::Extension(name)) }
        };
        let binary = known.body == BodyKind::Binary || !self.lines;
        if binary {
            need(Extensions::CHUNKING, "CHUNKING")?;
            need(Extensions::BINARYMIME, "BINARYMIME")?;
        } else if self.eight_bit {
            // Nothing is turned into 7 bits here (RFC 6152 §3).
            need(Extensions::EIGHT_BIT_MIME, "8BITMIME")?;
        }
        if self.smtputf8 {
            need(Extensions::SMTPUTF8, "SMTPUTF8")?;
        }
        if offered.size > 0 && self.size > offered.size {
            return Err(Lack::Size { size: self.size, most: offered.size });
        }
        let mut words = Vec::new();
        if binary {
            words.push("BODY=BINARYMIME".to_owned());
        }
        for word in param_words(self.params) {
            words.extend(self.pass(&String::from_utf8_lossy(word), offered)?);
        }
        let params = MailParams::new(&words, self.smtputf8);
        Ok(Transfer { params, chunking: offered.has(Extensions::CHUNKING) })
    }

    /// A parameter of MAIL as it goes on; `None` for one that ends here. SIZE, BODY and SMTPUTF8 are
    /// written anew; a login (RFC 4954 §5) and a hold (RFC 4865) are not the next server's.
    fn pass(&self, word: &str, offered: &Offered) -> Result<Option<String>, Lack> {
        let keyword = word.split('=').next().unwrap_or_default().to_ascii_uppercase();
        let passed = match &*keyword {
            "RET" | "ENVID" => offered.has(Extensions::DSN),
            "MT-PRIORITY" => offered.has(Extensions::MT_PRIORITY),
            "BY" => return self.deliver_by(word, offered),
            // RFC 8689 §4.2.1.
            "REQUIRETLS" if !self.verified => return Err(Lack::Tls),
            "REQUIRETLS" if !offered.has(Extensions::REQUIRETLS) => {
                return Err(Lack::Extension("REQUIRETLS"));
            }
            "REQUIRETLS" => true,
            _ => false,
        };
        Ok(passed.then(|| word.to_owned()))
    }

    /// `BY=seconds;mode`, less the time that went by (RFC 2852 §4). Mode R wants the message returned
    /// rather than sent late or to a server that does not know of it; nothing is returned here.
    fn deliver_by(&self, word: &str, offered: &Offered) -> Result<Option<String>, Lack> {
        let value = word.split_once('=').map_or("", |(_, value)| value);
        let (seconds, mode) = value.split_once(';').ok_or(Lack::Params)?;
        let seconds: i64 = seconds.parse().map_err(|_| Lack::Params)?;
        let left = seconds.saturating_sub_unsigned(self.age_s);
        let strict = mode.starts_with(['R', 'r']);
        if strict && left <= 0 {
            return Err(Lack::Late);
        }
        match offered.has(Extensions::DELIVERBY) {
            true => Ok(Some(format!("BY={};{mode}", left.max(-BY_SECONDS_MAX)))),
            false if strict => Err(Lack::Extension("DELIVERBY")),
            false => Ok(None),
        }
    }
}

/// Nine digits (RFC 2852 §4).
const BY_SECONDS_MAX: i64 = 999_999_999;

/// The parameters of RCPT that go on, each led by a space.
pub fn rcpt_params(params: &[u8], offered: &Offered) -> Vec<u8> {
    if !offered.has(Extensions::DSN) {
        return Vec::new();
    }
    param_words(params).flat_map(|word| [b" ", word].concat()).collect()
}

/// Whether parameters of RCPT are ones that a sink stores.
pub fn is_sendable_rcpt(params: &[u8]) -> bool {
    parse_params(params, On::Rcpt, Extensions::ALL, Syntax::Lenient).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::command::parse_mail;

    #[test]
    fn a_path_that_would_leave_its_command_is_not_sent() {
        for good in
            ["", "a@x.test", "\"a b>c\\\"\"@x", "postmaster", "ä@x", "a@[IPv6:::1]", "a..b@x_y"]
        {
            assert!(is_sendable(good.as_bytes()), "{good}");
        }
        for bad in [
            "a@x>\r\nRCPT TO:<b@y",
            "a\nb",
            "a\0",
            "a@x> SIZE=1",
            "a b@x",
            "<a@x",
            "\"a@x",
            "\"a\\\"@x",
            "a\x7f",
            "\"a\r\nb\"@x",
        ] {
            assert!(!is_sendable(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_sendable_rcpt(b"NOTIFY=NEVER ORCPT=rfc822;a@x") && is_sendable_rcpt(b""));
        for bad in [&b"NOTIFY=NEVER\r\nDATA"[..], b"NOTIFY=NEVER\nx", b"X=\x1b"] {
            assert!(!is_sendable_rcpt(bad), "{}", bad.escape_ascii());
        }
    }

    /// What a sink says 250 to, and could not send on, would wait for ever.
    #[test]
    fn whatever_path_a_sink_takes_can_be_sent_on() {
        let parts = [
            "a",
            "b.c",
            "@",
            "x.test",
            "\\",
            "\"",
            " ",
            "\t",
            "<",
            ">",
            "(",
            ")",
            ":",
            "[",
            "]",
            ",",
            ".",
            "é",
            "IPv6:::1",
            "tag:",
            "postmaster",
            "\"q \\\" r\"",
            "[1.2.3.4]",
            "a\\ b",
        ];
        let mut random = fastrand::Rng::with_seed(19);
        let mut taken = 0;
        for _ in 0..200_000 {
            let inner: String =
                (0..random.usize(1..7)).map(|_| parts[random.usize(..parts.len())]).collect();
            let bracketed = if random.bool() { format!("<{inner}>") } else { inner };
            let command = format!("FROM:{bracketed}").into_bytes();
            let read = parse_mail(&command).map(|read| read.path);
            let read = read.or_else(|_| lenient::parse_mail(&command).map(|(read, _)| read.path));
            if let Ok(path) = read {
                taken += 1;
                assert!(is_sendable(path.mailbox), "{bracketed}: {}", path.mailbox.escape_ascii());
            }
        }
        assert!(taken > 5_000, "{taken} paths were taken");
        for odd in ["a\\ b@example.org", "a @ example.org", "a@[x-tag:\"<>]", "a\\\"b@example.org"]
        {
            assert!(is_sendable(odd.as_bytes()), "{odd}");
        }
    }

    const PLAIN: Onward<'static> = Onward {
        params: b"",
        size: 10,
        eight_bit: false,
        lines: true,
        smtputf8: false,
        age_s: 0,
        hops: 0,
        verified: false,
    };

    fn offered(extensions: Extensions) -> Offered {
        Offered { extensions, ..Offered::default() }
    }

    fn mail_line(onward: &Onward<'_>, offered: &Offered) -> Result<String, Lack> {
        let manner = onward.prepare(offered)?;
        let recipients = super::super::outgoing::Recipients::default();
        let mail = super::super::outgoing::Outgoing {
            from: b"a@b",
            from_blanks: &[],
            recipients: &recipients,
            size: onward.size,
            eight_bit: onward.eight_bit,
            params: &manner.params,
            filling: crate::smtp::blank::Filling::default(),
        };
        let mut out = Vec::new();
        mail.write_mail(&mut out, offered);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn parameters_go_on_where_they_are_understood() {
        let all = offered(Extensions::ALL);
        let params = b"SIZE=9 BODY=8BITMIME RET=HDRS ENVID=x AUTH=<> HOLDFOR=5 MT-PRIORITY=3";
        let onward = Onward { params, eight_bit: true, ..PLAIN };
        let expected = "MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=x MT-PRIORITY=3\r\n";
        assert_eq!(mail_line(&onward, &all).unwrap(), expected);
        let little = offered(Extensions::EIGHT_BIT_MIME);
        assert_eq!(mail_line(&onward, &little).unwrap(), "MAIL FROM:<a@b> BODY=8BITMIME\r\n");
        assert_eq!(
            rcpt_params(b"NOTIFY=NEVER ORCPT=rfc822;x", &all),
            b" NOTIFY=NEVER ORCPT=rfc822;x"
        );
        assert_eq!(rcpt_params(b"NOTIFY=NEVER", &little), b"");
    }

    #[test]
    fn a_message_goes_to_no_server_that_would_harm_it() {
        let without = |gone| offered(Extensions::ALL.difference(gone));
        for (onward, lacking, name) in [
            (Onward { eight_bit: true, ..PLAIN }, Extensions::EIGHT_BIT_MIME, "8BITMIME"),
            (Onward { smtputf8: true, ..PLAIN }, Extensions::SMTPUTF8, "SMTPUTF8"),
            (Onward { lines: false, ..PLAIN }, Extensions::BINARYMIME, "BINARYMIME"),
            (Onward { params: b"BODY=BINARYMIME", ..PLAIN }, Extensions::CHUNKING, "CHUNKING"),
            (Onward { params: b"BY=9;R", ..PLAIN }, Extensions::DELIVERBY, "DELIVERBY"),
        ] {
            assert_eq!(mail_line(&onward, &without(lacking)), Err(Lack::Extension(name)), "{name}");
            assert!(mail_line(&onward, &without(Extensions::empty())).is_ok(), "{name}");
        }
        let small = Offered { size: 9, ..offered(Extensions::ALL) };
        assert_eq!(mail_line(&PLAIN, &small), Err(Lack::Size { size: 10, most: 9 }));
        let circling = Onward { hops: 100, ..PLAIN };
        assert_eq!(mail_line(&circling, &offered(Extensions::ALL)), Err(Lack::Loop(100)));
        assert!(mail_line(&Onward { hops: 99, ..PLAIN }, &offered(Extensions::ALL)).is_ok());
        let tls = Onward { params: b"REQUIRETLS", ..PLAIN };
        assert_eq!(mail_line(&tls, &offered(Extensions::ALL)), Err(Lack::Tls));
        let tls = Onward { verified: true, ..tls };
        let none = without(Extensions::REQUIRETLS);
        assert_eq!(mail_line(&tls, &none), Err(Lack::Extension("REQUIRETLS")));
        let sent = mail_line(&tls, &offered(Extensions::ALL)).unwrap();
        assert!(sent.ends_with(" REQUIRETLS\r\n"), "{sent}");
    }

    #[test]
    fn binary_octets_are_declared_and_sent_in_chunks() {
        let all = offered(Extensions::ALL);
        for onward in
            [Onward { lines: false, ..PLAIN }, Onward { params: b"BODY=BINARYMIME", ..PLAIN }]
        {
            assert!(mail_line(&onward, &all).unwrap().ends_with(" SIZE=10 BODY=BINARYMIME\r\n"));
            assert!(onward.prepare(&all).unwrap().chunking);
        }
        assert!(!PLAIN.prepare(&offered(Extensions::empty())).unwrap().chunking);
    }

    #[test]
    fn the_time_to_deliver_by_runs_on() {
        let all = offered(Extensions::ALL);
        let by = |params, age_s| mail_line(&Onward { params, age_s, ..PLAIN }, &all);
        assert!(by(b"BY=100;RT", 30).unwrap().ends_with(" BY=70;RT\r\n"));
        assert!(by(b"BY=10;N", 30).unwrap().ends_with(" BY=-20;N\r\n"));
        assert_eq!(by(b"BY=10;R", 10), Err(Lack::Late));
        let none = offered(Extensions::empty());
        let late = Onward { params: b"BY=10;N", ..PLAIN };
        assert_eq!(mail_line(&late, &none).unwrap(), "MAIL FROM:<a@b>\r\n");
    }
}
