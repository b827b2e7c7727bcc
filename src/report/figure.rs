//! The charts of the page: what happened over time, and how latencies are spread.

mod phases;

use hdrhistogram::Histogram;

use super::bins::bins;
use super::chart::{Chart, Scale, legend};
use super::words::metrics;
use crate::human;
use crate::run::series::Second;
use crate::run::{Latency, Loaded};

/// A chart with its heading and the key to its lines, as HTML.
pub struct Figure {
    pub title: &'static str,
    pub legend: String,
    pub svg: String,
}

/// Shorter seconds show no rate: over a few milliseconds at the end of a run, a rate is noise.
pub(super) const SECOND_MIN: f64 = 0.2;

/// With more seconds, none can be pointed at: each would be thinner than a pixel.
const HOVER_MAX: usize = 400;

const BARS_MAX: usize = 40;

/// Points of the percentile curve for each nine.
const POINTS_PER_NINE: u32 = 40;

/// The charts that the run has data for, in order.
pub fn all(loaded: &Loaded) -> Vec<Figure> {
    let (metric, _) = metrics(&loaded.run)[0];
    let mut figures = Vec::new();
    let seconds: Vec<&Second> =
        loaded.seconds.iter().filter(|second| second.seconds >= SECOND_MIN).collect();
    if seconds.iter().any(|second| second.messages_ok + second.messages_failed > 0) {
        figures.push(throughput(&seconds));
        figures.extend(latency_over_time(&seconds));
    }
    if seconds.iter().any(|second| second.in_flight_peak > 0) {
        figures.push(in_flight(&seconds));
    }
    figures.extend(phases::over_time(&loaded.phases, &seconds));
    if seconds.iter().any(|second| second.errors > 0) {
        figures.push(errors(&seconds));
    }
    if let Some(headline) = loaded.headline.as_ref().filter(|h| !h.is_empty()) {
        figures.push(percentile_curve(metric, headline, loaded));
        figures.push(histogram(headline));
    }
    figures
}

fn end(seconds: &[&Second]) -> f64 {
    seconds.last().map_or(1.0, |last| last.start_s + last.seconds)
}

/// A rate holds for its whole second, so its curve has steps.
fn steps<'a>(
    seconds: &'a [&Second],
    value: impl Fn(&Second) -> u64 + Copy + 'a,
) -> impl Iterator<Item = (f64, f64)> + Clone {
    seconds.iter().flat_map(move |second| {
        let rate = value(second) as f64 / second.seconds;
        [(second.start_s, rate), (second.start_s + second.seconds, rate)]
    })
}

/// Marks the warm-up and what came after the measured time.
fn unmeasured(chart: &mut Chart, seconds: &[&Second]) {
    let warm = seconds.iter().take_while(|second| second.warmup).last();
    if let Some(last) = warm {
        chart.band("warmup", 0.0, last.start_s + last.seconds, "warm-up, in no total");
    }
    if let Some(first) = seconds.iter().find(|second| second.after) {
        let what = "after the measured time: the last answers to messages that were due in it";
        chart.band("warmup", first.start_s, end(seconds), what);
    }
}

fn time_axis(chart: &mut Chart, seconds: &[&Second]) {
    if end(seconds) > 300.0 {
        chart.x_axis("seconds since the start", |s| human::count(s as u64));
    } else {
        chart.x_axis("seconds since the start", |s| format!("{}", (s * 100.0).round() / 100.0));
    }
}

fn throughput(seconds: &[&Second]) -> Figure {
    let rate = |second: &Second, count: u64| count as f64 / second.seconds;
    let most = seconds
        .iter()
        .map(|s| rate(s, s.messages_ok).max(rate(s, s.messages_failed)))
        .fold(0.0, f64::max);
    let x = Scale::Linear { from: 0.0, to: end(seconds) };
    let mut chart = Chart::new(
        "Messages accepted and failed per second, over time",
        x,
        Scale::from_zero(most * 1.05),
    );
    unmeasured(&mut chart, seconds);
    chart.y_axis(short);
    time_axis(&mut chart, seconds);
    chart.area(steps(seconds, |s| s.messages_ok));
    chart.curve("s1", steps(seconds, |s| s.messages_ok));
    let mut keys = legend("s1", "accepted per second");
    if seconds.iter().any(|second| second.messages_failed > 0) {
        chart.curve("sbad", steps(seconds, |s| s.messages_failed));
        keys += &legend("sbad", "failed per second");
    }
    hover(&mut chart, seconds, |s| {
        format!(
            "{:.1} s: {} msg/s accepted, {} failed",
            s.start_s,
            human::rate(rate(s, s.messages_ok)),
            human::count(s.messages_failed)
        )
    });
    Figure { title: "Throughput", legend: keys, svg: chart.finish() }
}

