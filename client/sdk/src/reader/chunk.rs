//! A verified piece of a partition, on its way from the partition's task to the reader.

use std::collections::VecDeque;
use std::sync::Arc;

use meridian_model::batch::decode_range;
use meridian_model::{Batch, LogId, Offset, UnixMs};

use super::{BatchItem, Item, Record};
use crate::Error;

/// One piece.
#[derive(Debug)]
pub(super) enum Chunk {
    Skipped { partition: u32, from: Offset, to: Offset },
    Batch(StoredBatch),
    Records(Vec<Record>),
}

/// A batch and where it lies.
#[derive(Debug)]
pub(super) struct StoredBatch {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) log: LogId,
    pub(super) base: Offset,
    /// Messages before it were delivered before, or not asked for.
    pub(super) from: Offset,
    pub(super) appended_at: UnixMs,
    pub(super) batch: Batch,
}

impl Chunk {
    /// Into single messages.
    pub(super) fn unpack(self, into: &mut VecDeque<Result<Item, Error>>) {
        match self {
            Chunk::Skipped { partition, from, to } => {
                into.push_back(Ok(Item::Skipped { partition, from, to }))
            }
            Chunk::Records(records) => {
                into.extend(records.into_iter().map(|record| Ok(Item::Record(record))))
            }
            Chunk::Batch(stored) => stored.unpack(into),
        }
    }

    /// As a whole batch, where it is one.
    pub(super) fn whole(self) -> Option<BatchItem> {
        match self {
            Chunk::Skipped { partition, from, to } => Some(BatchItem::Skipped { partition, from, to }),
            Chunk::Batch(StoredBatch { partition, log, base, appended_at, batch, .. }) => {
                Some(BatchItem::Batch { partition, log, base, appended_at, batch })
            }
            Chunk::Records(_) => None,
        }
    }
}

impl StoredBatch {
    fn unpack(self, into: &mut VecDeque<Result<Item, Error>>) {
        let header = self.batch.header();
        let first = self.from.0.saturating_sub(self.base.0) as u32;
        let messages = match decode_range(&self.batch, first, header.count.saturating_sub(first)) {
            Ok(messages) => messages,
            Err(source) => {
                let topic = self.topic.to_string();
                let (partition, offset) = (self.partition, self.base);
                into.push_back(Err(Error::Corrupt { topic, partition, offset, source }));
                return;
            }
        };
        for (message, position) in messages.into_iter().zip(u64::from(first)..) {
            into.push_back(Ok(Item::Record(Record {
                topic: self.topic.clone(),
                partition: self.partition,
                log: self.log,
                offset: self.base.plus(position),
                appended_at: self.appended_at,
                producer: header.producer,
                epoch: header.epoch,
                sequence: header.first_sequence.saturating_add(position),
                key: message.key,
                properties: message.properties,
                body: message.body,
            })));
        }
    }
}
