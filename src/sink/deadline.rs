//! How long a peer may take, into however many pieces it cuts what it sends.
//!
//! A command has the whole timeout, counted from the end of the command before it (RFC 5321 §4.5.3.2.7).
//! Octets of a line that does not end give no more time. A message begins with the timeout too. Each
//! octet of it adds the time that it takes at the minimum data rate, but the time that is left never
//! exceeds the timeout: a peer may pause for the timeout once, and must keep the rate on average.
//! (Postfix: smtpd_per_request_deadline, smtpd_min_data_rate.)
//!
//! Times are those of the core's watch.

use std::time::Duration;

use super::plan::PeerPolicy;

#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    timeout: Duration,
    /// Octets per second of message content; 0 asks for one octet within each timeout.
    rate_min: u64,
    deadline: Duration,
    /// Octets of a TLS record whose end has not come, which have counted already.
    ahead: usize,
}

impl Deadline {
    /// Starts at `now` with the full timeout.
    pub(super) fn new(policy: &PeerPolicy, now: Duration) -> Self {
        let (timeout, rate_min) = (policy.timeout, policy.data_rate_min);
        Self { timeout, rate_min, deadline: now + timeout, ahead: 0 }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.deadline
    }

    /// A command or a message is complete: the next one has the whole timeout.
    pub(super) fn renew(&mut self, now: Duration) {
        self.deadline = now + self.timeout;
    }

    /// The octets that a round brought, which took `octets` and left `ahead` of a TLS record. Those of a record count
    /// when they come, and its content does not count again: a peer is as slow as it sends, however it cuts that.
    pub(super) fn came(&mut self, octets: usize, ahead: usize) -> usize {
        let before = std::mem::replace(&mut self.ahead, ahead);
        (octets + ahead).saturating_sub(before)
    }

    /// `octets` of a message arrived, and the message goes on.
    pub(super) fn extend(&mut self, octets: usize, now: Duration) {
        let most = now + self.timeout;
        self.deadline =
            match (octets as u64).saturating_mul(1_000_000_000).checked_div(self.rate_min) {
                None => most,
                Some(bought) => (self.deadline + Duration::from_nanos(bought)).min(most),
            };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn deadline(rate_min: u64) -> Deadline {
        Deadline { timeout: 10 * SECOND, rate_min, deadline: 10 * SECOND, ahead: 0 }
    }

    /// The second at which a peer that sends `octets` each second is given up, if it is.
    fn given_up(rate_min: u64, octets: usize) -> Option<u32> {
        let mut deadline = deadline(rate_min);
        (1..10_000).find(|&second| {
            let now = second * SECOND;
            let over = deadline.is_over(now);
            deadline.extend(octets, now);
            over
        })
    }

    #[test]
    fn content_must_keep_the_rate_after_one_timeout_of_grace() {
        assert_eq!(given_up(500, 1), Some(11));
        assert_eq!(given_up(500, 250), Some(19));
        assert_eq!(given_up(500, 500), None);
        assert_eq!(given_up(500, 5_000), None);
    }

    /// The second at which a peer is given up that sends so many octets each second, in records of that size with
    /// `overhead`, and the last of them with no end.
    fn given_up_in_records(octets: usize, record: usize, overhead: usize) -> Option<u32> {
        let (mut deadline, mut wire) = (deadline(500), 0);
        (1..10_000).find(|&second| {
            let now = second * SECOND;
            let over = deadline.is_over(now);
            wire += octets;
            let whole = wire / record;
            wire %= record;
            let came = deadline.came(whole * (record - overhead), wire);
            deadline.extend(came, now);
            over
        })
    }

    #[test]
    fn records_cost_a_steady_peer_no_time_and_buy_none() {
        const LARGEST: usize = 16_384;
        assert_eq!(given_up_in_records(600, LARGEST, 22), given_up(500, 600));
        assert_eq!(given_up_in_records(600, 600, 22), None);
        assert_eq!(given_up_in_records(250, LARGEST, 22), given_up(500, 250));
        // Records of one octet keep no rate.
        assert!(given_up_in_records(600, 23, 22).is_some());
        // Nor does one without an end, whose octets count once.
        assert!(given_up_in_records(1, usize::MAX, 22).is_some());
    }

    #[test]
    fn without_a_rate_any_octet_will_do() {
        assert_eq!(given_up(0, 1), None);
    }

    #[test]
    fn a_burst_buys_no_more_than_the_timeout() {
        let mut deadline = deadline(1);
        deadline.extend(usize::MAX, SECOND);
        assert!(!deadline.is_over(10 * SECOND));
        assert!(deadline.is_over(11 * SECOND));
    }

    #[test]
    fn a_line_that_does_not_end_buys_nothing() {
        let mut deadline = deadline(500);
        assert!(!deadline.is_over(9 * SECOND));
        assert!(deadline.is_over(10 * SECOND));
        deadline.renew(10 * SECOND);
        assert_eq!(deadline.deadline(), 20 * SECOND);
    }
}
