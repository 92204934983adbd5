//! Settlements: one in flight, the rest collected; answers only for what is committed.

use std::collections::VecDeque;

use meridian_commitlog::{CursorError, CursorRefusal, Standing};
use meridian_model::{ConsumerId, Place, UnixMs};

use crate::subscription::kind::{KeyChange, Kind};
use crate::subscription::state::{DELAYED_FIRST, InFlight, Pending, Request, main};
use crate::subscription::{Action, Dispatcher, Refusal, Stopped, Token};

impl Dispatcher {
    /// Asks for what is decided to be committed, unless something is on its way.
    pub(in crate::subscription) fn flush(&mut self, out: &mut Vec<Action>) {
        let waits = self.in_flight.is_some() || self.beginning.is_some() || self.retry_at.is_some();
        if self.stopped || waits || !self.may_settle() {
            return;
        }
        self.bury();
        if self.delayed.wants_stamp(self.now) && self.stamp_again_at() <= self.now {
            self.stamp_asked = self.delayed.due_next().map(|due| (due, self.now));
            self.pending.stamp_wanted = true;
        }
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        if pending.items() == 0 && !pending.stamp_wanted {
            // About what is committed already.
            return self.confirm(pending.requests, out);
        }
        if planted!(ConfirmsEarly) {
            self.confirm(pending.requests.clone(), out);
        }
        let parts = pending.split(self.bounds.settle_items_max);
        self.send(parts, self.epochs.seek, out);
    }

    /// Where there are owners, the owner's epoch must be known, and stay what it is.
    fn may_settle(&self) -> bool {
        match &self.kind {
            Kind::Owned(owned) => self.owner_known && owned.naming.is_none(),
            _ => true,
        }
    }

    /// Sends the first of these on its way.
    fn send(&mut self, mut rest: VecDeque<Pending>, seek_epoch: u64, out: &mut Vec<Action>) {
        let Some(pending) = rest.pop_front() else { return };
        let floor = self.delayed_floor(&pending, &rest);
        let settlement = Box::new(pending.settlement(floor));
        let token = Token(self.number());
        self.in_flight = Some(InFlight { token, pending, rest, floor, seek_epoch });
        out.push(Action::Settle { token, mandate: self.mandate(), settlement });
    }

    /// Before which place everything is settled once `pending` is, if that is news. What failed and is not settled
    /// stays behind it, and so does what is decided and not committed with it.
    fn delayed_floor(&self, pending: &Pending, rest: &VecDeque<Pending>) -> Option<Place> {
        let mut floor = self.delayed_ledger.floor(self.delayed.place);
        floor = self.delayed.settled_before(floor, self.window.end);
        let failed = self.attempts.range(DELAYED_FIRST..).next().map(|(place, _)| *place);
        let failing = pending.nacked.range(DELAYED_FIRST..).next().map(|(place, _)| *place);
        let later = rest.iter().chain([&self.pending]).filter_map(Pending::first_delayed);
        // An attempt of what is settled now is none.
        let failed = failed.filter(|place| !pending.settles(*place));
        let first = later.chain(failed).chain(failing).min();
        if !planted!(FloorTooHigh) {
            floor = first.map_or(floor, |first| first.min(floor));
        }
        Some(floor).filter(|floor| *floor > self.delayed_told && floor.is_delayed())
    }

    pub(in crate::subscription) fn committed(
        &mut self,
        token: Token,
        stamp: UnixMs,
        outbox_room: usize,
        out: &mut Vec<Action>,
    ) {
        let Some(in_flight) = self.in_flight.take_if(|asked| asked.token == token) else { return };
        self.delayed.stamped(stamp);
        self.outbox_room = outbox_room;
        self.beginning = None;
        self.apply(in_flight, out);
    }

    pub(in crate::subscription) fn commit_failed(
        &mut self,
        token: Token,
        error: CursorError,
        out: &mut Vec<Action>,
    ) {
        if self.in_flight.as_ref().is_none_or(|in_flight| in_flight.token != token) {
            return;
        }
        match error {
            CursorError::NotLeader { .. } => self.stop(Stopped::NotLeader, out),
            CursorError::Indeterminate(_) if planted!(UnknownIsCommitted) => {
                self.committed(token, self.delayed.stamp, self.outbox_room, out);
            }
            CursorError::Indeterminate(_) => {
                let begin = Token(self.number());
                self.beginning = Some(begin);
                out.push(Action::Begin(begin));
            }
            CursorError::Unavailable(_) | CursorError::Refused(CursorRefusal::Bound(_)) => {
                self.again(out);
                self.retry();
            }
            CursorError::Refused(CursorRefusal::StaleSeek { current }) => {
                let refusal =
                    Refusal::StaleSeek { got: self.epochs.seek.min(current.saturating_sub(1)), current };
                let parts = self.in_flight.take().into_iter().flat_map(InFlight::into_parts);
                let requests = parts.flat_map(|part| part.requests).collect();
                self.refuse_all(requests, refusal, out);
            }
            CursorError::Refused(refusal) => self.stop(Stopped::Refused(refusal), out),
        }
    }

