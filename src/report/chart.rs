//! Inline SVG by hand: axes, curves, bars. Colours come from the classes of the page, so that one drawing
//! serves light, dark and paper; curves also differ by their dashes, not by colour alone.

use std::fmt::Write as _;

use crate::human;
use crate::printable;
use crate::run::Latency;

/// Units of a drawing that shares its row with another, and of one that has the row.
const WIDTH: f64 = 520.0;
const WIDTH_FULL: f64 = 1_060.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// Maps values of an axis to the unit interval.
#[derive(Clone, Copy, Debug)]
pub enum Scale {
    Linear { from: f64, to: f64 },
    Log { from: f64, to: f64 },
}

impl Scale {
    /// From zero to a round number at or above `max`.
    pub fn from_zero(max: f64) -> Self {
        let step = step(max, 5.0);
        Self::Linear { from: 0.0, to: (max / step).ceil().max(1.0) * step }
    }

    /// Over the nearest 1-2-5 numbers around the values, of which none is below one.
    pub fn log_around(min: f64, max: f64) -> Self {
        let (min, max) = (min.max(1.0), max.max(1.0));
        let edges = || (0..14).flat_map(|e| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(e)));
        let from = edges().take_while(|&edge| edge <= min).last().unwrap_or(1.0);
        let to = edges().find(|&edge| edge >= max && edge > from).unwrap_or(max * 2.0);
        Self::Log { from, to }
    }

    fn at(self, value: f64) -> f64 {
        match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        }
    }

    /// Round values to label, about `about` of them on a linear axis.
    fn ticks(self, about: f64) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => {
                let step = step(to - from, about);
                let first = (from / step).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|n| n as f64 * step).collect()
            }
            Self::Log { from, to } => {
                let decades = (to / from).log10();
                let steps: &[f64] = if decades > 4.5 {
                    &[1.0]
                } else if decades > 2.2 {
                    &[1.0, 3.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                (0..14)
                    .flat_map(|e| steps.iter().map(move |step| step * 10f64.powi(e)))
                    .filter(|&tick| tick >= from * 0.999 && tick <= to * 1.001)
                    .collect()
            }
        }
    }
}

/// A round step (1, 2 or 5 times a power of ten) that cuts `span` into about `parts`.
fn step(span: f64, parts: f64) -> f64 {
    let rough = (span / parts).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|&n| n >= rough).unwrap_or(rough)
}

/// One drawing in the making.
pub struct Chart {
    svg: String,
    width: f64,
    x: Scale,
    y: Scale,
}

impl Chart {
    /// Begins a drawing. `title` is read out in place of the picture, so it should say what it shows.
    pub fn new(title: &str, x: Scale, y: Scale) -> Self {
        Self::begin(title, (x, y), WIDTH)
    }

    /// The same, as wide as the page.
    pub fn full(title: &str, x: Scale, y: Scale) -> Self {
        Self::begin(title, (x, y), WIDTH_FULL)
    }

    fn begin(title: &str, (x, y): (Scale, Scale), width: f64) -> Self {
        let mut svg = String::new();
        let class = if width > WIDTH { "chart full" } else { "chart" };
        let _ = write!(
            svg,
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" \
             aria-label=\"{}\">",
            escape(title)
        );
        Self { svg, width, x, y }
    }

    pub fn finish(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }

    fn px(&self, x: f64) -> f64 {
        LEFT + self.x.at(x).clamp(0.0, 1.0) * (self.width - LEFT - RIGHT)
    }

