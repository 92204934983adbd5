//! Why a command about subscriptions is refused. Replicated, and the same in every replica.

use meridian_model::{Offset, UnixMs};
use serde::{Deserialize, Serialize};

/// A definite refusal: nothing of the command, or of the part of a settlement, was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SubscriptionRefusal {
    /// There is no such subscription here, or it was dropped. Not retryable.
    #[error("the partition has no such subscription")]
    Unknown,
    /// A newer state of this subscription is in force. Not retryable.
    #[error("the subscription's state of control index {current} is in force")]
    StaleControl {
        /// The control index in force.
        current: u64,
    },
    /// The messages were delivered before a seek. Not retryable.
    #[error("the subscription went elsewhere since: seek epoch {current} is in force")]
    StaleSeek {
        /// The seek epoch in force.
        current: u64,
    },
    /// The messages were delivered to another owner, or to none. Not retryable.
    #[error("the partition has another owner since: owner epoch {current} is in force")]
    StaleOwner {
        /// The owner epoch in force.
        current: u64,
    },
    /// The subscription's kind knows no owner. Not retryable.
    #[error("a subscription of this kind has no owner")]
    NotOwned,
    /// An offset lies at or beyond the end of the log: it was never delivered. Not retryable.
    #[error("the log ends at offset {end}: what lies beyond was never delivered")]
    BeyondEnd {
        /// The end of the log.
        end: Offset,
    },
    /// A delayed message is settled before its time. Retryable, then.
    #[error("a message is not due before {deliver_at}")]
    NotDue {
        /// Its time.
        deliver_at: UnixMs,
    },
    /// A message without a time, or more messages than there are delayed ones, are said to be delayed.
    /// Not retryable.
    #[error("what is named as delayed is not")]
    NotDelayed,
    /// A message becomes a dead letter though it may be tried again. Not retryable.
    #[error("{count} attempts failed; the message may be tried again")]
    NotLastAttempt {
        /// Attempts that failed so far.
        count: u32,
    },
    /// The floor of the delayed lane would pass a message that failed and was not settled. Not retryable.
    #[error("a message that failed is not settled before that floor")]
    FloorPassesAttempt,
    /// The number of delayed messages below an offset cannot be that. Not retryable.
    #[error("there are at least {least} and at most {most} delayed messages below that offset")]
    WrongRank {
        /// At least so many.
        least: u64,
        /// At most so many.
        most: u64,
    },
    /// No dead letter with that sequence was ever sent there. Not retryable.
    #[error("no dead letter with that sequence was sent there")]
    NeverSent,
    /// The topic is being deleted. Not retryable.
    #[error("the topic is being deleted")]
    Sealed,
    /// A bound is reached. Retryable when something was settled, moved or dropped.
    #[error("at its bound: {0}")]
    Bound(SubscriptionBound),
}

/// A bound of `model/src/limits.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionBound {
    /// `SUBSCRIPTIONS_PARTITION_MAX`.
    Subscriptions,
    /// `SETTLED_RANGES_MAX`.
    SettledRanges,
    /// `SETTLED_DELAYED_MAX`.
    SettledDelayed,
    /// `ATTEMPTS_MAX`.
    Attempts,
    /// `DEAD_LETTERS_MAX`.
    DeadLetters,
    /// `DEAD_LETTER_DESTINATIONS_MAX`.
    Destinations,
    /// `SETTLE_PARTS_MAX`.
    Parts,
    /// `SETTLE_ITEMS_MAX`.
    Items,
}

impl std::fmt::Display for SubscriptionBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SubscriptionBound::Subscriptions => "subscriptions of the partition",
            SubscriptionBound::SettledRanges => "settled ranges above the floor",
            SubscriptionBound::SettledDelayed => "settled delayed messages above the floor",
            SubscriptionBound::Attempts => "messages with failed attempts",
            SubscriptionBound::DeadLetters => "dead letters on their way",
            SubscriptionBound::Destinations => "destinations of dead letters",
            SubscriptionBound::Parts => "parts of a settlement",
            SubscriptionBound::Items => "messages named in one part",
        })
    }
}
