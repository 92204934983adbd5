//! Storing batches: each is classified, and what is accepted gets the next offsets.

use meridian_model::Place;
use meridian_model::batch::Batch;
use meridian_model::refusal::{AppendOutcome, Refusal};

use super::dedup::Verdict;
use super::{PartitionMachine, PartitionReply, chain};
use crate::command::AppendItem;
use crate::{At, Effect, IndexRow};

impl PartitionMachine {
    pub(super) fn append(
        &mut self,
        at: At,
        items: &[AppendItem],
        effects: &mut Vec<Effect>,
    ) -> PartitionReply {
        let outcomes =
            items.iter().zip(0..).map(|(item, position)| self.append_one(at, position, item, effects));
        PartitionReply::Appended(outcomes.collect())
    }

    fn append_one(
        &mut self,
        at: At,
        position: u32,
        item: &AppendItem,
        effects: &mut Vec<Effect>,
    ) -> AppendOutcome {
        // Admission verified the batch. One that slipped through must not stop every replica for ever.
        let Ok(batch) = Batch::trust(item.batch.clone()) else {
            return AppendOutcome::Refused(Refusal::Malformed);
        };
        let (header, stamp) = (batch.header(), self.core.last_stamp);
        match self.producers.classify(header, item.opened_at, stamp, &self.bounds) {
            Verdict::Duplicate { base } => {
                if planted!(DuplicateTakesOffsets) {
                    self.core.end = self.core.end.plus(u64::from(header.count));
                }
                return AppendOutcome::Duplicate { base };
            }
            Verdict::Refuse(refusal) if !self.core.sealed => return AppendOutcome::Refused(refusal),
            Verdict::Refuse(stored @ Refusal::DuplicateBeyondWindow) => {
                return AppendOutcome::Refused(stored);
            }
            Verdict::Refuse(_) => return AppendOutcome::Refused(Refusal::Sealed),
            Verdict::Accept if self.core.sealed && !planted!(SealStores) => {
                return AppendOutcome::Refused(Refusal::Sealed);
            }
            Verdict::Accept => {}
        }
        let base = self.core.end;
        let bytes = item.batch.len() as u64;
        self.producers.store(header, base, item.opened_at, stamp, &self.bounds);
        self.core.head = chain::advance(&self.core.head, base, &item.leaf);
        self.core.end = base.plus(u64::from(header.count));
        self.core.open.store(header.count, bytes, stamp);
        let row = IndexRow {
            index: at.index,
            position,
            count: header.count,
            bytes: bytes as u32,
            stamp,
            head: self.core.head,
        };
        effects.push(Effect::Index { base, row });
        // Decided here, by the stamp, and so the same in every replica.
        if header.deliver_at > stamp {
            self.subscriptions
                .store_delayed(Place { deliver_at: header.deliver_at, offset: base }, header.count);
        }
        AppendOutcome::Stored { base }
    }
}