    fn py(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.at(y).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    /// Horizontal lines with their labels.
    pub fn y_axis(&mut self, label: impl Fn(f64) -> String) {
        for tick in self.y.ticks(5.0) {
            let (y, text) = (self.py(tick), label(tick));
            let _ = write!(
                self.svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                self.width - RIGHT,
                LEFT - 7.0,
                y + 3.8,
            );
        }
    }

    /// The base line with labels at round values.
    pub fn x_axis(&mut self, caption: &str, label: impl Fn(f64) -> String) {
        let ticks: Vec<_> = self.x.ticks(7.0).into_iter().map(|at| (at, label(at))).collect();
        self.x_axis_at(caption, &ticks);
    }

    /// The base line with given labels; one that would touch the one before is left out.
    pub fn x_axis_at(&mut self, caption: &str, ticks: &[(f64, String)]) {
        let base = HEIGHT - BOTTOM;
        let _ = write!(
            self.svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{base}\" y2=\"{base}\"/>",
            self.width - RIGHT
        );
        let mut free = 0.0;
        for (at, text) in ticks {
            let x = self.px(*at);
            let half = text.chars().count() as f64 * 3.1;
            let (left, right) = match x + half > self.width {
                true => (self.width - 2.0 * half, self.width),
                false => (x - half, x + half),
            };
            if left < free {
                continue;
            }
            free = right + 6.0;
            let (anchor, at) = match x + half > self.width {
                true => ("end", self.width),
                false => ("middle", x),
            };
            let _ = write!(
                self.svg,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{base}\" y2=\"{}\"/>\
                 <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
                base + 4.0,
                base + 15.0,
            );
        }
        let _ = write!(
            self.svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            self.width - RIGHT,
            HEIGHT - 4.0,
            escape(caption)
        );
    }

    /// A curve in parts: where one part ends and the next begins, nothing was measured.
    pub fn curve_with_gaps(&mut self, class: &str, parts: &[Vec<(f64, f64)>]) {
        let path: String = parts
            .iter()
            .map(|part| match part[..] {
                // A line of no length, which its round caps make a dot.
                [lone] => self.path([lone, lone].into_iter()),
                _ => self.path(part.iter().copied()),
            })
            .collect();
        let _ = write!(self.svg, "<path class=\"curve {class}\" d=\"{path}\"/>");
    }

    /// A line through the points, of class `s1`, `s2`, `s3` or `sbad`.
    pub fn curve(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let path = self.path(points);
        let _ = write!(self.svg, "<path class=\"curve {class}\" d=\"{path}\"/>");
    }

    /// The ground between the points and the base line.
    pub fn area(&mut self, points: impl Iterator<Item = (f64, f64)> + Clone) {
        let (Some(first), Some(last)) = (points.clone().next(), points.clone().last()) else {
            return;
        };
        let base = HEIGHT - BOTTOM;
        let (left, right, path) = (self.px(first.0), self.px(last.0), self.path(points));
        let _ = write!(
            self.svg,
            "<path class=\"area\" d=\"{path}L{right:.1} {base}L{left:.1} {base}Z\"/>"
        );
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            let verb = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{:.1} {:.1}", self.px(x), self.py(y));
        }
        path
    }

    /// A bar from the base line up, with what it says when pointed at.
    pub fn bar(&mut self, from: f64, to: f64, height: f64, says: &str) {
        let (left, right, top) = (self.px(from), self.px(to), self.py(height));
        // Something is not nothing: one sample among millions still shows.
        let top = top.min(HEIGHT - BOTTOM - 1.5);
        let _ = write!(
            self.svg,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}</title></rect>",
            left + 0.5,
            (right - left - 1.0).max(1.0),
            HEIGHT - BOTTOM - top,
            escape(says)
        );
    }

    /// A band over the whole height: shaded ground for `warmup`, unseen but pointable for `hover`.
    pub fn band(&mut self, class: &str, from: f64, to: f64, says: &str) {
        let (left, right) = (self.px(from), self.px(to));
        let _ = write!(
            self.svg,
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\">\
             <title>{}</title></rect>",
            right - left,
            HEIGHT - TOP - BOTTOM,
            escape(says)
        );
    }

    /// Named vertical lines, left to right; a name that would touch the one before is left out.
    pub fn marks(&mut self, marks: &[(f64, &str)]) {
        let mut free = 0.0;
        for (value, name) in marks {
            let x = self.px(*value);
            let half = name.chars().count() as f64 * 3.1;
            let _ = write!(
                self.svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\"/>",
                HEIGHT - BOTTOM
            );
            // A name at the edge stays within the drawing.
            let (anchor, at, right) = match x + half > self.width {
                true => ("end", self.width, self.width),
                false => ("middle", x, x + half),
            };
            if right - 2.0 * half >= free {
                free = right + 4.0;
                let _ = write!(
                    self.svg,
                    "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{name}</text>",
                    TOP - 4.0
                );
            }
        }
    }
}

