//! A settlement in the model: refused for the first reason there is, or applied message by message.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::Settlement;
use meridian_model::{LogId, Offset, OffsetRange, UnixMs};

use super::super::coverage::{Coverage, Met};
use super::sub::{At, Sub};
use crate::command::SettlePart;
use crate::partition::{Bounds, SubscriptionBound, SubscriptionRefusal};

pub(super) struct Log<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) stamp: u64,
    pub(super) due: &'a BTreeMap<u64, u64>,
    pub(super) bounds: &'a Bounds,
}

type Checked = Result<(), (Met, SubscriptionRefusal)>;

impl Sub {
    pub(super) fn settle(
        &mut self,
        part: &SettlePart,
        log: &Log<'_>,
        met: &mut Coverage,
    ) -> Result<(), SubscriptionRefusal> {
        let s = &part.settlement;
        let mut after = self.clone();
        let mut happened = Coverage::default();
        let checked = self.check(part, log).and_then(|()| {
            after.apply(s, log, &mut happened);
            after.check_after(log.bounds)
        });
        if let Err((condition, refusal)) = checked {
            met.met(condition);
            return Err(refusal);
        }
        met.met(Met::PartApplied);
        met.add(&happened);
        *self = after;
        Ok(())
    }

    fn check(&self, part: &SettlePart, log: &Log<'_>) -> Checked {
        let s = &part.settlement;
        if part.seek_epoch != self.seek_epoch {
            return Err((Met::PartStaleSeek, SubscriptionRefusal::StaleSeek { current: self.seek_epoch }));
        }
        if self.rules.kind.is_owned() && (self.owner.is_none() || part.owner_epoch != Some(self.owner_epoch))
        {
            return Err((Met::PartStaleOwner, SubscriptionRefusal::StaleOwner { current: self.owner_epoch }));
        }
        let named = s.acked.len() + s.expired.len() + s.nacked.len() + s.dead.len();
        let d = &s.delayed;
        let named_delayed = d.passed.len() + d.acked.len() + d.expired.len() + d.nacked.len() + d.dead.len();
        if named + named_delayed > log.bounds.settle_items_max {
            return Err((Met::PartOverItems, SubscriptionRefusal::Bound(SubscriptionBound::Items)));
        }
        check_log(s, log)?;
        let distinct: u64 =
            d.passed.iter().map(|r| offsets(*r).filter(|o| !self.is_settled((0, *o))).count() as u64).sum();
        if distinct > log.due.len() as u64 - self.passed {
            return Err((Met::PartPassesTooMany, SubscriptionRefusal::NotDelayed));
        }
        for (at, _) in dead(s) {
            let count = self.attempts.get(&at).map_or(0, |a| a.0);
            let is_last = self.rules.attempts_max.is_some_and(|most| count + 1 >= most);
            if !is_last && !self.is_settled(at) && at.1 >= log.start {
                return Err((Met::PartNotLastAttempt, SubscriptionRefusal::NotLastAttempt { count }));
            }
        }
        Ok(())
    }

    fn check_after(&self, bounds: &Bounds) -> Checked {
        if self.attempts.keys().any(|at| at.0 > 0 && *at < self.delayed_floor) {
            return Err((Met::PartFloorPassesAttempt, SubscriptionRefusal::FloorPassesAttempt));
        }
        let over = |met, bound| Err((met, SubscriptionRefusal::Bound(bound)));
        match () {
            () if self.main_ranges().len() > bounds.settled_ranges_max => {
                over(Met::PartOverSettledRanges, SubscriptionBound::SettledRanges)
            }
            () if self.delayed_ranges().len() > bounds.settled_delayed_max => {
                over(Met::PartOverSettledDelayed, SubscriptionBound::SettledDelayed)
            }
            () if self.attempts.len() > bounds.attempts_max => {
                over(Met::PartOverAttempts, SubscriptionBound::Attempts)
            }
            () if self.on_their_way() > bounds.dead_letters_max => {
                over(Met::PartOverDeadLetters, SubscriptionBound::DeadLetters)
            }
            () if self.sent.len() > bounds.destinations_max => {
                over(Met::PartOverDestinations, SubscriptionBound::Destinations)
            }
            () => Ok(()),
        }
    }

    fn apply(&mut self, s: &Settlement, log: &Log<'_>, met: &mut Coverage) {
        let (floor, ranges, attempts) = (self.floor, self.main_ranges().len(), self.attempts.clone());
        let d = &s.delayed;
        for offset in d.passed.iter().flat_map(|r| offsets(*r)) {
            if self.settle_main(offset, log.due.contains_key(&offset)) {
                met.met(Met::PassesDelayed);
                self.passed += 1;
            }
        }
        let cumulative = s.cumulative.map(|below| OffsetRange::new(Offset(0), below));
        if cumulative.is_some() {
            met.met(Met::CumulativeAck);
        }
        for offset in cumulative.iter().chain(&s.acked).flat_map(|r| offsets(*r)) {
            self.ack(offset, log, met);
        }
        for (range, due) in d.acked.iter().map(|r| (r.range, r.deliver_at.0)) {
            for offset in offsets(range) {
                self.ack_delayed((due, offset), log, met);
            }
        }
        for offset in s.expired.iter().flat_map(|r| offsets(*r)) {
            if self.ack(offset, log, met) {
                met.met(Met::ExpiresMain);
                self.expired += 1;
            }
        }
        for (range, due) in d.expired.iter().map(|r| (r.range, r.deliver_at.0)) {
            for offset in offsets(range) {
                if self.ack_delayed((due, offset), log, met) {
                    met.met(Met::ExpiresDelayed);
                    self.expired += 1;
                }
            }
        }
        if self.floor > floor {
            met.met(Met::FloorAdvances);
        }
        if self.main_ranges().len() < ranges {
            met.met(if self.floor > floor { Met::FloorTakesRange } else { Met::RangesJoin });
        }
        if attempts.keys().any(|at| !self.attempts.contains_key(at)) {
            met.met(Met::AttemptEndsByAck);
        }
        self.apply_failures(s, log, met);
        if let Some(floor) = d.floor {
            self.raise_floor((floor.deliver_at.0, floor.offset.0), log, met);
        }
        if self.floor >= log.end {
            self.passed = log.due.len() as u64;
        }
    }

