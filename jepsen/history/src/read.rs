//! Reading a partition in order: pages of a session while faults are active, whole scans after heal.

use serde::{Deserialize, Serialize};

use crate::message::Seen;

/// One page of a sequential reading session.
///
/// The reads of a session follow each other: none is invoked before the one before it ended. The session
/// promises order and no gaps from the `from` of its first read on; to seek, start another session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Topic read.
    pub topic: String,
    /// Partition read.
    pub partition: u32,
    /// Session the page belongs to, unique within the history.
    pub session: u64,
    /// Replica asked to answer by itself; none if the read went wherever the cluster sends reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Offset asked for.
    pub from: u64,
    /// What came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
}

/// What one read brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Messages in the order they came.
    pub records: Vec<Seen>,
    /// Ranges the server said it left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
}

/// A range of offsets a server said it left out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// First offset left out.
    pub from: u64,
    /// Offset after the last one left out.
    pub to: u64,
    /// Why.
    pub reason: SkipReason,
}

/// Why a range was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Removed by retention.
    Trimmed,
    /// Past its expiry.
    Expired,
    /// The region set was narrowed.
    Narrowed,
    /// Residency keeps it elsewhere.
    Residency,
    /// Older than the region link.
    BeforeLink,
}

/// A scan of one replica's whole partition, from log start to end, after every fault has healed.
///
/// A replica may be scanned again and again until it has converged; the last `ok` scan counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalRead {
    /// Topic scanned.
    pub topic: String,
    /// Partition scanned.
    pub partition: u32,
    /// Replica that answered.
    pub replica: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<Scan>,
}

/// The complete log of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scan {
    /// First offset retention has left.
    pub start: u64,
    /// Offset the next message will get.
    pub end: u64,
    /// Every message in between, in the order it came.
    pub records: Vec<Seen>,
    /// Ranges the replica said it left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<Skip>,
}
