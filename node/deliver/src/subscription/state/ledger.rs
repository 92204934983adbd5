//! What is decided in the main lane: a floor, ranges above it, and how many holes there may be.

use meridian_model::{Offset, OffsetRange, OffsetRanges};

/// Decisions about the main lane, committed or about to be.
#[derive(Debug)]
pub(in crate::subscription) struct Ledger {
    floor: Offset,
    above: OffsetRanges,
    /// Messages that left the window and are not committed as settled.
    open: usize,
    ranges_max: usize,
}

impl Ledger {
    pub(in crate::subscription) fn new(floor: Offset, settled: &[OffsetRange], ranges_max: usize) -> Self {
        let mut ledger = Self { floor, above: OffsetRanges::new(), open: 0, ranges_max };
        settled.iter().for_each(|range| ledger.decide(*range));
        ledger
    }

    #[cfg(test)]
    pub(in crate::subscription) fn floor(&self) -> Offset {
        self.floor
    }

    pub(in crate::subscription) fn decide(&mut self, range: OffsetRange) {
        if range.from > self.floor {
            self.above.insert(range);
        } else if range.to > self.floor {
            self.floor = range.to;
            if !self.above.is_empty() {
                self.floor = self.above.first_absent(range.to);
                self.above.remove(OffsetRange::new(Offset(0), self.floor));
            }
        }
    }

    pub(in crate::subscription) fn is_decided(&self, offset: Offset) -> bool {
        offset < self.floor || (!self.above.is_empty() && self.above.contains(offset))
    }

    /// The first message from `from` on that is not decided.
    pub(in crate::subscription) fn next_undecided(&self, from: Offset) -> Offset {
        self.above.first_absent(from.max(self.floor))
    }

    pub(in crate::subscription) fn opened(&mut self) {
        self.open += 1;
    }

    pub(in crate::subscription) fn closed(&mut self, messages: usize) {
        self.open = self.open.saturating_sub(messages);
    }

    /// Whether one more message may leave the window. Each one that did, settled in whatever order, adds one range
    /// at most. The lowest one adds none, so there is always a way on.
    pub(in crate::subscription) fn admits(&self, offset: Offset) -> bool {
        planted!(HolesUnbounded) || offset <= self.floor || self.above.ranges() + self.open < self.ranges_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_moves_over_what_was_decided_before() {
        let mut ledger = Ledger::new(Offset(2), &[OffsetRange::new(Offset(4), Offset(6))], 2);
        ledger.decide(OffsetRange::one(Offset(3)));
        assert_eq!((ledger.floor(), ledger.next_undecided(Offset(3))), (Offset(2), Offset(6)));
        ledger.decide(OffsetRange::one(Offset(2)));
        assert_eq!((ledger.floor(), ledger.above.ranges()), (Offset(6), 0));
    }

    #[test]
    fn at_the_bound_only_the_lowest_message_goes_out() {
        let mut ledger = Ledger::new(Offset(0), &[OffsetRange::one(Offset(5))], 2);
        ledger.opened();
        assert!(!ledger.admits(Offset(1)) && ledger.admits(Offset(0)));
        ledger.closed(1);
        assert!(ledger.admits(Offset(1)));
    }
}
