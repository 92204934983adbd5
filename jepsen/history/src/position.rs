//! Positions of a partition that clients asked for: its end, its start, and its hash chain.

use serde::{Deserialize, Serialize};

/// The linearizable end of a partition: the offset the next message will get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOffset {
    /// Topic asked about.
    pub topic: String,
    /// Partition asked about.
    pub partition: u32,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
}

/// The first offset retention has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStart {
    /// Topic asked about.
    pub topic: String,
    /// Partition asked about.
    pub partition: u32,
    /// Replica asked to answer by itself; none if the question went wherever the cluster sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
}

/// The hash chain of one replica at one offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Topic asked about.
    pub topic: String,
    /// Partition asked about.
    pub partition: u32,
    /// Replica that answered.
    pub replica: String,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<ChainHead>,
}

/// A chain head and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The head covers every offset below this one.
    pub offset: u64,
    /// The head, in lower-case hex.
    pub head: String,
}
