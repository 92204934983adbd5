//! What retention must not remove, and what becomes of a backlog that it removes all the same.
//!
//! A message that is needed beyond its segment's life is not moved yet (`Relocate` in the design): it holds back the
//! whole segment, and every later one. The seam is [`PartitionMachine::hold`]: with relocation it answers a later
//! offset.

use meridian_model::{Offset, OffsetRange, SubscriptionId};
use serde::{Deserialize, Serialize};

use super::PartitionMachine;
use super::journal::Journal;
use super::state::{Dropped, Subscription};
use crate::command::LiveDelayed;

/// What a trim says about subscriptions.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::partition) struct Waits {
    pub(in crate::partition) live_delayed: Option<LiveDelayed>,
    pub(in crate::partition) drop_backlog: bool,
}

/// What held a trim back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrimHold {
    /// The first offset that must stay.
    pub offset: Offset,
    /// Why.
    pub by: HeldBy,
}

/// Who waits for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeldBy {
    /// A subscription, in its main lane.
    Unsettled(SubscriptionId),
    /// A delayed message, for some subscription.
    Delayed,
    /// A dead letter on its way.
    DeadLetter(SubscriptionId),
}

/// What a subscription lost to the backlog policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedBacklog {
    /// The subscription.
    pub id: SubscriptionId,
    /// What was not settled in the main lane, in order. Delayed messages that were not passed yet are among it.
    pub ranges: Vec<OffsetRange>,
    /// How many messages of the main lane these are.
    pub messages: u64,
    /// Whether delayed messages may be among what was lost.
    pub delayed: bool,
}

impl PartitionMachine {
    /// The lowest message that must stay.
    ///
    /// The bound for delayed messages is what the leader read, and is safe as long as nothing that was settled then is
    /// live again: an entry that makes it so (a seek back, a subscription that begins in the past) is remembered,
    /// and a bound from before it is not believed. What is appended after the leader read lies beyond the bound.
    /// Without a bound the first segment with delayed messages is held.
    pub(in crate::partition) fn hold(&self, waits: Waits) -> Option<TrimHold> {
        let subs = self.subscriptions.rows.values();
        let letters = subs.clone().flat_map(|sub| {
            let by = HeldBy::DeadLetter(sub.id);
            sub.outbox.places().map(move |place| TrimHold { offset: place.offset, by })
        });
        let letters = letters.filter(|_| !planted!(TrimsDeadLetters));
        let unsettled = subs.map(|sub| TrimHold { offset: sub.main.floor, by: HeldBy::Unsettled(sub.id) });
        let unsettled = unsettled.filter(|_| !planted!(TrimsUnsettled)).chain(self.delayed_hold(waits));
        letters.chain(unsettled.filter(|_| !waits.drop_backlog)).min_by_key(|hold| hold.offset)
    }

    fn delayed_hold(&self, waits: Waits) -> Option<TrimHold> {
        if self.subscriptions.rows.is_empty() {
            return None;
        }
        let offset = self.live_delayed(waits).or_else(|| self.first_segment_delayed());
        offset.map(|offset| TrimHold { offset, by: HeldBy::Delayed })
    }

    /// Below this no subscription waits for a delayed message, by what the leader read and by what failed: a message
    /// that failed is live, whatever was read. `None`: it is not known.
    fn live_delayed(&self, waits: Waits) -> Option<Offset> {
        let read = waits.live_delayed.filter(|live| self.is_believed(live))?.from;
        let failed = self.subscriptions.rows.values().filter_map(Subscription::first_failed_delayed).min();
        Some(failed.map_or(read, |failed| failed.min(read)))
    }

    fn is_believed(&self, live: &LiveDelayed) -> bool {
        let range = self.subscriptions.revived_at..=self.core.applied.index;
        range.contains(&live.as_of) || planted!(BelievesOldBound)
    }

    /// Where the first segment begins that has delayed messages, of those from which a subscription could take one.
    fn first_segment_delayed(&self) -> Option<Offset> {
        let from = self.subscriptions.rows.values().map(|sub| sub.delayed.from).min()?;
        let mut begin = self.start();
        for segment in &self.segments {
            if segment.end > from && self.subscriptions.delayed.in_segment(segment.at.index) > 0 {
                return Some(begin);
            }
            begin = segment.end;
        }
        (self.core.end > from && self.subscriptions.delayed.open.messages > 0).then_some(begin)
    }

    /// After a trim: what subscriptions waited for below the start counts as settled.
    pub(in crate::partition) fn drop_backlog(&mut self, waits: Waits) -> Vec<DroppedBacklog> {
        let start = self.start();
        let delayed_may_go = self.live_delayed(waits).is_none_or(|live| live < start);
        let subs = &mut self.subscriptions;
        let before = subs.delayed.trimmed;
        if !waits.drop_backlog {
            // Then nothing went for which one waits.
            return Vec::new();
        }
        let lost = subs.rows.values_mut().filter_map(|sub| {
            let lost = sub.drop_below(start, before, delayed_may_go, &mut subs.journal);
            subs.journal.update(crate::Table::Subscription, super::keys::subscription(sub.id), sub.row());
            lost
        });
        lost.collect()
    }
}

impl Subscription {
    fn first_failed_delayed(&self) -> Option<Offset> {
        self.attempts.keys().filter(|place| place.is_delayed()).map(|place| place.offset).min()
    }

    /// The log begins at `start` now, with so many delayed messages before it.
    fn drop_below(
        &mut self,
        start: Offset,
        delayed_before: u64,
        delayed_may_go: bool,
        journal: &mut Journal,
    ) -> Option<DroppedBacklog> {
        let raises = delayed_may_go && self.delayed.from < start;
        // The number before `from` was told; that none is between is believed for counting alone.
        let delayed = raises && self.delayed.before < delayed_before;
        let range = OffsetRange::new(self.main.floor, start);
        let ranges = self.main.unsettled(range);
        self.forget_attempts(meridian_model::UnixMs(0), range, journal);
        let offsets = self.main.settle(self.id, range, journal);
        // The reader passes delayed messages in order: when it is beyond the start it passed all of them.
        let passed = self.main.passed.max(delayed_before);
        let messages = offsets.saturating_sub(passed - self.main.passed);
        self.main.passed = passed;
        if raises {
            let failed: Vec<_> =
                self.attempts.keys().filter(|p| p.is_delayed() && p.offset < start).collect();
            for place in failed.into_iter().copied().collect::<Vec<_>>() {
                self.forget_attempts(place.deliver_at, OffsetRange::one(place.offset), journal);
            }
            self.delayed.raise_from(self.id, start, delayed_before, journal);
            if delayed {
                self.delayed.lose_count();
            }
        }
        if !range.is_empty() && !planted!(DropNotRecorded) {
            self.dropped = Dropped { range, messages: self.dropped.messages + messages };
        }
        let lost = DroppedBacklog { id: self.id, ranges, messages, delayed };
        Some(lost).filter(|lost| delayed || !lost.ranges.is_empty())
    }
}
