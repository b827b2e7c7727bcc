//! A run that comes to nothing names the cause: the command, and the code and words of the server.

use std::sync::Arc;

use ringpost::blast::RunOutcome;
use ringpost::blast::plan::Plan;
use ringpost::measure::ErrorKind;
use ringpost::run::Verdict;
use ringpost::smtp::auth::Login;

use crate::scripted::{Answer, go, good, plan, say, serve};

fn run(login: bool, manner: impl Fn(&str) -> Answer + Send + Sync + 'static) -> RunOutcome {
    let address = serve(move |_, line| manner(line));
    let login = login.then(|| Arc::new(Login::new("user".to_owned(), "secret".to_owned(), None)));
    go(&Plan { login, ..plan(&address, 1, 1) })
}

/// Which kinds of errors were counted, and no others.
fn check(outcome: &RunOutcome, kind: ErrorKind, says: &[&str]) {
    let text = outcome.failure.as_ref().unwrap().to_string();
    assert!(says.iter().all(|part| text.contains(part)), "{text}");
    assert!(!text.contains("check that a server"), "{text}");
    assert_eq!(outcome.run.verdict, Verdict::Unreachable);
    let kinds: Vec<_> = outcome.run.errors.keys().copied().collect();
    assert_eq!(kinds, [kind], "{text}");
    let silent =
        outcome.run.verdict_reasons.iter().any(|reason| reason.contains("without a reply"));
    assert!(!silent || !kind.has_reply(), "{:?}", outcome.run.verdict_reasons);
}

#[test]
fn a_refused_greeting_is_quoted_though_the_server_then_closes() {
    let long = "5.5.4 HELO/EHLO argument invalid, closing.\n501 5.5.4 see the manual";
    for (code, text, part) in [
        ("501-", long, "EHLO was answered 501 5.5.4 HELO/EHLO argument invalid, closing."),
        ("550 ", "5.7.1 who are you", "EHLO was answered 550 5.7.1 who are you"),
        ("421 ", "4.3.2 not now", "EHLO was answered 421 4.3.2 not now"),
    ] {
        let reply = format!("{code}{text}");
        let outcome = run(false, move |line| match line.starts_with("EHLO") {
            true => Answer::Close(reply.clone()),
            false => good(line),
        });
        check(&outcome, ErrorKind::TurnedAway, &[part, "--helo"]);
    }
    let outcome = run(false, |line| match line.get(1..4) {
        Some("HLO" | "ELO") => say("550 5.7.1 bad \x1b[31mname"),
        _ => good(line),
    });
    check(&outcome, ErrorKind::TurnedAway, &["HELO was answered 550 5.7.1 bad ?[31mname"]);
}

#[test]
fn a_refusal_in_place_of_the_banner_is_a_reply() {
    for reply in ["421 4.3.2 too busy", "554 5.7.1 not for you"] {
        for closes in [false, true] {
            let outcome = run(false, move |line| match (line, closes) {
                ("BANNER", true) => Answer::Close(reply.to_owned()),
                ("BANNER", false) => say(reply),
                _ => good(line),
            });
            let said = format!("the connection was answered {reply}");
            check(&outcome, ErrorKind::TurnedAway, &[&said]);
        }
    }
}

#[test]
fn what_goes_wrong_at_auth_is_told_as_what_it_is() {
    let answered = |text: &'static str, closes: bool| {
        run(true, move |line| match (line.starts_with("AUTH"), closes) {
            (true, true) => Answer::Close(text.to_owned()),
            (true, false) => say(text),
            _ => good(line),
        })
    };
    let refused = answered("454 4.7.0 not now", false);
    check(&refused, ErrorKind::Auth, &["refuses the login with PLAIN: 454 4.7.0 not now"]);
    let busy = answered("421 4.3.2 going down", true);
    check(&busy, ErrorKind::TurnedAway, &["AUTH was answered 421 4.3.2 going down"]);
    let closed = answered("", true);
    check(&closed, ErrorKind::Closed, &["AUTH was not answered", "closed the connection"]);
}
