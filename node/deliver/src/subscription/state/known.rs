//! Which messages are known to be settled, so that a second ack of them is confirmed instead of refused.

use meridian_model::{OffsetRange, OffsetRanges};

/// Settled messages of both lanes, the latest of them: as many ranges as may be remembered.
#[derive(Debug)]
pub(in crate::subscription) struct Known {
    settled: OffsetRanges,
    ranges_max: usize,
}

impl Known {
    pub(in crate::subscription) fn new(ranges_max: usize) -> Self {
        Self { settled: OffsetRanges::new(), ranges_max }
    }

    pub(in crate::subscription) fn insert(&mut self, range: OffsetRange) {
        self.settled.insert(range);
        if self.settled.ranges() > self.ranges_max {
            let lowest = self.settled.iter().next();
            self.settled.remove(lowest.unwrap_or(range));
        }
    }

    /// What of a range is not known.
    pub(in crate::subscription) fn absent_in(&self, range: OffsetRange) -> Vec<OffsetRange> {
        self.settled.absent_in(range)
    }

    pub(in crate::subscription) fn is_full(&self) -> bool {
        self.settled.ranges() >= self.ranges_max
    }
}
