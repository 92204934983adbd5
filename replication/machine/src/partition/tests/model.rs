//! The model: every batch ever stored, in a list, and the rules said plainly.

use std::collections::BTreeMap;

use meridian_model::batch::{Batch, BatchHeader};
use meridian_model::refusal::{AppendOutcome, Refusal};
use meridian_model::{LogId, Offset, ProducerId, UnixMs};

use super::coverage::{Coverage, Met};
use crate::command::{AppendItem, PartitionCommand, PartitionPolicy};
use crate::partition::{Bounds, PartitionReply};

/// A stored batch.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) index: u64,
    pub(super) producer: ProducerId,
    /// Which life of the producer: every new epoch is another.
    life: u64,
    pub(super) epoch: u32,
    pub(super) named: bool,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) base: u64,
    pub(super) bytes: u64,
    pub(super) stamp: u64,
    pub(super) head: [u8; 32],
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) epoch: u32,
    pub(super) named: bool,
    life: u64,
    pub(super) heard: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) index: u64,
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) first_stamp: u64,
    pub(super) last_stamp: u64,
    pub(super) head: [u8; 32],
}

pub(super) struct Model {
    pub(super) bounds: Bounds,
    pub(super) stamp: u64,
    pub(super) batches: Vec<Stored>,
    pub(super) producers: BTreeMap<ProducerId, Known>,
    lives: u64,
    pub(super) end: u64,
    pub(super) head: [u8; 32],
    /// Payload bytes of each entry since the last boundary.
    open: Vec<u64>,
    boundary: u64,
    pub(super) closed: Vec<Closed>,
    pub(super) start: u64,
    pub(super) policy: PartitionPolicy,
    pub(super) control_index: u64,
    pub(super) sealed: bool,
}

impl Model {
    pub(super) fn new(log: LogId, bounds: Bounds) -> Self {
        Self {
            bounds,
            stamp: 0,
            batches: Vec::new(),
            producers: BTreeMap::new(),
            lives: 0,
            end: 0,
            head: blake3::hash(&log.0).into(),
            open: Vec::new(),
            boundary: 0,
            closed: Vec::new(),
            start: 0,
            policy: PartitionPolicy::default(),
            control_index: 0,
            sealed: false,
        }
    }

    pub(super) fn skip(&mut self, index: u64, met: &mut Coverage) {
        self.open.push(0);
        self.close_when_due(index, met);
    }

    pub(super) fn apply(
        &mut self,
        index: u64,
        entry_bytes: u64,
        command: &PartitionCommand,
        met: &mut Coverage,
    ) -> PartitionReply {
        self.stamp = self.stamp.max(command.stamp().0);
        self.open.push(entry_bytes);
        let reply = match command {
            PartitionCommand::Append { items, .. } => {
                PartitionReply::Appended(items.iter().map(|item| self.append(index, item, met)).collect())
            }
            PartitionCommand::Fence { producer, epoch, .. } => self.fence(*producer, *epoch, met),
            PartitionCommand::SetPolicy { control_index, .. } if *control_index < self.control_index => {
                met.met(Met::PolicyStale);
                PartitionReply::PolicyStale { current: self.control_index }
            }
            PartitionCommand::SetPolicy { control_index, policy, .. } => {
                met.met(Met::PolicySet);
                (self.control_index, self.policy) = (*control_index, *policy);
                PartitionReply::PolicySet
            }
            PartitionCommand::Trim { before, keep_bytes, forget_producers_before, .. } => {
                self.forget(forget_producers_before.map(|t| t.0), met);
                self.trim(index, before.map(|t| t.0), *keep_bytes, met)
            }
            PartitionCommand::Seal { control_index, .. } => {
                self.sealed = true;
                self.control_index = self.control_index.max(*control_index);
                PartitionReply::Sealed
            }
            PartitionCommand::Subscription(_) => unreachable!("none is drawn here"),
        };
        self.close_when_due(index, met);
        reply
    }

    fn append(&mut self, index: u64, item: &AppendItem, met: &mut Coverage) -> AppendOutcome {
        let Ok(batch) = Batch::trust(item.batch.clone()) else {
            met.met(Met::Malformed);
            return AppendOutcome::Refused(Refusal::Malformed);
        };
        let header = batch.header();
        let (condition, outcome) = self.judge(header, item.opened_at.0);
        met.met(condition);
        match outcome {
            Some(known @ AppendOutcome::Duplicate { .. }) => {
                if self.sealed {
                    met.met(Met::SealedDuplicate);
                }
                return known;
            }
            Some(old @ AppendOutcome::Refused(Refusal::DuplicateBeyondWindow)) => return old,
            _ if self.sealed => {
                met.met(Met::SealedAppend);
                return AppendOutcome::Refused(Refusal::Sealed);
            }
            Some(refused) => return refused,
            None => {}
        }
        let life = self.remember(header, item.opened_at.0);
        let mut covered = self.head.to_vec();
        covered.extend(self.end.to_le_bytes());
        covered.extend(item.leaf);
        self.head = blake3::hash(&covered).into();
        let base = self.end;
        self.end += u64::from(header.count);
        self.batches.push(Stored {
            index,
            producer: header.producer,
            life,
            epoch: header.epoch,
            named: header.is_named(),
            first: header.first_sequence,
            count: header.count,
            base,
            bytes: item.batch.len() as u64,
            stamp: self.stamp,
            head: self.head,
        });
        AppendOutcome::Stored { base: Offset(base) }
    }

