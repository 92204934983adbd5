//! The model: every message in a list, what each subscription settled in plain sets, and the rules said plainly.

mod retention;
mod settlement;
mod sub;

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::batch::Batch;
use meridian_model::refusal::{AppendOutcome, Refusal};
use meridian_model::{Offset, SubscriptionId};

use self::sub::Start;
pub(super) use self::sub::Sub;
use super::coverage::{Coverage, Met};
use crate::command::{PartitionCommand, StartAt, SubscriptionCommand};
use crate::partition::{Bounds, PartitionReply, SettleOutcome, SubscriptionBound, SubscriptionRefusal};

/// A stored batch.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) index: u64,
    pub(super) base: u64,
    pub(super) bytes: u64,
    pub(super) stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) index: u64,
    pub(super) end: u64,
    pub(super) last_stamp: u64,
}

pub(super) struct Model {
    pub(super) bounds: Bounds,
    pub(super) segment_entries: u64,
    pub(super) index: u64,
    pub(super) stamp: u64,
    pub(super) end: u64,
    pub(super) start: u64,
    pub(super) batches: Vec<Stored>,
    /// The time of each delayed message.
    pub(super) due: BTreeMap<u64, u64>,
    open_entries: u64,
    boundary: u64,
    pub(super) closed: Vec<Closed>,
    pub(super) sealed: bool,
    pub(super) subs: BTreeMap<u64, Sub>,
    pub(super) gone: BTreeMap<u64, u64>,
    pub(super) dispatch_epoch: u64,
    pub(super) revived_at: u64,
    /// First messages of delayed batches whose rows are there.
    pub(super) rows: BTreeSet<(u64, u64)>,
}

impl Model {
    pub(super) fn new(bounds: Bounds, segment_entries: u64) -> Self {
        Self {
            bounds,
            segment_entries,
            index: 0,
            stamp: 0,
            end: 0,
            start: 0,
            batches: Vec::new(),
            due: BTreeMap::new(),
            open_entries: 0,
            boundary: 0,
            closed: Vec::new(),
            sealed: false,
            subs: BTreeMap::new(),
            gone: BTreeMap::new(),
            dispatch_epoch: 0,
            revived_at: 0,
            rows: BTreeSet::new(),
        }
    }

    /// How many delayed messages lie below an offset.
    pub(super) fn rank(&self, offset: u64) -> u64 {
        self.due.range(..offset).count() as u64
    }

    pub(super) fn skip(&mut self, index: u64) {
        self.index = index;
        self.open_entries += 1;
        self.close_when_due();
    }

    pub(super) fn apply(
        &mut self,
        index: u64,
        command: &PartitionCommand,
        met: &mut Coverage,
    ) -> PartitionReply {
        self.index = index;
        self.stamp = self.stamp.max(command.stamp().0);
        self.open_entries += 1;
        let reply = match command {
            PartitionCommand::Append { items, .. } => {
                let outcomes = items.iter().map(|item| self.append(&item.batch, met)).collect();
                PartitionReply::Appended(outcomes)
            }
            PartitionCommand::Trim { before, keep_bytes, .. } => {
                self.trim(before.map(|t| t.0), *keep_bytes, None, false, met)
            }
            PartitionCommand::Seal { .. } => {
                self.sealed = true;
                PartitionReply::Sealed
            }
            PartitionCommand::Subscription(command) => {
                self.subscription(command, met).unwrap_or_else(PartitionReply::SubscriptionRefused)
            }
            PartitionCommand::SetPolicy { .. } => PartitionReply::PolicySet,
            PartitionCommand::Fence { .. } => unreachable!("not drawn here"),
        };
        self.close_when_due();
        reply
    }

    fn append(&mut self, bytes: &bytes::Bytes, met: &mut Coverage) -> AppendOutcome {
        if self.sealed {
            return AppendOutcome::Refused(Refusal::Sealed);
        }
        let batch = Batch::trust(bytes.clone()).expect("a batch");
        let (base, count, at) = (self.end, u64::from(batch.header().count), batch.header().deliver_at.0);
        let due = (at > self.stamp).then_some(at);
        met.met(match due {
            Some(_) => Met::AppendDelayed,
            None if at > 0 => Met::AppendDueNow,
            None => Met::AppendPlain,
        });
        if let Some(at) = due {
            self.rows.insert((at, base));
            self.due.extend((base..base + count).map(|offset| (offset, at)));
        }
        let (index, stamp, bytes) = (self.index, self.stamp, bytes.len() as u64);
        self.batches.push(Stored { index, base, bytes, stamp });
        self.end += count;
        AppendOutcome::Stored { base: Offset(base) }
    }