fn hover(chart: &mut Chart, seconds: &[&Second], says: impl Fn(&Second) -> String) {
    if seconds.len() <= HOVER_MAX {
        for second in seconds {
            let to = second.start_s + second.seconds;
            chart.band("hover", second.start_s, to, &says(second));
        }
    }
}

/// `None` where no second has a latency.
fn latency_over_time(seconds: &[&Second]) -> Option<Figure> {
    let low = seconds.iter().filter_map(|s| s.p50_ns.or(s.max_ns)).min()?;
    let high = seconds.iter().filter_map(|s| s.max_ns).max()?;
    let x = Scale::Linear { from: 0.0, to: end(seconds) };
    let y = Scale::log_around(low as f64, high as f64);
    let mut chart = Chart::new("Median, 99th percentile and maximum latency, over time", x, y);
    unmeasured(&mut chart, seconds);
    chart.y_axis(latency);
    time_axis(&mut chart, seconds);
    type LineValue = fn(&Second) -> Option<u64>;
    const LINES: [(&str, &str, LineValue); 3] =
        [("s3", "maximum", |s| s.max_ns), ("s2", "p99", |s| s.p99_ns), ("s1", "p50", |s| s.p50_ns)];
    let mut keys = String::new();
    for (class, name, value) in LINES {
        let parts = parts(seconds, value);
        // Of a few messages a second there is no p99, and no line for it.
        if !parts.is_empty() {
            chart.curve_with_gaps(class, &parts);
            keys.insert_str(0, &legend(class, name));
        }
    }
    hover(&mut chart, seconds, |s| {
        let told = LINES
            .iter()
            .rev()
            .filter_map(|(_, name, value)| Some(format!("{name} {}", human::latency(value(s)?))));
        let told: Vec<String> = told.collect();
        match told.is_empty() {
            true => format!("{:.1} s: no message was answered", s.start_s),
            false => format!("{:.1} s: {}", s.start_s, told.join(", ")),
        }
    });
    Some(Figure { title: "Latency over time", legend: keys, svg: chart.finish() })
}

/// The middles of the seconds with their values, in parts: a second without a value, or one that is
/// missing, is a gap and no line across it.
fn parts(seconds: &[&Second], value: fn(&Second) -> Option<u64>) -> Vec<Vec<(f64, f64)>> {
    let timed = seconds.iter().filter_map(|s| Some((s.start_s, s.seconds, value(s)? as f64)));
    joined(timed)
}

/// The same of starts, lengths and values.
fn joined(seconds: impl Iterator<Item = (f64, f64, f64)>) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut next_s = None;
    for (start_s, seconds, value) in seconds {
        let follows = next_s.is_some_and(|next: f64| start_s - next < SECOND_MIN);
        if !follows {
            parts.push(Vec::new());
        }
        let point = (start_s + seconds / 2.0, value);
        parts.last_mut().expect("one was just begun").push(point);
        next_s = Some(start_s + seconds);
    }
    parts
}

/// Messages under way and open connections: a queue in the server shows here first.
fn in_flight(seconds: &[&Second]) -> Figure {
    let most = seconds.iter().map(|s| s.in_flight_peak.max(s.connections)).max().unwrap_or(1);
    let x = Scale::Linear { from: 0.0, to: end(seconds) };
    let title = "Messages in flight and open connections, over time";
    let mut chart = Chart::new(title, x, Scale::from_zero(most as f64 * 1.05));
    unmeasured(&mut chart, seconds);
    chart.y_axis(short);
    time_axis(&mut chart, seconds);
    // At the end of the last second the sessions have gone, because the run was over.
    let open = if seconds.len() > 1 { &seconds[..seconds.len() - 1] } else { seconds };
    chart.curve_with_gaps("s2", &parts(open, |s| Some(s.connections)));
    chart.curve_with_gaps("s1", &parts(seconds, |s| Some(s.in_flight_peak)));
    hover(&mut chart, seconds, |s| {
        format!(
            "{:.1} s: at most {} in flight, {}",
            s.start_s,
            human::count(s.in_flight_peak),
            human::counted(s.connections, "connection")
        )
    });
    let keys = legend("s1", "most messages in flight") + &legend("s2", "connections");
    Figure { title: "In flight", legend: keys, svg: chart.finish() }
}

