//! The main lane: messages in order of offsets, a floor, and what is settled above it.
//!
//! One row for each settled range, by its first offset: a settlement writes rows for the ranges it touches, and no
//! more, however many holes there are.

use meridian_model::{Offset, OffsetRange, OffsetRanges, Place, SubscriptionId};

use super::journal::Journal;
use super::keys;
use crate::Table;

/// What is settled among messages that are delivered in order of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MainLane {
    /// Everything below is settled; the message here, if there is one, is not.
    pub(super) floor: Offset,
    /// What is settled above: no range begins at the floor.
    pub(super) settled: OffsetRanges,
    /// How many offsets these are.
    pub(super) above: u64,
    /// Delayed messages among all that is settled, below the floor and above: told by the reader as it passes.
    pub(super) passed: u64,
}

impl MainLane {
    /// Nothing is settled from here on, and so many delayed messages lie below.
    pub(super) fn at(floor: Offset, passed: u64) -> Self {
        Self { floor, settled: OffsetRanges::new(), above: 0, passed }
    }

    pub(super) fn is_settled(&self, offset: Offset) -> bool {
        offset < self.floor || self.settled.contains(offset)
    }

    /// The offsets of a range that are not settled, in order.
    pub(super) fn unsettled(&self, range: OffsetRange) -> Vec<OffsetRange> {
        self.settled.absent_in(self.above_floor(range))
    }

    fn above_floor(&self, range: OffsetRange) -> OffsetRange {
        OffsetRange::new(range.from.max(self.floor), range.to)
    }

    /// Settles a range. Returns how many offsets of it were not settled yet.
    pub(super) fn settle(&mut self, id: SubscriptionId, range: OffsetRange, journal: &mut Journal) -> u64 {
        let range = self.above_floor(range);
        if range.is_empty() {
            return 0;
        }
        let key = |range: OffsetRange| keys::place(id, Place::main(range.from));
        for known in self.settled.touching(range) {
            journal.delete(Table::Settled, key(known));
        }
        let new = self.settled.insert(range);
        self.above += new;
        // What was inserted is in the set, so something is around it.
        let whole = self.settled.around(range.from).unwrap_or(range);
        if whole.from <= self.floor && !planted!(FloorStays) {
            self.settled.remove(whole);
            self.above -= whole.len();
            self.floor = whole.to;
        } else if !planted!(LosesSettledRow) || !self.settled.ranges().is_multiple_of(2) {
            journal.insert(Table::Settled, key(whole), whole.to.0.to_le_bytes().to_vec());
        }
        new
    }

    /// Goes on elsewhere, and forgets what was settled.
    pub(super) fn restart(&mut self, id: SubscriptionId, floor: Offset, passed: u64, journal: &mut Journal) {
        self.delete_rows(id, journal);
        let settled = std::mem::take(&mut self.settled);
        *self = Self::at(floor, passed);
        if planted!(SeekKeepsSettled) {
            settled.iter().filter(|range| range.from > floor).for_each(|range| {
                self.settle(id, range, journal);
            });
        }
    }

    pub(super) fn delete_rows(&self, id: SubscriptionId, journal: &mut Journal) {
        for range in self.settled.iter() {
            journal.delete(Table::Settled, keys::place(id, Place::main(range.from)));
        }
    }
}
