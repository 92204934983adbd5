//! What consumers say about messages: done, not done, takes longer.

use meridian_model::{Offset, OffsetRange};

use crate::subscription::event::Said;
use crate::subscription::state::{Request, Seat};
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
    pub(in crate::subscription) fn acked(&mut self, said: Said<Vec<OffsetRange>>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(&said, out) else { return };
        for range in &said.about {
            self.ack_range(&mut speaker, *range, &said, out);
        }
        self.heed(speaker);
    }

    pub(in crate::subscription) fn acked_cumulative(&mut self, said: &Said<Offset>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(said, out) else { return };
        let (below, start) = (said.about, Offset(0));
        if !self.rules.kind.is_owned() {
            return refuse(said, Refusal::CumulativeShared, out);
        }
        // Exactly what it was given, for a message that is due when the ack is applied may never have been delivered.
        let held: Vec<Offset> = self.leases.within(start, below).map(|held| held.message.offset).collect();
        speaker.heeded = !held.is_empty();
        held.into_iter().for_each(|offset| self.settle_held(offset));
        let mine = Some(speaker.seat);
        let had = self.redelivery.within(start, below).filter(|loose| loose.message.last == mine);
        let had: Vec<Offset> = had.map(|loose| loose.message.offset).collect();
        speaker.heeded |= !had.is_empty();
        had.into_iter().for_each(|offset| self.settle_loose(offset));
        for offset in self.claims.of(speaker.seat, below) {
            self.settle_unseen(speaker.seat, OffsetRange::one(offset), out);
            speaker.request.unseen.push(OffsetRange::one(offset));
            speaker.heeded = true;
        }
        let first = self.main_ledger.next_undecided(self.log.start);
        if first < below {
            refuse(said, Refusal::NotHeld { offset: first }, out);
        }
        speaker.heeded |= first >= below;
        self.heed(speaker);
    }

    pub(in crate::subscription) fn nacked(&mut self, said: Said<Vec<Offset>>, out: &mut Vec<Action>) {
        let Some(mut speaker) = self.speaker(&said, out) else { return };
        for offset in said.about.iter().copied() {
            let mine = self.leases.get(offset).is_some_and(|held| held.seat == speaker.seat);
            if mine {
                self.fail(offset);
            } else if self.claims.get(offset) == Some(speaker.seat) {
                self.claims.take(offset);
                self.let_go(speaker.seat);
                speaker.heeded = true;
                if self.attempts_are_full(offset) {
                    continue;
                }
                let failed =
                    self.attempts.get(&offset).map_or(1, |attempts| attempts.count.saturating_add(1));
                self.pending.nacked.insert(offset, self.now.plus_ms(self.rules.backoff.after(failed)));
            } else {
                refuse(&said, self.why_not_held(offset, speaker.seat), out);
                continue;
            }
            speaker.heeded = true;
        }
        self.heed(speaker);
    }

    pub(in crate::subscription) fn extended(&mut self, said: &Said<Vec<Offset>>, out: &mut Vec<Action>) {
        let Some(speaker) = self.speaker(said, out) else { return };
        let until = self.now.plus_ms(self.rules.lease_ms);
        for offset in said.about.iter().copied() {
            if self.leases.get(offset).is_some_and(|held| held.seat == speaker.seat) {
                self.leases.extend(offset, until);
            } else if self.claims.get(offset) == Some(speaker.seat) {
                self.claims.extend(offset, until);
            } else {
                refuse(said, self.why_not_held(offset, speaker.seat), out);
            }
        }
    }

    fn speaker<T>(&mut self, said: &Said<T>, out: &mut Vec<Action>) -> Option<Speaker> {
        let seat = self.heard(said.consumer, Some(said.request), out)?;
        if let Err(refusal) = self.fenced(seat, said.under) {
            refuse(said, refusal, out);
            return None;
        }
        let stream = self.consumers.get(seat).map_or(0, |consumer| consumer.stream);
        let request = Request { seat, stream, number: said.request, unseen: Vec::new() };
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
        range: OffsetRange,
        said: &Said<T>,
        out: &mut Vec<Action>,
    ) {
        let mut at = range.from;
        while at < range.to {
            let held = self.leases.within(at, range.to).next().map(|held| (held.message.offset, held.seat));
            let gap = OffsetRange::new(at, held.map_or(range.to, |(offset, _)| offset));
            if !gap.is_empty() {
                self.ack_gap(speaker, gap, said, out);
            }
            let Some((offset, seat)) = held else { return };
            at = offset.plus(1);
            if seat == speaker.seat || speaker.late || planted!(AcksForeign) {
                if seat != speaker.seat {
                    self.revoke(seat, offset, Revoked::Settled, out);
                }
                self.settle_held(offset);
                speaker.heeded = true;
            } else {
                refuse(said, Refusal::Foreign { offset }, out);
            }
        }
    }

    /// Messages that nobody holds: settled before, between two possessions, or not read yet.
    fn ack_gap<T>(&mut self, speaker: &mut Speaker, gap: OffsetRange, said: &Said<T>, out: &mut Vec<Action>) {
        let loose: Vec<Offset> =
            self.redelivery.within(gap.from, gap.to).map(|loose| loose.message.offset).collect();
        let mut rest = OffsetRange::new(gap.from, gap.from);
        for offset in loose.into_iter().chain([gap.to]) {
            rest.to = offset;
            self.ack_rest(speaker, rest, said, out);
            rest.from = offset.plus(1);
            if offset == gap.to {
                return;
            }
            if speaker.late {
                self.settle_loose(offset);
                speaker.heeded = true;
            } else {
                refuse(said, self.why_not_held(offset, speaker.seat), out);
            }
        }
    }

    fn ack_rest<T>(
        &mut self,
        speaker: &mut Speaker,
        rest: OffsetRange,
        said: &Said<T>,
        out: &mut Vec<Action>,
    ) {
        if rest.is_empty() {
            return;
        }
        let unknown = self.known.absent_in(rest);
        speaker.heeded |= unknown.is_empty();
        for range in unknown {
            if !speaker.late || range.to > self.log.end {
                refuse(said, Refusal::NotHeld { offset: range.from }, out);
            } else if self.known.is_full() || !self.main_ledger.admits(range.to) {
                refuse(said, Refusal::TooManyHoles { offset: range.from }, out);
            } else {
                self.settle_unseen(speaker.seat, range, out);
                speaker.request.unseen.push(range);
                speaker.heeded = true;
            }
        }
    }

    /// Messages that an earlier dispatcher delivered, and this one has not, nor will.
    fn settle_unseen(&mut self, by: Seat, range: OffsetRange, out: &mut Vec<Action>) {
        for (offset, seat) in self.claims.drop_within(range) {
            self.let_go(seat);
            if seat != by {
                self.revoke(seat, offset, Revoked::Settled, out);
            }
        }
        self.main_ledger.decide(range);
        self.unseen.insert(range);
        self.known.insert(range);
        self.pending.acked.insert(range);
        self.pending.nacked.retain(|offset, _| !range.contains(*offset));
    }

    fn why_not_held(&self, offset: Offset, seat: Seat) -> Refusal {
        match (self.leases.get(offset), self.redelivery.get(offset)) {
            (Some(_), _) => Refusal::Foreign { offset },
            (None, Some(loose)) if loose.message.last == Some(seat) => Refusal::LeaseEnded { offset },
            _ => Refusal::NotHeld { offset },
        }
    }
}

fn refuse<T>(said: &Said<T>, refusal: Refusal, out: &mut Vec<Action>) {
    out.push(Action::Refuse { consumer: said.consumer, request: Some(said.request), refusal });
}
