//! The delayed lane: messages in order of their time and then of offsets, a floor, and what is settled above it.
//!
//! What is pending are rows on disk that the machine cannot read. It knows which messages it was told are settled,
//! and the leader, who reads the rows, says when there is none left before a place: then the floor goes there.
//! No message is ever appended before a floor. A floor's time has come; a message that is appended later is delayed
//! only if its time is later than the stamp, and stamps do not go back.

use std::collections::BTreeMap;

use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, OffsetRange, OffsetRanges, Place, SubscriptionId, UnixMs};

use super::journal::Journal;
use super::keys;
use crate::Table;

/// What is settled among delayed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DelayedLane {
    /// Messages below this offset are not delivered from this lane: where the subscription began, or went to.
    pub(super) from: Offset,
    /// Delayed messages below `from`, since the log began.
    pub(super) before: u64,
    /// Everything before this place is settled.
    pub(super) floor: Place,
    /// What is settled from the floor on, by time.
    pub(super) settled: BTreeMap<UnixMs, OffsetRanges>,
    /// How many ranges these are.
    pub(super) ranges: usize,
    /// Messages settled since the lane began at `from`, before the floor and after it.
    pub(super) messages: u64,
    /// Whether that number can be believed: not after a backlog was dropped in which it is not known what was
    /// settled already.
    pub(super) exact: bool,
}

impl DelayedLane {
    /// Everything from this offset on is pending, and so many delayed messages lie below it.
    pub(super) fn at(from: Offset, before: u64) -> Self {
        Self { from, before, exact: true, ..Self::default() }
    }

    pub(super) fn is_settled(&self, place: Place) -> bool {
        let known = || self.settled.get(&place.deliver_at).is_some_and(|set| set.contains(place.offset));
        place.offset < self.from || place < self.floor || known()
    }

    /// Settles messages. Returns how many were not settled yet.
    pub(super) fn settle(&mut self, id: SubscriptionId, delayed: DelayedRange, journal: &mut Journal) -> u64 {
        let DelayedRange { deliver_at, range } = delayed;
        let floor = match deliver_at.cmp(&self.floor.deliver_at) {
            std::cmp::Ordering::Less => return 0,
            std::cmp::Ordering::Equal => self.floor.offset.max(self.from),
            std::cmp::Ordering::Greater => self.from,
        };
        let range = OffsetRange::new(range.from.max(floor), range.to);
        if range.is_empty() {
            return 0;
        }
        let set = self.settled.entry(deliver_at).or_default();
        let ranges = set.ranges();
        let key = |offset| keys::place(id, Place { deliver_at, offset });
        for known in set.touching(range) {
            journal.delete(Table::Settled, key(known.from));
        }
        let new = set.insert(range);
        let whole = set.around(range.from).unwrap_or(range);
        journal.insert(Table::Settled, key(whole.from), whole.to.0.to_le_bytes().to_vec());
        self.ranges = self.ranges - ranges + set.ranges();
        self.messages += new;
        new
    }

    /// Everything before this place is settled: what was known of it is forgotten.
    pub(super) fn raise_floor(&mut self, id: SubscriptionId, floor: Place, journal: &mut Journal) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        let later = self.settled.split_off(&floor.deliver_at);
        for (deliver_at, set) in std::mem::replace(&mut self.settled, later) {
            self.ranges -= set.ranges();
            delete_ranges(id, deliver_at, &set, journal);
        }
        self.cut(id, floor.deliver_at, floor.offset, journal);
    }

    /// A dropped backlog: messages below this offset cannot be delivered any more, whatever their time.
    /// `before` is how many delayed messages lie below it since the log began.
    pub(super) fn raise_from(
        &mut self,
        id: SubscriptionId,
        from: Offset,
        before: u64,
        journal: &mut Journal,
    ) {
        let times: Vec<UnixMs> = self.settled.keys().copied().collect();
        for deliver_at in times {
            self.cut(id, deliver_at, from, journal);
        }
        (self.from, self.before) = (from, before);
    }

    /// Some of those that were settled before the floor may lie below `from` now: how many nobody knows.
    pub(super) fn lose_count(&mut self) {
        self.messages = self.settled.values().map(OffsetRanges::offsets).sum();
        self.exact = false;
    }

    /// Takes what lies below an offset out of the set of one time.
    fn cut(&mut self, id: SubscriptionId, deliver_at: UnixMs, below: Offset, journal: &mut Journal) {
        let Some(set) = self.settled.get_mut(&deliver_at) else { return };
        let ranges = set.ranges();
        let key = |offset| keys::place(id, Place { deliver_at, offset });
        let around = set.around(below).filter(|range| range.from < below);
        for range in set.iter().take_while(|range| range.from < below) {
            journal.delete(Table::Settled, key(range.from));
        }
        if let Some(range) = around {
            journal.insert(Table::Settled, key(below), range.to.0.to_le_bytes().to_vec());
        }
        set.remove(OffsetRange::new(Offset(0), below));
        self.ranges = self.ranges - ranges + set.ranges();
        if set.is_empty() {
            self.settled.remove(&deliver_at);
        }
    }

    /// Goes on elsewhere, and forgets what was settled.
    pub(super) fn restart(&mut self, id: SubscriptionId, from: Offset, before: u64, journal: &mut Journal) {
        self.delete_rows(id, journal);
        *self = Self::at(from, before);
    }

    pub(super) fn delete_rows(&self, id: SubscriptionId, journal: &mut Journal) {
        for (deliver_at, set) in &self.settled {
            delete_ranges(id, *deliver_at, set, journal);
        }
    }
}

fn delete_ranges(id: SubscriptionId, deliver_at: UnixMs, set: &OffsetRanges, journal: &mut Journal) {
    for range in set.iter() {
        journal.delete(Table::Settled, keys::place(id, Place { deliver_at, offset: range.from }));
    }
}
