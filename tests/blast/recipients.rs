//! What became of the recipients: asked, accepted and refused, whoever refuses them and where.

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::Plan;
use ringpost::measure::Phase;
use ringpost::report::colour::Colour;
use ringpost::report::columns::Width;
use ringpost::report::text;
use ringpost::run::{Conditions, Loaded, ReportOrigin, Run, Verdict};
use ringpost::smtp::client::Pipelining;

use crate::scripted::{Answer, go, good, plan, say, serve};

const MESSAGES: u64 = 4;

/// A run of messages to three recipients each, with and without pipelining; both must tell the same.
fn run(scheme: &str, manner: fn(&str) -> Answer) -> Run {
    let url = format!("{scheme}://{}", serve(move |_, line| manner(line)));
    let mut runs = [Pipelining::None, Pipelining::Commands].map(|pipelining| {
        let plan = plan(&url, 1, MESSAGES);
        let content = Content { recipients: Spread::one(3), ..plan.content.clone() };
        go(&Plan { content, pipelining, ..plan }).run
    });
    let told = |run: &Run| {
        let counts = &run.counts;
        (counts.messages_ok, counts.messages_partly_ok, counts.recipients, recipients(run))
    };
    assert_eq!(told(&runs[0]), told(&runs[1]));
    runs[1].fail_if(&"recipients.refused>0".parse::<Conditions>().unwrap());
    let [_, run] = runs;
    run
}

/// Asked, accepted, refused with 4xx, and with 5xx.
fn recipients(run: &Run) -> [u64; 4] {
    let counts = &run.counts;
    [
        counts.recipients_asked,
        counts.recipients,
        counts.recipients_refused_4xx,
        counts.recipients_refused_5xx,
    ]
}

#[test]
fn refused_recipients_are_not_accepted_with_their_message() {
    let one_refused = |line: &str| match line {
        line if line.starts_with("RCPT TO:<b1@") => say("550 5.1.1 nobody here"),
        line if line.starts_with("RCPT TO:<b2@") => say("450 4.2.1 not now"),
        line => good(line),
    };
    let run = run("smtp", one_refused);
    assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (MESSAGES, 0));
    assert_eq!(run.counts.messages_partly_ok, MESSAGES);
    assert_eq!(recipients(&run), [12, 4, 4, 4]);
    assert_eq!(run.verdict, Verdict::ThresholdFailed);
    let partly = "4 of 4 accepted messages were refused for some recipients";
    assert!(run.verdict_reasons.iter().any(|reason| reason == partly), "{:?}", run.verdict_reasons);
}

#[test]
fn recipients_of_a_refused_message_are_refused_with_it() {
    let at_the_end = |line: &str| match line {
        "." => say("552 5.3.4 too big"),
        line => good(line),
    };
    let at_mail = |line: &str| match line {
        line if line.starts_with("MAIL") => say("451 4.7.1 later"),
        line if line.starts_with("RCPT") || line == "DATA" => say("503 5.5.1 MAIL first"),
        line => good(line),
    };
    let at_all_of_them = |line: &str| match line {
        line if line.starts_with("RCPT") => say("550 5.1.1 nobody here"),
        "DATA" => say("554 5.5.1 no recipients"),
        line => good(line),
    };
    for (manner, by_class) in
        [(at_the_end as fn(&str) -> Answer, [12, 0, 0, 12]), (at_all_of_them, [12, 0, 0, 12])]
    {
        let run = run("smtp", manner);
        assert_eq!((run.counts.messages_ok, run.counts.messages_partly_ok), (0, 0));
        assert_eq!(recipients(&run), by_class);
    }
    let address = serve(move |_, line| at_mail(line));
    assert_eq!(recipients(&go(&plan(&address, 1, 2)).run), [2, 0, 2, 0]);
}

#[test]
fn each_final_reply_of_lmtp_is_about_one_recipient() {
    // Of three recipients one is refused at RCPT, and one after the message.
    let over_quota = |line: &str| match line {
        line if line.starts_with("RCPT TO:<b1@") => say("550 5.1.1 nobody here"),
        "." => say("250 2.0.0 kept\n452 4.2.2 over quota"),
        line => good(line),
    };
    let run = run("lmtp", over_quota);
    assert_eq!((run.counts.messages_ok, run.counts.messages_partly_ok), (MESSAGES, MESSAGES));
    assert_eq!(recipients(&run), [12, 4, 4, 4]);
}

#[test]
fn a_recipient_that_was_accepted_stays_so_if_the_server_then_closes() {
    let closing = |line: &str| match line {
        "." => Answer::Close("250 2.0.0 kept\n421 4.3.2 going down".to_owned()),
        line => good(line),
    };
    let run = run("lmtp", closing);
    assert_eq!((run.counts.messages_ok, run.counts.messages_partly_ok), (MESSAGES, MESSAGES));
    assert_eq!(recipients(&run), [12, 4, 8, 0]);
}

#[test]
fn refusals_are_told_in_the_words_of_the_server() {
    let two_texts = |line: &str| match line {
        line if line.starts_with("RCPT TO:<b1@") => say("550 5.1.1 no such user \x1b[2J"),
        line if line.starts_with("RCPT TO:<b2@") => {
            say("550-5.7.1 not from here;\n550 id 4F1A2B3C")
        }
        line => good(line),
    };
    let run = run("smtp", two_texts);
    let refusals = &run.phases[&Phase::Rcpt].refusals;
    let told: Vec<_> = refusals.iter().map(|(line, count)| (line.as_str(), *count)).collect();
    let expected = ["550 5.1.1 no such user ?[2J", "550 5.7.1 not from here; id #"];
    assert_eq!(told, expected.map(|line| (line, MESSAGES)));
    let quiet = run.phases.iter().filter(|(phase, _)| **phase != Phase::Rcpt);
    assert!(quiet.clone().count() > 3 && quiet.clone().all(|(_, it)| it.refusals.is_empty()));
    let loaded = Loaded {
        run,
        headline: None,
        service: None,
        send_lag: None,
        seconds: Vec::new(),
        phases: Vec::new(),
        origin: ReportOrigin::Run,
    };
    let text = text::render(&loaded, Colour::Plain, Width::FULL);
    for line in expected {
        let row = format!("  server said    to RCPT, {MESSAGES} times: {line}\n");
        assert!(text.contains(&row), "{text}");
    }
    assert!(!text.contains("other words"), "{text}");
}
