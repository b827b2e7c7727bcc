//! A latency histogram, with histograms of the samples that were not accepted.

use hdrhistogram::Histogram;

use super::histogram::{digits, histogram_to, most_ns};
use super::kind::{Outcome, Phase};

/// The parts beside the whole. Most phases never see a refusal, so a part takes memory from its first
/// sample on, which is the only allocation that recording ever makes: at most one per outcome.
#[derive(Clone, Debug)]
pub struct Split {
    all: Histogram<u64>,
    apart: [Option<Histogram<u64>>; Outcome::APART.len()],
    /// Says which bounds and digits they have.
    phase: Phase,
}

impl Split {
    pub(super) fn new(phase: Phase) -> Self {
        let all = histogram_to(most_ns(phase), digits(phase));
        Self { all, apart: Default::default(), phase }
    }

    fn part(&mut self, index: usize) -> &mut Histogram<u64> {
        let (most_ns, digits) = (most_ns(self.phase), digits(self.phase));
        self.apart[index].get_or_insert_with(|| histogram_to(most_ns, digits))
    }

    /// All samples, whatever their outcome.
    pub fn all(&self) -> &Histogram<u64> {
        &self.all
    }

    /// The samples of one outcome, where there are any. Those that were accepted are what is left of
    /// the whole, cell by cell.
    pub fn of(&self, outcome: Outcome) -> Option<Histogram<u64>> {
        let samples = match Self::index(outcome) {
            Some(index) => self.apart[index].clone()?,
            None => self.rest().expect("parts of the whole, in the same cells"),
        };
        (!samples.is_empty()).then_some(samples)
    }

    /// Whether the parts are parts of the whole, as they are unless they were read from a file.
    pub fn is_sound(&self) -> bool {
        self.rest().is_some()
    }

    fn rest(&self) -> Option<Histogram<u64>> {
        let mut rest = self.all.clone();
        self.apart.iter().flatten().try_for_each(|part| rest.subtract(part)).ok()?;
        Some(rest)
    }

    /// Outcomes other than accepted that were seen.
    pub fn apart(&self) -> impl Iterator<Item = (Outcome, &Histogram<u64>)> {
        let parts = Outcome::APART.into_iter().zip(&self.apart);
        parts
            .filter_map(|(outcome, part)| Some((outcome, part.as_ref()?)))
            .filter(|(_, part)| !part.is_empty())
    }

    pub(super) fn record(&mut self, outcome: Outcome, ns: u64) {
        self.all.saturating_record(ns);
        if let Some(index) = Self::index(outcome) {
            self.part(index).saturating_record(ns);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.add_all(&other.all);
        for (outcome, part) in other.apart() {
            self.add_apart(outcome, part);
        }
    }

    pub(crate) fn add_all(&mut self, samples: &Histogram<u64>) {
        self.all.add(samples).expect("equal bounds");
    }

    /// Adds to a part what the whole has already.
    pub(crate) fn add_apart(&mut self, outcome: Outcome, samples: &Histogram<u64>) {
        if let Some(index) = Self::index(outcome) {
            self.part(index).add(samples).expect("equal bounds");
        }
    }

    pub(super) fn clear(&mut self) {
        self.all.reset();
        self.apart.iter_mut().flatten().for_each(Histogram::reset);
    }

    fn index(outcome: Outcome) -> Option<usize> {
        Outcome::APART.into_iter().position(|known| known == outcome)
    }
}

/// A part without samples equals a missing part.
impl PartialEq for Split {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all && self.apart().eq(other.apart())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_the_whole_without_its_parts() {
        let mut split = Split::new(Phase::Message);
        assert_eq!(split.of(Outcome::Accepted), None);
        for (outcome, ns) in [
            (Outcome::Accepted, 1_000),
            (Outcome::Refused4xx, 2_000),
            (Outcome::Accepted, 2_000),
            (Outcome::Unanswered, 9_000_000),
        ] {
            split.record(outcome, ns);
        }
        assert_eq!(split.all().len(), 4);
        let accepted = split.of(Outcome::Accepted).unwrap();
        assert_eq!((accepted.len(), accepted.count_at(2_000)), (2, 1));
        assert_eq!(split.of(Outcome::Refused4xx).unwrap().len(), 1);
        assert_eq!(split.of(Outcome::Refused5xx), None);
        let seen: Vec<Outcome> = split.apart().map(|(outcome, _)| outcome).collect();
        assert_eq!(seen, [Outcome::Refused4xx, Outcome::Unanswered]);
        split.clear();
        assert_eq!(split, Split::new(Phase::Message), "a part that was emptied is as good as none");
    }
}
