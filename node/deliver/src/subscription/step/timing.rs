//! What time brings: leases end, backoffs are over, and consumers are missed.

use meridian_model::UnixMs;

use crate::subscription::{Action, Dispatcher, Revoked, Stopped};

impl Dispatcher {
    pub(in crate::subscription) fn pass_time(&mut self, out: &mut Vec<Action>) {
        let now = self.now;
        let over = std::mem::take(&mut self.grace_ends);
        self.grace_until.take_if(|until| over || *until <= now);
        self.retry_at.take_if(|at| *at <= now);
        while let Some(offset) = self.leases.next_ended(now) {
            if let Some((seat, place)) = self.leases.get(offset).map(|held| (held.seat, held.message.place()))
            {
                self.revoke(seat, place, Revoked::LeaseEnded, out);
            }
            self.fail(offset);
        }
        while let Some(message) = self.redelivery.next_due(now) {
            self.kind.push_again(&message);
        }
        if self.watch_at.is_some_and(|at| at <= now) {
            self.look_for_missed(out);
        }
    }

    /// Looks after consumers again at this time, or before.
    pub(super) fn watch(&mut self, at: UnixMs) {
        self.watch_at = Some(self.watch_at.map_or(at, |watch| watch.min(at)));
    }

    /// When the stamp may be asked to move. Where it did not get far enough, other clocks hold it back for a while.
    pub(super) fn stamp_again_at(&self) -> UnixMs {
        let same = self.stamp_asked.filter(|(due, _)| self.delayed.due_next() == Some(*due));
        same.map_or(UnixMs(0), |(_, asked)| asked.plus_ms(self.bounds.retry_ms))
    }

    /// What failed is tried again in a while, and nothing is tried until then.
    pub(super) fn retry(&mut self) {
        self.retry_at = Some(self.now.plus_ms(self.bounds.retry_ms));
    }

    pub(super) fn stop(&mut self, why: Stopped, out: &mut Vec<Action>) {
        self.stopped = true;
        out.push(Action::Stop(why));
    }

    /// Asks to be woken when the next thing can happen. An earlier wake costs one look.
    pub(in crate::subscription) fn wake(&mut self, out: &mut Vec<Action>) {
        if self.stopped {
            return;
        }
        let delayed = self.delayed.due_next().map(|due| due.max(self.stamp_again_at()));
        let times = [
            self.grace_until,
            self.retry_at,
            self.watch_at,
            self.leases.ends_next(),
            self.redelivery.due_next(),
            delayed,
        ];
        let Some(next) = times.into_iter().flatten().min() else { return };
        let next = next.max(self.now.plus_ms(1));
        if self.woken_at.is_none_or(|woken| woken <= self.now || next < woken) {
            self.woken_at = Some(next);
            out.push(Action::WakeAt(next));
        }
    }

    fn look_for_missed(&mut self, out: &mut Vec<Action>) {
        while let Some(seat) = self.claims.next_ended(self.now) {
            self.let_go(seat);
        }
        self.watch_at = self.claims.ends_next();
        let mut missed = Vec::new();
        let mut next = None;
        for (seat, consumer) in self.consumers.iter() {
            let silent_at = consumer.heard_at.plus_ms(self.bounds.silence_ms);
            let at = consumer.lost_until.unwrap_or(silent_at);
            if at <= self.now {
                missed.push((seat, consumer.id, consumer.lost_until.is_none()));
            } else {
                next = Some(next.map_or(at, |next: UnixMs| next.min(at)));
            }
        }
        next.into_iter().for_each(|at| self.watch(at));
        for (seat, consumer, connected) in missed {
            if connected {
                out.push(Action::Disconnect(consumer));
            }
            self.lost(seat);
        }
    }
}
