//! Where a subscription begins, and going elsewhere.

use meridian_model::{Offset, Place, SubscriptionId};

use super::state::Subscription;
use super::{PartitionMachine, PartitionReply, SubscriptionRefusal};
use crate::At;
use crate::command::StartAt;

impl PartitionMachine {
    /// The offset that is meant, and how many delayed messages lie below it since the log began.
    pub(super) fn resolve(&self, start: StartAt) -> Result<(Offset, u64), SubscriptionRefusal> {
        let (begin, end, delayed) = (self.start(), self.core.end, &self.subscriptions.delayed);
        match start {
            StartAt::Latest => Ok((end, delayed.messages)),
            StartAt::Offset { offset, .. } if offset > end => Err(SubscriptionRefusal::BeyondEnd { end }),
            StartAt::Offset { offset, delayed_before } if offset > begin => {
                let (least, most) = self.delayed_below(offset);
                match (least..=most).contains(&delayed_before) {
                    true => Ok((offset, delayed_before)),
                    false => Err(SubscriptionRefusal::WrongRank { least, most }),
                }
            }
            StartAt::Offset { .. } | StartAt::Earliest => Ok((begin, delayed.trimmed)),
        }
    }

    /// At least and at most how many delayed messages lie below an offset: exact where no delayed message lies in
    /// the same segment.
    fn delayed_below(&self, offset: Offset) -> (u64, u64) {
        let delayed = &self.subscriptions.delayed;
        let (mut least, mut begin) = (delayed.trimmed, self.start());
        for segment in &self.segments {
            let within = delayed.in_segment(segment.at.index);
            if offset < segment.end {
                return (least, least + within.min(offset.0 - begin.0));
            }
            (least, begin) = (least + within, segment.end);
        }
        match offset >= self.core.end {
            true => (delayed.messages, delayed.messages),
            false => (least, least + delayed.open.messages.min(offset.0 - begin.0)),
        }
    }

    /// Messages from there on are delivered, those before it are settled; acks for what was delivered before are
    /// refused (SUB-1, SUB-2).
    pub(super) fn seek(
        &mut self,
        at: At,
        id: SubscriptionId,
        to: StartAt,
    ) -> Result<PartitionReply, SubscriptionRefusal> {
        self.subscriptions.known(id)?;
        let (offset, before) = self.resolve(to)?;
        let Some(mut sub) = self.subscriptions.rows.remove(&id) else {
            return Err(SubscriptionRefusal::Unknown);
        };
        sub.restart(offset, before, &mut self.subscriptions.journal);
        self.begin_delayed(at, &mut sub);
        let seek_epoch = sub.seek_epoch;
        self.subscriptions.rows.insert(id, sub);
        self.subscriptions.write(id);
        Ok(PartitionReply::Sought { seek_epoch, floor: offset })
    }

    /// A subscription at the end waits for no message that is there. One before it may: what a leader read about
    /// live delayed messages before this entry is void.
    pub(super) fn begin_delayed(&mut self, at: At, sub: &mut Subscription) {
        if sub.main.floor >= self.core.end {
            // Whatever is delayed and comes later is due later than now.
            sub.delayed.floor = Place { deliver_at: self.core.last_stamp, offset: self.core.end };
        } else {
            self.subscriptions.revived_at = at.index;
        }
    }
}

impl Subscription {
    fn restart(&mut self, offset: Offset, delayed_before: u64, journal: &mut super::journal::Journal) {
        for place in self.attempts.keys() {
            journal.delete(crate::Table::Attempts, super::keys::place(self.id, *place));
        }
        self.attempts.clear();
        self.main.restart(self.id, offset, delayed_before, journal);
        self.delayed.restart(self.id, offset, delayed_before, journal);
        if !planted!(SeekEpochStays) {
            self.seek_epoch += 1;
        }
    }
}
