//! What the partition keeps, said plainly: a list of messages, and what became of each.

use std::collections::{BTreeMap, BTreeSet};

use meridian_commitlog::{
    ConsumerId, CursorBound, CursorRefusal, DelayedPlace, LogBounds, Mandate, Standing,
};
use meridian_model::subscription::{Attempts, Settlement, SubscriptionRules};
use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, SubscriptionId, UnixMs};

use crate::subscription::{BatchMeta, DispatchBounds, MessageMeta};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    Acked,
    Expired,
    Dead,
    Dropped,
    /// Below the place that was sought, or before the subscription began.
    Skipped,
}

/// A message of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) key: u64,
    pub(super) bytes: u32,
    pub(super) base: u64,
    pub(super) appended_at: u64,
    pub(super) deliver_at: u64,
    pub(super) expire_at: u64,
}

impl Stored {
    pub(super) fn is_delayed(&self) -> bool {
        self.deliver_at > self.appended_at
    }
}

/// The partition and its one subscription.
pub(super) struct Replica {
    pub(super) rules: SubscriptionRules,
    bounds: DispatchBounds,
    pub(super) log: Vec<Stored>,
    pub(super) start: u64,
    pub(super) fate: Vec<Fate>,
    pub(super) attempts: BTreeMap<u64, Attempts>,
    pub(super) stamp: u64,
    pub(super) index: u64,
    pub(super) dispatch_epoch: u64,
    pub(super) owner: Option<ConsumerId>,
    pub(super) owner_epoch: u64,
    pub(super) seek_epoch: u64,
    pub(super) outbox_room: usize,
    pub(super) dead_letters_to: Option<LogId>,
}

