//! The pacer of a core: it wakes free sessions when work is due.

use std::io;

use super::{Arrival, Dealt, Work};
use crate::blast::schedule::Schedule;
use crate::engine::Alarm;
use crate::engine::task::select;

/// An alarm is set this long before work is due where the rest of the wait is a spin: a
/// little more than the lateness of most alarms, measured at 45 µs (median) to 70 µs (p90).
const ALARM_LEAD_NS: u64 = 60_000;

/// Arrivals a second on one core up to which that spin is worth its share of the core, some 15 µs each.
/// At higher rates an arrival is late by less than the gap between two.
const SPIN_RATE_MAX: f64 = 4_000.0;

/// Time that is spun through at any rate: an alarm could not come so soon.
const SPIN_NS_MAX: u64 = 10_000;

const _: () =
    assert!(SPIN_NS_MAX <= ALARM_LEAD_NS, "an alarm that is early is no earlier than the spin");

/// How long before work is due an alarm is set.
pub(super) fn lead_ns(schedule: Option<&Schedule>, cores: usize) -> u64 {
    let quiet =
        schedule.is_some_and(|schedule| schedule.profile.peak() / cores as f64 <= SPIN_RATE_MAX);
    if quiet { ALARM_LEAD_NS } else { 0 }
}

impl Work {
    /// Wakes free sessions when work is due, to the end of the work.
    pub(in crate::blast) async fn pace(&self) -> io::Result<()> {
        let mut alarm = Alarm::new()?;
        loop {
            let now_ns = self.clock.elapsed_ns();
            self.deal(now_ns);
            let Some(due_ns) = self.wanted_at() else {
                self.changed().notified().await;
                continue;
            };
            let alarm_ns = due_ns.saturating_sub(self.lead_ns.max(SPIN_NS_MAX));
            if alarm_ns > now_ns {
                let at = if self.lead_ns > 0 { alarm_ns } else { due_ns };
                select! {
                    biased;
                    () = self.changed().notified() => continue,
                    woken = alarm.until(self.clock.instant(at)) => woken?,
                }
            }
            while self.clock.elapsed_ns() < due_ns {
                std::hint::spin_loop();
            }
        }
    }

    /// Gives the work that is due to the sessions that wait.
    fn deal(&self, now_ns: u64) {
        while !self.idle.borrow().is_empty() {
            let dealt = match self.take_due(now_ns) {
                Some(arrival) => Dealt::Work(arrival),
                None if self.over(now_ns) => Dealt::Over,
                None => return,
            };
            if let Some(slot) = self.idle.borrow_mut().pop_front() {
                slot.deal(dealt);
            }
        }
        if self.forwarding.get() && self.stopped_ns.get().is_none() {
            while let Some(arrival) = self.take_own(now_ns) {
                let free_ns = arrival.due_ns.max(self.forwarding_since_ns.get());
                self.give(Arrival { free_ns, ..arrival });
            }
        }
    }

    /// When the next work is due, if a session waits for it, here or on another core.
    fn wanted_at(&self) -> Option<u64> {
        if self.stopped_ns.get().is_some()
            || self.idle.borrow().is_empty() && !self.forwarding.get()
        {
            return None;
        }
        self.arrivals.borrow().as_ref()?.peek()
    }
}
