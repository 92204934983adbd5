//! Messages go out, as far as there is room.

use meridian_model::UnixMs;

use crate::subscription::kind::{Gates, KeyChange, Popped};
use crate::subscription::message::Message;
use crate::subscription::state::{Seat, Waits, one};
use crate::subscription::{Action, Delivery, Dispatcher};

impl Dispatcher {
    pub(in crate::subscription) fn deliver(&mut self, out: &mut Vec<Action>) {
        if self.grace_until.is_some() || self.beginning.is_some() {
            return;
        }
        while self.leases.len() + self.claims.len() < self.bounds.unacked_max {
            let gates = Gates { main: &self.main_ledger, delayed: &self.delayed_ledger };
            let held_max = self.bounds.unacked_consumer_max;
            let Some((seat, popped)) = self.kind.next(&self.consumers, held_max, &gates) else { return };
            match popped {
                Popped::New(message) => self.deliver_new(message, seat, out),
                Popped::Again(offset) => {
                    // It may be settled, or gone, since it was queued.
                    let waiting = self.redelivery.get(offset).filter(|loose| loose.waits == Waits::Consumer);
                    if let Some(message) = waiting.map(|loose| loose.message) {
                        self.deliver_again(message, seat, out);
                    }
                }
            }
        }
    }

    fn deliver_new(&mut self, mut message: Message, seat: Seat, out: &mut Vec<Action>) {
        self.window.waiting = self.window.waiting.saturating_sub(1);
        if message.offset < self.log.start {
            return;
        }
        if !self.unseen.is_empty() && self.unseen.contains(message.place()) {
            if message.is_delayed() {
                self.delayed_ledger.decide(message.place(), self.delayed.place);
            }
            self.hold_key(message.place(), message.key);
            return;
        }
        // It may have been learned while it was in the window.
        if !self.nothing_is_known() && self.put_aside(&mut message) {
            return;
        }
        self.opened(&message);
        if message.has_expired(self.now) {
            self.expire(Message { key: 0, ..message });
            return;
        }
        self.kind.key(message.key, KeyChange::Taken(seat));
        self.hand(message, seat, out);
    }

    fn deliver_again(&mut self, message: Message, seat: Seat, out: &mut Vec<Action>) {
        self.redelivery.take(message.offset);
        if message.has_expired(self.now) {
            self.kind.key(message.key, KeyChange::LooseDecided);
            self.expire(message);
            return;
        }
        self.kind.key(message.key, KeyChange::TakenAgain(seat));
        self.hand(message, seat, out);
    }

    fn expire(&mut self, message: Message) {
        self.pending.expired.insert(one(message.place()));
        self.decided(&message);
    }

    fn hand(&mut self, message: Message, seat: Seat, out: &mut Vec<Action>) {
        let lease_until = self.now.plus_ms(self.rules.lease_ms);
        let Some(consumer) = self.consumers.get_mut(seat) else { return };
        consumer.held += 1;
        consumer.credit.spend(message.bytes);
        let stale = u64::from(planted!(DeliversOldEpoch));
        let delivery = Delivery {
            consumer: consumer.id,
            place: message.place(),
            attempt: message.attempts.saturating_add(1),
            lease_until,
            under: super::super::Epochs { dispatch: self.epochs.dispatch - stale, ..self.epochs },
        };
        out.push(Action::Deliver(delivery));
        if planted!(DeliversTwice) && message.offset.0.is_multiple_of(5) {
            self.redelivery.put(message, Waits::Until(UnixMs(self.now.0 + 1)));
        }
        self.leases.begin(message, seat, lease_until);
    }
}
