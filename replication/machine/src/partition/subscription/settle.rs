//! Applying one settlement: checked first, then applied as a whole (SUB-1, SUB-2, SUB-6).
//!
//! The dispatcher is believed in what it alone can know: which messages a consumer acked, which time a delayed message
//! has, and that nothing is pending before a floor of the delayed lane. Checked is everything else: epochs, that
//! nothing beyond the end of the log is named, that no delayed message is settled before its time, that as many
//! messages were passed as delayed ones exist, that a dead letter had its last attempt, that a floor passes no
//! message that failed, and every bound. A wrong time settles a message that does not exist, so the one that was
//! meant is delivered again; a wrong floor leaves the message in the backlog's number.

use meridian_model::subscription::{DeadLetter, DelayedRange, Nack, Settlement};
use meridian_model::{Offset, OffsetRange, Place, UnixMs};

use super::journal::Journal;
use super::state::Subscription;
use super::{SubscriptionBound, SubscriptionRefusal};
use crate::command::SettlePart;
use crate::partition::Bounds;

/// What a settlement is measured by.
pub(super) struct Now<'a> {
    /// The start of the log: what lies below can neither be delivered nor moved.
    pub(super) start: Offset,
    /// The end of the log.
    pub(super) end: Offset,
    /// The stamp of the settlement.
    pub(super) stamp: UnixMs,
    /// Delayed messages since the log began.
    pub(super) delayed: u64,
    pub(super) bounds: &'a Bounds,
}

impl Subscription {
    /// Applies a part, or nothing of it.
    pub(super) fn settle(
        &mut self,
        part: &SettlePart,
        now: &Now<'_>,
        journal: &mut Journal,
    ) -> Result<(), SubscriptionRefusal> {
        self.check_epochs(part)?;
        self.check(&part.settlement, now)?;
        if self.has_room(&part.settlement, now.bounds) {
            self.apply(&part.settlement, now, journal);
            return Ok(());
        }
        // Close to a bound: whether it is passed is known afterwards. Ranges may become one, attempts may end.
        let (mut settled, mut rows) = (self.clone(), Journal::default());
        settled.apply(&part.settlement, now, &mut rows);
        settled.check_bounds(now.bounds)?;
        *self = settled;
        journal.absorb(rows);
        Ok(())
    }

    fn check_epochs(&self, part: &SettlePart) -> Result<(), SubscriptionRefusal> {
        if part.seek_epoch != self.seek_epoch && !planted!(SeekEpochIgnored) {
            return Err(SubscriptionRefusal::StaleSeek { current: self.seek_epoch });
        }
        let owner = part.owner_epoch.filter(|_| self.owner.is_some());
        if self.rules.kind.is_owned() && owner != Some(self.owner_epoch) && !planted!(OwnerEpochIgnored) {
            return Err(SubscriptionRefusal::StaleOwner { current: self.owner_epoch });
        }
        Ok(())
    }

    fn check(&self, settlement: &Settlement, now: &Now<'_>) -> Result<(), SubscriptionRefusal> {
        if settlement.items() > now.bounds.settle_items_max {
            return Err(SubscriptionRefusal::Bound(SubscriptionBound::Items));
        }
        check_end(settlement, now.end)?;
        check_times(settlement, now.stamp)?;
        let new = |range: &OffsetRange| self.main.unsettled(*range).iter().map(OffsetRange::len).sum::<u64>();
        let passed: u64 = settlement.delayed.passed.iter().map(new).sum();
        if passed > now.delayed.saturating_sub(self.main.passed) {
            return Err(SubscriptionRefusal::NotDelayed);
        }
        for (place, _) in dead(settlement) {
            self.check_last_attempt(place, now)?;
        }
        Ok(())
    }

