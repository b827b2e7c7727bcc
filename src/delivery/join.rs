//! What arrived, held against what was sent.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::alteration::Alteration;
use super::bits::Bits;
use super::bounce::{Bounce, BounceAction};
use super::hops::Hops;
use super::sent::{SentRun, Told};
use super::sums::{DeliverySums, DeliveryTimes, Parts, size_class};
use super::timeline::DeliveryTimeline;
use crate::run::delivery::{DeliveryResult, SCHEMA};
use crate::spool::RecipientList;
use crate::stamp::Stamp;

/// What the user knows of the sinks.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// Is added to the times of the sinks, nanoseconds.
    pub clock_offset_ns: i64,
    /// Domains in lower case whose messages the sinks did not keep; `*` is every domain.
    pub not_kept: Vec<String>,
}

/// A message of the generator that is in a spool.
pub(super) struct StampedArrival<'m> {
    pub(super) stamp: Stamp,
    /// The header fields before the stamp.
    pub(super) header: &'m [u8],
    pub(super) alteration: Alteration,
    /// When its end was there, Unix nanoseconds by the clock of the sink.
    pub(super) at_ns: u64,
    pub(super) recipients: &'m RecipientList,
}

/// What arrived of one run.
pub(super) struct Arrived<'s> {
    pub(super) sent: &'s SentRun,
    /// A bit for each recipient of each message.
    pub(super) deliveries: Bits,
    pub(super) bounced: Bits,
    /// A bit for each message.
    pub(super) doubled: Bits,
    pub(super) altered: Bits,
    pub(super) reordered: Bits,
    untold: Bits,
    /// Recipients that nobody sent to, by a number of message and address, and how many each message has.
    strange: HashSet<u64>,
    pub(super) strange_of: HashMap<u64, u64>,
    /// The highest number that arrived of each connection, by core and connection.
    latest: Vec<Vec<u64>>,
    hasher: RandomState,
}

/// Runs held against what arrived.
pub struct Join<'s> {
    pub(super) options: &'s JoinOptions,
    pub(super) runs: Vec<Arrived<'s>>,
    pub(super) deliveries: DeliverySums,
    pub(super) messages: DeliverySums,
    pub(super) domains: Parts,
    pub(super) sizes: Parts,
    pub(super) targets: Parts,
    pub(super) timeline: DeliveryTimeline,
    hops: Hops,
    pub(super) result: DeliveryResult,
}

/// One message of a run, while a thing that arrived is looked at.
struct SentPlace {
    core: u16,
    seq: u64,
    /// Its number among those of all cores, its recipients, and the bit of the first.
    number: u64,
    recipients: u64,
    bit: u64,
    told: Option<Told>,
}

impl<'s> Arrived<'s> {
    fn new(sent: &'s SentRun) -> Self {
        let (bits, numbers) = (sent.bits(), sent.numbers());
        let of_messages = || Bits::new(numbers);
        Self {
            sent,
            deliveries: Bits::new(bits),
            bounced: Bits::new(bits),
            doubled: of_messages(),
            altered: of_messages(),
            reordered: of_messages(),
            untold: of_messages(),
            strange: HashSet::new(),
            strange_of: HashMap::new(),
            latest: vec![Vec::new(); sent.head.cores as usize],
            hasher: RandomState::new(),
        }
    }

    fn place(&self, core: u16, seq: u64) -> SentPlace {
        SentPlace {
            core,
            seq,
            number: self.sent.head.number(core, seq),
            recipients: self.sent.recipients(core, seq),
            bit: self.sent.bit(core, seq),
            told: self.sent.told(core, seq),
        }
    }

    /// Deliveries of a message that are there, those for recipients that nobody sent to included.
    fn there(&self, place: &SentPlace) -> u64 {
        let strange = self.strange_of.get(&place.number).copied().unwrap_or(0);
        self.deliveries.ones(place.bit, place.recipients) + strange
    }

    /// The recipients of a message that have this address, which may be several. `hint` is where to look
    /// first, and moves on.
    fn recipients_named(&self, place: &SentPlace, address: &[u8], hint: &mut u64) -> Vec<u64> {
        let (_, paths) = self.sent.table.of(&self.sent.head, place.core, place.seq);
        let filling = self.sent.head.filling(place.core, place.seq);
        let mut room = Vec::with_capacity(address.len());
        let mut is = |index: u64| {
            paths[index as usize].write(filling, &mut room);
            room.eq_ignore_ascii_case(address)
        };
        let first =
            (0..place.recipients).map(|n| (*hint + n) % place.recipients).find(|&index| is(index));
        let Some(first) = first else { return Vec::new() };
        *hint = (first + 1) % place.recipients;
        // A path that is like the next one is the only sign that some address is there twice; to compare
        // all with all would take long.
        let twins = (first + 1..place.recipients).take_while(|&index| is(index));
        std::iter::once(first).chain(twins).collect()
    }

