//! Consumers come, come back, and want messages.

use meridian_model::{ConsumerId, Place, UnixMs};

use crate::subscription::event::Join;
use crate::subscription::state::{Consumers, Seat};
use crate::subscription::{Action, Dispatcher, Refusal, Revoked};

impl Dispatcher {
    pub(in crate::subscription) fn joined(&mut self, join: &Join, out: &mut Vec<Action>) {
        let seat = self.consumers.seat_of(join.consumer);
        if let Err(refusal) = self.admits(join, seat) {
            out.push(Action::Refuse { consumer: join.consumer, request: None, refusal });
            return;
        }
        let seat = match seat {
            Some(seat) => {
                self.came_back(seat, join);
                seat
            }
            None => self.consumers.add(join.consumer, join.priority, self.now),
        };
        self.watch(self.now.plus_ms(self.bounds.silence_ms));
        self.kind.joined(seat, join);
        self.owner_came_back(seat, join.consumer);
        self.keep(seat, join, out);
    }

    pub(in crate::subscription) fn credit(
        &mut self,
        consumer: ConsumerId,
        messages: u64,
        bytes: u64,
        out: &mut Vec<Action>,
    ) {
        let Some(seat) = self.heard(consumer, None, out) else { return };
        let max = (self.bounds.credit_messages_max, self.bounds.credit_bytes_max);
        let granted = self.consumers.get_mut(seat).is_some_and(|c| c.credit.grant(messages, bytes, max));
        if granted {
            self.kind.has_room(seat);
        } else {
            let refusal = Refusal::CreditOverflow { messages: max.0, bytes: max.1 };
            out.push(Action::Refuse { consumer, request: None, refusal });
        }
    }

    /// Who said something, which is a sign of life. Refuses those who have not joined.
    pub(in crate::subscription) fn heard(
        &mut self,
        consumer: ConsumerId,
        request: Option<u64>,
        out: &mut Vec<Action>,
    ) -> Option<Seat> {
        let Some(seat) = self.consumers.seat_of(consumer) else {
            out.push(Action::Refuse { consumer, request, refusal: Refusal::UnknownConsumer });
            return None;
        };
        if let Some(consumer) = self.consumers.get_mut(seat) {
            consumer.heard_at = self.now;
        }
        Some(seat)
    }

    fn admits(&self, join: &Join, seat: Option<Seat>) -> Result<(), Refusal> {
        if join.kind != self.rules.kind {
            return Err(Refusal::OtherKind { is: self.rules.kind });
        }
        if join.holds.len() > self.bounds.unacked_consumer_max {
            return Err(Refusal::TooManyHeld { max: self.bounds.unacked_consumer_max });
        }
        if seat.is_none() && self.consumers.len() >= self.bounds.consumers_max {
            return Err(Refusal::TooManyConsumers { max: self.bounds.consumers_max });
        }
        self.alone(join.consumer, seat, &self.consumers)?;
        self.kind.admits(join, seat)
    }

    /// Exclusive: there is one consumer, and the one from before has the grace to come back.
    fn alone(&self, joins: ConsumerId, seat: Option<Seat>, all: &Consumers) -> Result<(), Refusal> {
        let exclusive = self.rules.kind == meridian_model::subscription::SubscriptionKind::Exclusive;
        let others = all.len() > usize::from(seat.is_some());
        let awaited = self.grace_until.and(self.owner_before).is_some_and(|owner| owner != joins);
        if exclusive && (others || awaited) { Err(Refusal::OwnerPresent) } else { Ok(()) }
    }

    /// The same consumer on a new stream: it has no credit yet, and what it does not hold any more is loose.
    fn came_back(&mut self, seat: Seat, join: &Join) {
        if let Some(consumer) = self.consumers.get_mut(seat) {
            consumer.lost_until = None;
            consumer.draining = false;
            consumer.hang_up();
            consumer.priority = join.priority;
            consumer.heard_at = self.now;
        }
        let current = join.seek_epoch == self.epochs.seek;
        let mut holds = if current { join.holds.clone() } else { Vec::new() };
        holds.sort_unstable();
        for _ in 0..self.claims.keep_of(seat, &holds) {
            self.let_go(seat);
        }
        for place in self.leases.of(seat) {
            match holds.binary_search(&place) {
                Ok(_) => self.leases.extend(place.offset, self.now.plus_ms(self.rules.lease_ms)),
                Err(_) => self.loosen(place.offset),
            }
        }
    }

    /// A consumer keeps what it holds, if nobody else has it and it was not read yet.
    fn keep(&mut self, seat: Seat, join: &Join, out: &mut Vec<Action>) {
        let may = self.may_speak(seat) && join.seek_epoch == self.epochs.seek;
        let until = self.now.plus_ms(self.rules.lease_ms);
        for place in join.holds.iter().copied() {
            let held = self.leases.get(place.offset).map(|held| (held.seat, held.message.place()));
            let mine = held == Some((seat, place));
            let kept = mine || (may && held.is_none() && self.claimed(place, seat, until));
            if !kept {
                out.push(Action::Revoke { consumer: join.consumer, place, why: Revoked::NotKept });
            }
        }
        if !self.claims.is_empty() {
            self.watch(until);
        }
    }

    /// Claims what was not delivered here. It is the consumer's as soon as it is read.
    fn claimed(&mut self, place: Place, seat: Seat, until: UnixMs) -> bool {
        let decided = match place.is_delayed() {
            true => self.delayed_ledger.is_decided(place, self.delayed.place),
            false => self.main_ledger.is_decided(place.offset),
        };
        // Messages whose keys are known here may have let others of their key pass.
        let open = !decided && (self.grace_until.is_some() || !self.kind.keeps_keys());
        let loose = self.redelivery.get(place.offset).is_some();
        let inside = place.offset >= self.log.start && place.offset < self.log.end;
        let due = place.deliver_at <= self.delayed.stamp;
        if !open || loose || !inside || !due || self.claims.len() >= self.bounds.unacked_max {
            return false;
        }
        let claimed = self.claims.claim(place, seat, until);
        if claimed == Some(true)
            && let Some(consumer) = self.consumers.get_mut(seat)
        {
            consumer.held += 1;
        }
        claimed.is_some()
    }
}
