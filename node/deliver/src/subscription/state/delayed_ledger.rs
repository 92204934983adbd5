//! What is decided in the delayed lane.

use std::collections::BTreeSet;

use meridian_commitlog::DelayedPlace;
use meridian_model::Offset;

/// Decisions about delayed messages that were read.
#[derive(Debug)]
pub(in crate::subscription) struct DelayedLedger {
    /// Read and not decided.
    undecided: BTreeSet<DelayedPlace>,
    /// Decided, above the first that is not.
    above: BTreeSet<DelayedPlace>,
    /// Messages that left the window and are not committed as settled.
    open: usize,
    max: usize,
}

impl DelayedLedger {
    pub(in crate::subscription) fn new(settled: BTreeSet<DelayedPlace>, max: usize) -> Self {
        Self { undecided: BTreeSet::new(), above: settled, open: 0, max }
    }

    /// Reads a message. Returns whether it is still to be decided.
    pub(in crate::subscription) fn read(&mut self, place: DelayedPlace) -> bool {
        !self.above.contains(&place) && self.undecided.insert(place)
    }

    /// `behind`: everything below was read.
    pub(in crate::subscription) fn decide(&mut self, place: DelayedPlace, behind: DelayedPlace) {
        if self.undecided.remove(&place) {
            self.above.insert(place);
            self.forget_below(behind);
        }
    }

    /// Forgets what lies below the first undecided message: it is never read again.
    pub(in crate::subscription) fn forget_below(&mut self, behind: DelayedPlace) {
        let floor = self.undecided.first().copied().unwrap_or(behind).min(behind);
        while self.above.first().is_some_and(|first| *first < floor) {
            self.above.pop_first();
        }
    }

    /// What lies below an offset is gone.
    pub(in crate::subscription) fn trim(&mut self, start: Offset, behind: DelayedPlace) {
        self.undecided.retain(|place| place.offset >= start);
        self.forget_below(behind);
    }

    pub(in crate::subscription) fn opened(&mut self) {
        self.open += 1;
    }

    pub(in crate::subscription) fn closed(&mut self, messages: usize) {
        self.open = self.open.saturating_sub(messages);
    }

    /// As [`Ledger::admits`](super::Ledger::admits): the first one always may go.
    pub(in crate::subscription) fn admits(&self, place: DelayedPlace) -> bool {
        self.above.len() + self.open < self.max || self.undecided.first().is_none_or(|first| place <= *first)
    }
}