    /// A dead letter had its last attempt. One that is settled already is a repetition: nothing comes of it.
    fn check_last_attempt(&self, place: Place, now: &Now<'_>) -> Result<(), SubscriptionRefusal> {
        let count = self.attempts.get(&place).map_or(0, |attempts| attempts.count);
        let last = self.rules.attempts_max.is_some_and(|most| count.saturating_add(1) >= most);
        match last || self.is_over(place, now) || planted!(DiesEarly) {
            true => Ok(()),
            false => Err(SubscriptionRefusal::NotLastAttempt { count }),
        }
    }

    /// Whether nothing can become of a message any more: it is settled, or trimmed.
    fn is_over(&self, place: Place, now: &Now<'_>) -> bool {
        place.offset < now.start || self.is_settled(place)
    }

    /// Whether no bound can be passed, however the settlement falls out.
    fn has_room(&self, settlement: &Settlement, bounds: &Bounds) -> bool {
        let Settlement { acked, expired, nacked, dead, delayed, .. } = settlement;
        let main = acked.len() + expired.len() + dead.len() + delayed.passed.len();
        let dead = dead.len() + delayed.dead.len();
        let lane = delayed.acked.len() + delayed.expired.len() + delayed.dead.len();
        let failed =
            delayed.floor.is_some_and(|floor| self.failed_before(floor) || !delayed.nacked.is_empty());
        // A floor may yet be refused where an attempt could be below it.
        !failed
            && self.main.settled.ranges() + main <= bounds.settled_ranges_max
            && self.delayed.ranges + lane <= bounds.settled_delayed_max
            && self.attempts.len() + nacked.len() + delayed.nacked.len() <= bounds.attempts_max
            && self.outbox.letters + dead <= bounds.dead_letters_max
            && self.outbox.destinations.len() + dead <= bounds.destinations_max
    }

    /// Whether a delayed message before this place failed and is not settled.
    fn failed_before(&self, floor: Place) -> bool {
        let first = Place { deliver_at: UnixMs(1), offset: Offset(0) };
        self.attempts.range(first.min(floor)..floor).next().is_some()
    }

    fn check_bounds(&self, bounds: &Bounds) -> Result<(), SubscriptionRefusal> {
        if self.failed_before(self.delayed.floor) {
            return Err(SubscriptionRefusal::FloorPassesAttempt);
        }
        let outbox = &self.outbox;
        let over = [
            (SubscriptionBound::SettledRanges, self.main.settled.ranges(), bounds.settled_ranges_max),
            (SubscriptionBound::SettledDelayed, self.delayed.ranges, bounds.settled_delayed_max),
            (SubscriptionBound::Attempts, self.attempts.len(), bounds.attempts_max),
            (SubscriptionBound::DeadLetters, outbox.letters, bounds.dead_letters_max),
            (SubscriptionBound::Destinations, outbox.destinations.len(), bounds.destinations_max),
        ];
        match over.into_iter().find(|(_, held, most)| held > most && !planted!(BoundsIgnored)) {
            Some((bound, ..)) => Err(SubscriptionRefusal::Bound(bound)),
            None => Ok(()),
        }
    }

    /// Acks come before attempts: an attempt of a message that is settled is none.
    fn apply(&mut self, settlement: &Settlement, now: &Now<'_>, journal: &mut Journal) {
        for range in &settlement.delayed.passed {
            self.main.passed += self.settle_main(*range, journal);
        }
        if let Some(below) = settlement.cumulative {
            let below = if planted!(CumulativeOneTooFar) { Offset(below.0 + 1).min(now.end) } else { below };
            self.settle_main(OffsetRange::new(Offset(0), below), journal);
        }
        for range in &settlement.acked {
            self.settle_main(*range, journal);
        }
        for range in &settlement.delayed.acked {
            self.settle_delayed(*range, journal);
        }
        for range in &settlement.expired {
            self.expired += self.settle_main(*range, journal);
        }
        for range in &settlement.delayed.expired {
            self.expired += self.settle_delayed(*range, journal);
        }
        for (place, letter) in dead(settlement) {
            self.bury(place, letter, now, journal);
        }
        for (place, nack) in nacked(settlement) {
            if !self.is_over(place, now) || planted!(NackRevivesAttempts) {
                self.fail(place, nack.not_before, journal);
            }
        }
        if let Some(floor) = settlement.delayed.floor {
            self.delayed.raise_floor(self.id, floor, journal);
        }
        if self.main.floor >= now.end {
            // Nothing is left that could have been passed: whatever was not told is known now.
            self.main.passed = now.delayed;
        }
    }

