//! What was read from the log finds its place: with who holds it, behind its backoff, or in the window.

use meridian_model::subscription::Attempts;
use meridian_model::{Offset, OffsetRange, Place, UnixMs};

use crate::subscription::event::BatchMeta;
use crate::subscription::kind::KeyChange;
use crate::subscription::message::Message;
use crate::subscription::state::{DELAYED_FIRST, InFlight, Waits, main};
use crate::subscription::{Action, Dispatcher, FetchId, Revoked};

impl Dispatcher {
    /// Asks for more, where there is room for it.
    pub(in crate::subscription) fn fetch(&mut self, out: &mut Vec<Action>) {
        let waits = self.grace_until.is_some() || self.retry_at.is_some();
        if waits || self.consumers.len() == 0 {
            return;
        }
        let bytes = self.bounds.fetch_bytes;
        let stuck = self.window.stuck && !self.main_ledger.admits(self.window.next);
        if self.window.wants_fetch() && !stuck {
            self.window.stuck = false;
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

    pub(in crate::subscription) fn fetched(
        &mut self,
        fetch: FetchId,
        batches: &[BatchMeta],
        out: &mut Vec<Action>,
    ) {
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
            if batch.is_delayed() && !self.pass(OffsetRange::new(from, batch.end()), out) {
                self.window.next = from;
                self.window.stuck = true;
                return;
            }
            self.window.next = batch.end();
            if batch.is_delayed() {
                continue;
            }
            let first = (from.0 - batch.base.0) as usize;
            for (meta, number) in batch.messages[first..].iter().zip(0..) {
                let offset = from.plus(number);
                if self.main_ledger.is_decided(offset) && !planted!(RedeliversSettled) {
                    if let Some((seat, _)) = self.claims.take(Place::main(offset)) {
                        self.let_go(seat);
                    }
                    self.hold_key(Place::main(offset), meta.key_hash);
                } else {
                    self.place(Message::of(batch, offset, *meta));
                }
            }
        }
        self.window.next = self.read_on_from(self.window.next);
    }

    /// Where reading goes on: what is decided need not be read, unless its keys have to be known until that is
    /// committed.
    pub(super) fn read_on_from(&self, next: Offset) -> Offset {
        match self.kind.keeps_keys() {
            true => next,
            false => self.main_ledger.next_undecided(next),
        }
    }

    /// Passes delayed messages: they are settled in this lane, and delivered from the other one. Says whether it did:
    /// not where that would make one hole too many.
    fn pass(&mut self, range: OffsetRange, out: &mut Vec<Action>) -> bool {
        if self.main_ledger.next_undecided(range.from) >= range.to {
            return true;
        }
        if !self.main_ledger.admits(range.from) {
            return false;
        }
        for (place, seat) in self.claims.drop_within(main(range)) {
            self.let_go(seat);
            self.revoke(seat, place, Revoked::NotKept, out);
        }
        self.main_ledger.opened();
        self.main_ledger.decide(range);
        if !planted!(PassedUnnamed) {
            self.pending.passed.insert(range);
        }
        self.pending.main += 1;
        true
    }

    pub(in crate::subscription) fn due(
        &mut self,
        fetch: FetchId,
        batches: &[BatchMeta],
        next: Option<Place>,
        due_next: Option<UnixMs>,
    ) {
        let Some((_, through)) = self.delayed.fetch.take_if(|(asked, _)| *asked == fetch) else { return };
        let before = self.delayed.place;
        let first = self.delayed_from.max(self.log.start);
        for batch in batches.iter().filter(|batch| batch.is_delayed() && batch.deliver_at <= through) {
            self.window.end = self.window.end.max(batch.end());
            for (meta, number) in batch.messages.iter().zip(0..) {
                let place = Place { deliver_at: batch.deliver_at, offset: batch.base.plus(number) };
                if place < before || place.offset < first || !self.delayed_ledger.read(place) {
                    continue;
                }
                if self.unseen.contains(place) {
                    self.delayed_ledger.decide(place, before);
                    self.hold_key(place, meta.key_hash);
                } else {
                    self.place(Message::of(batch, place.offset, *meta));
                }
            }
        }
        self.delayed.read(through, next, due_next);
        self.delayed_ledger.forget_before(self.delayed.place);
        self.forget_untrue_attempts(before);
    }

    /// Attempts of messages that were not where their places were read: somebody named what does not exist. The floor
    /// could never pass them.
    fn forget_untrue_attempts(&mut self, from: Place) {
        let read = from.max(DELAYED_FIRST)..self.delayed.place.max(from.max(DELAYED_FIRST));
        for (place, _) in self.attempts.range(read) {
            if self.delayed_ledger.is_decided(*place, self.delayed.place) {
                self.pending.ack(*place);
            }
        }
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
        let attempts = self.attempts.get(&message.place()).copied().unwrap_or_default();
        message.attempts = attempts.count;
        if self.give_to_claimant(*message) {
            return true;
        }
        let not_before = self.not_before(attempts);
        let waits = if self.is_failing(message.place()) {
            Waits::Commit
        } else if self.is_last(attempts.count) {
            Waits::Outbox
        } else if not_before > self.now && !planted!(BackoffForgotten) {
            Waits::Until(not_before)
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

    /// When a message may be tried again. Its backoff counts from now on at most: whoever wrote the time down may have had a
    /// clock that was ahead by years.
    pub(super) fn not_before(&self, attempts: Attempts) -> UnixMs {
        attempts.not_before.min(self.now.plus_ms(self.rules.backoff.after(attempts.count)))
    }

    /// A message goes to whoever says that it was delivered before, without another delivery.
    fn give_to_claimant(&mut self, message: Message) -> bool {
        let Some((seat, _)) = self.claims.take(message.place()) else { return false };
        self.opened(&message);
        self.kind.key(message.key, KeyChange::Taken(seat));
        self.leases.begin(message, seat, self.now.plus_ms(self.rules.lease_ms));
        true
    }

    /// A message was acked before it was delivered, and that is not committed: its key does not move until then.
    pub(super) fn hold_key(&mut self, place: Place, key: u64) {
        if key == 0 || !self.kind.keeps_keys() || !self.unseen.contains(place) {
            return;
        }
        let in_flight = self.in_flight.iter_mut().flat_map(InFlight::parts_mut);
        let pending = in_flight.chain([&mut self.pending]).find(|part| part.acked.contains(place));
        if let Some(pending) = pending {
            pending.keys.push(key);
            self.kind.key(key, KeyChange::ReadLoose);
            self.kind.key(key, KeyChange::LooseDecided);
        }
    }

    /// Whether nothing was said about messages that were not delivered here.
    pub(super) fn nothing_is_known(&self) -> bool {
        let failing = self.in_flight.iter().flat_map(InFlight::parts).any(|part| !part.nacked.is_empty());
        !failing && self.pending.nacked.is_empty() && self.claims.is_empty() && self.attempts.is_empty()
    }

    /// Whether a failed attempt of a message that was not read yet is being committed.
    fn is_failing(&self, place: Place) -> bool {
        let here = self.in_flight.as_ref().filter(|in_flight| in_flight.seek_epoch == self.epochs.seek);
        let mut parts = here.into_iter().flat_map(InFlight::parts).chain([&self.pending]);
        parts.any(|part| part.nacked.contains_key(&place))
    }
}