    /// A new dispatch began. Where it was asked for here, what was in flight is committed or never will be. An attempt
    /// that failed tells which: it must not count twice. Everything else may be settled again without harm.
    pub(in crate::subscription) fn begun(
        &mut self,
        token: Option<Token>,
        standing: Standing,
        out: &mut Vec<Action>,
    ) {
        self.epochs.dispatch = self.epochs.dispatch.max(standing.dispatch_epoch);
        self.log.end = self.window.end;
        self.delayed.stamped(standing.stamp);
        let answers = token.is_some() && self.beginning == token;
        if answers {
            self.beginning = None;
            self.outbox_room = standing.outbox_room;
            self.destinations.extend(standing.destinations.iter().copied());
            if matches!(&self.kind, Kind::Owned(owned) if owned.naming.is_none()) {
                (self.epochs.owner, self.owner_known) = (standing.owner_epoch, standing.owner.is_some());
            }
            self.look_what_became(&standing, out);
        }
        if standing.seek_epoch != self.epochs.seek {
            self.sought(standing, out);
        }
    }

    fn look_what_became(&mut self, standing: &Standing, out: &mut Vec<Action>) {
        let count = |place: &Place| standing.attempts.get(place).map_or(0, |attempts| attempts.count);
        let before = |place: &Place| self.attempts.get(place).map_or(0, |attempts| attempts.count);
        let counted = |in_flight: &mut InFlight| {
            in_flight.pending.nacked.keys().any(|place| count(place) > before(place))
        };
        match self.in_flight.take_if(counted) {
            Some(in_flight) if !planted!(LooksAway) => self.apply(in_flight, out),
            Some(in_flight) => {
                self.in_flight = Some(in_flight);
                self.again(out);
            }
            None => self.again(out),
        }
    }

    fn apply(&mut self, in_flight: InFlight, out: &mut Vec<Action>) {
        let InFlight { pending, rest, floor, seek_epoch, .. } = in_flight;
        let current = seek_epoch == self.epochs.seek;
        if current {
            self.delayed_told = self.delayed_told.max(floor.unwrap_or_default());
            self.main_ledger.closed(pending.main);
            self.delayed_ledger.closed(pending.delayed);
            self.forget_attempts(&pending);
            pending.nacked.iter().for_each(|(place, not_before)| self.failed(*place, *not_before));
            pending.keys.iter().for_each(|key| self.kind.key(*key, KeyChange::Settled));
        }
        self.confirm(pending.requests, out);
        self.kind.committed();
        if current {
            self.send(rest, seek_epoch, out);
        } else {
            self.refuse_stale(rest.into_iter(), seek_epoch, out);
        }
    }

    fn forget_attempts(&mut self, settled: &Pending) {
        if self.attempts.is_empty() {
            return;
        }
        let passed = settled.passed.iter().map(main);
        for places in settled.acked.iter().chain(settled.expired.iter()).chain(passed) {
            let (deliver_at, range) = (places.deliver_at, places.range);
            let within = Place { deliver_at, offset: range.from }..Place { deliver_at, offset: range.to };
            while let Some((place, _)) = self.attempts.range(within.clone()).next() {
                let place = *place;
                self.attempts.remove(&place);
            }
        }
        for place in settled.dead.keys() {
            self.attempts.remove(place);
        }
    }

    /// What was in flight is decided still, and waits for the next commit.
    fn again(&mut self, out: &mut Vec<Action>) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let seek_epoch = in_flight.seek_epoch;
        if seek_epoch == self.epochs.seek {
            in_flight.into_parts().for_each(|part| self.pending.absorb(part));
        } else {
            self.refuse_stale(in_flight.into_parts(), seek_epoch, out);
        }
    }

    fn refuse_stale(&mut self, parts: impl Iterator<Item = Pending>, got: u64, out: &mut Vec<Action>) {
        let refusal = Refusal::StaleSeek { got, current: self.epochs.seek };
        self.refuse_all(parts.flat_map(|part| part.requests).collect(), refusal, out);
    }

    fn confirm(&mut self, requests: Vec<Request>, out: &mut Vec<Action>) {
        for request in requests {
            if let Some(consumer) = self.asker(&request) {
                out.push(Action::Confirm { consumer, request: request.number });
            }
        }
    }

    pub(in crate::subscription) fn refuse_all(
        &mut self,
        requests: Vec<Request>,
        refusal: Refusal,
        out: &mut Vec<Action>,
    ) {
        for request in requests {
            if let Some(consumer) = self.asker(&request) {
                out.push(Action::Refuse { consumer, request: Some(request.number), refusal });
            }
        }
    }

    /// Who waits for the answer to a request, which is given now.
    fn asker(&mut self, request: &Request) -> Option<ConsumerId> {
        let consumer = self.consumers.get_mut(request.seat)?;
        if consumer.stream != request.stream {
            return None;
        }
        consumer.unconfirmed = consumer.unconfirmed.saturating_sub(1);
        Some(consumer.id)
    }
}
