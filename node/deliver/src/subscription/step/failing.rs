//! Attempts that fail: backoff, or a dead letter after the last one.

use meridian_model::{LogId, Offset, Place, UnixMs};

use crate::subscription::Dispatcher;
use crate::subscription::kind::KeyChange;
use crate::subscription::message::Message;
use crate::subscription::state::{InFlight, Seat, Waits};

impl Dispatcher {
    /// A consumer did not get a message done. That counts once it is committed, and until then nobody gets it.
    pub(super) fn fail(&mut self, offset: Offset) {
        let Some(held) = self.take_back(offset) else { return };
        let message = held.message;
        let failed = message.attempts.saturating_add(1);
        let not_before = self.now.plus_ms(self.rules.backoff.after(failed));
        if self.attempts_are_full(message.place()) {
            // It cannot be counted, so it is not: it is neither forgotten nor taken for dead.
            self.kind.key(message.key, KeyChange::Loosened);
            self.redelivery.put(message, Waits::Until(not_before));
            return;
        }
        self.kind.key(message.key, KeyChange::HeldDecided);
        if self.is_last(failed)
            && let Some(to) = self.outbox()
        {
            self.pending.dead.insert(message.place(), to);
            self.decided(&message);
        } else if planted!(AttemptNotCounted) {
            self.kind.key(message.key, KeyChange::DecidedLoose);
            self.redelivery.put(message, Waits::Until(not_before));
        } else {
            self.pending.nacked.insert(message.place(), not_before);
            self.redelivery.put(message, Waits::Commit);
        }
    }

    /// What a consumer kept from before failed, and was not read yet.
    pub(super) fn fail_unread(&mut self, place: Place, seat: Seat) {
        self.claims.take(place);
        self.let_go(seat);
        if !self.attempts_are_full(place) {
            let failed = self.attempts.get(&place).map_or(1, |attempts| attempts.count.saturating_add(1));
            self.pending.nacked.insert(place, self.now.plus_ms(self.rules.backoff.after(failed)));
        }
    }

    /// A failed attempt is committed.
    pub(super) fn failed(&mut self, place: Place, not_before: UnixMs) {
        let offset = place.offset;
        if offset < self.log.start {
            return;
        }
        if place.is_delayed() && self.delayed_ledger.is_decided(place, self.delayed.place) {
            return self.pending.ack(place);
        }
        let attempts = self.attempts.entry(place).or_default();
        attempts.count += 1;
        attempts.not_before = not_before;
        let count = attempts.count;
        let Some(loose) = self.redelivery.get(offset).filter(|loose| loose.waits == Waits::Commit) else {
            return;
        };
        let message = Message { attempts: count, ..loose.message };
        self.kind.key(message.key, KeyChange::DecidedLoose);
        let waits = if self.is_last(count) { Waits::Outbox } else { Waits::Until(not_before) };
        self.redelivery.put(message, waits);
    }

    /// Sends what waits for it on its way to the dead letters, as far as there is room.
    pub(super) fn bury(&mut self) {
        while let Some(offset) = self.redelivery.first_dead()
            && let Some(to) = self.outbox()
            && let Some(loose) = self.redelivery.take(offset)
        {
            self.kind.key(loose.message.key, KeyChange::LooseDecided);
            self.pending.dead.insert(loose.message.place(), to);
            self.decided(&loose.message);
        }
    }

    /// Whether so many failed attempts are all there are.
    pub(super) fn is_last(&self, failed: u32) -> bool {
        let early = u32::from(planted!(DeadEarly));
        self.rules.attempts_max.is_some_and(|max| failed + early >= max)
    }

    /// Where another dead letter may go.
    fn outbox(&mut self) -> Option<LogId> {
        let to = self.dead_letters_to?;
        let in_flight = self.in_flight.iter().flat_map(InFlight::parts).map(|part| part.dead.len());
        let room = self.outbox_room > self.pending.dead.len() + in_flight.sum::<usize>();
        let known = self.destinations.contains(&to);
        if !room || (!known && self.destinations.len() >= self.bounds.destinations_max) {
            return None;
        }
        self.destinations.insert(to);
        Some(to)
    }

    /// Whether another failed attempt would be more than may be counted.
    fn attempts_are_full(&self, place: Place) -> bool {
        let in_flight = self.in_flight.iter().flat_map(InFlight::parts).map(|part| part.nacked.len());
        let counted = self.attempts.len() + self.pending.nacked.len() + in_flight.sum::<usize>();
        counted >= self.bounds.attempts_max && !self.attempts.contains_key(&place)
    }
}
