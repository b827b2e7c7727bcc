//! The data of a run inside its page, as links that save it. The page asks no network for them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::chart::escape;
use crate::run::Loaded;
use crate::run::series;

/// A run with more seconds leaves its CSV out of the page, which would be mostly data.
const ROWS_MAX: usize = 20_000;

/// A link that saves `octets` as a file of that name.
pub(super) fn link(out: &mut String, name: &str, kind: &str, octets: &[u8]) {
    let _ = write!(
        out,
        "<a download=\"{name}\" href=\"data:{kind};base64,{}\">{name}</a>",
        STANDARD.encode(octets),
        name = escape(name),
    );
}

/// The result as `run.json` and the seconds as `run.csv`.
pub(super) fn of_run(out: &mut String, loaded: &Loaded) {
    let json = serde_json::to_string_pretty(&loaded.run).expect("string keys and plain values");
    out.push_str("<section><h2>Data</h2><p class=\"downloads\">");
    link(out, "run.json", "application/json", json.as_bytes());
    if !loaded.seconds.is_empty() && loaded.seconds.len() <= ROWS_MAX {
        let mut csv = format!("{}\n", series::COLUMNS).into_bytes();
        let written = loaded.seconds.iter().try_for_each(|second| second.write(&mut csv));
        assert!(written.is_ok(), "memory takes every octet");
        link(out, "run.csv", "text/csv", &csv);
    }
    out.push_str("</p></section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::series::Second;
    use crate::run::{ReportOrigin, Run};

    #[test]
    fn what_the_links_save_is_what_the_run_was() {
        let second = Second { seconds: 1.0, messages_ok: 7, ..Second::default() };
        let run = Run { id: "<\"'>".to_owned(), ..Run::default() };
        let mut loaded = Loaded {
            run,
            headline: None,
            service: None,
            send_lag: None,
            seconds: vec![second],
            phases: Vec::new(),
            origin: ReportOrigin::Run,
        };
        let mut out = String::new();
        of_run(&mut out, &loaded);
        let saved = |name: &str| {
            let link = out.split(&format!("<a download=\"{name}\" href=\"data:")).nth(1).unwrap();
            let data = link.split('"').next().unwrap().split_once(";base64,").unwrap().1;
            String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
        };
        assert_eq!(serde_json::from_str::<Run>(&saved("run.json")).unwrap(), loaded.run);
        assert_eq!(series::read(saved("run.csv").as_bytes()).unwrap(), loaded.seconds);
        loaded.seconds.clear();
        out.clear();
        of_run(&mut out, &loaded);
        assert!(!out.contains("run.csv"));
    }
}
