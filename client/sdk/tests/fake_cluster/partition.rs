//! One partition: a list of batches, and who has sent what.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use meridian_model::batch::{decode_messages, decode_range};
use meridian_model::{Batch, LogId, Message, ProducerId};
use meridian_proto::v1::{Durability, ErrorReason, Failure, PublishAck};

use super::Fault;

/// Batches a producer's row remembers.
const WINDOW: usize = 64;

#[derive(Clone)]
pub struct Partition {
    pub log: LogId,
    pub leader: u64,
    pub start: u64,
    pub batches: Vec<Stored>,
    pub script: VecDeque<Fault>,
    rows: BTreeMap<ProducerId, Row>,
    /// Sealed: the topic is being deleted.
    pub sealed: bool,
}

#[derive(Clone)]
pub struct Stored {
    pub base: u64,
    pub appended_at_ms: u64,
    pub batch: Batch,
    /// What readers get instead, where a test damages it.
    pub served: Option<Bytes>,
}

#[derive(Clone, Default)]
struct Row {
    epoch: u32,
    next: u64,
    recent: VecDeque<(u64, u32, u64)>,
}

impl Partition {
    pub fn new(id: u64, leader: u64) -> Self {
        Self {
            log: LogId::from_u128(u128::from(id)),
            leader,
            start: 0,
            batches: Vec::new(),
            script: VecDeque::new(),
            rows: BTreeMap::new(),
            sealed: false,
        }
    }

    pub fn end(&self) -> u64 {
        self.batches.last().map_or(0, |last| last.base + u64::from(last.batch.header().count))
    }

    pub fn fence(&mut self, producer: ProducerId, epoch: u32) {
        self.rows.insert(producer, Row { epoch, ..Row::default() });
    }

    pub fn forget_producers(&mut self) {
        self.rows.clear();
    }

    /// Who has stored something, in order of the ids.
    pub fn producers(&self) -> Vec<ProducerId> {
        self.rows.keys().copied().collect()
    }

    pub fn messages(&self) -> Vec<Message> {
        let live = self.batches.iter();
        live.flat_map(|stored| decode_messages(&stored.batch).expect("a stored batch decodes")).collect()
    }

    pub fn batches_from(&self, offset: u64) -> Vec<Stored> {
        let ends_after = |stored: &&Stored| stored.base + u64::from(stored.batch.header().count) > offset;
        self.batches.iter().filter(ends_after).cloned().collect()
    }

    pub fn message_at(&self, stored: &Stored, offset: u64) -> Message {
        let mut one = decode_range(&stored.batch, (offset - stored.base) as u32, 1).expect("decodes");
        one.remove(0)
    }

    /// Appends without a producer, for tests of readers.
    pub fn append_plain(&mut self, messages: &[Message], appended_at_ms: u64) {
        let mut builder = meridian_model::BatchBuilder::new(meridian_model::Codec::Lz4);
        messages.iter().for_each(|message| builder.push(message));
        let batch = builder.build().expect("a batch");
        let base = self.end();
        self.batches.push(Stored { base, appended_at_ms, batch, served: None });
    }

    /// The rules of the log: stored at last + 1, recognised before, refused otherwise.
    pub fn append(&mut self, bytes: Bytes) -> Result<PublishAck, Failure> {
        let batch = Batch::verify(bytes)
            .map_err(|error| Failure::new(ErrorReason::CorruptBatch, error.to_string()))?;
        if self.sealed {
            return Err(Failure::new(ErrorReason::TopicSealed, "the topic is being deleted"));
        }
        let head = batch.header().clone();
        let base = self.end();
        if head.producer.is_nil() {
            self.batches.push(Stored { base, appended_at_ms: base, batch, served: None });
            return Ok(self.ack(base, head.count, false));
        }
        let known = self.rows.contains_key(&head.producer);
        if !known && (head.first_sequence > 0 || head.is_named()) {
            return Err(Failure::new(ErrorReason::UnknownProducer, "unknown producer"));
        }
        let row = self.rows.entry(head.producer).or_default();
        if head.epoch < row.epoch {
            return Err(Failure::new(ErrorReason::StaleEpoch, "fenced").with("current", row.epoch));
        }
        if head.first_sequence > row.next {
            return Err(Failure::new(ErrorReason::SequenceGap, "gap").with("expected", row.next));
        }
        if head.first_sequence < row.next {
            let found = row.recent.iter().find(|(sequence, ..)| *sequence == head.first_sequence).copied();
            return match found {
                Some((_, count, base)) if count == head.count => Ok(self.ack(base, count, true)),
                Some(_) => Err(Failure::new(ErrorReason::PartialOverlap, "changed batch")),
                None => Err(Failure::new(ErrorReason::DuplicateBeyondWindow, "long ago")),
            };
        }
        row.next += u64::from(head.count);
        row.recent.push_back((head.first_sequence, head.count, base));
        if row.recent.len() > WINDOW {
            row.recent.pop_front();
        }
        self.batches.push(Stored { base, appended_at_ms: base, batch, served: None });
        Ok(self.ack(base, head.count, false))
    }

    fn ack(&self, base_offset: u64, count: u32, duplicate: bool) -> PublishAck {
        let durability = Durability::Quorum as i32;
        let log_id = Bytes::copy_from_slice(&self.log.0);
        PublishAck { partition: 0, log_id, base_offset, count, duplicate, durability }
    }
}
