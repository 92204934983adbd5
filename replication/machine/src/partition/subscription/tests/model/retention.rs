//! What a trim takes in the model, what holds it back, and what becomes of the rest.

use std::collections::BTreeSet;

use meridian_model::{Offset, OffsetRange, Place, SubscriptionId};

use super::super::coverage::{Coverage, Met};
use super::sub::Sub;
use super::{Closed, Model};
use crate::command::LiveDelayed;
use crate::partition::{DroppedBacklog, HeldBy, PartitionReply, TrimHold};

impl Model {
    /// The lowest delayed message that a subscription waits for; the end, if there is none.
    pub(in super::super) fn live_delayed(&self) -> u64 {
        let live =
            |(offset, due): (&u64, &u64)| self.subs.values().any(|sub| !sub.is_settled((*due, *offset)));
        let mut retained = self.due.range(self.start..);
        retained.find(|(offset, due)| live((offset, due))).map_or(self.end, |(offset, _)| *offset)
    }

    pub(in super::super) fn bytes_after(&self, index: u64) -> u64 {
        self.batches.iter().filter(|b| b.index > index).map(|b| b.bytes).sum()
    }

    pub(super) fn trim(
        &mut self,
        before: Option<u64>,
        keep: Option<u64>,
        live: Option<LiveDelayed>,
        drop_backlog: bool,
        met: &mut Coverage,
    ) -> PartitionReply {
        let mut open = self.batches.iter().filter(|b| b.index > self.boundary).peekable();
        if open.peek().is_some() && open.all(|b| before.is_some_and(|before| b.stamp < before)) {
            self.close();
        }
        let is_due = |c: &Closed| {
            before.is_some_and(|before| c.last_stamp < before)
                || keep.is_some_and(|keep| self.bytes_after(c.index) >= keep)
        };
        if !self.subs.is_empty() {
            met.met(Met::TrimWithSubscriptions);
        }
        let believed = live.filter(|live| (self.revived_at..=self.index).contains(&live.as_of));
        if live.is_some() && believed.is_none() && !self.subs.is_empty() {
            met.met(Met::OldBoundNotBelieved);
        }
        let failed = self.subs.values().flat_map(|sub| sub.attempts.keys());
        let failed = failed.filter(|at| at.0 > 0).map(|at| at.1).min().unwrap_or(u64::MAX);
        let believed = believed.map(|live| LiveDelayed { from: live.from.min(Offset(failed)), ..live });
        let hold = self.hold(believed, drop_backlog);
        let due: Vec<Closed> = self.closed.iter().copied().take_while(is_due).collect();
        let stays = |c: &&Closed| hold.is_none_or(|hold| c.end <= hold.offset.0);
        let gone: Vec<Closed> = due.iter().take_while(stays).copied().collect();
        let held = hold.filter(|_| gone.len() < due.len());
        if let Some(held) = held {
            met.met(match held.by {
                HeldBy::Unsettled(_) => Met::HeldByMainLane,
                HeldBy::DeadLetter(_) => Met::HeldByDeadLetter,
                HeldBy::Delayed if believed.is_some() => Met::HeldByDelayedRead,
                HeldBy::Delayed => Met::HeldByDelayedSegment,
            });
        }
        let removed = self.take(&gone, believed, drop_backlog, met);
        match (removed, held) {
            (None, None) => {
                met.met(Met::TrimNothing);
                PartitionReply::NothingToTrim
            }
            (Some((removed_bytes, dropped)), None) if dropped.is_empty() => {
                met.met(Met::TrimmedAll);
                PartitionReply::Trimmed { start: Offset(self.start), removed_bytes }
            }
            (removed, held) => {
                let (removed_bytes, dropped) = removed.unwrap_or_default();
                PartitionReply::BacklogTrimmed { start: Offset(self.start), removed_bytes, held, dropped }
            }
        }
    }

    fn hold(&self, believed: Option<LiveDelayed>, drop_backlog: bool) -> Option<TrimHold> {
        let mut holds: Vec<TrimHold> = Vec::new();
        for (id, sub) in &self.subs {
            let by = HeldBy::DeadLetter(SubscriptionId(*id));
            holds.extend(sub.letters().map(|(_, _, at)| TrimHold { offset: Offset(at.1), by }));
        }
        if !drop_backlog {
            for (id, sub) in &self.subs {
                let by = HeldBy::Unsettled(SubscriptionId(*id));
                holds.push(TrimHold { offset: Offset(sub.floor), by });
            }
            let delayed = if self.subs.is_empty() { None } else { self.delayed_hold(believed) };
            holds.extend(delayed.map(|offset| TrimHold { offset: Offset(offset), by: HeldBy::Delayed }));
        }
        let lowest = holds.iter().map(|hold| hold.offset).min()?;
        holds.into_iter().find(|hold| hold.offset == lowest)
    }

