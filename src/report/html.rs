//! The report as one page: no script, no network, light and dark, fit for print.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::{Scale, escape, spark};
use super::download;
use super::figure::Figure;
use super::plain::sentences;
use super::shards::outliers;
use super::shell::command_line;
use super::words::{
    CLOSED_LOOP_NOTE, fact_rows, metrics, outcome_title, percentile_rows, phase_title, plan, size,
    trouble_rows,
};
use super::{figure, misbehaviour, targets};
use crate::human::{self, counted};
use crate::measure::{Mode, Outcome};
use crate::run::Loaded;
use crate::run::series::Second;
use crate::run::{Latency, Run, Verdict};

const STYLE: &str = include_str!("page.css");

/// The most rows of the table by the second; for a longer run the page names run.csv instead.
const TABLE_ROWS_MAX: usize = 300;

/// The page as one string of HTML.
pub fn render(loaded: &Loaded) -> String {
    let run = &loaded.run;
    let mut out = String::with_capacity(64 * 1024);
    head(&mut out, run);
    let _ = write!(out, "<p class=\"lead\">{}</p>", prose(&sentences(run).join(" ")));
    tiles(&mut out, run);
    out += "<div class=\"pair\">";
    for figure in figure::all(loaded) {
        section(&mut out, &figure);
    }
    out += "</div>";
    percentiles(&mut out, run);
    phases(&mut out, run);
    troubles(&mut out, run);
    targets::page(&mut out, run);
    misbehaviour::page(&mut out, run);
    shards(&mut out, run);
    out += "<div class=\"pair\">";
    facts(&mut out, "Result", &fact_rows(run));
    facts(&mut out, "Machine and version", &machine_rows(run));
    out += "</div>";
    conditions(&mut out, run);
    asked(&mut out, run);
    download::of_run(&mut out, loaded);
    seconds(&mut out, &loaded.seconds);
    end(&mut out);
    out
}

/// A chart in its card.
pub(super) fn section(out: &mut String, figure: &Figure) {
    let _ = write!(
        out,
        "<section><h2>{}</h2><ul class=\"legend\">{}</ul>{}</section>",
        figure.title, figure.legend, figure.svg
    );
}

/// Everything before the content of a page.
pub(super) fn begin(out: &mut String, title: &str) {
    // The policy lets anyone check that the page loads nothing from anywhere.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; img-src data:\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{}</title><style>{STYLE}</style></head><body><main>",
        escape(title)
    );
}

pub(super) fn end(out: &mut String) {
    let _ = writeln!(
        out,
        "<footer>Written by ringpost {}. Percentiles come from \
         HDR histograms of every message, not from samples.</footer></main></body></html>",
        env!("CARGO_PKG_VERSION")
    );
}

/// The name that the user gave the run, else its target.
fn heading(run: &Run) -> &str {
    if run.plan.name.is_empty() { &run.plan.target } else { &run.plan.name }
}

fn head(out: &mut String, run: &Run) {
    let rate = human::known(run.rate_msg_s, human::rate);
    begin(out, &format!("{} · {rate} msg/s · ringpost", heading(run)));
    let _ = write!(
        out,
        "<header><div><h1>{}</h1><p class=\"soft\">{}{}<br>{}{}</p></div>\
         <div class=\"verdict {}\">{}</div></header>",
        escape(heading(run)),
        match run.plan.name.is_empty() {
            true => String::new(),
            false => format!("{}<br>", escape(&run.plan.target)),
        },
        escape(&plan(&run.plan, &run.machine.engine)),
        escape(&moment(&run.started)),
        if run.id.is_empty() { String::new() } else { format!(" · run {}", escape(&run.id)) },
        tone(run),
        verdict(run.verdict),
    );
    note(out, run);
    if !run.verdict_reasons.is_empty() {
        // What is to be said about a good run is no praise.
        let tone = if run.verdict == Verdict::Ok { "warn" } else { tone(run) };
        let _ = write!(out, "<ul class=\"reasons {tone}\">");
        for reason in &run.verdict_reasons {
            let _ = write!(out, "<li>{}</li>", prose(reason));
        }
        out.push_str("</ul>");
    }
}

