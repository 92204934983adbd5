//! What a reader delivers.

use bytes::Bytes;
use meridian_model::{Batch, LogId, MessageId, Offset, ProducerId, UnixMs};

/// Where to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The oldest message kept.
    #[default]
    Earliest,
    /// Only what is appended after the reader was opened.
    Latest,
    /// This offset of each partition read.
    Offset(Offset),
    /// The first message appended at or after this time.
    Time(UnixMs),
}

/// One step of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message.
    Record(Record),
    /// Retention removed these offsets before they were read: from `from` up to, not including, `to`.
    Skipped {
        /// The partition.
        partition: u32,
        /// The first offset that is gone.
        from: Offset,
        /// The first offset that is there.
        to: Offset,
    },
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic, as the reader was told.
    pub topic: std::sync::Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The history of the partition it belongs to.
    pub log: LogId,
    /// Its position.
    pub offset: Offset,
    /// When the leader appended it.
    pub appended_at: UnixMs,
    /// Who sent it; nil: nobody in particular.
    pub producer: ProducerId,
    /// The producer's epoch.
    pub epoch: u32,
    /// Its number in the producer's sequence in this partition.
    pub sequence: u64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Small named values.
    pub properties: Vec<(String, Bytes)>,
    /// What the application sent.
    pub body: Bytes,
}

impl Record {
    /// The message's name for ever.
    pub fn id(&self) -> MessageId {
        MessageId { log: self.log, offset: self.offset }
    }
}

/// One step of a reading by batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchItem {
    /// A batch as it was published, its checksums verified.
    Batch {
        /// The partition.
        partition: u32,
        /// The history of the partition it belongs to.
        log: LogId,
        /// The offset of its first message; may lie before the offset asked for.
        base: Offset,
        /// When the leader appended it.
        appended_at: UnixMs,
        /// The batch.
        batch: Batch,
    },
    /// As in [`Item::Skipped`].
    Skipped {
        /// The partition.
        partition: u32,
        /// The first offset that is gone.
        from: Offset,
        /// The first offset that is there.
        to: Offset,
    },
}
