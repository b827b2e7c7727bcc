//! What README's tables say of commands and extensions is what the server does.

use std::collections::{BTreeMap, BTreeSet};

use ringpost::smtp::{extension::Extensions, server::AtrnAnswer, server::EtrnAnswer};

use super::codes::{Given, last_reply};

/// (First command of a row of README, code, given, input); the reply is the last one.
const ROWS: [(&str, &str, Given, &str); 68] = [
    ("HELO", "250", Given::Usual, "HELO x\r\n"),
    ("HELO", "500", Given::Usual, "LHLO x\r\n"),
    ("HELO", "501", Given::Usual, "EHLO a..b\r\n"),
    ("HELO", "502", Given::Rfc821, "EHLO x\r\n"),
    ("MAIL", "250", Given::Usual, "EM"),
    ("MAIL", "251", Given::Directory, "EMRCPT TO:<byron@example.org>\r\n"),
    ("MAIL", "450", Given::Directory, "EMRCPT TO:<charles@example.org>\r\n"),
    ("MAIL", "451", Given::NoStore, "EM"),
    ("MAIL", "452", Given::OneRecipient, "EMRR"),
    ("MAIL", "501", Given::Usual, "EMAIL FROM:oops\r\n"),
    ("MAIL", "503", Given::Usual, "MAIL FROM:<a@b>\r\n"),
    ("MAIL", "530", Given::Login, "EM"),
    ("MAIL", "550", Given::Usual, "EMAIL FROM:<\u{fc}@b>\r\n"),
    ("MAIL", "551", Given::Directory, "EMRCPT TO:<mary@example.org>\r\n"),
    ("MAIL", "552", Given::Small, "EMAIL FROM:<a@b> SIZE=5\r\n"),
    ("MAIL", "553", Given::Directory, "EMRCPT TO:<king@example.org>\r\n"),
    ("MAIL", "555", Given::Usual, "EMAIL FROM:<a@b> X=1\r\n"),
    ("DATA", "250", Given::Usual, "EMRBDAT 1 LAST\r\nx"),
    ("DATA", "354", Given::Usual, "EMRDATA\r\n"),
    ("DATA", "451", Given::StoreFails, "EMRDATA\r\n.\r\n"),
    ("DATA", "452", Given::StoreFull, "EMRDATA\r\n.\r\n"),
    ("DATA", "501", Given::Usual, "EMRDATA x\r\n"),
    ("DATA", "502", Given::Rfc821, "BDAT 1 LAST\r\nx"),
    ("DATA", "503", Given::Usual, "EMDATA\r\n"),
    ("DATA", "521", Given::Usual, "BDAT x\r\n"),
    ("DATA", "550", Given::Usual, "EMRDATA\r\na\nb\r\n.\r\n"),
    ("DATA", "552", Given::Small, "EMRDATA\r\nhello\r\n.\r\n"),
    ("DATA", "554", Given::Usual, "EMRCPT TO:<>\r\nDATA\r\n"),
    ("RSET", "221", Given::Usual, "QUIT\r\n"),
    ("RSET", "250", Given::Usual, "NOOP\r\nRSET\r\n"),
    ("RSET", "501", Given::Usual, "NOOP\r\nRSET x\r\n"),
    ("VRFY", "250", Given::Directory, "VRFY ada\r\n"),
    ("VRFY", "251", Given::Directory, "VRFY byron\r\n"),
    ("VRFY", "252", Given::Usual, "VRFY ada\r\n"),
    ("VRFY", "501", Given::Usual, "VRFY\r\n"),
    ("VRFY", "550", Given::Directory, "VRFY nobody\r\n"),
    ("VRFY", "551", Given::Directory, "VRFY mary\r\n"),
    ("VRFY", "553", Given::Directory, "VRFY babbage\r\n"),
    ("EXPN", "250", Given::Directory, "EXPN engines@example.org\r\n"),
    ("EXPN", "501", Given::Directory, "EXPN\r\n"),
    ("EXPN", "502", Given::Usual, "EXPN engines\r\n"),
    ("EXPN", "550", Given::Directory, "EXPN ada\r\n"),
    ("EXPN", "553", Given::Directory, "EXPN engines\r\n"),
    ("HELP", "214", Given::Usual, "HELP MAIL\r\n"),
    ("HELP", "501", Given::Usual, "HELP \x7f\r\n"),
    ("HELP", "502", Given::NoHelp, "HELP\r\n"),
    ("HELP", "504", Given::Usual, "HELP XYZZY\r\n"),
    ("HELP STATUS", "211", Given::Usual, "HELP STATUS\r\n"),
    ("SEND", "502", Given::Usual, "ESEND FROM:<a@b>\r\n"),
    ("ETRN", "250", Given::Etrn(EtrnAnswer::Queued), "EETRN d.example\r\n"),
    ("ETRN", "251", Given::Etrn(EtrnAnswer::Nothing), "EETRN d.example\r\n"),
    ("ETRN", "252", Given::Etrn(EtrnAnswer::Pending), "EETRN d.example\r\n"),
    ("ETRN", "253", Given::Etrn(EtrnAnswer::Counted(2)), "EETRN d.example\r\n"),
    ("ETRN", "458", Given::Etrn(EtrnAnswer::Unable), "EETRN d.example\r\n"),
    ("ETRN", "459", Given::Etrn(EtrnAnswer::NotAllowed("so")), "EETRN d.example\r\n"),
    ("ETRN", "500", Given::Etrn(EtrnAnswer::Unable), "EETRN\r\n"),
    ("ETRN", "501", Given::Etrn(EtrnAnswer::Unable), "EETRN d\r\n"),
    ("ETRN", "502", Given::Usual, "EETRN d.example\r\n"),
    ("ETRN", "503", Given::Etrn(EtrnAnswer::Unable), "EMETRN d.example\r\n"),
    ("ATRN", "250", Given::Atrn(AtrnAnswer::Turn), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("ATRN", "450", Given::Atrn(AtrnAnswer::Refused), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("ATRN", "451", Given::Atrn(AtrnAnswer::Unable), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("ATRN", "453", Given::Atrn(AtrnAnswer::Nothing), "EAUTH PLAIN AGEAYg==\r\nATRN\r\n"),
    ("ATRN", "501", Given::Atrn(AtrnAnswer::Nothing), "EAUTH PLAIN AGEAYg==\r\nATRN a b\r\n"),
    ("ATRN", "502", Given::Usual, "EATRN\r\n"),
    ("ATRN", "503", Given::Atrn(AtrnAnswer::Nothing), "ATRN\r\n"),
    ("ATRN", "530", Given::Atrn(AtrnAnswer::Nothing), "EATRN\r\n"),
    ("TURN", "502", Given::Usual, "ETURN\r\n"),
];

/// The rows of the table behind `heading`: their cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, behind) = readme.split_once(&format!("\n### {heading}\n")).expect("the heading");
    let lines = behind.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_command_gives_the_replies_of_its_row_and_its_row_has_them_all() {
    let mut said = BTreeMap::new();
    for row in table("Commands") {
        let codes = row[1].split(|letter: char| !letter.is_ascii_digit());
        let codes = codes.filter(|word| word.len() == 3).map(str::to_owned);
        said.insert(quoted(&row[0]).next().unwrap().to_owned(), codes.collect::<BTreeSet<_>>());
    }
    let mut shown: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (command, code, given, input) in &ROWS {
        let reply = last_reply(given, input);
        assert_eq!(reply.split('/').next().unwrap(), *code, "{input:?}");
        shown.entry((*command).to_owned()).or_default().insert((*code).to_owned());
    }
    assert_eq!(said, shown, "left: what README says; right: what the rows here show");
}

#[test]
fn every_extension_has_its_row() {
    let told: BTreeSet<_> = table("Extensions")
        .iter()
        .flat_map(|row| quoted(&row[0]).map(|name| name.split(' ').next().unwrap().to_owned()))
        .collect();
    let known: BTreeSet<_> = Extensions::all_keywords().map(str::to_owned).collect();
    assert_eq!(told, known, "left: README's tables; right: what EHLO can list");
}