/// Sentences in which options stay whole: a browser would break a line behind each of their hyphens.
pub(super) fn prose(text: &str) -> String {
    const OPTION_BYTES_MAX: usize = 40;
    let escaped = escape(text);
    let word = |word: &str| match word.contains("--") && word.len() <= OPTION_BYTES_MAX {
        true => format!("<span class=\"option\">{word}</span>"),
        false => word.to_owned(),
    };
    escaped.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A time to the second, as people read it: `2026-05-04 12:30:00 UTC`.
pub(super) fn moment(rfc_3339: &str) -> String {
    let second = rfc_3339.split(['.', 'Z']).next().unwrap_or_default();
    format!("{} UTC", second.replace('T', " "))
}

/// What the user wrote about the run.
pub(super) fn note(out: &mut String, run: &Run) {
    let plan = &run.plan;
    if !plan.note.is_empty() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&plan.note));
    }
}

/// The colour of the verdict; red also where nothing at all was accepted.
pub(super) fn tone(run: &Run) -> &'static str {
    match run.verdict {
        _ if run.counts.messages_ok == 0 && run.misbehaviour.is_empty() => "bad",
        Verdict::Ok => "good",
        Verdict::Failures | Verdict::TargetLimited => "warn",
        Verdict::ThresholdFailed
        | Verdict::Stopped
        | Verdict::Unreachable
        | Verdict::GeneratorLimited => "bad",
    }
}

/// A sign beside the word, for readers who cannot tell the colours apart.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "✓ OK",
        Verdict::Failures => "! Failures",
        Verdict::ThresholdFailed => "✗ Threshold failed",
        Verdict::Stopped => "✗ Stopped",
        Verdict::Unreachable => "✗ Unreachable",
        Verdict::TargetLimited => "! Target-limited",
        Verdict::GeneratorLimited => "✗ Generator-limited",
    }
}

/// How each of two runs was made, and where.
pub(super) fn commands(out: &mut String, runs: [&Run; 2]) {
    for (sign, run) in ["A", "B"].iter().zip(runs) {
        if run.plan.command.is_empty() {
            continue;
        }
        let machine = &run.machine;
        let _ = write!(
            out,
            "<section><h2>Command of {sign}</h2><p class=\"soft\">{} · {} · {}</p><pre><code>{}</code></pre></section>",
            escape(&moment(&run.started)),
            escape(&machine.cpu_model),
            escape(&machine.kernel),
            escape(&command_line(&run.plan.command))
        );
    }
}

fn tiles(out: &mut String, run: &Run) {
    let headline = run.headline();
    let (metric, _) = metrics(run)[0];
    let bytes_s = run.bytes_s().map(|bytes_s| human::bytes(bytes_s) + "/s");
    let tiles = [
        ("accepted".to_owned(), or_dash(run.rate_msg_s.map(human::rate)), "msg/s"),
        ("content".to_owned(), or_dash(bytes_s), ""),
        (format!("p50, {metric}"), cell(headline.p50), ""),
        (format!("p99, {metric}"), cell(headline.p99), ""),
        (format!("max, {metric}"), cell(headline.max), ""),
        ("not accepted".to_owned(), human::count(run.counts.messages_failed), "messages"),
    ];
    out.push_str("<dl class=\"tiles\">");
    for (name, value, unit) in tiles {
        let failed = name == "not accepted" && run.counts.messages_failed > 0;
        let class = if failed { "tile failed" } else { "tile" };
        let _ = write!(
            out,
            "<div class=\"{class}\"><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>"
        );
    }
    out.push_str("</dl>");
}

