//! What a reader is answered from a page of a log: the batches in it, or single messages.
//!
//! A page is bounded by its bytes as stored. What is in it may be much larger decoded, so an answer of messages
//! has a bound of its own: where it is reached, within a batch, too, the next answer goes on with the next message.

use meridian_commitlog::StoredBatch;
use meridian_deliver::Page;
use meridian_model::limits::{MESSAGE_BYTES_MAX, RPC_BYTES_MAX};
use meridian_model::{Batch, BatchError, Offset, batch};
use meridian_proto::v1::{ErrorReason, Failure, OffsetRange, ReadResponse, StoredMessage};
use tonic::Status;

/// Bytes of messages in one answer, and of the decompressed batches that they are slices of. One message, or one
/// batch, may go beyond it alone.
const ANSWER_BYTES: usize = RPC_BYTES_MAX / 2;
/// What a message costs beside its own bytes: here, and as the names of its fields on the wire.
const MESSAGE_OVERHEAD: usize = size_of::<StoredMessage>() + 80;
/// The same for a property.
const PROPERTY_OVERHEAD: usize = 80;
/// A message that fits into no answer. No message that is within its bound comes near.
const TOO_LARGE: usize = RPC_BYTES_MAX - 1024;

const _: () = assert!(ANSWER_BYTES + 2 * MESSAGE_BYTES_MAX < TOO_LARGE);

/// The answers of one read.
pub(in super::super) struct Answers {
    /// The offset after what was sent so far.
    pub(in super::super) from: Offset,
    pub(in super::super) decode: bool,
    /// Messages left to send, where there is a bound.
    pub(in super::super) left: Option<u64>,
}

impl Answers {
    /// The answer from the page at `from`. Afterwards `from` may lie within it: what follows is to be read again.
    pub(super) fn answer(&mut self, page: Page) -> Result<ReadResponse, Status> {
        let bounds = page.bounds;
        let mut answer = Answer::default();
        if page.batches.is_empty() {
            self.from = page.next;
        }
        for stored in page.batches {
            if self.left == Some(0) {
                break;
            }
            let whole = match self.decode {
                true => self.decode(&stored, &mut answer)?,
                false => self.pass_on(stored, &mut answer),
            };
            if !whole {
                break;
            }
        }
        Ok(ReadResponse {
            batches: answer.batches,
            messages: answer.messages,
            skipped: page.skipped.map(|(from, to)| OffsetRange { from: from.0, to: to.0 }),
            next_offset: self.from.0,
            log_start: bounds.start.0,
            log_end: bounds.end.0,
            log_id: bounds.log.0.to_vec().into(),
        })
    }

    /// Messages of a batch that were sent before, and those that were not.
    fn parts(&self, stored: &StoredBatch) -> (u64, u64) {
        let before = self.from.0.saturating_sub(stored.base.0).min(u64::from(stored.count));
        (before, u64::from(stored.count) - before)
    }

    fn sent(&mut self, upto: Offset, count: u64) {
        self.from = upto;
        self.left = self.left.map(|left| left.saturating_sub(count));
    }

    fn pass_on(&mut self, stored: StoredBatch, answer: &mut Answer) -> bool {
        let (_, new) = self.parts(&stored);
        self.sent(stored.base.plus(u64::from(stored.count)), new);
        answer.batches.push(meridian_proto::v1::StoredBatch {
            base_offset: stored.base.0,
            count: stored.count,
            appended_at_ms: stored.appended_at.0,
            batch: stored.bytes,
        });
        true
    }

    /// Takes as many messages of a batch as the answer has room for. `false`: there are more.
    fn decode(&mut self, stored: &StoredBatch, answer: &mut Answer) -> Result<bool, Status> {
        let damaged = |error: BatchError| Failure::new(ErrorReason::Internal, error.to_string());
        let whole = Batch::verify(stored.bytes.clone()).map_err(damaged)?;
        let header = whole.header();
        let raw_bytes = header.raw_bytes as usize;
        if !answer.messages.is_empty() && answer.raw_bytes + raw_bytes > ANSWER_BYTES {
            return Ok(false);
        }
        answer.raw_bytes += raw_bytes;
        let (before, new) = self.parts(stored);
        // More than these have no room, however small they are.
        let room = (ANSWER_BYTES - answer.bytes.min(ANSWER_BYTES)) / MESSAGE_OVERHEAD + 1;
        let take = self.left.map_or(new, |left| left.min(new)).min(room as u64);
        let messages = batch::decode_range(&whole, before as u32, take as u32).map_err(damaged)?;
        let producer: bytes::Bytes = header.producer.0.to_vec().into();
        for (message, at) in messages.into_iter().zip(before..) {
            let message = StoredMessage {
                offset: stored.base.0 + at,
                appended_at_ms: stored.appended_at.0,
                key: message.key,
                properties: message.properties.into_iter().collect(),
                body: message.body,
                producer_id: producer.clone(),
                producer_epoch: header.epoch,
                sequence: header.first_sequence + at,
            };
            if !answer.take(message)? {
                return Ok(false);
            }
            self.sent(Offset(stored.base.0 + at + 1), 1);
        }
        Ok(take == new)
    }
}

/// What goes into one answer.
#[derive(Default)]
struct Answer {
    batches: Vec<meridian_proto::v1::StoredBatch>,
    messages: Vec<StoredMessage>,
    /// Of the messages.
    bytes: usize,
    /// Of the batches that they are slices of.
    raw_bytes: usize,
}

impl Answer {
    /// Takes a message if there is room for it; the first one has.
    fn take(&mut self, message: StoredMessage) -> Result<bool, Status> {
        let properties = message.properties.iter().map(|(name, value)| name.len() + value.len());
        let properties: usize = properties.map(|bytes| bytes + PROPERTY_OVERHEAD).sum();
        let own = message.body.len() + message.key.as_ref().map_or(0, |key| key.len()) + properties;
        if own + MESSAGE_OVERHEAD > TOO_LARGE {
            let why =
                format!("the message at offset {} fits into no answer: read it by batches", message.offset);
            return Err(Failure::new(ErrorReason::TooLarge, why).into());
        }
        if !self.messages.is_empty() && self.bytes + own + MESSAGE_OVERHEAD > ANSWER_BYTES {
            return Ok(false);
        }
        self.bytes += own + MESSAGE_OVERHEAD;
        self.messages.push(message);
        Ok(true)
    }
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
