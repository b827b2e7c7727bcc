//! What a run does when the server refuses or a connection breaks.

use std::fmt;
use std::time::Duration;

use crate::run::threshold::Codes;

/// Pause before a lost session is opened again; doubles up to the maximum.
const RECONNECT_MS_MIN: u64 = 10;
const RECONNECT_MS_MAX: u64 = 1_000;

const _: () = assert!(RECONNECT_MS_MIN <= RECONNECT_MS_MAX, "pauses grow");

/// What follows errors: whether the run ends, and whether connections are made again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorPolicy {
    pub reconnect: Reconnect,
    /// The first refusal, or connection that breaks or cannot be made, ends the run.
    pub stop_on_error: bool,
    /// The first reply that is one of these ends the run.
    pub stop_on: Vec<Codes>,
    pub errors_max: Option<ErrorsMax>,
}

/// What follows a connection that we did not end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reconnect {
    /// Another connection: at once if the last was useful, else after a short pause.
    #[default]
    Always,
    Never,
    /// Another connection after a pause. The pause grows from the first value to the second: it doubles
    /// after each connection that was not useful.
    Backoff(Duration, Duration),
}

/// How many errors end the run: one more than this.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ErrorsMax {
    Count(u64),
    /// Per cent of the messages that were begun, as written: a division would round it.
    Percent(f64),
}

impl fmt::Display for ErrorsMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "--max-errors {count}"),
            Self::Percent(percent) => write!(f, "--max-errors {percent}%"),
        }
    }
}

impl ErrorsMax {
    /// Whether so many errors of so many messages are more than is allowed; exactly as many are not.
    pub(super) fn is_passed(self, errors: u64, messages: u64) -> bool {
        match self {
            Self::Count(count) => errors > count,
            // One division, which rounds as the number of the option was rounded: 7 of 1,000 are 0.7 %.
            Self::Percent(percent) => errors as f64 * 100.0 / messages as f64 > percent,
        }
    }
}

impl ErrorPolicy {
    /// The options that give this policy, without those that are defaults.
    pub fn in_words(&self) -> Vec<String> {
        let Self { reconnect, stop_on_error, stop_on, errors_max } = self;
        let mut words = Vec::new();
        match reconnect {
            Reconnect::Always => {}
            Reconnect::Never => words.push("--reconnect never".to_owned()),
            Reconnect::Backoff(least, most) => {
                words.push(format!("--reconnect backoff:{least:?}..{most:?}"));
            }
        }
        if *stop_on_error {
            words.push("--on-error stop".to_owned());
        }
        words.extend(stop_on.iter().map(|codes| format!("--stop-on {codes}")));
        words.extend(errors_max.map(|most| most.to_string()));
        words
    }

    /// The option by which this refusal ends the run. A `usual` refusal, after which the dialogue goes on
    /// in another way, is no error.
    pub fn stops_at(&self, code: u16, usual: bool) -> Option<String> {
        match self.stop_on.iter().find(|codes| codes.has(code)) {
            Some(codes) => Some(format!("--stop-on {codes}")),
            None => (self.stop_on_error && !usual).then(|| "--on-error stop".to_owned()),
        }
    }
}

/// The pauses of one session between its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    reconnect: Reconnect,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(reconnect: Reconnect) -> Self {
        let mut pauses = Self { reconnect, next: Duration::ZERO };
        pauses.reset();
        pauses
    }

    /// A connection was of use.
    pub(super) fn reset(&mut self) {
        self.next = match self.reconnect {
            Reconnect::Backoff(least, _) => least,
            Reconnect::Always | Reconnect::Never => Duration::from_millis(RECONNECT_MS_MIN),
        };
    }

    /// The pause after a connection that broke, which was `useful` before or not; `None` if no other
    /// connection may follow.
    pub(super) fn after_break(&mut self, useful: bool) -> Option<Duration> {
        if useful {
            self.reset();
        }
        let most = match self.reconnect {
            Reconnect::Never => return None,
            Reconnect::Always if useful => return Some(Duration::ZERO),
            Reconnect::Always => Duration::from_millis(RECONNECT_MS_MAX),
            Reconnect::Backoff(_, most) => most,
        };
        let pause = self.next;
        self.next = (2 * pause).min(most);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pauses(reconnect: Reconnect, useful: &[bool]) -> Vec<Option<Duration>> {
        let mut pauses = Pauses::new(reconnect);
        useful.iter().map(|&useful| pauses.after_break(useful)).collect()
    }

    #[test]
    fn pauses_double_to_the_most_and_begin_anew_behind_what_was_of_use() {
        let some = |ms: &[u32]| ms.iter().map(|&ms| Some(ms * MS)).collect::<Vec<_>>();
        let breaks = [false, false, false, false, true, false];
        let backoff = Reconnect::Backoff(100 * MS, 350 * MS);
        assert_eq!(pauses(backoff, &breaks), some(&[100, 200, 350, 350, 100, 200]));
        assert_eq!(pauses(Reconnect::Always, &breaks), some(&[10, 20, 40, 80, 0, 10]));
        let long = pauses(Reconnect::Always, &[false; 20]);
        assert_eq!(long.last(), Some(&Some(1_000 * MS)));
        assert_eq!(pauses(Reconnect::Never, &[true, false]), [None, None]);
    }

    #[test]
    fn what_is_not_usual_is_said_as_it_would_be_asked_for() {
        assert!(ErrorPolicy::default().in_words().is_empty());
        let policy = ErrorPolicy {
            reconnect: Reconnect::Backoff(100 * MS, 5_000 * MS),
            stop_on_error: true,
            stop_on: vec![Codes::One(421), Codes::Class(5)],
            errors_max: Some(ErrorsMax::Percent(0.5)),
        };
        let words = [
            "--reconnect backoff:100ms..5s",
            "--on-error stop",
            "--stop-on 421",
            "--stop-on 5xx",
            "--max-errors 0.5%",
        ];
        assert_eq!(policy.in_words(), words);
    }

    #[test]
    fn a_share_of_errors_is_passed_by_more_and_not_by_as_many() {
        for errors in 1..=1_000 {
            let percent = format!("{}.{}", errors / 10, errors % 10).parse().unwrap();
            let most = ErrorsMax::Percent(percent);
            assert!(!most.is_passed(errors, 1_000) && most.is_passed(errors + 1, 1_000), "{most}");
            assert!(!most.is_passed(3 * errors, 3_000), "{most}");
        }
        assert!(!ErrorsMax::Count(7).is_passed(7, 9) && ErrorsMax::Count(7).is_passed(8, 9));
    }

    #[test]
    fn a_refusal_stops_by_the_option_that_names_it() {
        let by = |stop_on: &[&str], stop_on_error, code, usual| {
            let stop_on = stop_on.iter().map(|text| text.parse().unwrap()).collect();
            ErrorPolicy { stop_on, stop_on_error, ..ErrorPolicy::default() }.stops_at(code, usual)
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(by(&["421", "5xx"], false, 550, false), said("--stop-on 5xx"));
        assert_eq!(by(&["421", "5xx"], true, 421, false), said("--stop-on 421"));
        assert_eq!(by(&["421"], true, 450, false), said("--on-error stop"));
        assert_eq!(by(&["421"], false, 450, false), None);
        assert_eq!(by(&[], true, 502, true), None, "EHLO is followed by HELO");
        assert_eq!(by(&["502"], true, 502, true), said("--stop-on 502"));
    }
}
