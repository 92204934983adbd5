//! What is committed of one subscription in one partition.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::{Attempts, SubscriptionRules};
use meridian_model::{LogId, Offset, OffsetRange, SubscriptionId, UnixMs};

/// A consumer, as it names itself: the same one when it reconnects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u128);

/// A place in the delayed lane, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DelayedPlace {
    /// When the message is due.
    pub deliver_at: UnixMs,
    /// The message.
    pub offset: Offset,
}

/// What is committed of one subscription in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Which life of which subscription.
    pub subscription: SubscriptionId,
    /// Its rules.
    pub rules: SubscriptionRules,
    /// The epoch of the latest dispatcher: the index of the command that began it.
    pub dispatch_epoch: u64,
    /// Whether another dispatcher came before: then there may be consumers that hold messages.
    pub dispatched_before: bool,
    /// Who owns the partition, for owned kinds.
    pub owner: Option<ConsumerId>,
    /// Raised whenever an owner is named.
    pub owner_epoch: u64,
    /// Raised with every seek.
    pub seek_epoch: u64,
    /// Everything below is settled in the main lane.
    pub floor: Offset,
    /// What is settled above the floor, in order.
    pub settled: Vec<OffsetRange>,
    /// Everything below is settled in the delayed lane, and nothing appears below any more: it is at most one
    /// millisecond above the stamp.
    pub delayed_floor: DelayedPlace,
    /// What is settled above that floor.
    pub delayed_settled: BTreeSet<DelayedPlace>,
    /// Attempts that failed, of messages that are not settled.
    pub attempts: BTreeMap<Offset, Attempts>,
    /// Where dead letters go. `None`: that is not known yet, and they wait.
    pub dead_letters_to: Option<LogId>,
    /// Dead letters for which there is room.
    pub outbox_room: usize,
    /// The last stamp.
    pub stamp: UnixMs,
}

impl DelayedPlace {
    /// The place of a message.
    pub fn new(deliver_at: UnixMs, offset: Offset) -> Self {
        Self { deliver_at, offset }
    }

    /// The place right behind.
    pub fn next(self) -> Self {
        Self { deliver_at: self.deliver_at, offset: self.offset.plus(1) }
    }
}
