//! What consumers say about messages: done, not done, takes longer.

use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, OffsetRange, Place};

use crate::subscription::event::Said;
use crate::subscription::state::{Request, Seat, one};
use crate::subscription::{Action, Dispatcher, Epochs, Refusal, Revoked};

/// Somebody speaks: who, in which request, and whether about messages of an earlier dispatch.
struct Speaker {
    seat: Seat,
    late: bool,
    request: Request,
    /// Something it said is taken, and will be confirmed.
    heeded: bool,
}

impl Dispatcher {
    pub(in crate::subscription) fn acked(&mut self, said: Said<Vec<DelayedRange>>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(&said, out) else { return };
        for range in &said.about {
            self.ack_range(&mut speaker, *range, &said, out);
        }
        self.heed(speaker);
    }

    pub(in crate::subscription) fn acked_cumulative(&mut self, said: &Said<Offset>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(said, out) else { return };
        // No further than the log: what is beyond was given to nobody.
        let (below, start) = (said.about.min(self.window.end), Offset(0));
        if !self.rules.kind.is_owned() {
            return refuse(said, Refusal::CumulativeShared, out);
        }
        // Exactly what it was given, for a message that is due when the ack is applied may never have been delivered.
        let held = self.leases.within(start, below).filter(|held| !held.message.is_delayed());
        let held: Vec<Offset> = held.map(|held| held.message.offset).collect();
        speaker.heeded = !held.is_empty();
        held.into_iter().for_each(|offset| self.settle_held(offset));
        let mine = Some(speaker.seat);
        let loose = self.redelivery.within(start, below).filter(|loose| !loose.message.is_delayed());
        let had = loose.filter(|loose| loose.message.last == mine);
        let had: Vec<Offset> = had.map(|loose| loose.message.offset).collect();
        speaker.heeded |= !had.is_empty();
        had.into_iter().for_each(|offset| self.settle_loose(offset));
        for place in self.claims.of(speaker.seat, below) {
            self.settle_unseen(speaker.seat, one(place), out);
            speaker.heeded = true;
        }
        let first = self.main_ledger.next_undecided(self.log.start);
        if first < said.about {
            refuse(said, Refusal::NotHeld { offset: first }, out);
        }
        speaker.heeded |= first >= said.about;
        self.heed(speaker);
    }

    pub(in crate::subscription) fn nacked(&mut self, said: Said<Vec<Place>>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(&said, out) else { return };
        for place in said.about.iter().copied() {
            if self.holds(speaker.seat, place) {
                self.fail(place.offset);
            } else if self.claims.get(place) == Some(speaker.seat) {
                self.fail_unread(place, speaker.seat);
            } else {
                refuse(&said, self.why_not_held(place, speaker.seat), out);
                continue;
            }
            speaker.heeded = true;
        }
        self.heed(speaker);
    }

    /// Confirmed at once, if something came of it: leases are known to nobody else.
    pub(in crate::subscription) fn extended(&mut self, said: &Said<Vec<Place>>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(said, out) else { return };
        let until = self.now.plus_ms(self.rules.lease_ms);
        for place in said.about.iter().copied() {
            if self.holds(speaker.seat, place) {
                self.leases.extend(place.offset, until);
            } else if self.claims.get(place) == Some(speaker.seat) {
                self.claims.extend(place, until);
            } else {
                refuse(said, self.why_not_held(place, speaker.seat), out);
                continue;
            }
            speaker.heeded = true;
        }
        if speaker.heeded {
            out.push(Action::Confirm { consumer: said.consumer, request: said.request });
        }
    }

    fn holds(&self, seat: Seat, place: Place) -> bool {
        self.leases.get(place.offset).is_some_and(|held| held.seat == seat && held.message.place() == place)
    }

    fn speaker<T>(&mut self, said: &Said<T>, out: &mut Vec<Action>) -> Option<Speaker> {
        let seat = self.heard(said.consumer, Some(said.request), out)?;
        if let Err(refusal) = self.fenced(seat, said.under) {
            refuse(said, refusal, out);
            return None;
        }
        let stream = self.consumers.get(seat).map_or(0, |consumer| consumer.stream);
        let request = Request { seat, stream, number: said.request };
        Some(Speaker { seat, late: said.under.dispatch < self.epochs.dispatch, request, heeded: false })
    }

    fn fenced(&self, seat: Seat, under: Epochs) -> Result<(), Refusal> {
        let now = self.epochs;
        if under.seek != now.seek {
            return Err(Refusal::StaleSeek { got: under.seek, current: now.seek });
        }
        if under.dispatch > now.dispatch {
            return Err(Refusal::UnknownEpoch { got: under.dispatch, current: now.dispatch });
        }
        let fenced = self.rules.kind.is_owned() && !planted!(AcksUnfenced);
        if fenced && (under.owner != now.owner || !self.may_speak(seat)) {
            return Err(Refusal::StaleOwner { got: under.owner, current: now.owner });
        }
        let waiting = self.consumers.get(seat).map_or(0, |consumer| consumer.unconfirmed);
        if waiting >= self.bounds.unconfirmed_max { Err(Refusal::Busy { since: self.now }) } else { Ok(()) }
    }