/// Connections and commands that failed without a reply, and refused messages.
fn errors(seconds: &[&Second]) -> Figure {
    let rate = |second: &Second| second.errors as f64 / second.seconds;
    let most = seconds.iter().map(|second| rate(second)).fold(0.0, f64::max);
    let x = Scale::Linear { from: 0.0, to: end(seconds) };
    let mut chart = Chart::new("Errors per second, over time", x, Scale::from_zero(most * 1.05));
    unmeasured(&mut chart, seconds);
    chart.y_axis(short);
    time_axis(&mut chart, seconds);
    chart.curve("sbad", steps(seconds, |s| s.errors));
    hover(&mut chart, seconds, |s| {
        format!("{:.1} s: {}", s.start_s, human::counted(s.errors, "error"))
    });
    Figure { title: "Errors", legend: legend("sbad", "errors per second"), svg: chart.finish() }
}

/// The headline, and in an open loop its parts: service time and send lag.
fn percentile_curve(metric: &str, headline: &Histogram<u64>, loaded: &Loaded) -> Figure {
    let name = format!("{metric} time");
    let mut curves = vec![(name.as_str(), "s1", headline)];
    for (name, class, histogram) in
        [("service time", "s2", &loaded.service), ("send lag", "s3", &loaded.send_lag)]
    {
        let histogram = histogram.as_ref().filter(|histogram| !histogram.is_empty());
        curves.extend(histogram.map(|histogram| (name, class, histogram)));
    }
    curves_by_nine(Chart::new, &curves)
}

/// The headlines of two runs over each other; `None` where one has no headline, or where they
/// do not measure the same.
pub fn overlaid(runs: [&Loaded; 2]) -> Option<Figure> {
    let [a, b] = runs.map(|run| run.headline.as_ref().filter(|headline| !headline.is_empty()));
    let same = runs[0].is_like(runs[1]);
    same.then_some(())?;
    let metric = match runs.iter().any(|run| run.is_log()) {
        true => "latency".to_owned(),
        false => format!("{} time", metrics(&runs[0].run)[0].0),
    };
    let names = ["A", "B"].map(|name| format!("{name}, {metric}"));
    Some(curves_by_nine(Chart::full, &[(&names[0], "s1", a?), (&names[1], "s2", b?)]))
}

/// Curves with their names and classes; the first is drawn last, over the others. The axis has one
/// step per nine, as percentiles of a tail are usually drawn: 90 %, 99 %, 99.9 %.
pub(super) fn curves_by_nine(
    begin: fn(&str, Scale, Scale) -> Chart,
    curves: &[(&str, &str, &Histogram<u64>)],
) -> Figure {
    let histograms = || curves.iter().map(|(_, _, histogram)| *histogram);
    // Beyond one in as many as there are samples, percentiles are all the maximum.
    let most = histograms().map(Histogram::len).max().unwrap_or(1);
    let nines = (most as f64).log10().clamp(1.0, 7.0);
    let x = Scale::Linear { from: 0.0, to: nines };
    let low = histograms().map(Histogram::min).min().unwrap_or(1);
    let high = histograms().map(Histogram::max).max().unwrap_or(1);
    let y = Scale::log_around(low as f64, high as f64);
    let mut chart = begin("Latency by percentile, one step of the axis for each nine", x, y);
    chart.y_axis(latency);
    let names = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"];
    let mut ticks: Vec<(f64, String)> =
        (0..=nines.floor() as usize).map(|nine| (nine as f64, names[nine].to_owned())).collect();
    ticks.insert(1, (0.5f64.recip().log10(), "50 %".to_owned()));
    chart.x_axis_at("share of messages that took no longer", &ticks);
    let points = |histogram: &Histogram<u64>| {
        let nines = nines.min((histogram.len() as f64).log10().max(1.0));
        let last = (nines * f64::from(POINTS_PER_NINE)).ceil() as u32;
        let points: Vec<(f64, f64)> = (0..=last)
            .map(|n| (f64::from(n) / f64::from(POINTS_PER_NINE)).min(nines))
            .map(|x| (x, histogram.value_at_quantile(1.0 - 10f64.powf(-x)) as f64))
            .chain([(nines, histogram.max() as f64)])
            .collect();
        points.into_iter()
    };
    for (_, class, histogram) in curves.iter().rev() {
        chart.curve(class, points(histogram));
    }
    let keys = curves.iter().map(|(name, class, _)| legend(class, name)).collect();
    Figure { title: "Percentile curve", legend: keys, svg: chart.finish() }
}