    fn delayed_hold(&self, believed: Option<LiveDelayed>) -> Option<u64> {
        if let Some(live) = believed {
            return Some(live.from.0);
        }
        let from = self.subs.values().map(|sub| sub.from).min()?;
        let ends = self.closed.iter().map(|c| c.end).chain([self.end]);
        let begins = [self.start].into_iter().chain(self.closed.iter().map(|c| c.end));
        begins.zip(ends).find(|(b, e)| *e > from && self.due.range(*b..*e).next().is_some()).map(|(b, _)| b)
    }

    fn take(
        &mut self,
        gone: &[Closed],
        believed: Option<LiveDelayed>,
        drop_backlog: bool,
        met: &mut Coverage,
    ) -> Option<(u64, Vec<DroppedBacklog>)> {
        let last = gone.last()?;
        let start = last.end;
        let within = |b: &&super::Stored| (self.start..start).contains(&b.base);
        let bytes = self.batches.iter().filter(within).map(|b| b.bytes).sum();
        self.start = start;
        self.closed.drain(..gone.len());
        let rank = self.rank(start);
        let delayed_may_go = drop_backlog && believed.is_none_or(|live| live.from.0 < start);
        let mut dropped = Vec::new();
        for (id, sub) in self.subs.iter_mut().filter(|_| drop_backlog) {
            let raises = delayed_may_go && sub.from < start;
            let lost = sub.drop_below(*id, start, rank, raises, &self.due, met);
            if lost.delayed || !lost.ranges.is_empty() {
                met.met(Met::DroppedBacklog);
                dropped.push(lost);
            }
        }
        Some((bytes, dropped))
    }

    pub(super) fn sweep(&mut self, batches: &[Place], met: &mut Coverage) -> PartitionReply {
        let distinct: BTreeSet<(u64, u64)> = batches
            .iter()
            .filter(|first| first.offset.0 < self.start)
            .take(self.bounds.delayed_swept_max)
            .map(|first| (first.deliver_at.0, first.offset.0))
            .collect();
        let below = batches.iter().filter(|first| first.offset.0 < self.start).count();
        if below < batches.len() {
            met.met(Met::SweepSparesLive);
        }
        if below > self.bounds.delayed_swept_max {
            met.met(Met::SweepAtBound);
        }
        for at in &distinct {
            if self.rows.remove(at) {
                met.met(Met::SweptBelowStart);
            }
        }
        PartitionReply::DelayedSwept { batches: distinct.len() as u64 }
    }
}

impl Sub {
    fn drop_below(
        &mut self,
        id: u64,
        start: u64,
        rank: u64,
        raises: bool,
        due: &std::collections::BTreeMap<u64, u64>,
        met: &mut Coverage,
    ) -> DroppedBacklog {
        let delayed = raises && self.before < rank;
        let hull = (self.floor, start.max(self.floor));
        let mut ranges: Vec<OffsetRange> = Vec::new();
        let mut lost = 0;
        for offset in hull.0..hull.1 {
            if !self.is_settled((0, offset)) {
                lost += 1;
                match ranges.last_mut() {
                    Some(last) if last.to.0 == offset => last.to = Offset(offset + 1),
                    _ => ranges.push(OffsetRange::one(Offset(offset))),
                }
            }
        }
        for offset in hull.0..hull.1 {
            self.settle_main(offset, due.contains_key(&offset));
        }
        if ranges.len() > 1 {
            met.met(Met::DroppedBacklogWithHoles);
        }
        let passed = self.passed.max(rank);
        let messages = lost - (passed - self.passed).min(lost);
        self.passed = passed;
        if raises {
            self.delayed.retain(|at| at.1 >= start);
            self.attempts.retain(|at, _| at.0 == 0 || at.1 >= start);
            (self.from, self.before) = (start, rank);
        }
        if delayed {
            met.met(Met::DroppedDelayed);
            self.is_exact = false;
            self.named = self.delayed.len() as u64;
        }
        if hull.0 < hull.1 {
            self.dropped = Some(hull);
            self.dropped_messages += messages;
        }
        DroppedBacklog { id: SubscriptionId(id), ranges, messages, delayed }
    }
}