    fn close_when_due(&mut self) {
        if self.open_entries >= self.segment_entries {
            self.close();
        }
    }

    fn close(&mut self) {
        let last_stamp = self.batches.last().map_or(0, |b| b.stamp);
        self.closed.push(Closed { index: self.index, end: self.end, last_stamp });
        self.boundary = self.index;
        self.open_entries = 0;
    }

    fn subscription(
        &mut self,
        command: &SubscriptionCommand,
        met: &mut Coverage,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        match command {
            SubscriptionCommand::SetSubscription { control_index, id, rules, start, .. } => {
                if let Some(current) = self.gone.get(&id.0) {
                    met.met(Met::CreateOfDropped);
                    return Err(SubscriptionRefusal::StaleControl { current: *current });
                }
                if let Some(sub) = self.subs.get_mut(&id.0) {
                    sub.change(*control_index, rules, met)?;
                    return Ok(PartitionReply::SubscriptionSet { created: false });
                }
                self.create(*control_index, *id, rules, *start, met)
            }
            SubscriptionCommand::DropSubscription { control_index, id, .. } => {
                self.drop_subscription(*control_index, id.0, met)
            }
            SubscriptionCommand::BeginDispatch { .. } => {
                self.dispatch_epoch = self.index;
                Ok(PartitionReply::DispatchBegun { epoch: self.index })
            }
            SubscriptionCommand::Own { id, owner, .. } => {
                let sub = self.subs.get_mut(&id.0).ok_or_else(|| unknown(met))?;
                if !sub.rules.kind.is_owned() {
                    met.met(Met::OwnNotOwned);
                    return Err(SubscriptionRefusal::NotOwned);
                }
                met.met(if owner.is_some() { Met::OwnerNamed } else { Met::OwnerGone });
                (sub.owner, sub.owner_epoch) = (*owner, sub.owner_epoch + 1);
                Ok(PartitionReply::Owned { epoch: sub.owner_epoch })
            }
            SubscriptionCommand::Settle { parts, .. } => Ok(PartitionReply::Settled(self.settle(parts, met))),
            SubscriptionCommand::Seek { id, to, .. } => self.seek(id.0, *to, met),
            SubscriptionCommand::Moved { id, destination, through_sequence, .. } => {
                let sub = self.subs.get_mut(&id.0).ok_or_else(|| unknown(met))?;
                let left = sub.moved(*destination, *through_sequence, met)?;
                Ok(PartitionReply::DeadLettersMoved { left })
            }
            SubscriptionCommand::SweepDelayed { batches, .. } => Ok(self.sweep(batches, met)),
            SubscriptionCommand::TrimBacklog { before, keep_bytes, live_delayed, drop_backlog, .. } => {
                Ok(self.trim(before.map(|t| t.0), *keep_bytes, *live_delayed, *drop_backlog, met))
            }
        }
    }

    fn create(
        &mut self,
        control_index: u64,
        id: SubscriptionId,
        rules: &meridian_model::subscription::SubscriptionRules,
        start: StartAt,
        met: &mut Coverage,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        if self.sealed {
            met.met(Met::CreateSealed);
            return Err(SubscriptionRefusal::Sealed);
        }
        if self.subs.len() >= self.bounds.subscriptions_max {
            met.met(Met::CreateAtBound);
            return Err(SubscriptionRefusal::Bound(SubscriptionBound::Subscriptions));
        }
        let start = self.resolve(start, met)?;
        met.met(Met::Created);
        met.met(if start.at < self.end { Met::CreatedInThePast } else { Met::CreatedAtEnd });
        self.revive(&start);
        self.subs.insert(id.0, Sub::new(control_index, rules.clone(), start));
        Ok(PartitionReply::SubscriptionSet { created: true })
    }

