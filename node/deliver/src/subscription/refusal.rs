//! Why a consumer is refused. Whatever is refused changes nothing.

use meridian_model::subscription::SubscriptionKind;
use meridian_model::{Offset, UnixMs};

/// Why a consumer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The subscription is of another kind.
    #[error("the subscription is {is:?}")]
    OtherKind {
        /// Its kind.
        is: SubscriptionKind,
    },
    /// Exclusive, and somebody is there. Trying again can help.
    #[error("another consumer has the partition")]
    OwnerPresent,
    /// There is no room for another consumer. Trying again can help.
    #[error("there are {max} consumers already")]
    TooManyConsumers {
        /// How many there may be.
        max: usize,
    },
    /// It names more messages than a consumer may hold.
    #[error("more than the {max} messages that a consumer may hold")]
    TooManyHeld {
        /// How many it may hold.
        max: usize,
    },
    /// Key ranges: one of them is another consumer's, or ends before it begins.
    #[error("a range of keys is taken, or empty")]
    RangeTaken,
    /// Key ranges: either every consumer names its own, or none does.
    #[error("the other consumers share keys in another manner")]
    RangesMixed,
    /// It has not joined.
    #[error("the consumer has not joined")]
    UnknownConsumer,
    /// More credit than can be used.
    #[error("more credit than {messages} messages or {bytes} bytes")]
    CreditOverflow {
        /// The most messages.
        messages: u64,
        /// The most bytes.
        bytes: u64,
    },
    /// It holds no such message: never delivered to it, or settled long ago.
    #[error("message {offset} is not held")]
    NotHeld {
        /// Which.
        offset: Offset,
    },
    /// Another consumer holds it.
    #[error("message {offset} is held by another consumer")]
    Foreign {
        /// Which.
        offset: Offset,
    },
    /// It was this consumer's until its lease ended.
    #[error("the lease of message {offset} has ended")]
    LeaseEnded {
        /// Which.
        offset: Offset,
    },
    /// Delivered under an epoch that has not begun yet.
    #[error("dispatch epoch {got} has not begun, this is {current}")]
    UnknownEpoch {
        /// What it named.
        got: u64,
        /// The epoch now.
        current: u64,
    },
    /// Delivered to an earlier owner.
    #[error("owner epoch {got} is not the latest, {current}")]
    StaleOwner {
        /// What it named.
        got: u64,
        /// The epoch now.
        current: u64,
    },
    /// Delivered before the subscription was moved.
    #[error("the subscription was moved since: seek epoch {got}, now {current}")]
    StaleSeek {
        /// What it named.
        got: u64,
        /// The epoch now.
        current: u64,
    },
    /// Several consumers share the partition: an ack of what others hold means nothing.
    #[error("cumulative acks are for exclusive and failover subscriptions")]
    CumulativeShared,
    /// A delayed message that cannot have been delivered.
    #[error("message {offset} is not due yet")]
    NotDue {
        /// Which.
        offset: Offset,
    },
    /// Outside of the log.
    #[error("offset {to} is outside {start}..{end}")]
    SeekOutside {
        /// Where to.
        to: Offset,
        /// The first offset kept.
        start: Offset,
        /// The next offset.
        end: Offset,
    },
    /// Only the owner may do that.
    #[error("the consumer does not own the partition")]
    NotOwner,
    /// To settle it would leave more holes than may be. Trying again can help, once older messages are settled.
    #[error("settling message {offset} would leave too many holes")]
    TooManyHoles {
        /// Which.
        offset: Offset,
    },
    /// More is waiting to be confirmed than may. Trying again can help.
    #[error("too much is waiting to be confirmed, since {since}")]
    Busy {
        /// When it was refused.
        since: UnixMs,
    },
}
