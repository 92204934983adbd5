//! Messages that consumers say they hold from before, and that were not read yet.

use std::collections::BTreeMap;

use meridian_model::{Offset, OffsetRange, UnixMs};

use super::Seat;

/// Who holds what was not read yet, and for how long that is believed.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Claims {
    of: BTreeMap<Offset, (Seat, UnixMs)>,
}

impl Claims {
    pub(in crate::subscription) fn len(&self) -> usize {
        self.of.len()
    }

    pub(in crate::subscription) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The first consumer that says so is believed. Returns whether that is news, or nothing if another one was first.
    pub(in crate::subscription) fn claim(
        &mut self,
        offset: Offset,
        seat: Seat,
        until: UnixMs,
    ) -> Option<bool> {
        let known = self.of.get(&offset).map(|(holder, _)| *holder);
        if known.is_some_and(|holder| holder != seat) {
            return None;
        }
        self.of.insert(offset, (seat, until));
        Some(known.is_none())
    }

    pub(in crate::subscription) fn get(&self, offset: Offset) -> Option<Seat> {
        self.of.get(&offset).map(|(seat, _)| *seat)
    }

    pub(in crate::subscription) fn extend(&mut self, offset: Offset, until: UnixMs) {
        if let Some(claim) = self.of.get_mut(&offset) {
            claim.1 = until;
        }
    }

    pub(in crate::subscription) fn take(&mut self, offset: Offset) -> Option<(Seat, UnixMs)> {
        self.of.remove(&offset)
    }

    /// What a consumer claims below an offset.
    pub(in crate::subscription) fn of(&self, seat: Seat, below: Offset) -> Vec<Offset> {
        let claims = self.of.range(..below).filter(|(_, (holder, _))| *holder == seat);
        claims.map(|(offset, _)| *offset).collect()
    }

    /// Drops those of a consumer, but for these, which are in order. Returns how many. Looks at everything: for
    /// consumers that come and go.
    pub(in crate::subscription) fn keep_of(&mut self, seat: Seat, kept: &[Offset]) -> usize {
        let before = self.of.len();
        self.of.retain(|offset, (holder, _)| *holder != seat || kept.binary_search(offset).is_ok());
        before - self.of.len()
    }

    /// Drops those in a range. Returns who had them.
    pub(in crate::subscription) fn drop_within(&mut self, range: OffsetRange) -> Vec<(Offset, Seat)> {
        let dropped = self.of.range(range.from..range.to).map(|(offset, (seat, _))| (*offset, *seat));
        let dropped: Vec<(Offset, Seat)> = dropped.collect();
        for (offset, _) in &dropped {
            self.of.remove(offset);
        }
        dropped
    }

    /// Takes out one that nobody believes any more.
    pub(in crate::subscription) fn next_ended(&mut self, now: UnixMs) -> Option<Seat> {
        let (offset, (seat, _)) = self.of.iter().find(|(_, (_, until))| *until <= now)?;
        let (offset, seat) = (*offset, *seat);
        self.of.remove(&offset);
        Some(seat)
    }

    /// When the next one ends. Looks at all of them: for times at which consumers are looked after.
    pub(in crate::subscription) fn ends_next(&self) -> Option<UnixMs> {
        self.of.values().map(|(_, until)| *until).min()
    }
}
