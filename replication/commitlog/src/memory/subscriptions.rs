//! Subscriptions of one partition in memory, by the rules of the contract and no faster than they read. Without bounds,
//! but for dead letters.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::{DeadLetter, DelayedRange, Nack, Settlement, SubscriptionRules};
use meridian_model::{ConsumerId, LogId, Offset, OffsetRange, OffsetRanges, Place, SubscriptionId, UnixMs};

use crate::{CursorRefusal, LogBounds, Mandate, SeekTo, Settled, Standing};

/// What is kept of a subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    /// All but what is settled.
    standing: Standing,
    /// Settled in the main lane, from the beginning of the log.
    settled: OffsetRanges,
    /// Settled in the delayed lane.
    delayed: BTreeSet<Place>,
    destinations: BTreeSet<LogId>,
}

/// When each delayed message is due.
pub(super) type DelayedMessages = BTreeMap<Offset, UnixMs>;

/// What a settlement is measured by.
pub(super) struct Measure<'a> {
    pub(super) log: &'a LogBounds,
    pub(super) delayed: &'a DelayedMessages,
    pub(super) stamp: UnixMs,
}

impl Subscription {
    pub(super) fn new(id: SubscriptionId, rules: SubscriptionRules) -> Self {
        let standing = Standing { subscription: id, rules, outbox_room: OUTBOX_ROOM, ..Standing::default() };
        Self {
            standing,
            settled: OffsetRanges::new(),
            delayed: BTreeSet::new(),
            destinations: BTreeSet::new(),
        }
    }

    /// What stands now.
    pub(super) fn standing(&self, log: &LogBounds, dispatch_epoch: u64, stamp: UnixMs) -> Standing {
        let floor = self.settled.first_absent(log.start);
        let above = self.settled.iter().filter(|range| range.from > floor);
        let ahead = self.delayed.range(self.standing.delayed_floor..);
        let one = |place: &Place| DelayedRange {
            deliver_at: place.deliver_at,
            range: OffsetRange::one(place.offset),
        };
        Standing {
            dispatch_epoch,
            floor,
            settled: above.collect(),
            delayed_settled: ahead.map(one).collect(),
            destinations: self.destinations.iter().copied().collect(),
            stamp,
            ..self.standing.clone()
        }
    }

    pub(super) fn own(&mut self, owner: Option<ConsumerId>) -> Result<u64, CursorRefusal> {
        if !self.standing.rules.kind.is_owned() {
            return Err(CursorRefusal::NotOwned);
        }
        self.standing.owner = owner;
        self.standing.owner_epoch += 1;
        Ok(self.standing.owner_epoch)
    }

    pub(super) fn seek(&mut self, to: SeekTo, log: &LogBounds) -> Result<(), CursorRefusal> {
        let to = match to {
            SeekTo::Earliest => log.start,
            SeekTo::Latest => log.end,
            SeekTo::Offset(offset) if offset > log.end => {
                return Err(CursorRefusal::BeyondEnd { end: log.end });
            }
            SeekTo::Offset(offset) => offset.max(log.start),
        };
        self.standing.seek_epoch += 1;
        self.standing.attempts.clear();
        self.settled = OffsetRanges::from_iter([OffsetRange::new(Offset(0), to)]);
        self.delayed.clear();
        (self.standing.delayed_from, self.standing.delayed_floor) = (to, Place::default());
        Ok(())
    }

    /// Settles as a whole, or refuses.
    pub(super) fn settle(
        &mut self,
        mandate: Mandate,
        settlement: &Settlement,
        by: &Measure<'_>,
    ) -> Result<Settled, CursorRefusal> {
        self.fenced(mandate)?;
        self.check(settlement, by)?;
        let cumulative = settlement.cumulative.map(|below| OffsetRange::new(Offset(0), below));
        let delayed = &settlement.delayed;
        let main = delayed.passed.iter().chain(&settlement.acked).chain(&settlement.expired).copied();
        main.chain(cumulative).for_each(|range| self.settle_main(range));
        delayed.acked.iter().chain(&delayed.expired).for_each(|range| self.settle_delayed(*range));
        for (place, letter) in dead(settlement) {
            if !self.is_over(place, by) {
                self.standing.outbox_room = self.standing.outbox_room.saturating_sub(1);
                self.destinations.insert(letter.destination);
                self.settle_one(place);
            }
        }
        for (place, nack) in nacked(settlement) {
            if !self.is_over(place, by) {
                let attempts = self.standing.attempts.entry(place).or_default();
                attempts.count += 1;
                attempts.not_before = nack.not_before;
            }
        }
        let floor = delayed.floor.unwrap_or_default();
        self.standing.delayed_floor = self.standing.delayed_floor.max(floor);
        Ok(Settled { stamp: by.stamp, outbox_room: self.standing.outbox_room })
    }

