//! Each reply code that the sink gives, and an input that gives it.

use ringpost::smtp::{
    reply::Reply,
    server::{AtrnAnswer, CloseReason, EtrnAnswer, Policy, Server},
};

use super::directory::known;
use super::harness::{EHLO, MAIL, RCPT, Session, Verdict, policy, run_with};
use super::waiting::waiting;

/// What stands between an input and its reply.
enum Given {
    Usual,
    /// RCPT and VRFY are answered from the directory.
    Directory,
    /// Messages of at most four octets.
    Small,
    OneRecipient,
    /// The store fails at the end of the message, or has no room at MAIL.
    StoreFails,
    NoRoom,
    /// Mail waits, or does not: ETRN and ATRN are answered so.
    Etrn(EtrnAnswer),
    Atrn(AtrnAnswer),
    /// No input: the greeting.
    Connect,
    /// No input: the client is silent for too long.
    Silence,
}

/// (code, its enhanced code, given, input); the reply is the last one.
const ROWS: [(&str, &str, Given, &str); 55] = [
    ("211", "2.0.0", Given::Usual, "HELP STATUS\r\n"),
    ("214", "2.0.0", Given::Usual, "HELP\r\n"),
    ("214", "2.0.0", Given::Usual, "HELP DATA\r\n"),
    ("220", "", Given::Connect, ""),
    ("221", "2.0.0", Given::Usual, "QUIT\r\n"),
    ("250", "", Given::Usual, "HELO x\r\n"),
    ("250", "2.0.0", Given::Usual, "NOOP\r\n"),
    ("250", "2.1.0", Given::Usual, "EM"),
    ("250", "2.1.5", Given::Usual, "EMR"),
    ("250", "2.0.0", Given::Usual, "EMRDATA\r\n.\r\n"),
    ("250", "2.1.5", Given::Directory, "EXPN engines@example.org\r\n"),
    ("251", "2.1.5", Given::Directory, "EMRCPT TO:<byron@example.org>\r\n"),
    ("251", "2.1.5", Given::Directory, "VRFY byron\r\n"),
    ("250", "2.0.0", Given::Etrn(EtrnAnswer::Queued), "EETRN d.example\r\n"),
    ("250", "2.0.0", Given::Atrn(AtrnAnswer::Turn), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("251", "2.0.0", Given::Etrn(EtrnAnswer::Nothing), "EETRN d.example\r\n"),
    ("252", "2.0.0", Given::Etrn(EtrnAnswer::Pending), "EETRN d.example\r\n"),
    ("253", "2.0.0", Given::Etrn(EtrnAnswer::Counted(2)), "EETRN d.example\r\n"),
    ("252", "2.5.2", Given::Usual, "VRFY anybody\r\n"),
    ("354", "", Given::Usual, "EMRDATA\r\n"),
    ("421", "4.4.2", Given::Silence, ""),
    (
        "421",
        "4.7.0",
        Given::Usual,
        "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n",
    ),
    ("450", "4.2.1", Given::Directory, "EMRCPT TO:<charles@example.org>\r\n"),
    ("450", "4.7.1", Given::Atrn(AtrnAnswer::Refused), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("451", "4.3.0", Given::Atrn(AtrnAnswer::Unable), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("453", "4.2.0", Given::Atrn(AtrnAnswer::Nothing), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("458", "4.3.2", Given::Etrn(EtrnAnswer::Unable), "EETRN d.example\r\n"),
    ("459", "4.7.1", Given::Etrn(EtrnAnswer::NotAllowed("so")), "EETRN d.example\r\n"),
    ("500", "5.5.2", Given::Etrn(EtrnAnswer::Unable), "EETRN\r\n"),
    ("501", "5.5.4", Given::Etrn(EtrnAnswer::Unable), "EETRN d\r\n"),
    ("502", "5.5.1", Given::Usual, "EATRN\r\n"),
    ("530", "5.7.0", Given::Atrn(AtrnAnswer::Nothing), "EATRN\r\n"),
    ("451", "4.3.0", Given::StoreFails, "EMRDATA\r\n.\r\n"),
    ("452", "4.5.3", Given::OneRecipient, "EMRR"),
    ("452", "4.3.1", Given::NoRoom, "EM"),
    ("500", "5.5.2", Given::Usual, "XYZZY\r\n"),
    ("501", "5.5.4", Given::Usual, "EHLO\r\n"),
    ("501", "5.1.7", Given::Usual, "EMAIL FROM:oops\r\n"),
    ("501", "5.1.3", Given::Usual, "EMRCPT TO:<>\r\n"),
    ("502", "5.5.1", Given::Usual, "TURN\r\n"),
    ("502", "5.5.1", Given::Usual, "EXPN list\r\n"),
    ("503", "5.5.1", Given::Usual, "MAIL FROM:<a@b>\r\n"),
    ("504", "5.5.4", Given::Usual, "HELP XYZZY\r\n"),
    ("521", "5.5.4", Given::Usual, "BDAT x\r\n"),
    ("550", "5.1.1", Given::Directory, "EMRCPT TO:<nobody@example.org>\r\n"),
    ("550", "5.2.4", Given::Directory, "EXPN ada\r\n"),
    ("550", "5.6.0", Given::Usual, "EMRDATA\r\na\nb\r\n.\r\n"),
    ("551", "5.1.6", Given::Directory, "EMRCPT TO:<mary@example.org>\r\n"),
    ("551", "5.1.6", Given::Directory, "VRFY mary\r\n"),
    ("552", "5.3.4", Given::Small, "EMRDATA\r\nhello\r\n.\r\n"),
    ("553", "5.1.4", Given::Directory, "EMRCPT TO:<king@example.org>\r\n"),
    ("553", "5.1.4", Given::Directory, "VRFY babbage\r\n"),
    ("554", "5.5.0", Given::Usual, "GET / HTTP/1.1\r\n"),
    ("554", "5.5.1", Given::Usual, "EMRCPT TO:<>\r\nDATA\r\n"),
    ("555", "5.5.4", Given::Usual, "EMAIL FROM:<a@b> XFOO=1\r\n"),
];

/// Every code of RFC 821 and RFC 5321 that a server of mail gives, and those of RFC 1985 and RFC 2645.
const CODES: [&str; 27] = [
    "211", "214", "220", "221", "250", "251", "252", "253", "354", "421", "450", "451", "452",
    "453", "458", "459", "500", "501", "502", "503", "504", "530", "550", "551", "552", "553",
    "554",
];

/// `E`, `M` and `R` in front stand for a good EHLO, MAIL and RCPT.
fn expand(mut input: &str) -> String {
    let mut out = String::new();
    for (letter, line, kept) in
        [('E', EHLO, "EHLO"), ('M', MAIL, "MAIL"), ('R', RCPT, "RCPT"), ('R', RCPT, "RCPT")]
    {
        if input.starts_with(letter) && !input.starts_with(kept) && !input.starts_with("EXPN") {
            out.push_str(line);
            input = &input[1..];
        }
    }
    out + input
}

fn last_reply(given: &Given, input: &str) -> String {
    let wire = expand(input);
    match given {
        Given::Usual => last(run_with(&policy(), wire).replies),
        Given::Directory => last(run_with(&known(), wire).replies),
        Given::Small => last(run_with(&Policy { message_bytes_max: 4, ..policy() }, wire).replies),
        Given::OneRecipient => {
            last(run_with(&Policy { recipients_max: 1, ..policy() }, wire).replies)
        }
        Given::StoreFails => {
            let refusal = Verdict::Refuse(Reply::new(451, 3, 0, "The spool failed"));
            let mut session = Session::new(policy()).with_verdict(refusal);
            session.feed(wire.as_bytes());
            last(session.finish().replies)
        }
        Given::NoRoom => {
            let mut session = Session::new(policy());
            session.server.set_no_room(Some(Reply::new(452, 3, 1, "The spool is full")));
            session.feed(wire.as_bytes());
            last(session.finish().replies)
        }
        Given::Etrn(etrn) => asked(*etrn, AtrnAnswer::Unable, &wire),
        Given::Atrn(atrn) => asked(EtrnAnswer::Unable, *atrn, &wire),
        Given::Connect => said(Server::greet),
        Given::Silence => said(|server, replies| server.close_for(CloseReason::Timeout, replies)),
    }
}

fn asked(etrn: EtrnAnswer, atrn: AtrnAnswer, wire: &str) -> String {
    let mut session = Session::new(waiting()).with_answers(etrn, atrn);
    session.feed(wire.as_bytes());
    last(session.finish().replies)
}

fn last(replies: Vec<String>) -> String {
    replies.last().unwrap().clone()
}

fn said(act: impl Fn(&mut Server, &mut Vec<u8>)) -> String {
    let mut server = Server::new(std::rc::Rc::new(policy()));
    let mut replies = Vec::new();
    act(&mut server, &mut replies);
    let text = String::from_utf8(replies).unwrap();
    let mut words = text.split(' ');
    let code = words.next().unwrap().to_owned();
    match words.next().filter(|word| word.starts_with(['2', '4', '5'])) {
        Some(enhanced) => format!("{code}/{enhanced}"),
        None => code,
    }
}

#[test]
fn every_row_of_the_table_of_codes_is_true() {
    for (code, enhanced, given, input) in &ROWS {
        let expected =
            if enhanced.is_empty() { (*code).to_owned() } else { format!("{code}/{enhanced}") };
        assert_eq!(last_reply(given, input), expected, "{input:?}");
    }
}

#[test]
fn every_code_has_a_row() {
    for code in CODES {
        assert!(ROWS.iter().any(|(row, ..)| *row == code), "{code} has no row");
    }
}
