//! One partition: dense offsets, exactly-once producers, a hash chain, segments and their removal, subscriptions.

mod append;
mod chain;
mod core;
mod dedup;
mod producer;
mod restore;
mod retention;
mod segment;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use meridian_model::refusal::{AppendOutcome, Refusal};
use meridian_model::{LogId, Offset, UnixMs, limits};
use serde::{Deserialize, Serialize};

use self::core::Core;
use self::dedup::Producers;
pub use self::producer::ProducerView;
pub use self::segment::Segment;
pub use self::subscription::{
    Backlog, DelayedBatch, Destination, Dropped, DroppedBacklog, HeldBy, SettleOutcome, SubscriptionBound,
    SubscriptionRefusal, SubscriptionView, TrimHold,
};
use self::subscription::{Subscriptions, Waits};
use crate::command::{PartitionCommand, PartitionPolicy};
use crate::{At, Effect, Row, Table};

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartitionReply {
    /// One outcome for each batch of the append, in order.
    Appended(Vec<AppendOutcome>),
    /// The fence stands: lower epochs of this producer write no more.
    Fenced {
        /// The epoch in force.
        epoch: u32,
    },
    /// A newer epoch was fenced before.
    FenceStale {
        /// The epoch in force.
        current: u32,
    },
    /// The fence does not stand: the partition remembers as many producers as it may.
    FenceRefused(Refusal),
    /// The policy is in force.
    PolicySet,
    /// A newer policy is in force.
    PolicyStale {
        /// The control index of the policy in force.
        current: u64,
    },
    /// Segments were removed.
    Trimmed {
        /// The first offset that stays.
        start: Offset,
        /// Bytes of stored batches that went.
        removed_bytes: u64,
    },
    /// No segment may be removed. Producers may have been forgotten all the same.
    NothingToTrim,
    /// The partition stores nothing more.
    Sealed,
    /// The subscription exists with these rules.
    SubscriptionSet {
        /// Whether it did not exist before.
        created: bool,
    },
    /// The subscription is gone.
    SubscriptionDropped {
        /// Dead letters that went with it, before they arrived.
        dead_letters: u64,
    },
    /// The leader dispatches.
    DispatchBegun {
        /// The index of the entry: what leases belong to.
        epoch: u64,
    },
    /// The owner is named.
    Owned {
        /// The owner's epoch.
        epoch: u64,
    },
    /// One outcome for each part of the settlement, in order.
    Settled(Vec<SettleOutcome>),
    /// The subscription goes on elsewhere.
    Sought {
        /// The seek epoch in force.
        seek_epoch: u64,
        /// Where it goes on.
        floor: Offset,
    },
    /// Dead letters are known to have arrived.
    DeadLettersMoved {
        /// Those still on their way to the same destination.
        left: u64,
    },
    /// Rows of delayed batches below the log's start are gone.
    DelayedSwept {
        /// Of so many batches that were named and may go. The others were too many, or are not below the start.
        batches: u64,
    },
    /// A trim that a subscription held back, or that took a backlog.
    BacklogTrimmed {
        /// The first offset that stays.
        start: Offset,
        /// Bytes of stored batches that went. 0: no segment went.
        removed_bytes: u64,
        /// What must stay, where it kept a segment that would have gone.
        held: Option<TrimHold>,
        /// What subscriptions lost.
        dropped: Vec<DroppedBacklog>,
    },
    /// Nothing of the command about a subscription is in force.
    SubscriptionRefused(SubscriptionRefusal),
}

/// The bounds that tests make small. In production always [`Bounds::default`], the same in every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) producers_max: usize,
    pub(crate) window_batches: usize,
    pub(crate) horizon_ms: u64,
    pub(crate) segment_age_ms: u64,
    pub(crate) forgotten_per_trim_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) dropped_max: usize,
    pub(crate) settled_ranges_max: usize,
    pub(crate) settled_delayed_max: usize,
    pub(crate) attempts_max: usize,
    pub(crate) dead_letters_max: usize,
    pub(crate) destinations_max: usize,
    pub(crate) settle_parts_max: usize,
    pub(crate) settle_items_max: usize,
    pub(crate) delayed_swept_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            producers_max: limits::PRODUCERS_MAX,
            window_batches: limits::DEDUP_WINDOW_BATCHES,
            horizon_ms: limits::DEDUP_HORIZON_MS,
            segment_age_ms: limits::SEGMENT_AGE_MS,
            forgotten_per_trim_max: limits::PRODUCERS_FORGOTTEN_PER_TRIM_MAX,
            subscriptions_max: limits::SUBSCRIPTIONS_PARTITION_MAX,
            dropped_max: limits::SUBSCRIPTIONS_DROPPED_MAX,
            settled_ranges_max: limits::SETTLED_RANGES_MAX,
            settled_delayed_max: limits::SETTLED_DELAYED_MAX,
            attempts_max: limits::ATTEMPTS_MAX,
            dead_letters_max: limits::DEAD_LETTERS_MAX,
            destinations_max: limits::DEAD_LETTER_DESTINATIONS_MAX,
            settle_parts_max: limits::SETTLE_PARTS_MAX,
            settle_items_max: limits::SETTLE_ITEMS_MAX,
            delayed_swept_max: limits::DELAYED_SWEPT_MAX,
        }
    }
}

/// The replicated state of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMachine {
    log: LogId,
    bounds: Bounds,
    core: Core,
    /// The segment at whose end the log starts. `None` until the first trim.
    boundary: Option<Segment>,
    segments: VecDeque<Segment>,
    producers: Producers,
    subscriptions: Subscriptions,
}