    fn apply_failures(&mut self, s: &Settlement, log: &Log<'_>, met: &mut Coverage) {
        for (at, to) in dead(s) {
            let new = match at.0 {
                _ if at.1 < log.start => false,
                0 => self.settle_main(at.1, log.due.contains_key(&at.1)),
                _ => self.ack_delayed(at, log, met),
            };
            if !new {
                met.met(Met::BuriedAgain);
                continue;
            }
            met.met(if at.0 > 0 { Met::BuriedDelayed } else { Met::Buried });
            if self.sent.keys().any(|known| *known != to) {
                met.met(Met::BuriedAtSecondDestination);
            }
            self.sent.entry(to).or_default().0.push(at);
        }
        for (at, not_before) in nacked(s) {
            if self.is_settled(at) || at.1 < log.start {
                met.met(Met::FailsSettled);
                continue;
            }
            let attempts = self.attempts.entry(at).or_insert((0, 0));
            met.met(if attempts.0 > 0 { Met::FailsAgain } else { Met::FailsFirst });
            if at.0 > 0 {
                met.met(Met::FailsDelayed);
            }
            *attempts = (attempts.0 + 1, not_before);
        }
    }

    fn ack(&mut self, offset: u64, log: &Log<'_>, met: &mut Coverage) -> bool {
        let is_delayed = log.due.contains_key(&offset);
        let new = self.settle_main(offset, is_delayed);
        met.met(match new {
            true if is_delayed => Met::AcksWithoutPassing,
            true => Met::SettlesMain,
            false => Met::SettlesMainAgain,
        });
        new
    }

    fn ack_delayed(&mut self, at: At, log: &Log<'_>, met: &mut Coverage) -> bool {
        if at < self.delayed_floor {
            met.met(Met::SettlesDelayedBelowFloor);
        }
        let new = self.settle_delayed(at);
        if new && log.due.get(&at.1) != Some(&at.0) {
            met.met(Met::SettlesWhatDoesNotExist);
            self.honest = false;
        }
        met.met(if new { Met::SettlesDelayed } else { Met::SettlesDelayedAgain });
        new
    }

    fn raise_floor(&mut self, floor: At, log: &Log<'_>, met: &mut Coverage) {
        if floor <= self.delayed_floor {
            return;
        }
        met.met(Met::DelayedFloorRises);
        let mut real = log.due.iter().map(|(offset, due)| (*due, *offset));
        if real.any(|at| at < floor && !self.is_settled(at)) {
            met.met(Met::DelayedFloorPassesPending);
            self.honest = false;
        }
        self.delayed_floor = floor;
        self.delayed.retain(|at| *at >= floor);
    }
}

fn check_log(s: &Settlement, log: &Log<'_>) -> Checked {
    let d = &s.delayed;
    let mut ends: BTreeSet<u64> = s.acked.iter().chain(&s.expired).chain(&d.passed).map(|r| r.to.0).collect();
    ends.extend(d.acked.iter().chain(&d.expired).map(|r| r.range.to.0));
    ends.extend(s.cumulative.map(|o| o.0));
    ends.extend(d.floor.map(|f| f.offset.0));
    ends.extend(nacked(s).map(|(at, _)| at.1 + 1).chain(dead(s).map(|(at, _)| at.1 + 1)));
    if ends.last().is_some_and(|last| *last > log.end) {
        return Err((Met::PartBeyondEnd, SubscriptionRefusal::BeyondEnd { end: Offset(log.end) }));
    }
    let times = d.acked.iter().chain(&d.expired).map(|r| r.deliver_at.0);
    let times = times.chain(d.nacked.iter().map(|n| n.0.0)).chain(d.dead.iter().map(|n| n.0.0));
    for due in times.chain(d.floor.map(|f| f.deliver_at.0)) {
        if due > log.stamp {
            return Err((Met::PartNotDue, SubscriptionRefusal::NotDue { deliver_at: UnixMs(due) }));
        }
        if due == 0 {
            return Err((Met::PartNotDelayed, SubscriptionRefusal::NotDelayed));
        }
    }
    Ok(())
}

fn offsets(range: OffsetRange) -> std::ops::Range<u64> {
    range.from.0..range.to.0
}

fn nacked(s: &Settlement) -> impl Iterator<Item = (At, u64)> {
    let main = s.nacked.iter().map(|n| ((0, n.offset.0), n.not_before.0));
    main.chain(s.delayed.nacked.iter().map(|(due, n)| ((due.0, n.offset.0), n.not_before.0)))
}

fn dead(s: &Settlement) -> impl Iterator<Item = (At, LogId)> {
    let main = s.dead.iter().map(|l| ((0, l.offset.0), l.destination));
    main.chain(s.delayed.dead.iter().map(|(due, l)| ((due.0, l.offset.0), l.destination)))
}
