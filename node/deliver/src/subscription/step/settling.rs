//! Settlements: one in flight, the rest collected; answers only for what is committed.

use meridian_commitlog::{ConsumerId, CursorError, CursorRefusal, Standing};
use meridian_model::{Offset, OffsetRange, UnixMs};

use crate::subscription::kind::{KeyChange, Kind};
use crate::subscription::state::{InFlight, Pending, Request};
use crate::subscription::{Action, Dispatcher, Refusal, Token};

impl Dispatcher {
    /// Asks for what is decided to be committed, unless something is on its way.
    pub(in crate::subscription) fn flush(&mut self, out: &mut Vec<Action>) {
        let naming = matches!(&self.kind, Kind::Owned(owned) if owned.naming.is_some());
        if self.stopped || self.in_flight.is_some() || self.beginning || naming || self.retry_at.is_some() {
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
        let settlement = pending.settlement(self.dead_letters_to);
        if settlement.is_empty() && !pending.stamp_wanted {
            // About what is committed already.
            return self.confirm(pending.requests, out);
        }
        if planted!(ConfirmsEarly) {
            self.confirm(pending.requests.clone(), out);
        }
        let (token, seek_epoch) = (Token(self.number()), self.epochs.seek);
        self.in_flight = Some(InFlight { token, pending, seek_epoch });
        out.push(Action::Settle { token, mandate: self.mandate(), settlement });
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
        self.beginning = false;
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
            CursorError::NotLeader { .. } => self.stop(out),
            CursorError::Indeterminate(_) if planted!(UnknownIsCommitted) => {
                self.committed(token, self.delayed.stamp, self.outbox_room, out);
            }
            CursorError::Indeterminate(_) => {
                self.beginning = true;
                out.push(Action::Begin);
            }
            CursorError::Unavailable(_) | CursorError::Refused(CursorRefusal::Full(_)) => {
                self.again(out);
                self.retry();
            }
            CursorError::Refused(
                CursorRefusal::NotDue { offset } | CursorRefusal::OutOfRange { offset, .. },
            ) => self.without(offset, out),
            CursorError::Refused(CursorRefusal::StaleSeek { current }) => {
                let requests = self.in_flight.take().map(|in_flight| in_flight.pending.requests);
                let refusal = Refusal::StaleSeek { got: self.epochs.seek.min(current - 1), current };
                self.refuse_all(requests.unwrap_or_default(), refusal, out);
            }
            CursorError::Refused(_) => self.stop(out),
        }
    }

    /// A new dispatch began, so what was in flight is committed or never will be. An attempt that failed tells which:
    /// it must not count twice. Everything else may be settled again without harm.
    pub(in crate::subscription) fn begun(&mut self, standing: Standing, out: &mut Vec<Action>) {
        self.beginning = false;
        self.epochs.dispatch = standing.dispatch_epoch;
        self.log.end = self.window.end;
        self.delayed.stamped(standing.stamp);
        (self.outbox_room, self.dead_letters_to) = (standing.outbox_room, standing.dead_letters_to);
        if let Kind::Owned(owned) = &self.kind
            && owned.owner.is_some()
        {
            self.epochs.owner = standing.owner_epoch;
        }
        if let Some(in_flight) = &self.in_flight {
            let counted = |(offset, _): (&Offset, &UnixMs)| {
                let before = self.attempts.get(offset).map_or(0, |attempts| attempts.count);
                standing.attempts.get(offset).is_some_and(|attempts| attempts.count > before)
            };
            let applied = in_flight.pending.nacked.iter().any(counted);
            match self.in_flight.take_if(|_| applied) {
                Some(in_flight) => self.apply(in_flight, out),
                None => self.again(out),
            }
        }
        if standing.seek_epoch != self.epochs.seek {
            self.sought(standing, out);
        }
    }

    fn apply(&mut self, in_flight: InFlight, out: &mut Vec<Action>) {
        let InFlight { pending, seek_epoch, .. } = in_flight;
        if seek_epoch == self.epochs.seek {
            self.main_ledger.closed(pending.main);
            self.delayed_ledger.closed(pending.delayed);
            self.forget_attempts(&pending);
            pending.nacked.iter().for_each(|(offset, not_before)| self.failed(*offset, *not_before));
            pending.keys.iter().for_each(|key| self.kind.key(*key, KeyChange::Settled));
        }
        self.confirm(pending.requests, out);
        self.kind.committed();
    }

    fn forget_attempts(&mut self, settled: &Pending) {
        if self.attempts.is_empty() {
            return;
        }
        for range in settled.acked.iter().chain(settled.expired.iter()) {
            while let Some((offset, _)) = self.attempts.range(range.from..range.to).next() {
                let offset = *offset;
                self.attempts.remove(&offset);
            }
        }
        for offset in &settled.dead {
            self.attempts.remove(offset);
        }
    }

    /// What was in flight is decided still, and waits for the next commit.
    fn again(&mut self, out: &mut Vec<Action>) {
        let Some(in_flight) = self.in_flight.take() else { return };
        if in_flight.seek_epoch == self.epochs.seek {
            self.pending.absorb(in_flight.pending);
        } else {
            let refusal = Refusal::StaleSeek { got: in_flight.seek_epoch, current: self.epochs.seek };
            self.refuse_all(in_flight.pending.requests, refusal, out);
        }
    }

    /// The partition refuses a message that is not known here: whoever named it is told, the rest is tried again.
    fn without(&mut self, offset: Offset, out: &mut Vec<Action>) {
        let Some(in_flight) = &mut self.in_flight else { return };
        let one = OffsetRange::one(offset);
        in_flight.pending.acked.remove(one);
        let requests = std::mem::take(&mut in_flight.pending.requests);
        let named = |request: &Request| request.unseen.iter().any(|range| range.contains(offset));
        let (wrong, right) = requests.into_iter().partition(named);
        in_flight.pending.requests = right;
        self.unseen.remove(one);
        self.known.remove(one);
        self.refuse_all(wrong, Refusal::NotDue { offset }, out);
        self.again(out);
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