fn percentiles(out: &mut String, run: &Run) {
    let all_refused = run.headline().count == 0 && run.refused_ns.count > 0;
    let metrics = if all_refused { vec![("refused", run.refused_ns)] } else { metrics(run) };
    out.push_str("<section class=\"wide\"><h2>Percentiles</h2><table><thead><tr><th></th>");
    for (name, _) in percentile_rows(&run.service_ns) {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("<th scope=\"col\">mean</th><th scope=\"col\">messages</th></tr></thead><tbody>");
    for (name, latency) in &metrics {
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th>");
        let cells = percentile_rows(latency).map(|(_, ns)| ns);
        for ns in cells.into_iter().chain([latency.mean.map(|ns| ns.round() as u64)]) {
            let _ = write!(out, "<td>{}</td>", cell(ns));
        }
        let _ = write!(out, "<td>{}</td></tr>", human::count(latency.count));
    }
    out.push_str("</tbody></table>");
    let note = match run.mode() {
        _ if all_refused => "nothing was accepted: how long the refusals took",
        Mode::Closed => CLOSED_LOOP_NOTE,
        Mode::Open => {
            "response: intended start to the last reply; service: first octet sent to the last \
             reply; send lag: intended start to the first octet sent"
        }
    };
    let _ = write!(out, "<p class=\"soft\">{note}</p></section>");
}

fn phases(out: &mut String, run: &Run) {
    if run.phases.is_empty() {
        return;
    }
    let timed = || run.phases.values().map(|result| result.latency_ns).filter(|l| l.count > 0);
    let low = timed().filter_map(|latency| latency.p50.or(latency.min)).min().unwrap_or(1);
    let high = timed().filter_map(|latency| latency.max).max().unwrap_or(1);
    let scale = Scale::log_around(low as f64, high as f64);
    out.push_str(
        "<section class=\"wide\"><h2>Phases and replies</h2><table><thead><tr>\
         <th scope=\"col\">phase</th><th scope=\"col\" class=\"left\">p50 to p99, maximum</th>\
         <th scope=\"col\">count</th><th scope=\"col\">p50</th><th scope=\"col\">p90</th>\
         <th scope=\"col\">p99</th><th scope=\"col\">p99.9</th><th scope=\"col\">max</th>\
         <th scope=\"col\" class=\"left\">replies</th></tr></thead><tbody>",
    );
    for (phase, result) in &run.phases {
        let codes = codes(&result.replies);
        phase_row(out, ("", phase_title(*phase)), &result.latency_ns, scale, &codes);
        for (outcome, latency) in &result.outcomes {
            let class = if *outcome == Outcome::Accepted { "part" } else { "part failed" };
            phase_row(out, (class, outcome_title(*outcome)), latency, scale, "");
        }
    }
    out.push_str("</tbody></table></section>");
}

/// A row for a phase, or one of class `part` for what came of it, and `failed` where that was nothing good.
fn phase_row(
    out: &mut String,
    (class, title): (&str, &str),
    latency: &Latency,
    scale: Scale,
    codes: &str,
) {
    let picture = spark(scale, latency).unwrap_or_default();
    let _ = write!(
        out,
        "<tr class=\"{class}\"><th scope=\"row\">{title}</th><td class=\"left\">{picture}</td><td>{}</td>",
        human::count(latency.count)
    );
    for ns in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
        let _ = write!(out, "<td>{}</td>", cell(ns));
    }
    let _ = write!(out, "<td class=\"codes\">{codes}</td></tr>");
}

fn codes(replies: &BTreeMap<u16, u64>) -> String {
    let chip = |(code, count): (&u16, &u64)| {
        let tone = match code / 100 {
            2 => "good",
            4 => "warn",
            5 => "bad",
            _ => "quiet",
        };
        format!("<span class=\"code {tone}\">{code} × {}</span>", human::count(*count))
    };
    replies.iter().map(chip).collect()
}

fn troubles(out: &mut String, run: &Run) {
    let rows = trouble_rows(run);
    if !rows.is_empty() {
        facts(out, "What went wrong", &rows);
    }
}

/// The runs that a sum was made from.
fn shards(out: &mut String, run: &Run) {
    if run.shards.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><h2>Shards</h2><table><thead><tr><th scope=\"col\">run</th>\
         <th scope=\"col\">msg/s</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th>\
         <th scope=\"col\">max</th><th scope=\"col\">failed</th><th scope=\"col\">CPU</th>\
         <th scope=\"col\" class=\"left\">verdict</th>\
         <th scope=\"col\" class=\"left\">unlike the others in</th></tr></thead><tbody>",
    );
    for (shard, odd) in run.shards.iter().zip(outliers(&run.shards)) {
        let (result, latency) = (&shard.run, shard.run.headline());
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td>",
            escape(&shard.name),
            or_dash(result.rate_msg_s.map(human::rate))
        );
        for ns in [latency.p50, latency.p99, latency.max] {
            let _ = write!(out, "<td>{}</td>", cell(ns));
        }
        let _ = write!(
            out,
            "<td>{}</td><td>{}</td><td class=\"codes\"><span class=\"code {}\">{}</span></td>\
             <td class=\"left\">{}</td></tr>",
            human::count(result.counts.messages_failed),
            or_dash(result.cpu_busy.map(human::percent)),
            tone(result),
            verdict(result.verdict),
            odd.join(", ")
        );
    }
    out.push_str("</tbody></table></section>");
}

fn cell(ns: Option<u64>) -> String {
    or_dash(ns.map(human::latency))
}