/// A small picture for a table's cell: a line from p50 to p99 with a dot at p50 and a thin tail to
/// the maximum, on a log scale that all rows share. Of few samples the line goes from the least, or the
/// median, to the greatest. `None` without samples.
pub fn spark(x: Scale, latency: &Latency) -> Option<String> {
    let at = |ns: u64| 4.0 + x.at(ns as f64).clamp(0.0, 1.0) * 142.0;
    let Latency { min, p50, p99, max, .. } = *latency;
    let (a, b, c) = (at(p50.or(min)?), at(p99.or(max)?), at(max?));
    let says: Vec<String> = [("p50", p50), ("p99", p99), ("maximum", max)]
        .into_iter()
        .filter_map(|(name, ns)| Some(format!("{name} {}", human::latency(ns?))))
        .collect();
    let says = says.join(", ");
    Some(format!(
        "<svg viewBox=\"0 0 150 16\" role=\"img\" aria-label=\"{says}\"><title>{says}</title>\
         <line class=\"s1\" stroke-width=\"1\" x1=\"{b:.1}\" x2=\"{c:.1}\" y1=\"8\" y2=\"8\"/>\
         <line class=\"s1\" stroke-width=\"1\" x1=\"{c:.1}\" x2=\"{c:.1}\" y1=\"4.5\" y2=\"11.5\"/>\
         <line class=\"s1\" stroke-width=\"5\" x1=\"{a:.1}\" x2=\"{b:.1}\" y1=\"8\" y2=\"8\"/>\
         <circle class=\"dot\" cx=\"{a:.1}\" cy=\"8\" r=\"4\"/></svg>"
    ))
}

/// A line sample with its name, for the list above a chart.
pub fn legend(class: &str, name: &str) -> String {
    format!(
        "<li><svg viewBox=\"0 0 22 8\" aria-hidden=\"true\"><line class=\"curve {class}\" x1=\"1\" \
         x2=\"21\" y1=\"4\" y2=\"4\"/></svg>{}</li>",
        escape(name)
    )
}

/// Text as HTML and SVG take it, in content and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable::lines(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_and_end_at_round_numbers_around_the_values() {
        let Scale::Linear { from, to } = Scale::from_zero(2_994.0) else { panic!() };
        assert_eq!((from, to), (0.0, 3_000.0));
        let Scale::Log { from, to } = Scale::log_around(1_300.0, 86_000.0) else { panic!() };
        assert_eq!((from, to), (1_000.0, 100_000.0));
        let Scale::Log { from, to } = Scale::log_around(5.0, 5.0) else { panic!() };
        assert_eq!((from, to), (5.0, 10.0));
    }

    #[test]
    fn nothing_drawn_is_ever_out_of_the_frame_or_not_a_number() {
        let mut chart = Chart::new("t", Scale::from_zero(0.0), Scale::log_around(0.0, 0.0));
        chart.curve("s1", [(f64::MAX, 0.0), (-1.0, f64::MAX)].into_iter());
        chart.bar(0.0, 0.0, 0.0, "");
        let svg = chart.finish();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn labels_neither_collide_nor_leave_the_drawing() {
        let x = Scale::Linear { from: 0.0, to: 1_000.0 };
        let mut chart = Chart::full("t", x, Scale::from_zero(1.0));
        let ticks: Vec<_> = (0..=1_000).map(|at| (f64::from(at), format!("{at},000"))).collect();
        chart.x_axis_at("c", &ticks);
        chart.marks(&[(1_000.0, "a long name at the edge")]);
        let svg = chart.finish();
        let mut free = 0.0;
        for text in svg.split("<text ").skip(1).filter(|text| text.contains(",000<")) {
            let value = |name: &str| text.split(name).nth(1).unwrap().split('"').next().unwrap();
            let (at, label) =
                (value("x=\"").parse::<f64>().unwrap(), text.split(['>', '<']).nth(1));
            let wide = label.unwrap().len() as f64 * 6.2;
            let left = if value("text-anchor=\"") == "end" { at - wide } else { at - wide / 2.0 };
            assert!(left >= free && left + wide <= WIDTH_FULL + 0.1, "{text}");
            free = left + wide;
        }
        assert!(
            free > WIDTH_FULL / 2.0 && svg.contains("text-anchor=\"end\">a long name"),
            "{svg}"
        );
    }

    #[test]
    fn what_a_server_or_a_user_wrote_cannot_become_markup() {
        assert_eq!(escape("<a b='\"'>&"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;");
    }
}
