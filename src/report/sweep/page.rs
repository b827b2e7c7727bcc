//! A sweep or a search as one page.

use std::fmt::Write as _;

use super::HEAD;
use crate::human;
use crate::report::chart::{Chart, Scale, escape, legend};
use crate::report::download;
use crate::report::figure::{self, Figure, short};
use crate::report::html;
use crate::report::shell::command_line;
use crate::report::words::size;
use crate::run::curve::{Curve, RateStep, step_dir};
use crate::run::{Latency, Run};

/// A statistic of a step, with its name and the class of its line.
type StepFigure = (&'static str, &'static str, fn(&Latency) -> Option<u64>);

impl Curve {
    /// One page with the curve and the table; it loads nothing.
    pub fn page(&self) -> String {
        let mut out = String::with_capacity(64 * 1024);
        let first = self.steps.first().map(|step| &step.run);
        let name = first.map_or("", |run| &run.plan.name);
        let heading = if name.is_empty() { self.target() } else { name };
        html::begin(&mut out, &format!("{} of {heading} · ringpost", self.task));
        let date = first.map_or_else(String::new, |run| html::moment(&run.started));
        let _ = write!(
            out,
            "<header><div><h1>{}</h1><p class=\"soft\">{} of {}: latency under load<br>{date}</p></div>{}\
             </header>",
            escape(heading),
            self.task,
            escape(self.target()),
            self.badge(),
        );
        if let Some(run) = first {
            html::note(&mut out, run);
        }
        let _ = write!(
            out,
            "<p class=\"lead\">{}</p><div class=\"spaced\"></div>",
            html::prose(&self.said.join(" "))
        );
        for figure in latency(&[("", self)]).into_iter().chain(self.accepted()) {
            html::section(&mut out, &figure);
        }
        self.table(&mut out);
        if let Some(run) = first {
            facts(&mut out, self, run);
        }
        self.data(&mut out);
        html::end(&mut out);
        out
    }

    /// What was found, as the verdict of a run is shown.
    fn badge(&self) -> String {
        match self.mark {
            Some((rate, name)) => {
                format!("<div class=\"verdict good\">{name}: {} msg/s</div>", human::rate(rate))
            }
            None => "<div class=\"verdict bad\">✗ nothing found</div>".to_owned(),
        }
    }

    fn table(&self, out: &mut String) {
        *out +=
            "<section class=\"wide\"><h2>Steps</h2><table><thead><tr><th scope=\"col\">step</th>";
        for name in HEAD {
            let _ = write!(out, "<th scope=\"col\">{name}</th>");
        }
        *out += "</tr></thead><tbody>";
        for (index, step) in self.steps.iter().enumerate() {
            let dir = step_dir(index + 1, step.asked);
            let _ =
                write!(out, "<tr><th scope=\"row\"><a href=\"{dir}/report.html\">{dir}</a></th>");
            for cell in step.cells() {
                let cell = if cell == human::NONE { "–" } else { &cell };
                let _ = write!(out, "<td>{}</td>", escape(cell));
            }
            *out += "</tr>";
        }
        *out += "</tbody></table><p class=\"soft\">due/s: messages that were due each second; errors: of what was \
                 due; own lag: how late the generator itself began a message; CPU: the load of its cores</p>\
                 </section>";
    }

    /// What was accepted of what was due; `None` with fewer than two rates.
    fn accepted(&self) -> Option<Figure> {
        let steps = rising(self);
        let last = steps.last()?.asked;
        if steps[0].asked >= last {
            return None;
        }
        let scale = || Scale::from_zero(last * 1.02);
        let mut chart =
            Chart::full("Messages accepted by messages due, a second", scale(), scale());
        chart.y_axis(short);
        chart.x_axis("messages due a second", short);
        chart.curve("s3", [(0.0, 0.0), (last, last)].into_iter());
        let accepted = steps.iter().filter_map(|step| Some((step.asked, step.run.rate_msg_s?)));
        chart.curve("s1", accepted);
        let keys = legend("s1", "accepted a second") + &legend("s3", "due");
        Some(Figure { title: "Accepted of what was due", legend: keys, svg: chart.finish() })
    }

    fn data(&self, out: &mut String) {
        let (Ok(json), Ok(csv)) = (self.json(), self.csv()) else { return };
        *out += "<section><h2>Data</h2><p class=\"downloads\">";
        download::link(out, &format!("{}.json", self.task), "application/json", json.as_bytes());
        download::link(out, &format!("{}.csv", self.task), "text/csv", csv.as_bytes());
        *out += "</p></section>";
    }
}

