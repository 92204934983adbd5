//! Consumers leave: by themselves, after a drain, or because nothing is heard of them.

use meridian_model::ConsumerId;

use crate::subscription::event::Leaving;
use crate::subscription::state::Seat;
use crate::subscription::{Action, Dispatcher};

impl Dispatcher {
    pub(in crate::subscription) fn consumer_left(&mut self, consumer: ConsumerId, leaving: Leaving) {
        let Some(seat) = self.consumers.seat_of(consumer) else { return };
        match leaving {
            Leaving::Closed => {
                self.leases.of(seat).into_iter().for_each(|place| self.loosen(place.offset));
                self.forget(seat);
            }
            Leaving::Lost => {
                let until = self.now.plus_ms(self.bounds.grace_ms);
                if let Some(consumer) = self.consumers.get_mut(seat) {
                    consumer.lost_until = Some(until);
                    consumer.hang_up();
                }
                self.watch(until);
            }
        }
    }

    pub(in crate::subscription) fn draining(&mut self, consumer: ConsumerId, out: &mut Vec<Action>) {
        let Some(seat) = self.heard(consumer, None, out) else { return };
        if let Some(consumer) = self.consumers.get_mut(seat) {
            consumer.draining = true;
        }
        self.drains.insert(seat);
        self.kind.draining(seat);
    }

    /// Lets consumers go that drained: they hold nothing, and everything they said is answered.
    pub(in crate::subscription) fn drain(&mut self, out: &mut Vec<Action>) {
        if self.drains.is_empty() {
            return;
        }
        let early = planted!(DrainsEarly);
        for seat in self.drains.clone() {
            let Some(consumer) = self.consumers.get(seat).filter(|consumer| consumer.draining) else {
                self.drains.remove(&seat);
                continue;
            };
            if early || (consumer.held == 0 && consumer.unconfirmed == 0) {
                out.push(Action::DrainComplete(consumer.id));
                self.leases.of(seat).into_iter().for_each(|place| self.loosen(place.offset));
                self.forget(seat);
            }
        }
    }

    /// A consumer is gone without a word: its leases end, and that counts.
    pub(in crate::subscription) fn lost(&mut self, seat: Seat) {
        self.leases.of(seat).into_iter().for_each(|place| self.fail(place.offset));
        self.forget(seat);
    }

    fn forget(&mut self, seat: Seat) {
        self.claims.keep_of(seat, &[]);
        self.kind.left(seat);
        self.consumers.remove(seat);
        self.drains.remove(&seat);
    }
}