    /// The condition met, and what comes of it; nothing: the batch is stored.
    fn judge(&self, header: &BatchHeader, opened_at: u64) -> (Met, Option<AppendOutcome>) {
        let refused = |refusal| Some(AppendOutcome::Refused(refusal));
        let unknown = refused(Refusal::UnknownProducer);
        let expired = opened_at + self.bounds.horizon_ms < self.stamp;
        let (named, first) = (header.is_named(), header.first_sequence);
        if header.producer.is_nil() && !named {
            return (Met::Anonymous, None);
        }
        let Some(known) = self.producers.get(&header.producer) else {
            return match () {
                () if named => (Met::UnknownNamed, unknown),
                () if first > 0 => (Met::UnknownMidSequence, unknown),
                () if expired => (Met::TokenExpired, refused(Refusal::TokenExpired)),
                () if self.producers.len() >= self.bounds.producers_max => {
                    (Met::TooManyProducers, refused(Refusal::TooManyProducers))
                }
                () => (Met::NewProducer, None),
            };
        };
        let (current, got) = (known.epoch, header.epoch);
        match () {
            () if named != known.named => (Met::NameFlagDiffers, unknown),
            () if got < current => (Met::StaleEpoch, refused(Refusal::StaleEpoch { current, got })),
            () if got > current && named => (Met::NamedEpochWithoutFence, unknown),
            () if got > current && first > 0 => (Met::EpochRaisedMidSequence, unknown),
            () if got > current && expired => (Met::TokenExpiredNewEpoch, refused(Refusal::TokenExpired)),
            () if got > current => (Met::NewEpochUnnamed, None),
            () => self.judge_sequence(known, header),
        }
    }

    fn judge_sequence(&self, known: &Known, header: &BatchHeader) -> (Met, Option<AppendOutcome>) {
        let refused = |refusal| Some(AppendOutcome::Refused(refusal));
        let stored: Vec<&Stored> = self.batches_of(header.producer, known.life).collect();
        let expected = stored.last().map_or(0, |b| b.first + u64::from(b.count));
        let (first, end) = (header.first_sequence, header.first_sequence + u64::from(header.count));
        if first == expected {
            return (Met::NextInSequence, None);
        }
        if first > expected {
            return (Met::Gap, refused(Refusal::SequenceGap { expected, got: first }));
        }
        let window = &stored[stored.len().saturating_sub(self.bounds.window_batches)..];
        let known_from = window[0].first;
        if let Some(n) = window.iter().position(|b| (b.first, b.count) == (first, header.count)) {
            let oldest = n == 0 && window.len() == self.bounds.window_batches;
            let condition = if oldest { Met::DuplicateOldestInWindow } else { Met::DuplicateInWindow };
            return (condition, Some(AppendOutcome::Duplicate { base: Offset(window[n].base) }));
        }
        if end <= known_from {
            return (Met::DuplicateBeyondWindow, refused(Refusal::DuplicateBeyondWindow));
        }
        let condition = if end > expected { Met::PartialOverlapAtEnd } else { Met::PartialOverlapInside };
        (condition, refused(Refusal::PartialOverlap { expected }))
    }

    fn batches_of(&self, producer: ProducerId, life: u64) -> impl Iterator<Item = &Stored> {
        self.batches.iter().filter(move |b| b.producer == producer && b.life == life)
    }

    /// The sequence that the producer may send next.
    pub(super) fn expected(&self, producer: ProducerId) -> u64 {
        let life = self.producers.get(&producer).map_or(0, |k| k.life);
        self.batches_of(producer, life).last().map_or(0, |b| b.first + u64::from(b.count))
    }

    fn new_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    fn remember(&mut self, header: &BatchHeader, opened_at: u64) -> u64 {
        if header.producer.is_nil() && !header.is_named() {
            return 0;
        }
        let fresh = self.new_life();
        let heard = if header.first_sequence == 0 { self.stamp.max(opened_at) } else { self.stamp };
        let (epoch, named) = (header.epoch, header.is_named());
        let known =
            self.producers.entry(header.producer).or_insert(Known { epoch, named, life: fresh, heard });
        if epoch > known.epoch {
            (known.epoch, known.life) = (epoch, fresh);
        }
        known.heard = known.heard.max(heard);
        known.life
    }

