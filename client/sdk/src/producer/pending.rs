//! Messages that wait for their batch to be sent: written into it as they come.

use std::collections::VecDeque;

use bytes::Bytes;
use meridian_model::batch::{BatchHeader, FLAG_NAMED_PRODUCER};
use meridian_model::{Batch, BatchBuilder, Codec, Message, UnixMs};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::delivery::{Delivery, Promise, Waiters};
use super::identity::Identity;
use super::settings::Settings;
use crate::Error;

/// Table row, flags and lengths of one message in a batch.
const MESSAGE_OVERHEAD_BYTES: usize = 32;
/// Builders that wait to be used again. Each keeps the memory of one batch.
const SPARES_MAX: usize = 4;

/// Builders whose memory is used again, shared by the partitions of a producer.
pub(super) struct Spares {
    codec: Codec,
    builders: Mutex<Vec<BatchBuilder>>,
}

impl Spares {
    pub(super) fn new(codec: Codec) -> Self {
        Self { codec, builders: Mutex::default() }
    }

    fn take(&self) -> BatchBuilder {
        self.builders.lock().pop().unwrap_or_else(|| BatchBuilder::new(self.codec))
    }

    fn give(&self, builder: BatchBuilder) {
        let mut builders = self.builders.lock();
        if builders.len() < SPARES_MAX {
            builders.push(builder);
        }
    }
}

/// A batch that may still grow.
pub(super) struct Gathering {
    builder: BatchBuilder,
    waiters: Waiters,
    first_ordinal: u64,
    queued: Instant,
}

/// A frozen batch: what it holds never changes again.
pub(super) struct Frozen {
    pub(super) batch: Result<Batch, Error>,
    pub(super) waiters: Waiters,
    pub(super) first_ordinal: u64,
    /// When its oldest message was sent.
    pub(super) queued: Instant,
}

/// The messages of one partition that are not frozen yet, in order. Only the last gathering grows.
#[derive(Default)]
pub(super) struct Accumulator {
    gatherings: VecDeque<Gathering>,
    next_ordinal: u64,
}

/// What came of a push.
pub(super) struct Pushed {
    pub(super) delivery: Delivery,
    /// It is the first message of its batch.
    pub(super) begins: bool,
    /// There was no whole batch before it, and now there is.
    pub(super) fills: bool,
}

impl Accumulator {
    /// Takes a message in. `room_bytes` are given back when it is resolved.
    pub(super) fn push(
        &mut self,
        message: &Message,
        room_bytes: usize,
        settings: &Settings,
        spares: &Spares,
    ) -> Pushed {
        let full_before = self.is_full(settings);
        let begins = !self.gatherings.back().is_some_and(|last| last.has_room(message, settings));
        if begins {
            self.gatherings.push_back(Gathering {
                builder: spares.take(),
                waiters: Waiters { promise: Promise::new(), room_bytes: 0 },
                first_ordinal: self.next_ordinal,
                queued: Instant::now(),
            });
        }
        self.next_ordinal += 1;
        let last = self.gatherings.len() - 1;
        let gathering = &mut self.gatherings[last];
        let delivery = gathering.waiters.promise.delivery(gathering.builder.count());
        gathering.builder.push(message);
        gathering.waiters.room_bytes += room_bytes;
        Pushed { delivery, begins, fills: !full_before && self.is_full(settings) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gatherings.is_empty()
    }

    /// Whether there is enough for a whole batch.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        match self.gatherings.front() {
            Some(first) if self.gatherings.len() == 1 => first.is_full(settings),
            first => first.is_some(),
        }
    }

    /// When the oldest message was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.gatherings.front().map(|gathering| gathering.queued)
    }

    /// The number that the next message will get.
    pub(super) fn next_ordinal(&self) -> u64 {
        self.next_ordinal
    }

    /// The number of the oldest message.
    pub(super) fn first_ordinal(&self) -> Option<u64> {
        self.gatherings.front().map(|gathering| gathering.first_ordinal)
    }

    /// Takes the oldest gathering out.
    pub(super) fn pop(&mut self) -> Option<Gathering> {
        self.gatherings.pop_front()
    }
}

impl Gathering {
    fn has_room(&self, message: &Message, settings: &Settings) -> bool {
        let bytes = self.builder.raw_bytes() + message.size_bytes() + MESSAGE_OVERHEAD_BYTES;
        bytes <= settings.batch_bytes_max
            && self.builder.count() < settings.batch_messages_max
            && self.builder.fits(message)
    }

    fn is_full(&self, settings: &Settings) -> bool {
        self.builder.raw_bytes() + MESSAGE_OVERHEAD_BYTES >= settings.batch_bytes_max
            || self.builder.count() >= settings.batch_messages_max
    }

    /// Who waits for it; its messages are gone.
    pub(super) fn into_waiters(self) -> Waiters {
        self.waiters
    }

    /// Packs it.
    pub(super) fn freeze(
        self,
        spares: &Spares,
        identity: Identity,
        first_sequence: u64,
        now: UnixMs,
    ) -> Frozen {
        let flags = if identity.named { FLAG_NAMED_PRODUCER } else { 0 };
        let mut builder = self
            .builder
            .producer(identity.producer, identity.epoch, first_sequence)
            .flags(flags)
            .published_at(now);
        let batch = builder.finish().map_err(|error| Error::invalid("message", error));
        spares.give(builder);
        Frozen { batch, waiters: self.waiters, first_ordinal: self.first_ordinal, queued: self.queued }
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
