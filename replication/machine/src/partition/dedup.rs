//! Exactly once for each producer: a batch is stored at its sequence, once, or not at all (LOG-5, LOG-6).

use std::collections::BTreeMap;

use meridian_model::batch::BatchHeader;
use meridian_model::refusal::Refusal;
use meridian_model::{Offset, ProducerId, UnixMs};

use super::producer::{Producer, ProducerView, StoredBatch, slot_of};
use super::{Bounds, PartitionMachine, PartitionReply};
use crate::Effect;

/// What is to become of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Duplicate { base: Offset },
    Refuse(Refusal),
}

/// Every producer that a partition remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    rows: BTreeMap<ProducerId, Producer>,
    /// Within an entry: whose rows changed, and how many batches each stored. Empty between entries.
    touched: BTreeMap<ProducerId, u64>,
}

impl Producers {
    pub(super) fn of(rows: BTreeMap<ProducerId, Producer>) -> Self {
        Self { rows, touched: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn view(&self, id: ProducerId) -> Option<ProducerView> {
        self.rows.get(&id).map(|p| p.view)
    }

    /// Decides about a batch, without changing anything.
    pub(super) fn classify(
        &self,
        header: &BatchHeader,
        opened_at: UnixMs,
        stamp: UnixMs,
        bounds: &Bounds,
    ) -> Verdict {
        if header.first_sequence.checked_add(u64::from(header.count)).is_none() {
            return Verdict::Refuse(Refusal::Malformed);
        }
        if header.producer.is_nil() && !header.is_named() {
            return Verdict::Accept;
        }
        let verdict = match self.rows.get(&header.producer) {
            None => self.classify_unknown(header, opened_at, stamp, bounds),
            // Under the id of a named producer only the named producer writes, and the other way round.
            Some(row) if row.view.named != header.is_named() => Err(Refusal::UnknownProducer),
            Some(row) if header.epoch < row.view.epoch && !planted!(StoresStaleEpoch) => {
                Err(Refusal::StaleEpoch { current: row.view.epoch, got: header.epoch })
            }
            Some(row) if header.epoch > row.view.epoch => {
                if planted!(AppendRaisesNamedEpoch) && header.first_sequence == 0 {
                    return Verdict::Accept;
                }
                classify_first(header, opened_at, stamp, bounds)
            }
            Some(row) => return row.classify(header, bounds),
        };
        verdict.map_or_else(Verdict::Refuse, |()| Verdict::Accept)
    }

    fn classify_unknown(
        &self,
        header: &BatchHeader,
        opened_at: UnixMs,
        stamp: UnixMs,
        bounds: &Bounds,
    ) -> Result<(), Refusal> {
        classify_first(header, opened_at, stamp, bounds)?;
        if self.rows.len() >= bounds.producers_max {
            return Err(Refusal::TooManyProducers);
        }
        Ok(())
    }

    /// Remembers a batch that was accepted.
    pub(super) fn store(
        &mut self,
        header: &BatchHeader,
        base: Offset,
        opened_at: UnixMs,
        stamp: UnixMs,
        bounds: &Bounds,
    ) {
        if header.producer.is_nil() && !header.is_named() {
            return;
        }
        let row = self.rows.entry(header.producer);
        let row = row.or_insert_with(|| Producer::new(header.epoch, header.is_named(), stamp));
        if header.epoch > row.view.epoch {
            row.begin_epoch(header.epoch);
        }
        row.view.last_stamp = row.view.last_stamp.max(stamp);
        if header.first_sequence == 0 {
            // While the token could be accepted again the row must not be forgotten: see `forget_producers`.
            row.view.last_stamp = row.view.last_stamp.max(opened_at);
        }
        let batch = StoredBatch { first_sequence: header.first_sequence, count: header.count, base };
        row.store(batch, bounds.window_batches);
        *self.touched.entry(header.producer).or_default() += 1;
    }

    /// Puts a fence: from here on only this epoch of this name writes.
    pub(super) fn fence(
        &mut self,
        id: ProducerId,
        epoch: u32,
        stamp: UnixMs,
        bounds: &Bounds,
    ) -> PartitionReply {
        let at_bound = self.rows.len() >= bounds.producers_max;
        match self.rows.get_mut(&id) {
            None if at_bound => return PartitionReply::FenceRefused(Refusal::TooManyProducers),
            None => {
                self.rows.insert(id, Producer::new(epoch, true, stamp));
            }
            Some(row) if row.view.named && epoch < row.view.epoch => {
                return PartitionReply::FenceStale { current: row.view.epoch };
            }
            Some(row) if row.view.named && epoch == row.view.epoch => {
                return PartitionReply::Fenced { epoch };
            }
            // Someone without a name wrote under this id. The control group owns it: whatever epoch they chose.
            Some(row) => {
                row.begin_epoch(epoch);
                row.view.named = true;
                row.view.last_stamp = row.view.last_stamp.max(stamp);
            }
        }
        self.touched.entry(id).or_default();
        PartitionReply::Fenced { epoch }
    }

    /// Writes each changed row once.
    pub(super) fn flush(&mut self, bounds: &Bounds, effects: &mut Vec<Effect>) {
        for (id, batches) in std::mem::take(&mut self.touched) {
            let Some(row) = self.rows.get(&id) else { continue };
            let batches = if planted!(LosesSecondRow) { batches.min(1) } else { batches };
            for back in (1..=batches.min(bounds.window_batches as u64)).rev() {
                effects.push(row.put_slot(id, slot_of(row.stored - back, bounds.window_batches)));
            }
            effects.push(row.put(id));
        }
    }
}

/// The first batch of an epoch that no fence announced.
fn classify_first(
    header: &BatchHeader,
    opened_at: UnixMs,
    stamp: UnixMs,
    bounds: &Bounds,
) -> Result<(), Refusal> {
    if header.is_named() || header.first_sequence > 0 {
        return Err(Refusal::UnknownProducer);
    }
    if opened_at.plus_ms(bounds.horizon_ms) < stamp && !planted!(TokenNeverExpires) {
        return Err(Refusal::TokenExpired);
    }
    Ok(())
}

impl Producer {
    /// Decides about a batch of the epoch in force.
    fn classify(&self, header: &BatchHeader, bounds: &Bounds) -> Verdict {
        let (expected, first) = (self.view.next_sequence, header.first_sequence);
        if first == expected || (planted!(StoresAfterGap) && first > expected) {
            return Verdict::Accept;
        }
        if first > expected {
            return Verdict::Refuse(Refusal::SequenceGap { expected, got: first });
        }
        if planted!(StoresDuplicate) {
            return Verdict::Accept;
        }
        let mut oldest = expected;
        for batch in self.window(bounds.window_batches) {
            if (batch.first_sequence, batch.count) == (first, header.count) {
                return Verdict::Duplicate { base: batch.base };
            }
            oldest = batch.first_sequence;
        }
        if header.next_sequence() <= oldest {
            return Verdict::Refuse(Refusal::DuplicateBeyondWindow);
        }
        Verdict::Refuse(Refusal::PartialOverlap { expected })
    }
}

impl PartitionMachine {
    /// Forgets producers without a name that sent nothing since `before`.
    ///
    /// A forgotten producer could come back with a delayed copy of its sequence 0. So whatever is asked, one
    /// is forgotten only when its token (folded into its last stamp) is past the horizon and refused.
    pub(super) fn forget_producers(&mut self, before: Option<UnixMs>, effects: &mut Vec<Effect>) {
        let Some(asked) = before else { return };
        let before = asked.min(self.core.last_stamp.minus_ms(self.bounds.horizon_ms));
        let idle =
            |row: &Producer| row.view.last_stamp < before && (!row.view.named || planted!(ForgetsNamed));
        let ids = self.producers.rows.iter().filter(|(_, row)| idle(row)).map(|(id, _)| *id);
        let ids: Vec<ProducerId> = ids.take(self.bounds.forgotten_per_trim_max).collect();
        for id in ids {
            if let Some(row) = self.producers.rows.remove(&id) {
                row.delete(id, effects);
            }
        }
    }
}
