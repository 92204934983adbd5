//! What was read from the log finds its place: with who holds it, behind its backoff, or in the window.

use meridian_commitlog::DelayedPlace;
use meridian_model::{Offset, OffsetRange, UnixMs};

use crate::subscription::event::BatchMeta;
use crate::subscription::kind::KeyChange;
use crate::subscription::message::Message;
use crate::subscription::state::Waits;
use crate::subscription::{Action, Dispatcher, FetchId};

impl Dispatcher {
    /// Asks for more, where there is room for it.
    pub(in crate::subscription) fn fetch(&mut self, out: &mut Vec<Action>) {
        let waits = self.grace_until.is_some() || self.retry_at.is_some();
        if waits || self.consumers.len() == 0 {
            return;
        }
        let bytes = self.bounds.fetch_bytes;
        if self.window.wants_fetch() {
            let fetch = FetchId(self.number());
            self.window.fetch = Some(fetch);
            out.push(Action::Fetch { fetch, from: self.window.next, bytes });
        }
        if self.delayed.wants_fetch() && self.window.has_room() {
            let (fetch, from) = (FetchId(self.number()), self.delayed.place);
            let early = if planted!(DelayedEarly) { 50 } else { 0 };
            let through = self.delayed.stamp.plus_ms(early);
            self.delayed.fetch = Some((fetch, through));
            out.push(Action::FetchDelayed { fetch, from, through, bytes });
        }
    }

    pub(in crate::subscription) fn fetched(&mut self, fetch: FetchId, batches: &[BatchMeta]) {
        if self.window.fetch.take_if(|asked| *asked == fetch).is_none() {
            return;
        }
        if batches.is_empty() {
            // The log is said to go on here: another try at once would be another one soon.
            self.retry();
        }
        for batch in batches {
            if batch.end() <= self.window.next {
                continue;
            }
            let from = batch.base.max(self.window.next);
            self.window.next = batch.end();
            if batch.is_delayed() {
                // Settled in this lane from the beginning.
                self.main_ledger.decide(OffsetRange::new(batch.base, batch.end()));
                continue;
            }
            let first = (from.0 - batch.base.0) as usize;
            for (meta, number) in batch.messages[first..].iter().zip(0..) {
                let offset = from.plus(number);
                if self.main_ledger.is_decided(offset) && !planted!(RedeliversSettled) {
                    if let Some((seat, _)) = self.claims.take(offset) {
                        self.let_go(seat);
                    }
                    self.hold_key(offset, meta.key_hash);
                } else {
                    self.place(Message::of(batch, offset, *meta));
                }
            }
        }
        self.window.next = self.main_ledger.next_undecided(self.window.next);
    }

    pub(in crate::subscription) fn due(
        &mut self,
        fetch: FetchId,
        batches: &[BatchMeta],
        next: Option<DelayedPlace>,
        due_next: Option<UnixMs>,
    ) {
        let Some((_, through)) = self.delayed.fetch.take_if(|(asked, _)| *asked == fetch) else { return };
        for batch in batches.iter().filter(|batch| batch.is_delayed() && batch.deliver_at <= through) {
            for (meta, number) in batch.messages.iter().zip(0..) {
                let place = DelayedPlace::new(batch.deliver_at, batch.base.plus(number));
                if place < self.delayed.place || !self.delayed_ledger.read(place) {
                    continue;
                }
                if place.offset < self.log.start || self.unseen.contains(place.offset) {
                    self.delayed_ledger.decide(place, self.delayed.place);
                } else {
                    self.place(Message::of(batch, place.offset, *meta));
                }
            }
        }
        self.delayed.read(through, next, due_next);
        self.delayed_ledger.forget_below(self.delayed.place);
    }

    pub(in crate::subscription) fn fetch_failed(&mut self, fetch: FetchId) {
        let main = self.window.fetch.take_if(|asked| *asked == fetch).is_some();
        if main || self.delayed.fetch.take_if(|(asked, _)| *asked == fetch).is_some() {
            self.retry();
        }
    }

    pub(in crate::subscription) fn tail_moved(
        &mut self,
        end: Offset,
        stamp: UnixMs,
        delayed: Option<UnixMs>,
    ) {
        self.window.end = self.window.end.max(end);
        self.delayed.stamped(stamp);
        delayed.into_iter().for_each(|due| self.delayed.stored(due));
    }

    fn place(&mut self, mut message: Message) {
        if !self.put_aside(&mut message) {
            self.window.waiting += 1;
            self.kind.push(message);
        }
    }

    /// Puts a message aside that consumers had before: some still have it, some failed. Says whether it did.
    pub(super) fn put_aside(&mut self, message: &mut Message) -> bool {
        let offset = message.offset;
        let attempts = self.attempts.get(&offset).copied().unwrap_or_default();
        message.attempts = attempts.count;
        if self.give_to_claimant(*message) {
            return true;
        }
        let waits = if self.is_failing(offset) {
            Waits::Commit
        } else if self.is_last(attempts.count) {
            Waits::Outbox
        } else if attempts.not_before > self.now && !planted!(BackoffForgotten) {
            Waits::Until(attempts.not_before)
        } else {
            return false;
        };
        self.opened(message);
        self.redelivery.put(*message, waits);
        self.kind.key(message.key, KeyChange::ReadLoose);
        if waits == Waits::Commit {
            self.kind.key(message.key, KeyChange::LooseDecided);
        }
        true
    }

    /// A message goes to whoever says that it was delivered before, without another delivery.
    fn give_to_claimant(&mut self, message: Message) -> bool {
        let Some((seat, _)) = self.claims.take(message.offset) else { return false };
        self.opened(&message);
        self.kind.key(message.key, KeyChange::Taken(seat));
        self.leases.begin(message, seat, self.now.plus_ms(self.rules.lease_ms));
        true
    }

    /// A message was acked before it was read, and that is not committed: its key does not move until then.
    fn hold_key(&mut self, offset: Offset, key: u64) {
        if key == 0 || !self.kind.keeps_keys() || !self.unseen.contains(offset) {
            return;
        }
        let in_flight = self.in_flight.as_mut().map(|in_flight| &mut in_flight.pending);
        let pending = in_flight.into_iter().chain([&mut self.pending]).find(|p| p.acked.contains(offset));
        if let Some(pending) = pending {
            pending.keys.push(key);
            self.kind.key(key, KeyChange::ReadLoose);
            self.kind.key(key, KeyChange::LooseDecided);
        }
    }

    /// Whether nothing was said about messages that were not delivered here.
    pub(super) fn nothing_is_known(&self) -> bool {
        let failing = self.in_flight.as_ref().is_some_and(|in_flight| !in_flight.pending.nacked.is_empty());
        !failing && self.pending.nacked.is_empty() && self.claims.is_empty() && self.attempts.is_empty()
    }

    /// Whether a failed attempt of a message that was not read yet is being committed.
    fn is_failing(&self, offset: Offset) -> bool {
        let here = self.in_flight.as_ref().filter(|in_flight| in_flight.seek_epoch == self.epochs.seek);
        here.is_some_and(|in_flight| in_flight.pending.nacked.contains_key(&offset))
            || self.pending.nacked.contains_key(&offset)
    }
}
