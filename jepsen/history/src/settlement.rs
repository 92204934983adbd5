//! What is left of a subscription in the end: drained, settled, dead.

use serde::{Deserialize, Serialize};

use crate::message::MessageId;

/// Consuming one partition of a subscription until nothing is left, after every fault has healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Topic read.
    pub topic: String,
    /// Partition drained.
    pub partition: u32,
    /// Subscription drained.
    pub subscription: String,
    /// That it is done. `ok` only if the server said that nothing is unsettled and that every dead letter has
    /// been moved, delayed messages that are not due excepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Drained>,
}

/// How far a drained subscription came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Everything below is said to be settled.
    pub through: u64,
    /// When, by the wall clock of the recording machine, in Unix milliseconds.
    pub at_ms: u64,
}

/// Asking what is settled in one partition, after every fault has healed. The last `ok` answer counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalState {
    /// Topic read.
    pub topic: String,
    /// Partition asked about.
    pub partition: u32,
    /// Subscription asked about.
    pub subscription: String,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SettledState>,
}

/// What is settled of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledState {
    /// Every offset below is settled.
    pub floor: u64,
    /// Settled ranges above the floor, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Span>,
    /// Delayed messages that are not settled, wherever the floor is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<u64>,
    /// Ranges that count as settled because retention was allowed to remove them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Span>,
    /// When, by the wall clock of the recording machine, in Unix milliseconds.
    pub at_ms: u64,
}

impl SettledState {
    /// Whether a message counts as settled.
    pub fn is_settled(&self, offset: u64) -> bool {
        let below = offset < self.floor || holds(&self.ranges, offset);
        below && self.waiting.binary_search(&offset).is_err()
    }

    /// Whether retention removed it before it was settled.
    pub fn is_dropped(&self, offset: u64) -> bool {
        holds(&self.dropped, offset)
    }
}

/// Whether one of these, which are in order, holds the offset.
fn holds(spans: &[Span], offset: u64) -> bool {
    let after = spans.partition_point(|span| span.from <= offset);
    after.checked_sub(1).is_some_and(|at| offset < spans[at].to)
}

/// A range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First offset.
    pub from: u64,
    /// Offset after the last one.
    pub to: u64,
}

/// Reading the dead letters of a subscription. `ok` only if the topic was read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetters {
    /// Topic of the subscription.
    pub topic: String,
    /// Subscription whose dead letters are meant.
    pub subscription: String,
    /// Topic they were read from.
    pub dead_letter: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<Vec<DeadLetter>>,
}

/// One message of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Partition of the dead-letter topic.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// Oracle id found in the payload.
    pub id: MessageId,
    /// Where it says it is from.
    pub source: Source,
}

/// Where a dead letter is from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// Partition of the subscription's topic.
    pub partition: u32,
    /// Log id of that partition.
    pub log: String,
    /// Offset there.
    pub offset: u64,
}
