//! What can be asked of a partition about its subscriptions.

use meridian_model::subscription::{Settlement, SubscriptionRules};
use meridian_model::{ConsumerId, LogId, Offset, Place, SubscriptionId, UnixMs};

/// A command about subscriptions. Each carries the leader's stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionCommand {
    /// The subscription exists, with these rules: complete desired state.
    SetSubscription {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The control index of the state: an older one than that in force for this id is refused.
        control_index: u64,
        /// The subscription.
        id: SubscriptionId,
        /// Its rules.
        rules: SubscriptionRules,
        /// Where it begins. Means nothing where it exists already.
        start: StartAt,
    },
    /// The subscription is gone, with all that is remembered of it.
    DropSubscription {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The control index of the deletion: an older one than that in force for this id is refused.
        control_index: u64,
        /// The subscription.
        id: SubscriptionId,
    },
    /// A leader begins to dispatch: earlier leases are void.
    BeginDispatch {
        /// The leader's stamp.
        stamp: UnixMs,
    },
    /// A consumer owns the partition for an exclusive or failover subscription, or nobody does.
    Own {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The subscription.
        id: SubscriptionId,
        /// Who. `None`: the owner went and nobody follows.
        owner: Option<ConsumerId>,
    },
    /// What was decided about messages since the last round. Each part is applied as a whole or refused as a whole.
    Settle {
        /// The leader's stamp.
        stamp: UnixMs,
        /// In the order in which they are applied.
        parts: Vec<SettlePart>,
    },
    /// Go on at another place: what was settled and tried there is forgotten.
    Seek {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The subscription.
        id: SubscriptionId,
        /// Where to. [`StartAt::Latest`] clears the backlog.
        to: StartAt,
    },
    /// Dead letters arrived at their destination.
    Moved {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The subscription.
        id: SubscriptionId,
        /// Where they arrived.
        destination: LogId,
        /// Those up to and with this sequence.
        through_sequence: u64,
    },
    /// Rows of delayed batches below the log's start are removed. Any other batch named is left alone.
    SweepDelayed {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The first message of each batch, as their rows have it.
        batches: Vec<Place>,
    },
    /// As a trim, and says what the leader read about delayed messages, and whether a backlog may be dropped.
    TrimBacklog {
        /// The leader's stamp.
        stamp: UnixMs,
        /// Messages appended before this may go.
        before: Option<UnixMs>,
        /// The oldest messages may go while this many bytes of stored batches stay.
        keep_bytes: Option<u64>,
        /// Producers that made up their name and sent nothing since may be forgotten.
        forget_producers_before: Option<UnixMs>,
        /// Up to where no subscription waits for a delayed message. `None`: nobody looked.
        live_delayed: Option<LiveDelayed>,
        /// Whether messages that a subscription waits for may go. Dead letters on their way never do.
        drop_backlog: bool,
    },
}

/// Where a subscription begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest message kept when this is applied.
    Earliest,
    /// Behind the newest message when this is applied.
    Latest,
    /// At this offset; at the oldest message kept, where that is later.
    Offset {
        /// The offset.
        offset: Offset,
        /// Delayed messages below that offset, since the log began: the rank in the last row of
        /// `Table::DelayedByOffset` before it, plus its messages below the offset. Only for counting the backlog.
        delayed_before: u64,
    },
}

/// What the leader read about delayed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveDelayed {
    /// The last entry that had been applied when it began to read.
    pub as_of: u64,
    /// No subscription waits for a delayed message below this offset. At most the end of the log at `as_of`.
    pub from: Offset,
}

/// What is decided about one subscription's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlePart {
    /// The subscription.
    pub id: SubscriptionId,
    /// The seek epoch in which the messages were delivered.
    pub seek_epoch: u64,
    /// The owner's epoch in which they were delivered. Must be there for owned kinds; not looked at for others.
    pub owner_epoch: Option<u64>,
    /// What is decided.
    pub settlement: Settlement,
}

impl SubscriptionCommand {
    /// The leader's stamp.
    pub fn stamp(&self) -> UnixMs {
        match self {
            Self::SetSubscription { stamp, .. }
            | Self::DropSubscription { stamp, .. }
            | Self::BeginDispatch { stamp }
            | Self::Own { stamp, .. }
            | Self::Settle { stamp, .. }
            | Self::Seek { stamp, .. }
            | Self::Moved { stamp, .. }
            | Self::SweepDelayed { stamp, .. }
            | Self::TrimBacklog { stamp, .. } => *stamp,
        }
    }
}