impl PartitionMachine {
    /// An empty partition.
    pub fn new(log: LogId) -> Self {
        Self::with_bounds(log, Bounds::default())
    }

    pub(crate) fn with_bounds(log: LogId, bounds: Bounds) -> Self {
        Self {
            log,
            bounds,
            core: Core::new(log),
            boundary: None,
            segments: VecDeque::new(),
            producers: Producers::default(),
            subscriptions: Subscriptions::default(),
        }
    }

    /// Applies a command. `at` must be past [`Self::last_applied`]; `entry_bytes` is the size of the encoded
    /// command. The effects are to be written in one atomic step.
    pub fn apply(
        &mut self,
        at: At,
        entry_bytes: u64,
        command: &PartitionCommand,
        effects: &mut Vec<Effect>,
    ) -> PartitionReply {
        self.begin_entry(at, entry_bytes, command.stamp());
        let reply = match command {
            PartitionCommand::Append { items, .. } => self.append(at, items, effects),
            PartitionCommand::Fence { producer, epoch, .. } => {
                self.producers.fence(*producer, *epoch, self.core.last_stamp, &self.bounds)
            }
            PartitionCommand::SetPolicy { control_index, policy, .. } => {
                self.set_policy(*control_index, policy)
            }
            PartitionCommand::Trim { before, keep_bytes, forget_producers_before, .. } => {
                self.forget_producers(*forget_producers_before, effects);
                self.trim(at, *before, *keep_bytes, Waits::default(), effects)
            }
            PartitionCommand::Seal { control_index, .. } => self.seal(*control_index),
            PartitionCommand::Subscription(command) => self.apply_subscription(at, command, effects),
        };
        self.finish_entry(at, effects);
        reply
    }

    /// Counts an entry that is no command: blank, or a change of membership.
    pub fn skip(&mut self, at: At, effects: &mut Vec<Effect>) {
        self.begin_entry(at, 0, self.core.last_stamp);
        self.finish_entry(at, effects);
    }

    fn begin_entry(&mut self, at: At, entry_bytes: u64, stamp: UnixMs) {
        debug_assert!(at.index > self.core.applied.index || at.index == 0, "entry {at:?} applied twice");
        self.core.applied = at;
        self.core.last_stamp = if planted!(StampGoesBack) { stamp } else { self.core.last_stamp.max(stamp) };
        self.core.open.entries += 1;
        self.core.open.entry_bytes = self.core.open.entry_bytes.saturating_add(entry_bytes);
    }

    fn finish_entry(&mut self, at: At, effects: &mut Vec<Effect>) {
        self.close_if_due(at, effects);
        self.producers.flush(&self.bounds, effects);
        self.subscriptions.flush(effects);
        let rows = [self.segments.len() as u64, self.producers.len() as u64];
        let value = self.core.encode(self.log, rows, self.subscriptions.scalars());
        effects.push(Effect::Put(Row { table: Table::Core, key: Vec::new(), value }));
    }

    fn set_policy(&mut self, control_index: u64, policy: &PartitionPolicy) -> PartitionReply {
        if control_index < self.core.control_index && !planted!(OldPolicyWins) {
            return PartitionReply::PolicyStale { current: self.core.control_index };
        }
        self.core.control_index = control_index;
        self.core.policy = *policy;
        PartitionReply::PolicySet
    }

    /// A deletion is final, so a seal is never too old.
    fn seal(&mut self, control_index: u64) -> PartitionReply {
        self.core.control_index = self.core.control_index.max(control_index);
        self.core.sealed = true;
        PartitionReply::Sealed
    }

    /// Which history this is.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The log start: the first offset that is retained.
    pub fn start(&self) -> Offset {
        self.boundary.map_or(Offset(0), |b| b.end)
    }

    /// The entry after which the log starts: everything through it may be purged. `None` until the first trim.
    pub fn start_boundary(&self) -> Option<&Segment> {
        self.boundary.as_ref()
    }

    /// The offset that the next message will get.
    pub fn end(&self) -> Offset {
        self.core.end
    }

    /// The head of the hash chain at [`Self::end`].
    pub fn head(&self) -> [u8; 32] {
        self.core.head
    }

    /// The latest stamp of any command.
    pub fn last_stamp(&self) -> UnixMs {
        self.core.last_stamp
    }

    /// The closed segments that are retained, oldest first.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> + ExactSizeIterator {
        self.segments.iter()
    }

    /// Bytes of stored batches that are retained.
    pub fn log_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum::<u64>() + self.core.open.bytes
    }

    /// Messages that are retained.
    pub fn message_count(&self) -> u64 {
        self.core.end.0 - self.start().0
    }

    /// Producers that are remembered.
    pub fn producers_count(&self) -> usize {
        self.producers.len()
    }

    /// What is remembered of a producer.
    pub fn producer(&self, producer: meridian_model::ProducerId) -> Option<ProducerView> {
        self.producers.view(producer)
    }

    /// The policy in force.
    pub fn policy(&self) -> &PartitionPolicy {
        &self.core.policy
    }

    /// The control index of the latest policy or seal; 0 before the first.
    pub fn control_index(&self) -> u64 {
        self.core.control_index
    }

    /// Whether the topic is being deleted.
    pub fn sealed(&self) -> bool {
        self.core.sealed
    }

    /// The last entry applied or skipped.
    pub fn last_applied(&self) -> At {
        self.core.applied
    }
}
