//! A comparison as one self-contained page.

use std::fmt::Write as _;

use super::text::{change_text, noise_sign, value_text};
use super::{Comparison, NOISE_NOTES, Trend, UNKNOWN, identity};
use crate::report::chart::escape;
use crate::report::{figure, html};
use crate::run::Loaded;

/// The page as one string of HTML; `names` say which run is which.
pub fn render(comparison: &Comparison, names: [&str; 2], runs: [&Loaded; 2]) -> String {
    let mut out = String::with_capacity(32 * 1024);
    html::begin(&mut out, &format!("{} and {} · ringpost", names[0], names[1]));
    out.push_str("<header><div><h1>Two runs compared</h1><p class=\"soft\">");
    for (sign, (name, loaded)) in ["A", "B"].iter().zip(names.iter().zip(runs)) {
        let run = &loaded.run;
        let title = match run.plan.name.is_empty() {
            true => (*name).to_owned(),
            false => format!("{} ({name})", run.plan.name),
        };
        let made = match loaded.is_log() {
            true => identity(loaded).replace("  ", " · "),
            false => {
                format!(
                    "{} · {} · {}",
                    run.plan.target,
                    html::moment(&run.started),
                    run.verdict.name()
                )
            }
        };
        let _ = write!(out, "<b>{sign}</b> {} · {}<br>", escape(&title), escape(&made));
    }
    out.push_str("</p></div></header>");
    if !comparison.notes.is_empty() {
        out.push_str("<ul class=\"reasons warn\">");
        for note in &comparison.notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>");
    }
    out.push_str("<div class=\"spaced\"></div>");
    if let Some(figure) = figure::overlaid(runs) {
        html::section(&mut out, &figure);
    }
    table(&mut out, comparison);
    conditions(&mut out, comparison);
    if comparison.logs == [false; 2] {
        differences(&mut out, comparison);
    }
    html::commands(&mut out, runs.map(|loaded| &loaded.run));
    html::end(&mut out);
    out
}

fn table(out: &mut String, comparison: &Comparison) {
    out.push_str(
        "<section class=\"wide\"><h2>What changed</h2><table><thead><tr><th></th>\
         <th scope=\"col\">A</th><th scope=\"col\">B</th><th scope=\"col\">change</th>\
         <th scope=\"col\" class=\"left\">noise</th></tr></thead><tbody>",
    );
    let none = comparison.logs.map(|log| if log { UNKNOWN } else { "–" });
    for row in &comparison.rows {
        let cell = |value: Option<f64>, none: &str| {
            value.map_or_else(|| none.to_owned(), |v| value_text(row.kind, v))
        };
        let (tone, word) = match row.trend() {
            Trend::Better => ("good", "better "),
            Trend::Worse => ("bad", "worse "),
            Trend::Level => ("quiet", ""),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td>\
             <td><span class=\"code {tone}\">{word}{}</span></td><td class=\"left\">{}</td></tr>",
            escape(&row.name),
            cell(row.before, none[0]),
            cell(row.after, none[1]),
            change_text(row),
            noise_sign(row.noise)
        );
    }
    let _ =
        write!(out, "</tbody></table><p class=\"soft\">{}</p></section>", NOISE_NOTES.join("<br>"));
}

fn conditions(out: &mut String, comparison: &Comparison) {
    if comparison.thresholds.is_empty() {
        return;
    }
    out.push_str("<section><h2>Conditions</h2><dl class=\"facts\">");
    for judged in &comparison.thresholds {
        let outcome = if judged.fails() { "failed" } else { "passed" };
        let (said, sure) = (judged.to_string(), comparison.surety(judged));
        let _ = write!(out, "<dt>{outcome}</dt><dd>{}{sure}</dd>", escape(&said));
    }
    out.push_str("</dl></section>");
}

fn differences(out: &mut String, comparison: &Comparison) {
    out.push_str("<section class=\"wide\"><h2>What else differs</h2>");
    if comparison.differences.is_empty() {
        out.push_str("<p>Same plan, machine and version.</p></section>");
        return;
    }
    out.push_str(
        "<table><thead><tr><th></th><th scope=\"col\" class=\"left\">A</th>\
         <th scope=\"col\" class=\"left\">B</th></tr></thead><tbody>",
    );
    for difference in &comparison.differences {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td><td class=\"left\">{}</td></tr>",
            escape(&difference.field),
            escape(&difference.before),
            escape(&difference.after)
        );
    }
    out.push_str("</tbody></table></section>");
}
