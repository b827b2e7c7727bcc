//! VRFY, EXPN and RCPT answered from a directory.

use std::sync::Arc;

use ringpost::smtp::{
    directory::Directory,
    server::{Commands, Policy, Protocol, RecipientRule},
};

use super::harness::{EHLO, MAIL, check, policy, run_with};

pub(super) const TEXT: &str = "\
mailbox ada@example.org Ada Lovelace
mailbox henry@example.org Henry Babbage
busy charles@example.org Charles Babbage
alias countess@example.org ada@example.org
alias inventors@example.org engines@example.org
forward byron@example.org byron@elsewhere.example
moved mary@example.org mary@new.example
ambiguous king@example.org ada@example.org byron@elsewhere.example
list engines@example.org ada@example.org charles@example.org x@elsewhere.example
list engines@other.example ada@example.org
";

pub(super) fn known() -> Policy {
    let directory = Some(Arc::new(Directory::parse(TEXT).unwrap()));
    let recipients = RecipientRule::Known;
    Policy { commands: Commands { directory, recipients, ..Commands::default() }, ..policy() }
}

fn says(input: &str) -> String {
    String::from_utf8(run_with(&known(), input).wire).unwrap()
}

#[test]
fn vrfy_answers_from_the_directory() {
    for (argument, wire) in [
        ("ada", "250 2.1.5 Ada Lovelace <ada@example.org>\r\n"),
        ("<ADA@example.ORG>", "250 2.1.5 Ada Lovelace <ada@example.org>\r\n"),
        ("\"ada lovelace\"", "250 2.1.5 Ada Lovelace <ada@example.org>\r\n"),
        ("countess@example.org", "250 2.1.5 Ada Lovelace <ada@example.org>\r\n"),
        ("charles", "250 2.1.5 Charles Babbage <charles@example.org>\r\n"),
        ("engines@example.org", "250 2.1.5 <engines@example.org>\r\n"),
        ("byron", "251 2.1.5 User not local; will forward to <byron@elsewhere.example>\r\n"),
        ("mary", "551 5.1.6 User not local; please try <mary@new.example>\r\n"),
        ("nobody", "550 5.1.1 No such user here\r\n"),
        ("<>", "550 5.1.1 No such user here\r\n"),
        ("ada@elsewhere.example", "550 5.1.1 No such user here\r\n"),
        ("PostMaster", "250 2.1.5 <Postmaster@sink.example>\r\n"),
        (
            "babbage",
            "553-5.1.4 User ambiguous; possibilities are\r\n\
             553-5.1.4 Charles Babbage <charles@example.org>\r\n\
             553 5.1.4 Henry Babbage <henry@example.org>\r\n",
        ),
        (
            "king",
            "553-5.1.4 User ambiguous; possibilities are\r\n\
             553-5.1.4 Ada Lovelace <ada@example.org>\r\n\
             553 5.1.4 <byron@elsewhere.example>\r\n",
        ),
    ] {
        assert_eq!(says(&format!("VRFY {argument}\r\n")), wire, "{argument}");
    }
    check(&known(), EHLO, &[("VRFY\r\n", "501/5.5.4"), ("VRFY a\x01\r\n", "501/5.5.2")]);
}

#[test]
fn expn_answers_from_the_directory() {
    let list = "250-2.1.5 Ada Lovelace <ada@example.org>\r\n\
                250-2.1.5 Charles Babbage <charles@example.org>\r\n\
                250 2.1.5 <x@elsewhere.example>\r\n";
    for (argument, wire) in [
        ("engines@example.org", list),
        ("<inventors@example.org>", list),
        ("Inventors", list),
        ("engines@other.example", "250 2.1.5 Ada Lovelace <ada@example.org>\r\n"),
        ("ada", "550 5.2.4 That is a user name, not a mailing list\r\n"),
        ("nobody", "550 5.1.1 No such user here\r\n"),
        (
            "engines",
            "553-5.1.4 User ambiguous; possibilities are\r\n\
             553-5.1.4 <engines@example.org>\r\n553 5.1.4 <engines@other.example>\r\n",
        ),
    ] {
        assert_eq!(says(&format!("EXPN {argument}\r\n")), wire, "{argument}");
    }
    check(&known(), EHLO, &[("EXPN\r\n", "501/5.5.4"), ("EXPN a\x01\r\n", "501/5.5.2")]);
}

#[test]
fn rcpt_answers_from_the_directory_where_it_is_told_to() {
    let lead = format!("{EHLO}{MAIL}");
    let rows = [
        ("RCPT TO:<ada@example.org>\r\n", "250/2.1.5"),
        ("RCPT TO:<COUNTESS@EXAMPLE.ORG>\r\n", "250/2.1.5"),
        ("RCPT TO:<engines@example.org>\r\n", "250/2.1.5"),
        ("RCPT TO:<Postmaster>\r\n", "250/2.1.5"),
        ("RCPT TO:<postmaster@any.example>\r\n", "250/2.1.5"),
        ("RCPT TO:<byron@example.org>\r\n", "251/2.1.5"),
        ("RCPT TO:<charles@example.org>\r\n", "450/4.2.1"),
        ("RCPT TO:<nobody@example.org>\r\n", "550/5.1.1"),
        ("RCPT TO:<mary@example.org>\r\n", "551/5.1.6"),
        ("RCPT TO:<king@example.org>\r\n", "553/5.1.4"),
        ("RCPT TO:<mary@example.org>\r\nDATA\r\n", "551/5.1.6 554/5.5.1"),
        ("RCPT TO:<byron@example.org>\r\nDATA\r\n.\r\n", "251/2.1.5 354 250/2.0.0"),
    ];
    check(&known(), &lead, &rows);
    let any = Commands { recipients: RecipientRule::Any, ..known().commands };
    let any = Policy { commands: any, ..known() };
    for (input, _) in &rows[..10] {
        check(&any, &lead, &[(input, "250/2.1.5")]);
    }
}

#[test]
fn a_forwarded_recipient_is_kept_as_it_was_named() {
    let input = format!(
        "{EHLO}{MAIL}RCPT TO:<byron@example.org>\r\nRCPT TO:<mary@example.org>\r\nDATA\r\n.\r\n"
    );
    assert_eq!(run_with(&known(), input).messages[0].recipients, ["byron@example.org"]);
}

#[test]
fn in_lmtp_a_forwarded_recipient_gets_its_reply_and_a_refused_one_none() {
    let lmtp = Policy { protocol: Protocol::Lmtp, ..known() };
    let input = format!(
        "LHLO x\r\n{MAIL}RCPT TO:<byron@example.org>\r\nRCPT TO:<mary@example.org>\r\n\
         RCPT TO:<ada@example.org>\r\nDATA\r\n.\r\n"
    );
    let codes = "250 250/2.1.0 251/2.1.5 551/5.1.6 250/2.1.5 354 250/2.0.0 250/2.0.0";
    assert_eq!(run_with(&lmtp, input).codes(), codes);
}

#[test]
fn vrfy_and_expn_leave_the_transaction_alone() {
    let asked = "VRFY ada\r\nVRFY babbage\r\nEXPN engines\r\nEXPN x\r\nHELP STATUS\r\n";
    let input =
        format!("{EHLO}{MAIL}{asked}RCPT TO:<ada@example.org>\r\n{asked}DATA\r\nhi\r\n.\r\n");
    assert_eq!(run_with(&known(), input).messages.len(), 1);
}
