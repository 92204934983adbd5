//! Subscriptions of one partition in memory, by the rules of the contract and no faster than they read.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::{Settlement, SubscriptionRules};
use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, SubscriptionId, UnixMs};

use crate::{ConsumerId, CursorRefusal, DelayedPlace, LogBounds, Mandate, SeekTo, Settled, Standing};

/// What is kept of a subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    standing: Standing,
    /// Settled in the main lane, from the beginning of the log.
    settled: OffsetRanges,
    /// Settled in the delayed lane.
    delayed: BTreeSet<DelayedPlace>,
}

/// Where each delayed message stands in its lane.
pub(super) type DelayedMessages = BTreeMap<Offset, UnixMs>;

impl Subscription {
    pub(super) fn new(id: SubscriptionId, rules: SubscriptionRules, dead_letters_to: Option<LogId>) -> Self {
        let outbox_room = dead_letters_to.map_or(0, |_| OUTBOX_ROOM);
        let standing =
            Standing { subscription: id, rules, dead_letters_to, outbox_room, ..Standing::default() };
        Self { standing, settled: OffsetRanges::new(), delayed: BTreeSet::new() }
    }

    /// What stands, for a log that has these delayed messages.
    pub(super) fn standing(&self, log: &LogBounds, delayed: &DelayedMessages, stamp: UnixMs) -> Standing {
        let main = |offset: Offset| !delayed.contains_key(&offset);
        let mut floor = log.start;
        while floor < log.end && (self.settled.contains(floor) || !main(floor)) {
            floor = floor.plus(1);
        }
        let places = delayed.iter().map(|(offset, at)| DelayedPlace::new(*at, *offset));
        let open: BTreeSet<DelayedPlace> = places.filter(|place| !self.delayed.contains(place)).collect();
        let behind = DelayedPlace::new(stamp.plus_ms(1), Offset(0));
        let delayed_floor = open.first().copied().unwrap_or(behind).min(behind);
        let above = self.settled.iter().filter(|range| range.to > floor);
        Standing {
            floor,
            settled: above.map(|range| OffsetRange::new(range.from.max(floor), range.to)).collect(),
            delayed_floor,
            delayed_settled: self.delayed.range(delayed_floor..).copied().collect(),
            stamp,
            ..self.standing.clone()
        }
    }

    pub(super) fn begin_dispatch(&mut self, index: u64) {
        self.standing.dispatched_before = self.standing.dispatch_epoch > 0;
        self.standing.dispatch_epoch = index;
    }

    pub(super) fn own(&mut self, dispatch_epoch: u64, consumer: ConsumerId) -> Result<u64, CursorRefusal> {
        if !self.standing.rules.kind.is_owned() {
            return Err(CursorRefusal::NotOwned);
        }
        if dispatch_epoch != self.standing.dispatch_epoch {
            return Err(CursorRefusal::StaleDispatch { current: self.standing.dispatch_epoch });
        }
        self.standing.owner = Some(consumer);
        self.standing.owner_epoch += 1;
        Ok(self.standing.owner_epoch)
    }

    pub(super) fn seek(&mut self, to: SeekTo, log: &LogBounds) -> Result<(), CursorRefusal> {
        let (start, end) = (log.start, log.end);
        if to.main < start || to.main > end {
            return Err(CursorRefusal::OutOfRange { offset: to.main, start, end });
        }
        self.standing.seek_epoch += 1;
        self.standing.attempts.clear();
        self.settled = OffsetRanges::from_iter([OffsetRange::new(start, to.main)]);
        if let Some(place) = to.delayed {
            self.delayed.retain(|settled| *settled < place);
        }
        Ok(())
    }

    /// Settles as a whole, or refuses.
    pub(super) fn settle(
        &mut self,
        mandate: Mandate,
        settlement: &Settlement,
        log: &LogBounds,
        delayed: &DelayedMessages,
        stamp: UnixMs,
    ) -> Result<Settled, CursorRefusal> {
        self.fenced(mandate, settlement)?;
        let named = settlement.acked.iter().chain(&settlement.expired);
        if let Some(range) = named.clone().find(|range| range.to > log.end) {
            return Err(CursorRefusal::OutOfRange { offset: range.to, start: log.start, end: log.end });
        }
        let not_due = |range: &OffsetRange| delayed.range(range.from..range.to).find(|(_, at)| **at > stamp);
        if let Some((offset, _)) = settlement.acked.iter().find_map(not_due) {
            return Err(CursorRefusal::NotDue { offset: *offset });
        }
        let cumulative = settlement.cumulative.map(|below| OffsetRange::new(Offset(0), below));
        for range in named.copied().chain(cumulative) {
            self.decide(range, delayed, stamp);
        }
        for nack in &settlement.nacked {
            if self.is_settled(nack.offset, delayed) {
                continue;
            }
            let attempts = self.standing.attempts.entry(nack.offset).or_default();
            attempts.count += 1;
            attempts.not_before = nack.not_before;
        }
        for dead in &settlement.dead {
            if !self.is_settled(dead.offset, delayed) {
                self.standing.outbox_room = self.standing.outbox_room.saturating_sub(1);
                self.decide(OffsetRange::one(dead.offset), delayed, stamp);
            }
        }
        Ok(Settled { stamp, outbox_room: self.standing.outbox_room })
    }

    fn fenced(&self, mandate: Mandate, settlement: &Settlement) -> Result<(), CursorRefusal> {
        let now = &self.standing;
        if mandate.seek_epoch != now.seek_epoch {
            return Err(CursorRefusal::StaleSeek { current: now.seek_epoch });
        }
        if now.rules.kind.is_owned() && mandate.owner_epoch != now.owner_epoch {
            return Err(CursorRefusal::StaleOwner { current: now.owner_epoch });
        }
        let counts =
            now.rules.kind.is_owned() || !settlement.nacked.is_empty() || !settlement.dead.is_empty();
        if counts && mandate.dispatch_epoch != now.dispatch_epoch {
            return Err(CursorRefusal::StaleDispatch { current: now.dispatch_epoch });
        }
        Ok(())
    }

    fn decide(&mut self, range: OffsetRange, delayed: &DelayedMessages, stamp: UnixMs) {
        self.settled.insert(range);
        let due = delayed.range(range.from..range.to).filter(|(_, at)| **at <= stamp);
        self.delayed.extend(due.map(|(offset, at)| DelayedPlace::new(*at, *offset)));
        self.standing.attempts.retain(|offset, _| !range.contains(*offset));
    }

    fn is_settled(&self, offset: Offset, delayed: &DelayedMessages) -> bool {
        match delayed.get(&offset) {
            Some(at) => self.delayed.contains(&DelayedPlace::new(*at, offset)),
            None => self.settled.contains(offset),
        }
    }
}

/// Dead letters that there is room for, where a destination is known.
const OUTBOX_ROOM: usize = 1_000;