    fn settle_main(&mut self, range: OffsetRange, journal: &mut Journal) -> u64 {
        self.forget_attempts(UnixMs(0), range, journal);
        self.main.settle(self.id, range, journal)
    }

    fn settle_delayed(&mut self, delayed: DelayedRange, journal: &mut Journal) -> u64 {
        self.forget_attempts(delayed.deliver_at, delayed.range, journal);
        self.delayed.settle(self.id, delayed, journal)
    }

    /// A message leaves for another topic: once, as it is settled once.
    fn bury(&mut self, place: Place, letter: DeadLetter, now: &Now<'_>, journal: &mut Journal) {
        if self.is_over(place, now) && !planted!(BuriesTwice) {
            return;
        }
        let range = OffsetRange::one(letter.offset);
        match place.is_delayed() {
            true => self.settle_delayed(DelayedRange { deliver_at: place.deliver_at, range }, journal),
            false => self.settle_main(range, journal),
        };
        self.outbox.send(self.id, letter.destination, place, journal);
    }
}

fn nacked(settlement: &Settlement) -> impl Iterator<Item = (Place, Nack)> + '_ {
    let main = settlement.nacked.iter().map(|nack| (Place::main(nack.offset), *nack));
    let delayed = settlement.delayed.nacked.iter();
    main.chain(
        delayed.map(|(deliver_at, nack)| (Place { deliver_at: *deliver_at, offset: nack.offset }, *nack)),
    )
}

fn dead(settlement: &Settlement) -> impl Iterator<Item = (Place, DeadLetter)> + '_ {
    let main = settlement.dead.iter().map(|letter| (Place::main(letter.offset), *letter));
    let delayed = settlement.delayed.dead.iter();
    main.chain(
        delayed
            .map(|(deliver_at, letter)| (Place { deliver_at: *deliver_at, offset: letter.offset }, *letter)),
    )
}

/// What lies beyond the end was never delivered.
fn check_end(settlement: &Settlement, end: Offset) -> Result<(), SubscriptionRefusal> {
    let Settlement { cumulative, acked, expired, delayed, .. } = settlement;
    let ranges = acked.iter().chain(expired).chain(&delayed.passed).map(|range| range.to);
    let delayed_ranges = delayed.acked.iter().chain(&delayed.expired).map(|delayed| delayed.range.to);
    let floor = delayed.floor.map(|floor| floor.offset);
    let mut ends = ranges.chain(delayed_ranges).chain(*cumulative).chain(floor);
    let mut offsets =
        nacked(settlement).map(|(place, _)| place).chain(dead(settlement).map(|(place, _)| place));
    match (ends.all(|to| to <= end) && offsets.all(|place| place.offset < end)) || planted!(AcksBeyondEnd) {
        true => Ok(()),
        false => Err(SubscriptionRefusal::BeyondEnd { end }),
    }
}

/// Delayed messages have a time, and it has come.
fn check_times(settlement: &Settlement, stamp: UnixMs) -> Result<(), SubscriptionRefusal> {
    let delayed = &settlement.delayed;
    let ranges = delayed.acked.iter().chain(&delayed.expired).map(|range| range.deliver_at);
    let attempts = delayed.nacked.iter().map(|(at, _)| *at).chain(delayed.dead.iter().map(|(at, _)| *at));
    for deliver_at in ranges.chain(attempts).chain(delayed.floor.map(|floor| floor.deliver_at)) {
        if deliver_at > stamp && !planted!(AcksBeforeDue) {
            return Err(SubscriptionRefusal::NotDue { deliver_at });
        }
        if deliver_at == UnixMs(0) {
            return Err(SubscriptionRefusal::NotDelayed);
        }
    }
    Ok(())
}
