//! What a run did under TLS.

use serde::{Deserialize, Serialize};

use crate::measure::{COUNT_MAX, Handshakes, TlsAgreement};

/// The handshakes of the whole run, with warm-up and cool-down, and the sessions that went without one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TlsResult {
    /// Full handshakes that both ends have ended, as far as the client can know.
    pub full: u64,
    /// The same of handshakes that resumed an earlier session.
    pub resumed: u64,
    /// Sessions that were greeted in plain text although TLS was asked for some or all of them.
    pub plain: u64,
    /// Per cent of the sessions that were under TLS; `null` where there was no session.
    pub share_percent: Option<f64>,
    /// Per cent of the handshakes that resumed a session; `null` where there was no handshake.
    pub resume_percent: Option<f64>,
    /// By what was agreed on.
    pub agreed: Vec<TlsAgreement>,
}

impl TlsResult {
    /// `None` where no session was under TLS or, as `asked` says, was to be.
    pub(super) fn of(handshakes: &Handshakes, asked: bool) -> Option<Self> {
        let (full, resumed) = (handshakes.full(), handshakes.resumed());
        let (under_tls, plain) = (full + resumed, handshakes.plain);
        let percent =
            |part: u64, whole: u64| (whole > 0).then(|| part as f64 * 100.0 / whole as f64);
        (asked || under_tls + plain > 0).then(|| Self {
            full,
            resumed,
            plain,
            share_percent: percent(under_tls, under_tls + plain),
            resume_percent: percent(resumed, under_tls),
            agreed: handshakes.agreements(),
        })
    }

    /// As they are counted, to be added to those of other runs.
    pub(super) fn restore(&self, into: &mut Handshakes) {
        self.agreed.iter().for_each(|agreement| into.add_agreement(agreement));
        into.plain += self.plain;
    }

    /// Whether each count, read from a file, is one that a run can have come to.
    pub(super) fn is_in_range(&self) -> bool {
        let agreed = self.agreed.iter().flat_map(|of| [of.full, of.resumed]);
        agreed.chain([self.full, self.resumed, self.plain]).all(|count| count <= COUNT_MAX)
    }
}
