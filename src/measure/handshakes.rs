//! What TLS handshakes agreed on, and how many sessions went without one.

use serde::{Deserialize, Serialize};

/// Handshakes that agreed on the same, and that both ends have ended as far as the client can know.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TlsAgreement {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// The cipher suite as IANA names it: `TLS_AES_128_GCM_SHA256`.
    pub suite: String,
    /// The group of the key exchange as IANA names it: `x25519`; `null` where no keys were exchanged, as in
    /// TLS 1.2 when a session is resumed.
    pub group: Option<String>,
    /// Full handshakes.
    pub full: u64,
    /// Handshakes that resumed an earlier session.
    pub resumed: u64,
}

impl TlsAgreement {
    fn is_like(&self, version: &str, suite: &str, group: Option<&str>) -> bool {
        self.version == version && self.suite == suite && self.group.as_deref() == group
    }
}

/// The handshakes of a span of time, by what was agreed on. There are few kinds: a server can choose among what
/// we offer, and no more.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    agreements: Vec<TlsAgreement>,
    /// Sessions that were greeted in plain text although TLS was asked for some or all of them.
    pub plain: u64,
}

impl Handshakes {
    /// Counts one handshake.
    pub(super) fn record(
        &mut self,
        version: &str,
        suite: &str,
        group: Option<&str>,
        resumed: bool,
    ) {
        let of = self.like(version, suite, group);
        match resumed {
            true => of.resumed += 1,
            false => of.full += 1,
        }
    }

    /// Adds handshakes that agreed on the same.
    pub fn add_agreement(&mut self, other: &TlsAgreement) {
        let of = self.like(&other.version, &other.suite, other.group.as_deref());
        of.full += other.full;
        of.resumed += other.resumed;
    }

    fn like(&mut self, version: &str, suite: &str, group: Option<&str>) -> &mut TlsAgreement {
        let known = self.agreements.iter().position(|of| of.is_like(version, suite, group));
        let index = known.unwrap_or_else(|| {
            let (version, suite) = (version.to_owned(), suite.to_owned());
            let group = group.map(str::to_owned);
            self.agreements.push(TlsAgreement { version, suite, group, full: 0, resumed: 0 });
            self.agreements.len() - 1
        });
        &mut self.agreements[index]
    }

    /// Adds those of another span of time, or of another core.
    pub fn add(&mut self, other: &Self) {
        other.agreements.iter().for_each(|agreement| self.add_agreement(agreement));
        self.plain += other.plain;
    }

    /// Back to nothing, keeping the memory.
    pub(super) fn clear(&mut self) {
        self.agreements.iter_mut().for_each(|of| (of.full, of.resumed) = (0, 0));
        self.plain = 0;
    }

    pub fn full(&self) -> u64 {
        self.agreements.iter().map(|of| of.full).sum()
    }

    pub fn resumed(&self) -> u64 {
        self.agreements.iter().map(|of| of.resumed).sum()
    }

    /// What was agreed on, in an order that does not depend on what came first.
    pub fn agreements(&self) -> Vec<TlsAgreement> {
        let seen = self.agreements.iter().filter(|of| of.full + of.resumed > 0);
        let mut seen: Vec<TlsAgreement> = seen.cloned().collect();
        seen.sort_unstable();
        seen
    }
}

/// The order in which kinds were first seen does not count.
impl PartialEq for Handshakes {
    fn eq(&self, other: &Self) -> bool {
        self.plain == other.plain && self.agreements() == other.agreements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_what_was_agreed_on_and_add_up_in_any_order() {
        let (mut one, mut other) = (Handshakes::default(), Handshakes::default());
        one.record("TLSv1.3", "A", Some("x25519"), false);
        one.record("TLSv1.3", "A", Some("x25519"), true);
        one.record("TLSv1.2", "A", None, true);
        other.record("TLSv1.2", "A", None, true);
        other.record("TLSv1.3", "A", Some("x25519"), true);
        other.plain += 3;
        let (mut sum, mut turned) = (one.clone(), other.clone());
        sum.add(&other);
        turned.add(&one);
        assert_eq!(sum, turned);
        assert_eq!((sum.full(), sum.resumed(), sum.plain), (1, 4, 3));
        let told: Vec<_> = sum.agreements().into_iter().map(|of| (of.full, of.resumed)).collect();
        assert_eq!(told, [(0, 2), (1, 2)]);
        sum.clear();
        assert_eq!(sum, Handshakes::default());
    }
}