    fn drop_subscription(
        &mut self,
        control_index: u64,
        id: u64,
        met: &mut Coverage,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        let current = self.subs.get(&id).map(|s| s.control_index).or(self.gone.get(&id).copied());
        if let Some(current) = current.filter(|current| control_index < *current) {
            met.met(Met::DropStale);
            return Err(SubscriptionRefusal::StaleControl { current });
        }
        let sub = self.subs.remove(&id);
        let dead_letters = sub.as_ref().map_or(0, |sub| sub.on_their_way() as u64);
        met.met(if sub.is_some() { Met::Dropped } else { Met::DroppedUnknown });
        if dead_letters > 0 {
            met.met(Met::DropWithDeadLetters);
        }
        self.gone.insert(id, control_index);
        if self.gone.len() > self.bounds.dropped_max {
            met.met(Met::DropForgetsOldest);
            let oldest = self.gone.iter().map(|(id, index)| (*index, *id)).min().expect("not empty");
            self.gone.remove(&oldest.1);
        }
        Ok(PartitionReply::SubscriptionDropped { dead_letters })
    }

    fn settle(&mut self, parts: &[crate::command::SettlePart], met: &mut Coverage) -> Vec<SettleOutcome> {
        let (start, end, stamp) = (self.start, self.end, self.stamp);
        let now = settlement::Log { start, end, stamp, due: &self.due, bounds: &self.bounds };
        let mut outcomes = Vec::new();
        for (nth, part) in parts.iter().enumerate() {
            if parts[..nth].iter().any(|earlier| earlier.id == part.id) {
                met.met(Met::SameSubscriptionTwiceInEntry);
            }
            let refused = match self.subs.get_mut(&part.id.0) {
                _ if nth >= self.bounds.settle_parts_max => {
                    met.met(Met::PartOneTooMany);
                    Some(SubscriptionRefusal::Bound(SubscriptionBound::Parts))
                }
                None => {
                    met.met(Met::PartUnknown);
                    Some(SubscriptionRefusal::Unknown)
                }
                Some(sub) => sub.settle(part, &now, met).err(),
            };
            outcomes.push(refused.map_or(SettleOutcome::Applied, SettleOutcome::Refused));
        }
        outcomes
    }

    fn resolve(&self, start: StartAt, met: &mut Coverage) -> Result<Start, SubscriptionRefusal> {
        let (at, rank) = match start {
            StartAt::Earliest => (self.start, self.rank(self.start)),
            StartAt::Latest => (self.end, self.rank(self.end)),
            StartAt::Offset { offset, .. } if offset.0 > self.end => {
                met.met(Met::StartBeyondEnd);
                return Err(SubscriptionRefusal::BeyondEnd { end: Offset(self.end) });
            }
            StartAt::Offset { offset, .. } if offset.0 <= self.start => {
                if offset.0 < self.start {
                    met.met(Met::StartBelowLog);
                }
                (self.start, self.rank(self.start))
            }
            StartAt::Offset { offset, delayed_before } => {
                // All that is known without reading rows: how many there are in each whole segment.
                let ends: Vec<u64> = self.closed.iter().map(|c| c.end).chain([self.end]).collect();
                let from = ends.iter().copied().filter(|end| *end <= offset.0).max().unwrap_or(self.start);
                let to = ends.iter().copied().find(|end| *end >= offset.0).unwrap_or(self.end);
                let least = self.rank(from);
                let most = least + (self.rank(to) - least).min(offset.0 - from);
                if !(least..=most).contains(&delayed_before) {
                    met.met(Met::StartWrongRank);
                    return Err(SubscriptionRefusal::WrongRank { least, most });
                }
                (offset.0, delayed_before)
            }
        };
        let floor = if at < self.end { (0, 0) } else { (self.stamp, self.end) };
        Ok(Start { at, rank, true_rank: self.rank(at), floor })
    }

    fn revive(&mut self, start: &Start) {
        if start.at < self.end {
            self.revived_at = self.index;
        }
    }

    fn seek(
        &mut self,
        id: u64,
        to: StartAt,
        met: &mut Coverage,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        if !self.subs.contains_key(&id) {
            return Err(unknown(met));
        }
        let start = self.resolve(to, met)?;
        self.revive(&start);
        let (at, end) = (start.at, self.end);
        let sub = self.subs.get_mut(&id).expect("known");
        met.met(match () {
            () if at == end => Met::SoughtToEnd,
            () if at < sub.floor => Met::SoughtBack,
            () => Met::SoughtForward,
        });
        sub.seek(start, met);
        Ok(PartitionReply::Sought { seek_epoch: sub.seek_epoch, floor: Offset(at) })
    }
}

fn unknown(met: &mut Coverage) -> SubscriptionRefusal {
    met.met(Met::NamesUnknown);
    SubscriptionRefusal::Unknown
}