    /// Notes a recipient that nobody sent to; whether it is new.
    fn is_new_stranger(&mut self, place: &SentPlace, address: &[u8]) -> bool {
        let hash = self.hasher.hash_one((place.number, address.to_ascii_lowercase()));
        let is_new = self.strange.insert(hash);
        if is_new {
            *self.strange_of.entry(place.number).or_default() += 1;
        }
        is_new
    }

    /// Whether a message came after a later one of its connection.
    fn came_late(&mut self, stamp: &Stamp) -> bool {
        let Some(conn) = stamp.conn.filter(|conn| *conn > 0) else { return false };
        // Each connection sent a message, or it is none of this run.
        if u64::from(conn) > self.sent.messages_of(stamp.core) + CONNECTIONS_MORE {
            return false;
        }
        let row = &mut self.latest[usize::from(stamp.core)];
        let at = conn as usize - 1;
        if row.len() <= at {
            row.resize(at + 1, 0);
        }
        let late = stamp.seq < row[at];
        row[at] = row[at].max(stamp.seq);
        late
    }
}

/// Connections of a core that sent no message.
const CONNECTIONS_MORE: u64 = 1 << 20;

impl<'s> Join<'s> {
    /// For these runs.
    pub fn new(runs: &'s [SentRun], options: &'s JoinOptions) -> Self {
        let mut join = Self {
            options,
            runs: runs.iter().map(Arrived::new).collect(),
            deliveries: DeliverySums::whole(),
            messages: DeliverySums::whole(),
            domains: Parts::default(),
            sizes: Parts::default(),
            targets: Parts::default(),
            timeline: DeliveryTimeline::default(),
            hops: Hops::default(),
            result: DeliveryResult {
                schema: SCHEMA,
                runs: runs.iter().map(|run| format!("{:016x}", run.head.run)).collect(),
                clock_offset_ns: options.clock_offset_ns,
                ..DeliveryResult::default()
            },
        };
        for run in runs {
            for told in run.all().filter_map(|(core, seq)| run.told(core, seq)) {
                if told.accepted > 0 {
                    join.timeline.accepted(told.ended_ns, told.accepted);
                }
            }
        }
        join
    }

    fn run_of(&self, stamp: &Stamp) -> Option<usize> {
        self.runs
            .iter()
            .position(|run| (run.sent.head.run, run.sent.head.shard) == (stamp.run, stamp.shard))
    }

    /// Octets of the message with this stamp as it was sent; `None` where it is none of these runs.
    pub(super) fn size_of(&self, stamp: &Stamp) -> Option<u64> {
        let sent = self.runs[self.run_of(stamp)?].sent;
        let known = sent.knows(stamp.core, stamp.seq);
        known.then(|| sent.table.of(&sent.head, stamp.core, stamp.seq).0.size)
    }

    /// Takes in a message that is none of the generator's.
    pub(super) fn other(&mut self) {
        self.result.others += 1;
    }

    /// Takes in a message of the generator.
    pub(super) fn arrive(&mut self, arrival: &StampedArrival<'_>) {
        let stamp = &arrival.stamp;
        let Some(run) = self.run_of(stamp) else { return self.other() };
        let arrived = &mut self.runs[run];
        if !arrived.sent.knows(stamp.core, stamp.seq) {
            self.result.untold += 1;
            return;
        }
        let place = arrived.place(stamp.core, stamp.seq);
        let before = arrived.there(&place);
        if place.told.is_none() && arrived.untold.set(place.number) {
            self.result.untold += 1;
        }
        if before == 0 && arrived.came_late(stamp) {
            arrived.reordered.set(place.number);
        }
        let (mut new, mut strangers, mut copies, mut hint) = (Vec::new(), 0, 0, 0);
        for recipient in arrival.recipients.iter() {
            let named = arrived.recipients_named(&place, recipient.path, &mut hint);
            if named.is_empty() {
                match arrived.is_new_stranger(&place, recipient.path) {
                    true => strangers += 1,
                    false => copies += 1,
                }
                continue;
            }
            let fresh = named.into_iter().filter(|index| arrived.deliveries.set(place.bit + index));
            let count = new.len();
            new.extend(fresh);
            copies += u64::from(new.len() == count);
        }
        self.count(run, &place, arrival, (&new, strangers, copies));
        self.time(run, &place, arrival, (&new, strangers, before));
    }