fn facts(out: &mut String, curve: &Curve, run: &Run) {
    let plan = &run.plan;
    let mut rows = Vec::new();
    rows.extend(curve.slo.iter().map(|slo| ("service level", slo.clone())));
    rows.extend([
        ("connections", human::count(plan.connections)),
        ("message size", size(plan)),
        ("pipelining", plan.pipelining.clone()),
        ("settle", human::seconds(plan.warmup_s)),
        ("measured", plan.duration_s.map_or_else(|| "–".to_owned(), human::seconds)),
    ]);
    *out += "<div class=\"pair\">";
    html::facts(out, "Plan of each step", &rows);
    html::facts(out, "Machine and version", &html::machine_rows(run));
    *out += "</div>";
    if !plan.command.is_empty() {
        let _ = write!(
            out,
            "<section><h2>Command</h2><pre><code>{}</code></pre></section>",
            escape(&command_line(&plan.command))
        );
    }
}

/// The steps by rate; of several runs of one rate, the last.
pub(in crate::report) fn rising(curve: &Curve) -> Vec<&RateStep> {
    let mut steps: Vec<&RateStep> = Vec::new();
    for step in &curve.steps {
        match steps.iter_mut().find(|other| other.asked == step.asked) {
            Some(other) => *other = step,
            None => steps.push(step),
        }
    }
    steps.sort_by(|a, b| a.asked.total_cmp(&b.asked));
    steps
}

/// A name, its class of colour, and its points: rate and nanoseconds.
type Line = (String, &'static str, Vec<(f64, f64)>);

/// Percentiles of the response time over the rate, both on log scales: three of one curve, p99 of several,
/// each under its name. `None` with fewer than two rates, which do not make a curve.
pub(in crate::report) fn latency(curves: &[(&str, &Curve)]) -> Option<Figure> {
    const OF_ONE: [StepFigure; 3] =
        [("p50", "s1", |l| l.p50), ("p99", "s2", |l| l.p99), ("p99.9", "s3", |l| l.p999)];
    const CLASSES: [&str; 3] = ["s1", "s2", "s3"];
    let mut lines: Vec<Line> = Vec::new();
    let points = |curve: &Curve, value: fn(&Latency) -> Option<u64>| -> Vec<(f64, f64)> {
        let steps = rising(curve).into_iter();
        steps
            .filter_map(|step| Some((step.asked, value(&step.response())?.max(1) as f64)))
            .collect()
    };
    match curves {
        [(_, curve)] => lines.extend(
            OF_ONE.map(|(name, class, value)| (name.to_owned(), class, points(curve, value))),
        ),
        _ => lines.extend(curves.iter().zip(CLASSES).map(|((name, curve), class)| {
            (format!("{name}, p99"), class, points(curve, |l| l.p99))
        })),
    }
    // What no step carries has no line, and no name.
    lines.retain(|(_, _, points)| !points.is_empty());
    let all = || lines.iter().flat_map(|(_, _, points)| points);
    let mut rates: Vec<f64> = all().map(|(rate, _)| *rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let (first, last) = (*rates.first()?, *rates.last()?);
    if first >= last {
        return None;
    }
    let low = all().map(|(_, ns)| *ns).fold(f64::MAX, f64::min);
    let high = all().map(|(_, ns)| *ns).fold(low + 1.0, f64::max);
    let x = Scale::Log { from: first, to: last };
    let mut chart = Chart::full("Response time by rate", x, Scale::log_around(low, high));
    chart.y_axis(figure::latency);
    let ticks: Vec<_> = rates.iter().map(|rate| (*rate, human::rate(*rate))).collect();
    chart.x_axis_at("messages due a second, log scale", &ticks);
    for (_, class, points) in lines.iter().rev() {
        chart.curve(class, points.iter().copied());
    }
    let marks: Vec<_> = curves
        .iter()
        .filter_map(|(name, curve)| {
            curve.mark.map(|(rate, mark)| (rate, format!("{name} {mark}").trim().to_owned()))
        })
        .collect();
    let mut marks: Vec<_> = marks.iter().map(|(rate, name)| (*rate, name.as_str())).collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    chart.marks(&marks);
    let keys = lines.iter().map(|(name, class, _)| legend(class, name)).collect();
    Some(Figure { title: "Latency under load", legend: keys, svg: chart.finish() })
}
