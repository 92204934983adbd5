//! What is committed of one subscription in one partition.

use std::collections::BTreeMap;

use meridian_model::subscription::{Attempts, DelayedRange, SubscriptionRules};
use meridian_model::{ConsumerId, LogId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};

/// What is committed of one subscription in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Which life of which subscription.
    pub subscription: SubscriptionId,
    /// Its rules.
    pub rules: SubscriptionRules,
    /// The epoch of the partition's latest dispatchers: the index of the command that began it. Zero: none began.
    pub dispatch_epoch: u64,
    /// Who owns the partition, for owned kinds.
    pub owner: Option<ConsumerId>,
    /// Raised whenever an owner is named, or none.
    pub owner_epoch: u64,
    /// Raised with every seek.
    pub seek_epoch: u64,
    /// Main lane: everything below is settled, and the message here is not.
    pub floor: Offset,
    /// Main lane: what is settled above the floor, in order. Delayed messages count only once they were passed.
    pub settled: Vec<OffsetRange>,
    /// Delayed lane: messages below this offset are not delivered.
    pub delayed_from: Offset,
    /// Delayed lane: everything before is settled, and nothing appears before it any more. Not above the stamp.
    pub delayed_floor: Place,
    /// Delayed lane: what is settled from the floor on, in order.
    pub delayed_settled: Vec<DelayedRange>,
    /// Attempts that failed, of messages that are not settled.
    pub attempts: BTreeMap<Place, Attempts>,
    /// Dead letters for which there is room.
    pub outbox_room: usize,
    /// Where dead letters were ever sent, in order. There may be so many and no more.
    pub destinations: Vec<LogId>,
    /// The last stamp.
    pub stamp: UnixMs,
}