impl Replica {
    pub(super) fn new(
        rules: SubscriptionRules,
        bounds: DispatchBounds,
        now: u64,
        outbox_room: usize,
    ) -> Self {
        Self {
            rules,
            bounds,
            log: Vec::new(),
            start: 0,
            fate: Vec::new(),
            attempts: BTreeMap::new(),
            stamp: now,
            index: 1,
            dispatch_epoch: 0,
            owner: None,
            owner_epoch: 0,
            seek_epoch: 0,
            outbox_room,
            dead_letters_to: Some(LogId::from_u128(9)),
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.log.len() as u64
    }

    fn entry(&mut self, now: u64) {
        self.index += 1;
        self.stamp = self.stamp.max(now);
    }

    /// Stores a batch. Returns when it is due, if it is delayed.
    pub(super) fn append(
        &mut self,
        now: u64,
        messages: &[(u64, u32)],
        deliver_at: u64,
        expire_at: u64,
    ) -> Option<u64> {
        self.entry(now);
        let (base, appended_at) = (self.end(), self.stamp);
        for (key, bytes) in messages.iter().copied() {
            self.log.push(Stored { key, bytes, base, appended_at, deliver_at, expire_at });
            self.fate.push(Fate::Open);
        }
        (deliver_at > appended_at).then_some(deliver_at)
    }

    pub(super) fn batch(&self, base: u64) -> BatchMeta {
        let first = self.log[base as usize];
        let rest = self.log[base as usize..].iter().take_while(|stored| stored.base == base);
        BatchMeta {
            base: Offset(base),
            appended_at: UnixMs(first.appended_at),
            deliver_at: UnixMs(first.deliver_at),
            expire_at: UnixMs(first.expire_at),
            messages: rest.map(|stored| MessageMeta { key_hash: stored.key, bytes: stored.bytes }).collect(),
        }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { start: Offset(self.start), end: Offset(self.end()), ..LogBounds::default() }
    }

    /// Places of delayed batches, in order.
    pub(super) fn delayed_batches(&self) -> BTreeSet<DelayedPlace> {
        let first = (0..self.end()).filter(|o| self.log[*o as usize].base == *o);
        let kept = first.filter(|o| self.log[*o as usize].is_delayed() && self.end_of(*o) > self.start);
        kept.map(|o| self.place(o)).collect()
    }

    fn end_of(&self, base: u64) -> u64 {
        base + self.log[base as usize..].iter().take_while(|stored| stored.base == base).count() as u64
    }

    fn place(&self, offset: u64) -> DelayedPlace {
        DelayedPlace::new(UnixMs(self.log[offset as usize].deliver_at), Offset(offset))
    }

    pub(super) fn begin(&mut self, now: u64) -> Standing {
        self.entry(now);
        let before = self.dispatch_epoch > 0;
        self.dispatch_epoch = self.index;
        Standing { dispatched_before: before, ..self.standing() }
    }

    pub(super) fn own(&mut self, now: u64, consumer: ConsumerId) -> u64 {
        self.entry(now);
        self.owner = Some(consumer);
        self.owner_epoch += 1;
        self.owner_epoch
    }

    pub(super) fn seek(&mut self, now: u64, to: u64) -> Standing {
        self.entry(now);
        self.seek_epoch += 1;
        self.attempts.clear();
        for offset in self.start..self.end() {
            // The delayed lane goes back to its beginning, so every delayed message is open again.
            let skipped = offset < to && !self.log[offset as usize].is_delayed();
            self.fate[offset as usize] = if skipped { Fate::Skipped } else { Fate::Open };
        }
        self.standing()
    }

    pub(super) fn trim(&mut self, start: u64) {
        self.start = start;
        for offset in 0..start {
            if self.fate[offset as usize] == Fate::Open {
                self.fate[offset as usize] = Fate::Dropped;
            }
            self.attempts.remove(&offset);
        }
    }

    /// Settles, or refuses as a whole.
    pub(super) fn settle(
        &mut self,
        now: u64,
        mandate: Mandate,
        settlement: &Settlement,
    ) -> Result<(), CursorRefusal> {
        self.entry(now);
        if mandate.seek_epoch != self.seek_epoch {
            return Err(CursorRefusal::StaleSeek { current: self.seek_epoch });
        }
        if mandate.dispatch_epoch != self.dispatch_epoch {
            return Err(CursorRefusal::StaleDispatch { current: self.dispatch_epoch });
        }
        if self.rules.kind.is_owned() && mandate.owner_epoch != self.owner_epoch {
            return Err(CursorRefusal::StaleOwner { current: self.owner_epoch });
        }
        let offsets =
            |ranges: &[OffsetRange]| -> Vec<u64> { ranges.iter().flat_map(|r| r.from.0..r.to.0).collect() };
        let due =
            |o: &u64| !self.log[*o as usize].is_delayed() || self.log[*o as usize].deliver_at <= self.stamp;
        if let Some(early) = offsets(&settlement.acked).into_iter().find(|o| !due(o)) {
            return Err(CursorRefusal::NotDue { offset: Offset(early) });
        }
        let (fate, attempts, room) = (self.fate.clone(), self.attempts.clone(), self.outbox_room);
        offsets(&settlement.acked).into_iter().for_each(|o| self.decide(o, Fate::Acked));
        offsets(&settlement.expired).into_iter().for_each(|o| self.decide(o, Fate::Expired));
        for nack in settlement.nacked.iter().filter(|nack| self.fate[nack.offset.0 as usize] == Fate::Open) {
            let attempts = self.attempts.entry(nack.offset.0).or_default();
            *attempts = Attempts { count: attempts.count + 1, not_before: nack.not_before };
        }
        for offset in settlement.dead.iter().map(|dead| dead.offset.0) {
            if self.fate[offset as usize] == Fate::Open {
                self.outbox_room = self.outbox_room.wrapping_sub(1);
                self.decide(offset, Fate::Dead);
            }
        }
        let Some(full) = self.full() else { return Ok(()) };
        (self.fate, self.attempts, self.outbox_room) = (fate, attempts, room);
        Err(CursorRefusal::Full(full))
    }

    fn decide(&mut self, offset: u64, fate: Fate) {
        if self.fate[offset as usize] == Fate::Open {
            self.fate[offset as usize] = fate;
            self.attempts.remove(&offset);
        }
    }

    fn full(&self) -> Option<CursorBound> {
        match () {
            () if self.ranges_above_floor() > self.bounds.settled_ranges_max => {
                Some(CursorBound::SettledRanges)
            }
            () if self.delayed_above_floor() > self.bounds.settled_delayed_max => {
                Some(CursorBound::SettledDelayed)
            }
            () if self.attempts.len() > self.bounds.attempts_max => Some(CursorBound::Attempts),
            () if self.outbox_room > usize::MAX / 2 => Some(CursorBound::DeadLetters),
            () => None,
        }
    }

    /// Runs of the main lane that are settled, behind its first open message.
    fn ranges_above_floor(&self) -> usize {
        let (mut ranges, mut open, mut settled) = (0, false, false);
        let main = self.log.iter().zip(&self.fate).filter(|(stored, _)| !stored.is_delayed());
        for (_, fate) in main {
            if *fate == Fate::Open {
                (open, settled) = (true, false);
            } else if open && !settled {
                (ranges, settled) = (ranges + 1, true);
            }
        }
        ranges
    }

    /// Delayed messages that are settled, behind the first open one.
    fn delayed_above_floor(&self) -> usize {
        let delayed = (self.start..self.end()).filter(|o| self.log[*o as usize].is_delayed());
        let (open, settled): (Vec<u64>, Vec<u64>) =
            delayed.partition(|o| self.fate[*o as usize] == Fate::Open);
        let first = open.into_iter().map(|o| self.place(o)).min();
        first.map_or(0, |first| settled.into_iter().filter(|o| self.place(*o) > first).count())
    }

    /// What is kept, worked out anew.
    pub(super) fn standing(&self) -> Standing {
        let is_open = |o: &u64| self.fate[*o as usize] == Fate::Open;
        let main_open = |o: &u64| is_open(o) && !self.log[*o as usize].is_delayed();
        let floor = (0..self.end()).find(main_open).unwrap_or(self.end());
        let above = (floor..self.end()).filter(|o| !main_open(o)).map(|o| OffsetRange::one(Offset(o)));
        let settled: OffsetRanges = above.collect();
        // Messages that are only delayed make no range of their own.
        let said =
            |range: &OffsetRange| (range.from.0..range.to.0).any(|o| !self.log[o as usize].is_delayed());
        let delayed = (self.start..self.end()).filter(|o| self.log[*o as usize].is_delayed());
        let delayed: BTreeMap<DelayedPlace, bool> = delayed.map(|o| (self.place(o), is_open(&o))).collect();
        let first = delayed.iter().find(|(_, open)| **open).map(|(place, _)| *place);
        let behind = DelayedPlace::new(UnixMs(self.stamp + 1), Offset(0));
        let delayed_floor = first.unwrap_or(behind).min(behind);
        let behind = delayed.iter().filter(|(place, open)| **place > delayed_floor && !**open);
        Standing {
            subscription: SubscriptionId(7),
            rules: self.rules.clone(),
            dispatch_epoch: self.dispatch_epoch,
            dispatched_before: false,
            owner: self.owner,
            owner_epoch: self.owner_epoch,
            seek_epoch: self.seek_epoch,
            floor: Offset(floor),
            settled: settled.iter().filter(said).collect(),
            delayed_floor,
            delayed_settled: behind.map(|(place, _)| *place).collect(),
            attempts: self.attempts.iter().map(|(o, a)| (Offset(*o), *a)).collect(),
            dead_letters_to: self.dead_letters_to,
            outbox_room: self.outbox_room,
            stamp: UnixMs(self.stamp),
        }
    }
}
