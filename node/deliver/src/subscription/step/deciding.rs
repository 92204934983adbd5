//! What becomes of a message that somebody had: settled, or loose again.

use meridian_model::{Offset, OffsetRange, Place};

use crate::subscription::kind::KeyChange;
use crate::subscription::message::Message;
use crate::subscription::state::{Held, Seat, Waits};
use crate::subscription::{Action, Dispatcher, Revoked};

impl Dispatcher {
    /// Takes a message from its consumer.
    pub(super) fn take_back(&mut self, offset: Offset) -> Option<Held> {
        let mut held = self.leases.end(offset)?;
        self.let_go(held.seat);
        held.message.last = Some(held.seat);
        Some(held)
    }

    /// A consumer has one message less, or claims one less.
    pub(super) fn let_go(&mut self, seat: Seat) {
        self.consumers.let_go(seat);
        self.kind.has_room(seat);
    }

    /// Tells a consumer that it has a message no longer.
    pub(super) fn revoke(&self, seat: Seat, place: Place, why: Revoked, out: &mut Vec<Action>) {
        if let Some(consumer) = self.consumers.get(seat) {
            out.push(Action::Revoke { consumer: consumer.id, place, why });
        }
    }

    /// A message that is held goes to somebody else, and that is no attempt.
    pub(super) fn loosen(&mut self, offset: Offset) {
        let Some(held) = self.take_back(offset) else { return };
        self.kind.key(held.message.key, KeyChange::Loosened);
        // Who kept it from before may have had it in spite of a backoff, or of its last attempt.
        let not_before = self.attempts.get(&held.message.place()).map(|attempts| self.not_before(*attempts));
        let waits = match not_before.filter(|time| *time > self.now) {
            _ if self.is_last(held.message.attempts) => Waits::Outbox,
            Some(time) => Waits::Until(time),
            None => Waits::Consumer,
        };
        self.redelivery.put(held.message, waits);
        if waits == Waits::Consumer {
            self.kind.push_again(&held.message);
        }
    }

    /// A message that is held is done.
    pub(super) fn settle_held(&mut self, offset: Offset) {
        let Some(held) = self.take_back(offset) else { return };
        self.kind.key(held.message.key, KeyChange::HeldDecided);
        self.acknowledge(&held.message);
    }

    /// A message that nobody holds is done: somebody had it.
    pub(super) fn settle_loose(&mut self, offset: Offset) {
        let Some(loose) = self.redelivery.take(offset) else { return };
        if loose.waits == Waits::Commit {
            // Its key counts it as being decided already. What is in flight is committed before this is.
            self.pending.nacked.remove(&loose.message.place());
        } else {
            self.kind.key(loose.message.key, KeyChange::LooseDecided);
        }
        self.acknowledge(&loose.message);
    }

    fn acknowledge(&mut self, message: &Message) {
        if !planted!(AckForgotten) || !message.offset.0.is_multiple_of(7) {
            let place = message.place();
            self.pending.ack(if planted!(AcksOtherLane) { Place::main(place.offset) } else { place });
        }
        self.known.insert(OffsetRange::one(message.offset));
        self.decided(message);
    }

    /// Counts a message as settled, from the commit on.
    pub(super) fn decided(&mut self, message: &Message) {
        if message.is_delayed() {
            self.delayed_ledger.decide(message.place(), self.delayed.place);
            self.pending.delayed += 1;
        } else {
            self.main_ledger.decide(OffsetRange::one(message.offset));
            self.pending.main += 1;
        }
        if message.key != 0 && self.kind.keeps_keys() {
            self.pending.keys.push(message.key);
        }
    }

    /// Counts a message as gone out of the window and not settled.
    pub(super) fn opened(&mut self, message: &Message) {
        match message.is_delayed() {
            true => self.delayed_ledger.opened(),
            false => self.main_ledger.opened(),
        }
    }

    /// Counts a message that is gone without being settled.
    pub(super) fn closed(&mut self, message: &Message) {
        match message.is_delayed() {
            true => self.delayed_ledger.closed(1),
            false => self.main_ledger.closed(1),
        }
    }
}
