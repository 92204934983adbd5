//! Messages that consumers say they hold from before, and that were not read yet.

use std::collections::BTreeMap;

use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, Place, UnixMs};

use super::Seat;

/// Who holds what was not read yet, and for how long that is believed.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Claims {
    of: BTreeMap<Place, (Seat, UnixMs)>,
}

impl Claims {
    pub(in crate::subscription) fn len(&self) -> usize {
        self.of.len()
    }

    pub(in crate::subscription) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The first consumer that says so is believed. Returns whether that is news, or nothing if another one was first.
    pub(in crate::subscription) fn claim(&mut self, place: Place, seat: Seat, until: UnixMs) -> Option<bool> {
        let known = self.of.get(&place).map(|(holder, _)| *holder);
        if known.is_some_and(|holder| holder != seat) {
            return None;
        }
        self.of.insert(place, (seat, until));
        Some(known.is_none())
    }

    pub(in crate::subscription) fn get(&self, place: Place) -> Option<Seat> {
        self.of.get(&place).map(|(seat, _)| *seat)
    }

    pub(in crate::subscription) fn extend(&mut self, place: Place, until: UnixMs) {
        if let Some(claim) = self.of.get_mut(&place) {
            claim.1 = until;
        }
    }

    pub(in crate::subscription) fn take(&mut self, place: Place) -> Option<(Seat, UnixMs)> {
        self.of.remove(&place)
    }

    /// What a consumer claims in the main lane below an offset.
    pub(in crate::subscription) fn of(&self, seat: Seat, below: Offset) -> Vec<Place> {
        let claims = self.of.range(..Place::main(below)).filter(|(_, (holder, _))| *holder == seat);
        claims.map(|(place, _)| *place).collect()
    }

    /// Drops those of a consumer, but for these, which are in order. Returns how many. Looks at everything: for
    /// consumers that come and go.
    pub(in crate::subscription) fn keep_of(&mut self, seat: Seat, kept: &[Place]) -> usize {
        let before = self.of.len();
        self.of.retain(|place, (holder, _)| *holder != seat || kept.binary_search(place).is_ok());
        before - self.of.len()
    }

    /// Drops those in a range. Returns who had them.
    pub(in crate::subscription) fn drop_within(&mut self, places: DelayedRange) -> Vec<(Place, Seat)> {
        if self.of.is_empty() {
            return Vec::new();
        }
        let DelayedRange { deliver_at, range } = places;
        let within =
            self.of.range(Place { deliver_at, offset: range.from }..Place { deliver_at, offset: range.to });
        let dropped: Vec<(Place, Seat)> = within.map(|(place, (seat, _))| (*place, *seat)).collect();
        for (place, _) in &dropped {
            self.of.remove(place);
        }
        dropped
    }

    /// Drops those of both lanes below an offset. Looks at everything. Returns who had them.
    pub(in crate::subscription) fn drop_below(&mut self, start: Offset) -> Vec<(Place, Seat)> {
        let below = self.of.iter().filter(|(place, _)| place.offset < start);
        let dropped: Vec<(Place, Seat)> = below.map(|(place, (seat, _))| (*place, *seat)).collect();
        self.of.retain(|place, _| place.offset >= start);
        dropped
    }

    /// Takes out one that nobody believes any more.
    pub(in crate::subscription) fn next_ended(&mut self, now: UnixMs) -> Option<Seat> {
        let (place, (seat, _)) = self.of.iter().find(|(_, (_, until))| *until <= now)?;
        let (place, seat) = (*place, *seat);
        self.of.remove(&place);
        Some(seat)
    }

    /// When the next one ends. Looks at all of them: for times at which consumers are looked after.
    pub(in crate::subscription) fn ends_next(&self) -> Option<UnixMs> {
        self.of.values().map(|(_, until)| *until).min()
    }
}