    fn fence(&mut self, id: ProducerId, epoch: u32, met: &mut Coverage) -> PartitionReply {
        let full = self.producers.len() >= self.bounds.producers_max;
        let condition = match self.producers.get(&id) {
            None if full => Met::FenceAtBound,
            None => Met::FenceNew,
            Some(known) if !known.named => Met::FenceTakesOverUnnamed,
            Some(known) if epoch < known.epoch => Met::FenceStale,
            Some(known) if epoch == known.epoch => Met::FenceSame,
            Some(_) => Met::FenceReset,
        };
        met.met(condition);
        match condition {
            Met::FenceAtBound => return PartitionReply::FenceRefused(Refusal::TooManyProducers),
            Met::FenceStale => return PartitionReply::FenceStale { current: self.producers[&id].epoch },
            Met::FenceSame => {}
            _ => {
                let life = self.new_life();
                let heard = self.stamp.max(self.producers.get(&id).map_or(0, |k| k.heard));
                self.producers.insert(id, Known { epoch, named: true, life, heard });
            }
        }
        PartitionReply::Fenced { epoch }
    }

    fn forget(&mut self, asked: Option<u64>, met: &mut Coverage) {
        let Some(asked) = asked else { return };
        let safe = self.stamp.saturating_sub(self.bounds.horizon_ms);
        let mut budget = self.bounds.forgotten_per_trim_max;
        for id in self.producers.keys().copied().collect::<Vec<_>>() {
            let known = &self.producers[&id];
            match () {
                () if known.heard >= asked => {}
                () if known.named => met.met(Met::ForgettingSparesNamed),
                () if known.heard >= safe => met.met(Met::ForgettingSparesToken),
                () if budget == 0 => met.met(Met::ForgettingAtBound),
                () => {
                    met.met(Met::ProducerForgotten);
                    budget -= 1;
                    self.producers.remove(&id);
                }
            }
        }
    }

    pub(super) fn bytes_after(&self, index: u64) -> u64 {
        self.batches.iter().filter(|b| b.index > index).map(|b| b.bytes).sum()
    }

    fn trim(
        &mut self,
        index: u64,
        before: Option<u64>,
        keep: Option<u64>,
        met: &mut Coverage,
    ) -> PartitionReply {
        let in_open: Vec<u64> =
            self.batches.iter().filter(|b| b.index > self.boundary).map(|b| b.stamp).collect();
        if !in_open.is_empty() && in_open.iter().all(|stamp| before.is_some_and(|b| *stamp < b)) {
            met.met(Met::TrimOfOpenSegment);
            self.close(index);
        }
        let by_age = |c: &Closed| before.is_some_and(|b| c.last_stamp < b);
        let by_size = |c: &Closed| keep.is_some_and(|keep| self.bytes_after(c.index) >= keep);
        let gone: Vec<Closed> = self.closed.iter().take_while(|c| by_age(c) || by_size(c)).cloned().collect();
        let Some(last) = gone.last() else {
            met.met(Met::TrimNothing);
            return PartitionReply::NothingToTrim;
        };
        met.met(if by_age(last) { Met::TrimByAge } else { Met::TrimBySize });
        if self.start > 0 {
            met.met(Met::TrimAgain);
        }
        self.start = last.end;
        let removed_bytes = gone.iter().map(|c| c.bytes).sum();
        self.closed.drain(..gone.len());
        PartitionReply::Trimmed { start: Offset(self.start), removed_bytes }
    }

    fn close_when_due(&mut self, index: u64, met: &mut Coverage) {
        let first = self.batches.iter().find(|b| b.index > self.boundary);
        let condition = match () {
            () if self.open.is_empty() => return,
            () if self.open.iter().sum::<u64>() >= self.policy.segment_bytes => Met::ClosedByBytes,
            () if self.open.len() as u64 >= self.policy.segment_entries => Met::ClosedByEntries,
            () if first.is_some_and(|b| self.stamp - b.stamp >= self.bounds.segment_age_ms) => {
                Met::ClosedByAge
            }
            () => return,
        };
        met.met(condition);
        self.close(index);
    }

    fn close(&mut self, index: u64) {
        let last_stamp = self.batches.last().map_or(0, |b| b.stamp);
        let within: Vec<&Stored> = self.batches.iter().filter(|b| b.index > self.boundary).collect();
        self.closed.push(Closed {
            index,
            end: self.end,
            bytes: within.iter().map(|b| b.bytes).sum(),
            first_stamp: within.first().map_or(last_stamp, |b| b.stamp),
            last_stamp,
            head: self.head,
        });
        self.boundary = index;
        self.open.clear();
    }

    pub(super) fn stamp(&self) -> UnixMs {
        UnixMs(self.stamp)
    }
}
