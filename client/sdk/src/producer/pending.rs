//! Messages that wait for their batch.

use std::collections::VecDeque;

use bytes::Bytes;
use meridian_model::batch::{BatchHeader, FLAG_NAMED_PRODUCER};
use meridian_model::{Batch, BatchBuilder, Message, UnixMs};
use tokio::time::Instant;

use super::delivery::Waiter;
use super::identity::Identity;
use super::settings::Settings;
use crate::Error;

/// Table row, flags and lengths of one message in a batch.
const MESSAGE_OVERHEAD_BYTES: usize = 32;

/// One message on its way into a batch.
pub(super) struct Pending {
    pub(super) message: Message,
    pub(super) waiter: Waiter,
    pub(super) queued: Instant,
    ordinal: u64,
}

/// A frozen batch: what it holds never changes again.
pub(super) struct Frozen {
    pub(super) batch: Result<Batch, Error>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) first_ordinal: u64,
    /// When its oldest message was sent.
    pub(super) queued: Instant,
}

/// The messages of one partition that are not in a batch yet, in order.
#[derive(Default)]
pub(super) struct Accumulator {
    messages: VecDeque<Pending>,
    bytes: usize,
    next_ordinal: u64,
}

impl Accumulator {
    pub(super) fn push(&mut self, message: Message, waiter: Waiter, queued: Instant) {
        self.bytes += message.size_bytes() + MESSAGE_OVERHEAD_BYTES;
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.messages.push_back(Pending { message, waiter, queued, ordinal });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether there is enough for a whole batch.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        self.bytes >= settings.batch_bytes_max || self.messages.len() >= settings.batch_messages_max as usize
    }

    /// When the oldest message was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.messages.front().map(|pending| pending.queued)
    }

    /// The number that the next message will get.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// The number of the oldest message.
    pub(super) fn first_ordinal(&self) -> Option<u64> {
        self.messages.front().map(|pending| pending.ordinal)
    }

    /// Takes the oldest message out, if `when` says so.
    pub(super) fn pop_if(&mut self, when: impl FnOnce(&Pending) -> bool) -> Option<Waiter> {
        if !self.messages.front().is_some_and(when) {
            return None;
        }
        self.pop().map(|pending| pending.waiter)
    }

    fn pop(&mut self) -> Option<Pending> {
        let pending = self.messages.pop_front()?;
        self.bytes -= pending.message.size_bytes() + MESSAGE_OVERHEAD_BYTES;
        Some(pending)
    }

    /// Packs the oldest messages into one batch. `None` if there are none.
    pub(super) fn freeze(
        &mut self,
        settings: &Settings,
        identity: Identity,
        first_sequence: u64,
        now: UnixMs,
    ) -> Option<Frozen> {
        let first = self.pop()?;
        let (first_ordinal, queued) = (first.ordinal, first.queued);
        let flags = if identity.named { FLAG_NAMED_PRODUCER } else { 0 };
        let mut builder = BatchBuilder::new(settings.codec)
            .producer(identity.producer, identity.epoch, first_sequence)
            .flags(flags)
            .published_at(now);
        builder.push(&first.message);
        let mut waiters = vec![first.waiter];
        while let Some(next) = self.messages.front() {
            let bytes = builder.raw_bytes() + next.message.size_bytes() + MESSAGE_OVERHEAD_BYTES;
            let room = bytes <= settings.batch_bytes_max && builder.count() < settings.batch_messages_max;
            if !room || !builder.fits(&next.message) {
                break;
            }
            let Some(next) = self.pop() else { break };
            builder.push(&next.message);
            waiters.push(next.waiter);
        }
        let batch = builder.build().map_err(|error| Error::invalid("message", error));
        Some(Frozen { batch, waiters, first_ordinal, queued })
    }
}

/// The same batch under another identity and sequence; the payload is not touched.
pub(super) fn renumber(batch: &Bytes, identity: Identity, first_sequence: u64) -> Result<Bytes, Error> {
    let mut header = BatchHeader::decode(batch).map_err(|error| Error::nonsense(error.to_string()))?;
    let payload_at = header.header_bytes();
    header.producer = identity.producer;
    header.epoch = identity.epoch;
    header.first_sequence = first_sequence;
    let mut bytes = Vec::with_capacity(batch.len());
    header.encode(&mut bytes);
    bytes.extend_from_slice(&batch[payload_at..]);
    Ok(Bytes::from(bytes))
}