fn histogram(headline: &Histogram<u64>) -> Figure {
    let bins = bins(headline, BARS_MAX);
    let (first, last) = (bins[0].from_ns, bins[bins.len() - 1].to_ns);
    let x = Scale::Log { from: first as f64, to: last as f64 };
    let share = |count: u64| count as f64 / headline.len() as f64;
    let most = bins.iter().map(|bin| share(bin.count)).fold(0.0, f64::max);
    let mut chart = Chart::new("Messages by latency", x, Scale::from_zero(most * 100.0));
    chart.y_axis(|percent| format!("{} %", (percent * 100.0).round() / 100.0));
    chart.x_axis("log scale", latency);
    for bin in bins.iter().filter(|bin| bin.count > 0) {
        let says = format!(
            "{} to {}: {} ({})",
            human::latency(bin.from_ns),
            human::latency(bin.to_ns),
            human::counted(bin.count, "message"),
            human::percent(share(bin.count))
        );
        let (from, to) = (bin.from_ns as f64, bin.to_ns as f64);
        chart.bar(from, to, share(bin.count) * 100.0, &says);
    }
    let told = Latency::from(headline);
    let marks = [(told.p50, "p50"), (told.p99, "p99"), (told.p999, "p99.9")];
    let marks = marks.into_iter().filter_map(|(ns, name)| Some((ns? as f64, name)));
    chart.marks(&marks.collect::<Vec<_>>());
    let key = "<li>share of messages; a lone one still shows</li>".to_owned();
    Figure { title: "Histogram", legend: key, svg: chart.finish() }
}

/// `1.5k` for the narrow margin of a chart.
pub(super) fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    format!("{}{unit}", (scaled * 100.0).round() / 100.0)
}

/// A round latency without the zeros after its point.
pub(super) fn latency(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns >= 1e9 => (ns / 1e9, "s"),
        ns if ns >= 1e6 => (ns / 1e6, "ms"),
        ns if ns >= 1e3 => (ns / 1e3, "µs"),
        ns => (ns, "ns"),
    };
    format!("{} {unit}", (value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{ReportOrigin, Run};

    fn seconds(latencies: &[u64]) -> Vec<Second> {
        let second = |(at, &max_ns): (usize, &u64)| Second {
            start_s: at as f64,
            seconds: 1.0,
            messages_ok: u64::from(max_ns > 0),
            p50_ns: Some(max_ns).filter(|ns| *ns > 0),
            p99_ns: Some(max_ns).filter(|ns| *ns > 0),
            max_ns: Some(max_ns).filter(|ns| *ns > 0),
            ..Second::default()
        };
        latencies.iter().enumerate().map(second).collect()
    }

    fn loaded(seconds: Vec<Second>) -> Loaded {
        let run = Run::default();
        let phases = Vec::new();
        Loaded {
            run,
            headline: None,
            service: None,
            send_lag: None,
            seconds,
            phases,
            origin: ReportOrigin::Run,
        }
    }

    #[test]
    fn a_second_without_an_answer_is_a_gap_and_no_slope() {
        let rows = seconds(&[5, 6, 0, 7, 0, 8, 9]);
        let rows: Vec<&Second> = rows.iter().collect();
        let parts = parts(&rows, |s| s.max_ns);
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 1, 2]);
        let all = all(&loaded(seconds(&[5, 6, 0, 7])));
        let latency = all.iter().find(|figure| figure.title == "Latency over time").unwrap();
        let curve = latency.svg.split("class=\"curve s1\" d=\"").nth(1).unwrap();
        let path = curve.split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
    }

    #[test]
    fn nothing_measured_has_no_empty_chart() {
        let titles =
            |rows| -> Vec<&str> { all(&loaded(rows)).iter().map(|figure| figure.title).collect() };
        assert!(titles(seconds(&[0, 0])).is_empty());
        let mut refused = seconds(&[0, 0]);
        refused[0].messages_failed = 3;
        assert_eq!(titles(refused), ["Throughput"]);
    }
}
