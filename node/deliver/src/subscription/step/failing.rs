//! Attempts that fail: backoff, or a dead letter after the last one.

use meridian_model::Offset;

use crate::subscription::Dispatcher;
use crate::subscription::kind::KeyChange;
use crate::subscription::message::Message;
use crate::subscription::state::Waits;

impl Dispatcher {
    /// A consumer did not get a message done. That counts once it is committed, and until then nobody gets it.
    pub(super) fn fail(&mut self, offset: Offset) {
        let Some(held) = self.take_back(offset) else { return };
        let message = held.message;
        let failed = message.attempts.saturating_add(1);
        let not_before = self.now.plus_ms(self.rules.backoff.after(failed));
        if self.attempts_are_full(offset) {
            // It cannot be counted, so it is not: it is neither forgotten nor taken for dead.
            self.kind.key(message.key, KeyChange::Loosened);
            self.redelivery.put(message, Waits::Until(not_before));
            return;
        }
        self.kind.key(message.key, KeyChange::HeldDecided);
        if self.is_last(failed) && self.has_outbox_room() {
            self.pending.dead.push(offset);
            self.decided(&message);
        } else if planted!(AttemptNotCounted) {
            self.kind.key(message.key, KeyChange::DecidedLoose);
            self.redelivery.put(message, Waits::Until(not_before));
        } else {
            self.pending.nacked.insert(offset, not_before);
            self.redelivery.put(message, Waits::Commit);
        }
    }

    /// A failed attempt is committed.
    pub(super) fn failed(&mut self, offset: Offset, not_before: meridian_model::UnixMs) {
        if offset < self.log.start {
            return;
        }
        let attempts = self.attempts.entry(offset).or_default();
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
        while self.has_outbox_room()
            && let Some(offset) = self.redelivery.first_dead()
            && let Some(loose) = self.redelivery.take(offset)
        {
            self.kind.key(loose.message.key, KeyChange::LooseDecided);
            self.pending.dead.push(offset);
            self.decided(&loose.message);
        }
    }

    /// Whether so many failed attempts are all there are.
    pub(super) fn is_last(&self, failed: u32) -> bool {
        let early = u32::from(planted!(DeadEarly));
        self.rules.attempts_max.is_some_and(|max| failed + early >= max)
    }

    fn has_outbox_room(&self) -> bool {
        let in_flight = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.pending.dead.len());
        self.dead_letters_to.is_some() && self.outbox_room > self.pending.dead.len() + in_flight
    }

    /// Whether another failed attempt would be more than may be counted.
    pub(super) fn attempts_are_full(&self, offset: Offset) -> bool {
        let in_flight = self.in_flight.as_ref().map_or(0, |in_flight| in_flight.pending.nacked.len());
        let counted = self.attempts.len() + self.pending.nacked.len() + in_flight;
        counted >= self.bounds.attempts_max && !self.attempts.contains_key(&offset)
    }
}
