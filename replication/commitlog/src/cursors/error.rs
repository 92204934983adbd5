//! Why nothing was settled, or perhaps nothing.

use meridian_model::{NodeId, Offset, UnixMs};

/// A bound of `model/src/limits.rs`: the same ones, one by one, as the partition's machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorBound {
    /// `SUBSCRIPTIONS_PARTITION_MAX`.
    #[error("subscriptions of the partition")]
    Subscriptions,
    /// `SETTLED_RANGES_MAX`.
    #[error("settled ranges above the floor")]
    SettledRanges,
    /// `SETTLED_DELAYED_MAX`.
    #[error("settled delayed messages above the floor")]
    SettledDelayed,
    /// `ATTEMPTS_MAX`.
    #[error("messages with failed attempts")]
    Attempts,
    /// `DEAD_LETTERS_MAX`.
    #[error("dead letters on their way")]
    DeadLetters,
    /// `DEAD_LETTER_DESTINATIONS_MAX`.
    #[error("destinations of dead letters")]
    Destinations,
    /// `SETTLE_PARTS_MAX`.
    #[error("parts of a settlement")]
    Parts,
    /// `SETTLE_ITEMS_MAX`.
    #[error("messages named in one part")]
    Items,
}

/// Why the partition refuses: nothing was changed, and the same again is refused again until something else changes.
/// The same reasons, one by one, as the partition's machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorRefusal {
    /// There is no such subscription here, or not this life of it.
    #[error("the partition has no such subscription")]
    Unknown,
    /// A newer state of the subscription is in force.
    #[error("the subscription's state of control index {current} is in force")]
    StaleControl {
        /// The control index in force.
        current: u64,
    },
    /// Somebody sought since.
    #[error("the subscription went elsewhere since: seek epoch {current} is in force")]
    StaleSeek {
        /// The seek epoch in force.
        current: u64,
    },
    /// A later owner was named, or none.
    #[error("the partition has another owner since: owner epoch {current} is in force")]
    StaleOwner {
        /// The owner epoch in force.
        current: u64,
    },
    /// The kind has no owners.
    #[error("a subscription of this kind has no owner")]
    NotOwned,
    /// At or beyond the end of the log.
    #[error("the log ends at offset {end}: what lies beyond was never delivered")]
    BeyondEnd {
        /// The end of the log.
        end: Offset,
    },
    /// A delayed message is not due at the stamp of the command.
    #[error("a message is not due before {deliver_at}")]
    NotDue {
        /// Its time.
        deliver_at: UnixMs,
    },
    /// A message without a time, or more messages than there are delayed ones, are said to be delayed.
    #[error("what is named as delayed is not")]
    NotDelayed,
    /// A message becomes a dead letter though it may be tried again.
    #[error("{count} attempts failed; the message may be tried again")]
    NotLastAttempt {
        /// Attempts that failed so far.
        count: u32,
    },
    /// The floor of the delayed lane would pass a message that failed and was not settled.
    #[error("a message that failed is not settled before that floor")]
    FloorPassesAttempt,
    /// The number of delayed messages below an offset cannot be that.
    #[error("there are at least {least} and at most {most} delayed messages below that offset")]
    WrongRank {
        /// At least so many.
        least: u64,
        /// At most so many.
        most: u64,
    },
    /// No dead letter with that sequence was ever sent there.
    #[error("no dead letter with that sequence was sent there")]
    NeverSent,
    /// The topic is being deleted.
    #[error("the topic is being deleted")]
    Sealed,
    /// A bound would be passed. Can succeed when something was settled, moved or dropped.
    #[error("at its bound: {0}")]
    Bound(CursorBound),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Nothing was changed: another node leads the partition.
    #[error("this node does not lead the partition")]
    NotLeader {
        /// The node that does, if known.
        leader: Option<NodeId>,
    },
    /// Nothing was changed: no quorum, or the partition is not ready. Try again.
    #[error("the partition is not available: {0}")]
    Unavailable(String),
    /// Proposed, and nobody knows whether it will be applied. Begin to dispatch anew, and look.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
    /// Nothing was changed: the partition refuses it.
    #[error(transparent)]
    Refused(#[from] CursorRefusal),
}
