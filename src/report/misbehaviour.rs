//! How a server answered clients that break the rules, for the text and the page.

use std::fmt::Write as _;

use super::chart::escape;
use super::colour::Colour;
use super::columns::{Column, Layout, Width};
use crate::human;
use crate::measure::Misbehaviour;
use crate::run::Run;

/// The answers with their counts, `between` two of them: `550: 12  closed: 3`.
fn answers(met: &Misbehaviour, between: &str) -> String {
    let codes = met.replies.iter().map(|(code, &count)| (code.to_string(), count));
    let others = [
        ("closed", met.closed),
        ("reset", met.reset),
        ("not a reply", met.garbled),
        ("no answer", met.silent),
        ("left without waiting", met.left),
        ("not reached", met.prevented),
        ("unfinished", met.unfinished),
    ];
    let others = others.into_iter().map(|(name, count)| (name.to_owned(), count));
    let each = |(name, count): (String, u64)| format!("{name}: {}", human::count(count));
    codes.chain(others.filter(|&(_, count)| count > 0)).map(each).collect::<Vec<_>>().join(between)
}

/// Whether the answers are allowed by the RFCs, in a word or two.
fn verdict(met: &Misbehaviour) -> String {
    let smuggled = met.name == "smuggle";
    match met {
        Misbehaviour { wrong: 1.., .. } if smuggled => {
            format!("accepted! {}", human::count(met.wrong))
        }
        Misbehaviour { wrong: 1.., .. } => format!("wrong: {}", human::count(met.wrong)),
        Misbehaviour { sessions: 1.., .. } => "follows the RFCs".to_owned(),
        Misbehaviour { not_offered: 1.., .. } => "not offered".to_owned(),
        Misbehaviour { prevented: 1.., .. } => "not reached".to_owned(),
        _ => "no answer yet".to_owned(),
    }
}

const COLUMNS: [Column; 5] = [
    Column::left("misbehaviour", 20, 0),
    Column::right("clients", 7, 2),
    Column::right("sessions", 10, 1),
    Column::left("verdict", 22, 0),
    Column::text("answers"),
];

pub(super) fn text(out: &mut String, run: &Run, colour: Colour, width: Width) {
    if run.misbehaviour.is_empty() {
        return;
    }
    let row = |met: &Misbehaviour| {
        let verdict = verdict(met);
        vec![
            met.name.clone(),
            human::count(met.connections),
            human::count(met.sessions),
            if met.wrong > 0 { colour.bad(&verdict) } else { verdict },
            answers(met, "  "),
        ]
    };
    let rows: Vec<_> = run.misbehaviour.iter().map(row).collect();
    let layout = Layout::of_rows(&COLUMNS, &rows, 2, width);
    let _ = writeln!(out, "{}", colour.dim(&layout.head()));
    for (met, row) in run.misbehaviour.iter().zip(&rows) {
        let _ = writeln!(out, "{}", layout.row(row));
        if met.wrong > 0 {
            let _ = writeln!(out, "{}", width.wrap(10, &format!("    rule: {}", met.rule)));
        }
        if !met.examples.is_empty() {
            let sent = format!("    sent: {}", met.examples.join("  "));
            let _ = writeln!(out, "{}", width.wrap(10, &sent));
        }
    }
    out.push('\n');
}

pub(super) fn page(out: &mut String, run: &Run) {
    if run.misbehaviour.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><h2>Misbehaviour</h2><table><thead><tr><th scope=\"col\">client</th>\
         <th scope=\"col\">clients</th><th scope=\"col\">sessions</th>\
         <th scope=\"col\" class=\"left\">verdict</th><th scope=\"col\" class=\"left\">answers</th>\
         <th scope=\"col\" class=\"left\">allowed answers</th></tr></thead><tbody>",
    );
    for met in &run.misbehaviour {
        let tone = match met {
            Misbehaviour { wrong: 1.., .. } => "bad",
            Misbehaviour { sessions: 1.., .. } => "good",
            _ => "quiet",
        };
        let mut rule = met.rule.clone();
        if !met.examples.is_empty() {
            let _ = write!(rule, "; sent: {}", met.examples.join("  "));
        }
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"codes\">\
             <span class=\"code {tone}\">{}</span></td><td class=\"left\">{}</td><td class=\"left text\">{}</td></tr>",
            escape(&met.name),
            human::count(met.connections),
            human::count(met.sessions),
            verdict(met),
            // A page would show two spaces as one.
            answers(met, ", "),
            escape(&rule)
        );
    }
    out.push_str("</tbody></table></section>");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_wrong_answer_is_shown_with_its_rule_and_what_was_sent() {
        let met = Misbehaviour {
            name: "smuggle".to_owned(),
            connections: 1,
            sessions: 3,
            replies: BTreeMap::from([(250, 2)]),
            closed: 1,
            wrong: 2,
            rule: "one reply".to_owned(),
            examples: vec!["hi<\\n.\\n".to_owned()],
            ..Misbehaviour::default()
        };
        let good = Misbehaviour { name: "idle".to_owned(), sessions: 1, ..Misbehaviour::default() };
        let run = Run { misbehaviour: vec![met, good], ..Run::default() };
        let mut told = String::new();
        text(&mut told, &run, Colour::Plain, Width::FULL);
        for part in [
            "accepted! 2",
            "250: 2  closed: 1",
            "rule: one reply",
            "sent: hi<\\n.\\n",
            "follows the RFCs",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let mut told = String::new();
        page(&mut told, &run);
        assert!(told.contains("hi&lt;\\n") && told.contains("code bad\">accepted! 2"), "{told}");
        assert!(told.contains("<td class=\"left\">250: 2, closed: 1</td>"), "{told}");
        let mut none = String::new();
        page(&mut none, &Run::default());
        text(&mut none, &Run::default(), Colour::Plain, Width::FULL);
        assert_eq!(none, "");
    }
}
