//! Publishing a batch, and opening a named producer (which fences its predecessors).

use serde::{Deserialize, Serialize};

use crate::message::Sent;

/// One attempt to append a batch to a partition.
///
/// A retry of the same batch is another operation with the same message ids. A batch takes consecutive
/// offsets, in the order of `messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Topic published to. A topic deleted and created again must be given another name here.
    pub topic: String,
    /// Partition the batch was frozen to.
    pub partition: u32,
    /// Producer name on the wire.
    pub producer: String,
    /// Producer epoch on the wire.
    pub epoch: u64,
    /// Sequence of the first message on the wire.
    pub first_sequence: u64,
    /// Whether the server deduplicates this producer; an unsequenced one is at-least-once.
    pub sequenced: bool,
    /// The messages, in order. Never empty.
    pub messages: Vec<Sent>,
    /// What the ack said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appended: Option<Appended>,
}

/// Where an ack says the batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Offset of the first message; none only if the server knew the batch but no longer its offset.
    pub first_offset: Option<u64>,
    /// Whether the server said that an earlier attempt had already stored it.
    pub duplicate: bool,
}

impl Appended {
    /// Stored by this attempt, from this offset on.
    pub fn at(first_offset: u64) -> Self {
        Self { first_offset: Some(first_offset), duplicate: false }
    }

    /// Stored by an earlier attempt, from this offset on.
    pub fn already_at(first_offset: u64) -> Self {
        Self { first_offset: Some(first_offset), duplicate: true }
    }
}

/// Opening a named producer on a topic. When it returns `ok`, every lower epoch is fenced everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenProducer {
    /// Topic it will publish to.
    pub topic: String,
    /// Name of the producer.
    pub producer: String,
    /// Epoch it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}