    /// Counts what is known at once; the rest is counted at the end.
    fn count(
        &mut self,
        run: usize,
        place: &SentPlace,
        arrival: &StampedArrival<'_>,
        (new, strangers, copies): (&[u64], u64, u64),
    ) {
        let Self { runs, deliveries, domains, sizes, targets, result, .. } = self;
        let arrived = &mut runs[run];
        let fresh = new.len() as u64 + strangers;
        let altered = if arrival.alteration.is_empty() { 0 } else { fresh };
        let reordered = if arrived.reordered.get(place.number) { fresh } else { 0 };
        if copies > 0 {
            arrived.doubled.set(place.number);
        }
        if altered > 0 && arrived.altered.set(place.number) {
            for (change, name) in Alteration::NAMES {
                if arrival.alteration.contains(change) {
                    *result.alterations.entry(name.to_owned()).or_default() += 1;
                }
            }
        }
        let first = new.first().copied().unwrap_or(0);
        let add = |sums: &mut DeliverySums| {
            sums.counts.doubled += copies;
            sums.counts.altered += altered;
            sums.counts.reordered += reordered;
        };
        add(deliveries);
        if copies + altered + reordered > 0 && place.recipients > 0 {
            let sent = arrived.sent;
            let domain = sent.domain(place.core, place.seq, first);
            add(domains.of(&sent.domains[domain as usize]));
            add(sizes.of(size_class(sent.table.of(&sent.head, place.core, place.seq).0.size)));
            if let Some(name) = target_name(sent, place.told.as_ref()) {
                add(targets.of(name));
            }
        }
    }

    fn time(
        &mut self,
        run: usize,
        place: &SentPlace,
        arrival: &StampedArrival<'_>,
        (new, strangers, before): (&[u64], u64, u64),
    ) {
        let at_ns = arrival.at_ns.saturating_add_signed(self.options.clock_offset_ns);
        let due_ns = arrival.stamp.due_unix_ns;
        let took_ns = (at_ns as i64).saturating_sub(due_ns as i64);
        let least_ns = self.result.delivery_min_ns.map_or(took_ns, |least| least.min(took_ns));
        self.result.delivery_min_ns = Some(least_ns);
        let Some(told) = place.told else { return };
        let fresh = new.len() as u64 + strangers;
        let wanted = told.accepted.saturating_sub(before).min(fresh);
        if wanted > 0 {
            self.timeline.delivered(at_ns, wanted);
        }
        if !told.is_measured || fresh == 0 {
            return;
        }
        let delivery_ns = took_ns.max(0) as u64;
        let transit_ns = told.is_accepted.then(|| at_ns.saturating_sub(told.ended_ns));
        let sent = self.runs[run].sent;
        let size = sent.table.of(&sent.head, place.core, place.seq).0.size;
        for _ in 0..fresh {
            self.deliveries.times.record(delivery_ns, transit_ns);
            self.sizes.of(size_class(size)).times.record(delivery_ns, transit_ns);
            if let Some(name) = target_name(sent, Some(&told)) {
                self.targets.of(name).times.record(delivery_ns, transit_ns);
            }
        }
        for &index in new {
            let domain = sent.domain(place.core, place.seq, index) as usize;
            self.domains.of(&sent.domains[domain]).times.record(delivery_ns, transit_ns);
        }
        // The last recipient makes the message whole.
        if before < told.accepted && before + fresh >= told.accepted {
            self.messages.times.record(delivery_ns, transit_ns);
        }
        self.hops.add(arrival.header, due_ns, at_ns);
    }

    /// Takes in a notification about a message.
    pub(super) fn bounce(&mut self, bounce: &Bounce) {
        let Some(run) = self.run_of(&bounce.stamp) else { return self.other() };
        let arrived = &mut self.runs[run];
        let (core, seq) = (bounce.stamp.core, bounce.stamp.seq);
        if !arrived.sent.knows(core, seq) {
            self.result.bounces_unmatched += 1;
            return;
        }
        let place = arrived.place(core, seq);
        let mut hint = 0;
        for (action, address) in &bounce.recipients {
            if *action == BounceAction::Delayed {
                self.result.delay_notices += 1;
                continue;
            }
            let mut named = arrived.recipients_named(&place, address, &mut hint);
            // The only recipient, under the name that the server gave it.
            if named.is_empty() && place.recipients == 1 {
                named.push(0);
            }
            if named.is_empty() {
                self.result.bounces_unmatched += 1;
            }
            for index in named {
                arrived.bounced.set(place.bit + index);
            }
        }
    }

    /// The times of all deliveries, and of whole messages.
    pub(super) fn times(&self) -> [DeliveryTimes; 2] {
        [self.deliveries.times.clone(), self.messages.times.clone()]
    }

    /// Puts together what is known when everything was counted.
    pub(super) fn put_together(self) -> DeliveryResult {
        DeliveryResult {
            deliveries: self.deliveries.part(),
            messages: self.messages.part(),
            domains: self.domains.splits(),
            sizes: self.sizes.splits(),
            targets: self.targets.splits(),
            hops: self.hops.told(),
            seconds: self.timeline.seconds(),
            ..self.result
        }
    }
}

/// The target that a message was sent to, where there are several.
pub(super) fn target_name<'s>(sent: &'s SentRun, told: Option<&Told>) -> Option<&'s str> {
    let names = Some(&sent.target_names).filter(|names| names.len() > 1)?;
    names.get(usize::from(told?.target)).map(String::as_str)
}
