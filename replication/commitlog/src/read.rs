//! Reading what is committed.

use async_trait::async_trait;
use bytes::Bytes;
use meridian_model::{GroupId, LogId, Offset, UnixMs};

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogBounds {
    /// Which history.
    pub log: LogId,
    /// The first offset kept.
    pub start: Offset,
    /// The next offset.
    pub end: Offset,
    /// The head of the hash chain at `end`.
    pub head: [u8; 32],
    /// The last applied Raft index.
    pub applied_index: u64,
    /// Bytes of stored batches between start and end.
    pub log_bytes: u64,
}

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The offset of its first message.
    pub base: Offset,
    /// Messages in it.
    pub count: u32,
    /// When the leader appended it.
    pub appended_at: UnixMs,
    /// The batch as published.
    pub bytes: Bytes,
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Below the start or beyond the end.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// What was asked.
        offset: Offset,
        /// The first offset kept.
        start: Offset,
        /// The next offset.
        end: Offset,
    },
    /// No replica of the partition runs here, or it is not ready.
    #[error("the replica is not available here: {0}")]
    Unavailable(String),
    /// What is stored is damaged, or the disk failed.
    #[error("the disk failed: {0}")]
    Disk(String),
}

/// Reads the committed, applied state of replicas on this node.
///
/// - Only committed messages are ever returned, in offset order, without gaps.
/// - A replica may be behind: `bounds` says how far it is.
#[async_trait]
pub trait ReadCommitted: Send + Sync + 'static {
    /// Where the log begins and ends on this replica.
    fn bounds(&self, group: GroupId) -> Result<LogBounds, ReadError>;

    /// Batches from the one that holds `from` on, about `bytes` of them but at least one. Empty at the end.
    /// Messages before `from` are still in the first batch. Cancel safe.
    async fn read(&self, group: GroupId, from: Offset, bytes: usize) -> Result<Vec<StoredBatch>, ReadError>;

    /// The offset of the first batch appended at or after `time`; the end if there is none.
    async fn offset_at(&self, group: GroupId, time: UnixMs) -> Result<Offset, ReadError>;

    /// Waits until the log ends beyond `end`, or the replica goes away. Cancel safe.
    async fn wait_beyond(&self, group: GroupId, end: Offset) -> Result<(), ReadError>;
}