/// A dash where there is no figure.
fn or_dash(figure: Option<String>) -> String {
    figure.unwrap_or_else(|| "–".to_owned())
}

pub(super) fn facts(out: &mut String, title: &str, rows: &[(&'static str, String)]) {
    let _ = write!(out, "<section><h2>{title}</h2><dl class=\"facts\">");
    for (name, value) in rows {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    }
    out.push_str("</dl></section>");
}

pub(super) fn machine_rows(run: &Run) -> Vec<(&'static str, String)> {
    let machine = &run.machine;
    vec![
        ("CPU", machine.cpu_model.clone()),
        ("CPUs", format!("{} allowed, {} used", machine.cpus, run.plan.cores)),
        ("kernel", machine.kernel.clone()),
        ("engine", machine.engine.clone()),
        ("ringpost", run.versions.ringpost.clone()),
    ]
}

/// The conditions with what was measured, whether they held or not.
fn conditions(out: &mut String, run: &Run) {
    if run.thresholds.is_empty() {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><h2>Conditions</h2><table><thead><tr><th scope=\"col\">fail if</th>\
         <th scope=\"col\" class=\"left\">measured</th><th scope=\"col\" class=\"left\">outcome</th>\
         </tr></thead><tbody>",
    );
    for judged in &run.thresholds {
        let told = judged.to_string();
        let measured = told.strip_prefix(&judged.condition).unwrap_or(&told);
        let (tone, outcome) = match judged.fails() {
            true => ("bad", "✗ failed"),
            false => ("good", "✓ passed"),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"left text\">{}</td><td class=\"codes\">\
             <span class=\"code {tone}\">{outcome}</span></td></tr>",
            escape(&judged.condition),
            escape(measured.trim_start_matches([':', ' ']))
        );
    }
    out.push_str("</tbody></table></section>");
}

/// The plan, complete enough to repeat the run.
fn asked(out: &mut String, run: &Run) {
    let plan = &run.plan;
    let or = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    let ends = match (plan.messages, plan.duration_s) {
        (Some(messages), None) => format!("after {}", counted(messages, "message")),
        (None, Some(seconds)) => format!("after {}", human::seconds(seconds)),
        (Some(messages), Some(seconds)) => {
            format!("after {} or {}", counted(messages, "message"), human::seconds(seconds))
        }
        (None, None) => "when stopped".to_owned(),
    };
    let rows = [
        (
            "envelope",
            format!("{} to {}, {}", plan.from, plan.to, counted(plan.recipients, "recipient")),
        ),
        ("message size", size(plan)),
        ("ends", ends),
        ("per connection", or(plan.per_connection.map(human::count), "no limit")),
        ("greeting", plan.helo.clone()),
        ("TLS, AUTH", format!("{}, {}", plan.tls, or(plan.auth.clone(), "none"))),
        ("seed", plan.seed.to_string()),
    ];
    out.push_str("<section><h2>Plan</h2><dl class=\"facts\">");
    for (name, value) in rows {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl>");
    if !plan.command.is_empty() {
        let _ = write!(out, "<pre><code>{}</code></pre>", escape(&command_line(&plan.command)));
    }
    out.push_str("</section>");
}

/// The figures of the curves as a table, for readers who cannot see them.
fn seconds(out: &mut String, rows: &[Second]) {
    if rows.is_empty() || rows.len() > TABLE_ROWS_MAX {
        return;
    }
    out.push_str(
        "<section class=\"wide\"><details><summary>Figures by the second</summary><table><thead><tr>\
         <th scope=\"col\">from</th><th scope=\"col\">accepted</th><th scope=\"col\">failed</th>\
         <th scope=\"col\">errors</th><th scope=\"col\">connections</th>\
         <th scope=\"col\">in flight</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th>\
         <th scope=\"col\">max</th></tr></thead><tbody>",
    );
    for row in rows {
        let part = match (row.warmup, row.after) {
            (true, _) => " (warm-up)",
            (_, true) => " (after)",
            _ => "",
        };
        let _ = write!(out, "<tr><th scope=\"row\">{:.1} s{part}</th>", row.start_s);
        let counts =
            [row.messages_ok, row.messages_failed, row.errors, row.connections, row.in_flight_peak];
        for value in counts {
            let _ = write!(out, "<td>{}</td>", human::count(value));
        }
        for ns in [row.p50_ns, row.p99_ns, row.max_ns] {
            let _ = write!(out, "<td>{}</td>", cell(ns));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></details></section>");
}