    /// The request is confirmed with the next commit, if something came of it.
    fn heed(&mut self, speaker: Speaker) {
        if speaker.heeded {
            if let Some(consumer) = self.consumers.get_mut(speaker.seat) {
                consumer.unconfirmed += 1;
            }
            self.pending.requests.push(speaker.request);
        }
    }

    fn ack_range<T>(
        &mut self,
        speaker: &mut Speaker,
        places: DelayedRange,
        said: &Said<T>,
        out: &mut Vec<Action>,
    ) {
        let DelayedRange { deliver_at, range } = places;
        let mut at = range.from;
        while at < range.to {
            let held = self.leases.within(at, range.to).find(|held| held.message.deliver_at == deliver_at);
            let held = held.map(|held| (held.message.offset, held.seat));
            let gap = OffsetRange::new(at, held.map_or(range.to, |(offset, _)| offset));
            if !gap.is_empty() {
                self.ack_gap(speaker, DelayedRange { deliver_at, range: gap }, said, out);
            }
            let Some((offset, seat)) = held else { return };
            at = offset.plus(1);
            if seat == speaker.seat || speaker.late || planted!(AcksForeign) {
                if seat != speaker.seat {
                    self.revoke(seat, Place { deliver_at, offset }, Revoked::Settled, out);
                }
                self.settle_held(offset);
                speaker.heeded = true;
            } else {
                refuse(said, Refusal::Foreign { offset }, out);
            }
        }
    }

    /// Messages that nobody holds: settled before, between two possessions, or not read yet.
    fn ack_gap<T>(
        &mut self,
        speaker: &mut Speaker,
        gap: DelayedRange,
        said: &Said<T>,
        out: &mut Vec<Action>,
    ) {
        let DelayedRange { deliver_at, range } = gap;
        let loose = self.redelivery.within(range.from, range.to);
        let loose = loose.filter(|loose| loose.message.deliver_at == deliver_at);
        let loose: Vec<Offset> = loose.map(|loose| loose.message.offset).collect();
        let mut rest = OffsetRange::new(range.from, range.from);
        for offset in loose.into_iter().chain([range.to]) {
            rest.to = offset;
            self.ack_rest(speaker, DelayedRange { deliver_at, range: rest }, said, out);
            rest.from = offset.plus(1);
            if offset == range.to {
                return;
            }
            if speaker.late {
                self.settle_loose(offset);
                speaker.heeded = true;
            } else {
                refuse(said, self.why_not_held(Place { deliver_at, offset }, speaker.seat), out);
            }
        }
    }

    fn ack_rest<T>(
        &mut self,
        speaker: &mut Speaker,
        rest: DelayedRange,
        said: &Said<T>,
        out: &mut Vec<Action>,
    ) {
        if rest.range.is_empty() {
            return;
        }
        let unknown = self.known.absent_in(rest.range);
        speaker.heeded |= unknown.is_empty();
        for range in unknown {
            let offset = range.from;
            let places = DelayedRange { range, ..rest };
            if !speaker.late || range.to > self.log.end {
                refuse(said, Refusal::NotHeld { offset }, out);
            } else if rest.deliver_at > self.delayed.stamp {
                // No earlier dispatcher can have known a later stamp.
                refuse(said, Refusal::NotDue { offset }, out);
            } else if self.known.is_full() || !self.admits_unseen(places) {
                refuse(said, Refusal::TooManyHoles { offset }, out);
            } else {
                self.settle_unseen(speaker.seat, places, out);
                speaker.heeded = true;
            }
        }
    }

    /// Whether settling messages that were not read leaves no more holes than there may be.
    fn admits_unseen(&self, places: DelayedRange) -> bool {
        let DelayedRange { deliver_at, range } = places;
        match deliver_at.0 {
            0 => self.main_ledger.admits(range.to),
            _ => self.delayed_ledger.admits(Place { deliver_at, offset: range.to }),
        }
    }

    /// Messages that an earlier dispatcher delivered, and this one has not, nor will.
    fn settle_unseen(&mut self, by: Seat, places: DelayedRange, out: &mut Vec<Action>) {
        for (place, seat) in self.claims.drop_within(places) {
            self.let_go(seat);
            if seat != by {
                self.revoke(seat, place, Revoked::Settled, out);
            }
        }
        if places.deliver_at.0 > 0 {
            self.delayed_ledger.opened();
            self.delayed_ledger.decide_unread(places);
            self.pending.delayed += 1;
        } else {
            self.main_ledger.opened();
            self.main_ledger.decide(places.range);
            self.pending.main += 1;
        }
        self.unseen.insert(places);
        self.known.insert(places.range);
        self.pending.acked.insert(places);
        self.pending.forget_nacks(places);
    }

    fn why_not_held(&self, place: Place, seat: Seat) -> Refusal {
        let offset = place.offset;
        match (self.leases.get(offset), self.redelivery.get(offset)) {
            (Some(held), _) if held.seat != seat => Refusal::Foreign { offset },
            (None, Some(loose)) if loose.message.last == Some(seat) => Refusal::LeaseEnded { offset },
            _ => Refusal::NotHeld { offset },
        }
    }
}

fn refuse<T>(said: &Said<T>, refusal: Refusal, out: &mut Vec<Action>) {
    out.push(Action::Refuse { consumer: said.consumer, request: Some(said.request), refusal });
}
