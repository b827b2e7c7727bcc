//! Tallies made from the artefacts of runs, so that runs are added like the cores of one run.

use hdrhistogram::Histogram;

use super::hlog::{
    TAG_OWN_LAG, TAG_REFUSED, TAG_SEND_LAG, TAG_SERVICE, TAG_WARMUP, TAG_WARMUP_LAG, phase_of_tag,
    target_of_tag,
};
use super::result::Run;
use super::series::Second;
use crate::measure::{EnhancedKey, ErrorKind, Phase, Tally};

/// Why a line of a log cannot be part of a tally.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error("this version logs nothing under the tag '{0}'")]
    Tag(String),
    #[error("its histogram keeps {found} digits, and {wanted} are kept here")]
    Digits { found: u8, wanted: u8 },
    #[error("its histogram holds values that no run records")]
    Range,
}

impl Tally {
    /// Adds one line of a `run.hlog`. A line of the warm-up is the headline of an interval of the warm-up.
    pub fn restore_line(
        &mut self,
        tag: Option<&str>,
        samples: &Histogram<u64>,
    ) -> Result<(), Unfit> {
        let unknown = || Unfit::Tag(tag.unwrap_or_default().to_owned());
        let into = match tag {
            None | Some(TAG_WARMUP) => match &mut self.open {
                Some(open) => &mut open.response_ns,
                None => &mut self.service_ns,
            },
            Some(TAG_SERVICE) => &mut self.service_ns,
            Some(TAG_OWN_LAG) => &mut self.open.as_mut().ok_or_else(unknown)?.own_lag_ns,
            Some(TAG_SEND_LAG | TAG_WARMUP_LAG) => {
                &mut self.open.as_mut().ok_or_else(unknown)?.send_lag_ns
            }
            Some(TAG_REFUSED) => &mut self.refused_ns,
            Some(tag) if target_of_tag(tag).is_some() => {
                &mut self.target_mut(target_of_tag(tag).unwrap_or_default()).headline_ns
            }
            Some(tag) => {
                let (phase, part) = phase_of_tag(tag).ok_or_else(unknown)?;
                let split = self.split_mut(phase);
                fits(split.all(), samples)?;
                match part {
                    None => split.add_all(samples),
                    Some(outcome) => split.add_apart(outcome, samples),
                }
                return Ok(());
            }
        };
        fits(into, samples)?;
        into.add(samples).map_err(|_| Unfit::Range)
    }

    /// Adds the counts of a run. Its times come from its log.
    pub fn restore_counts(&mut self, run: &Run) {
        self.counts.add(&run.counts);
        for (target, result) in run.targets.iter().enumerate() {
            let portion = self.target_mut(target);
            portion.messages_ok += result.messages_ok;
            portion.messages_failed += result.messages_failed;
            portion.connections_opened += result.connections_opened;
        }
        self.note_behind(run.behind_messages, run.behind_ns);
        for (&kind, &count) in &run.errors {
            self.count_errors(kind, count);
        }
        self.count_enhanced_rest(run.enhanced_rest);
        if let Some(tls) = &run.tls {
            tls.restore(&mut self.handshakes);
        }
        for (&phase, result) in &run.phases {
            for (&code, &count) in &result.replies {
                self.count_replies(phase, code, count);
            }
            for (text, &count) in &result.enhanced {
                if let Some(key) = enhanced(phase, text) {
                    self.count_enhanced(key, count);
                }
            }
            for (line, &count) in &result.refusals {
                let (code, words) = line.split_once(' ').unwrap_or((line, ""));
                if let Ok(code) = code.parse() {
                    self.refusals.add_words(phase, code, words.as_bytes(), count);
                }
            }
        }
    }

    /// Adds the counts of a row of a `run.csv`. A row does not tell the kinds of errors, so all are counted
    /// as one kind; the tally may be used to make such a row again, and for nothing else.
    pub fn restore_second(&mut self, row: &Second) {
        self.counts.messages_ok += row.messages_ok;
        self.counts.messages_failed += row.messages_failed;
        self.counts.bytes += row.bytes;
        self.counts.recipients += row.recipients;
        // A row does not tell the class of a refusal either.
        self.counts.recipients_refused_5xx += row.recipients_refused;
        self.count_errors(ErrorKind::Other, row.errors);
    }
}

fn fits(into: &Histogram<u64>, samples: &Histogram<u64>) -> Result<(), Unfit> {
    let (found, wanted) = (samples.sigfig(), into.sigfig());
    if found != wanted {
        return Err(Unfit::Digits { found, wanted });
    }
    // The highest value of a cell may be above what is recorded in it.
    let most = samples.lowest_equivalent(samples.max());
    if most > into.high() { Err(Unfit::Range) } else { Ok(()) }
}

/// `451 4.7.1`, as `run.json` writes it.
fn enhanced(phase: Phase, text: &str) -> Option<EnhancedKey> {
    let (code, enhanced) = text.split_once(' ')?;
    let mut parts = enhanced.splitn(3, '.');
    let enhanced =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(EnhancedKey { phase, code: code.parse().ok()?, enhanced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LATENCY_NS_MAX;
    use crate::measure::{Mode, Outcome};

    #[test]
    fn what_a_tally_holds_at_its_bounds_can_be_read_back() {
        let (mut recorders, mut collector) =
            crate::measure::team(1, Mode::Closed, std::time::Duration::ZERO, None);
        let mut recorder = recorders.pop().unwrap();
        let phases = [Phase::Mail, Phase::Message, Phase::Session];
        for phase in phases {
            for ns in [0, LATENCY_NS_MAX, 1_000 * LATENCY_NS_MAX, u64::MAX] {
                recorder.record_phase(phase, Outcome::Unanswered, ns);
            }
        }
        recorder.finish(1);
        while !matches!(
            collector.next(std::time::Duration::ZERO),
            crate::measure::Collected::Finished
        ) {}
        let written = collector.into_totals().tally;
        let mut read = Tally::new(Mode::Closed);
        for phase in phases {
            let tag = crate::run::hlog::phase_tag(phase, Outcome::Unanswered);
            read.restore_line(Some(phase.name()), written.phase(phase)).unwrap();
            let part = written.split(phase).of(Outcome::Unanswered).unwrap();
            read.restore_line(Some(&tag), &part).unwrap();
            assert_eq!(read.split(phase), written.split(phase), "{phase:?}");
        }
        let mut beyond = Histogram::<u64>::new(2).unwrap();
        beyond.record(2 * LATENCY_NS_MAX).unwrap();
        assert_eq!(read.restore_line(Some("mail"), &beyond), Err(Unfit::Range));
        assert_eq!(read.restore_line(Some("session"), &beyond), Ok(()));
    }
}
