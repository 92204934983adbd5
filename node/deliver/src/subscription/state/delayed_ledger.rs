//! What is decided in the delayed lane.

use std::collections::BTreeSet;

use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, Place};

use super::places::{Places, one};

/// Decisions about delayed messages that were read.
#[derive(Debug)]
pub(in crate::subscription) struct DelayedLedger {
    /// Read and not decided.
    undecided: BTreeSet<Place>,
    /// Decided, above the first that is not.
    above: Places,
    /// Messages that left the window and are not committed as settled.
    open: usize,
    ranges_max: usize,
}

impl DelayedLedger {
    pub(in crate::subscription) fn new(settled: &[DelayedRange], ranges_max: usize) -> Self {
        let mut above = Places::default();
        settled.iter().for_each(|places| above.insert(*places));
        Self { undecided: BTreeSet::new(), above, open: 0, ranges_max }
    }

    /// Reads a message. Returns whether it is still to be decided.
    pub(in crate::subscription) fn read(&mut self, place: Place) -> bool {
        !self.above.contains(place) && self.undecided.insert(place)
    }

    /// Decides a message that was read. `behind`: everything before was read.
    pub(in crate::subscription) fn decide(&mut self, place: Place, behind: Place) {
        if self.undecided.remove(&place) {
            if place >= self.floor(behind) {
                self.above.insert(one(place));
            }
            self.forget_before(behind);
        }
    }

    /// Decides messages that were not read: they will not be delivered.
    pub(in crate::subscription) fn decide_unread(&mut self, places: DelayedRange) {
        self.above.insert(places);
    }

    /// Everything before this place is decided.
    pub(in crate::subscription) fn floor(&self, behind: Place) -> Place {
        self.undecided.first().copied().unwrap_or(behind).min(behind)
    }

    /// Whether a message is decided, or was not there when its place was read.
    pub(in crate::subscription) fn is_decided(&self, place: Place, behind: Place) -> bool {
        match place < behind {
            true => !self.undecided.contains(&place),
            false => self.above.contains(place),
        }
    }

    /// Forgets what lies before the first undecided message: it is never read again.
    pub(in crate::subscription) fn forget_before(&mut self, behind: Place) {
        if !self.above.is_empty() {
            self.above.remove_before(self.floor(behind));
        }
    }

    /// What lies below an offset is gone.
    pub(in crate::subscription) fn trim(&mut self, start: Offset, behind: Place) {
        self.undecided.retain(|place| place.offset >= start);
        self.forget_before(behind);
    }

    pub(in crate::subscription) fn opened(&mut self) {
        self.open += 1;
    }

    pub(in crate::subscription) fn closed(&mut self, messages: usize) {
        self.open = self.open.saturating_sub(messages);
    }

    /// As [`Ledger::admits`](super::Ledger::admits): the first one always may go.
    pub(in crate::subscription) fn admits(&self, place: Place) -> bool {
        self.above.ranges() + self.open < self.ranges_max
            || self.undecided.first().is_none_or(|first| place <= *first)
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::UnixMs;

    use super::*;

    fn place(deliver_at: u64, offset: u64) -> Place {
        Place { deliver_at: UnixMs(deliver_at), offset: Offset(offset) }
    }

    #[test]
    fn the_floor_is_the_first_that_was_read_and_not_decided() {
        let (mut ledger, behind) = (DelayedLedger::new(&[one(place(5, 3))], 4), place(9, 0));
        assert!(!ledger.read(place(5, 3)), "settled before");
        assert!(ledger.read(place(5, 2)) && ledger.read(place(7, 0)));
        assert_eq!(ledger.floor(behind), place(5, 2));
        ledger.decide(place(7, 0), behind);
        assert_eq!((ledger.floor(behind), ledger.above.ranges()), (place(5, 2), 2));
        ledger.decide(place(5, 2), behind);
        assert_eq!((ledger.floor(behind), ledger.above.ranges()), (behind, 0));
    }

    #[test]
    fn at_the_bound_only_the_first_one_goes_out() {
        let mut ledger = DelayedLedger::new(&[one(place(8, 3))], 1);
        assert!(ledger.read(place(5, 2)) && ledger.read(place(5, 4)));
        assert!(ledger.admits(place(5, 2)) && !ledger.admits(place(5, 4)));
    }
}