    fn fenced(&self, mandate: Mandate) -> Result<(), CursorRefusal> {
        let now = &self.standing;
        if mandate.seek_epoch != now.seek_epoch {
            return Err(CursorRefusal::StaleSeek { current: now.seek_epoch });
        }
        let owner = mandate.owner_epoch.filter(|_| now.owner.is_some());
        if now.rules.kind.is_owned() && owner != Some(now.owner_epoch) {
            return Err(CursorRefusal::StaleOwner { current: now.owner_epoch });
        }
        Ok(())
    }

    fn check(&self, settlement: &Settlement, by: &Measure<'_>) -> Result<(), CursorRefusal> {
        let delayed = &settlement.delayed;
        let ranges = delayed.acked.iter().chain(&delayed.expired);
        let main = settlement.acked.iter().chain(&settlement.expired).chain(&delayed.passed);
        let mut ends = main.map(|range| range.to).chain(ranges.clone().map(|delayed| delayed.range.to));
        let attempts = || nacked(settlement).map(|(place, _)| place).chain(dead(settlement).map(|(p, _)| p));
        if ends.any(|to| to > by.log.end) || attempts().any(|place| place.offset >= by.log.end) {
            return Err(CursorRefusal::BeyondEnd { end: by.log.end });
        }
        let times = ranges.map(|range| range.deliver_at).chain(delayed.floor.map(|floor| floor.deliver_at));
        for deliver_at in times.chain(attempts().map(|place| place.deliver_at)) {
            if deliver_at > by.stamp {
                return Err(CursorRefusal::NotDue { deliver_at });
            }
        }
        let mut passed = delayed.passed.iter().flat_map(|range| range.from.0..range.to.0);
        if passed.any(|offset| !by.delayed.contains_key(&Offset(offset)) && Offset(offset) >= by.log.start) {
            return Err(CursorRefusal::NotDelayed);
        }
        for (place, _) in dead(settlement).filter(|(place, _)| !self.is_over(*place, by)) {
            let count = self.standing.attempts.get(&place).map_or(0, |attempts| attempts.count);
            if self.standing.rules.attempts_max.is_none_or(|most| count + 1 < most) {
                return Err(CursorRefusal::NotLastAttempt { count });
            }
        }
        Ok(())
    }

    fn settle_main(&mut self, range: OffsetRange) {
        self.settled.insert(range);
        self.standing.attempts.retain(|place, _| place.is_delayed() || !range.contains(place.offset));
    }

    fn settle_delayed(&mut self, delayed: DelayedRange) {
        let offsets = delayed.range.from.0..delayed.range.to.0;
        let places = offsets.map(|offset| Place { deliver_at: delayed.deliver_at, offset: Offset(offset) });
        places.for_each(|place| self.settle_one(place));
    }

    fn settle_one(&mut self, place: Place) {
        if !place.is_delayed() {
            return self.settle_main(OffsetRange::one(place.offset));
        }
        self.delayed.insert(place);
        self.standing.attempts.remove(&place);
    }

    /// Whether nothing can become of a message any more.
    fn is_over(&self, place: Place, by: &Measure<'_>) -> bool {
        let settled = match place.is_delayed() {
            false => self.settled.contains(place.offset),
            true => {
                let before = place < self.standing.delayed_floor || place.offset < self.standing.delayed_from;
                before || self.delayed.contains(&place)
            }
        };
        settled || place.offset < by.log.start
    }
}

fn nacked(settlement: &Settlement) -> impl Iterator<Item = (Place, Nack)> + '_ {
    let main = settlement.nacked.iter().map(|nack| (Place::main(nack.offset), *nack));
    let delayed = settlement.delayed.nacked.iter();
    main.chain(delayed.map(|(at, nack)| (Place { deliver_at: *at, offset: nack.offset }, *nack)))
}

fn dead(settlement: &Settlement) -> impl Iterator<Item = (Place, DeadLetter)> + '_ {
    let main = settlement.dead.iter().map(|letter| (Place::main(letter.offset), *letter));
    let delayed = settlement.delayed.dead.iter();
    main.chain(delayed.map(|(at, letter)| (Place { deliver_at: *at, offset: letter.offset }, *letter)))
}

/// Dead letters that there is room for.
const OUTBOX_ROOM: usize = 1_000;
