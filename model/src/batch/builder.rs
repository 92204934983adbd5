//! Making a batch from messages.

use bytes::Bytes;

use crate::batch::{Batch, BatchError, BatchHeader, Codec, header};
use crate::{Message, ProducerId, UnixMs, hash, limits};

/// Collects messages and packs them. What is in a batch is frozen by [`BatchBuilder::build`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    header: BatchHeader,
    table: Vec<u8>,
    raw: Vec<u8>,
    /// What compression writes into; its length is what was ever needed.
    packed: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch with this compression.
    pub fn new(codec: Codec) -> Self {
        Self { header: BatchHeader { codec, ..Default::default() }, ..Default::default() }
    }

    /// Who sends it, and where it stands in their sequence.
    pub fn producer(mut self, producer: ProducerId, epoch: u32, first_sequence: u64) -> Self {
        self.header.producer = producer;
        self.header.epoch = epoch;
        self.header.first_sequence = first_sequence;
        self
    }

    /// `FLAG_*` bits of the header.
    pub fn flags(mut self, flags: u32) -> Self {
        self.header.flags = flags;
        self
    }

    /// When it was made, by the producer's clock.
    pub fn published_at(mut self, at: UnixMs) -> Self {
        self.header.published_at = at;
        self
    }

    /// Not to be delivered before this. Zero: at once.
    pub fn deliver_at(mut self, at: UnixMs) -> Self {
        self.header.deliver_at = at;
        self
    }

    /// Messages so far.
    pub fn count(&self) -> u32 {
        self.header.count
    }

    /// Raw bytes so far, table included.
    pub fn raw_bytes(&self) -> usize {
        self.raw.len() + self.table.len()
    }

    /// Whether another message of this size still fits.
    pub fn fits(&self, message: &Message) -> bool {
        let room = limits::BATCH_BYTES_MAX - 4 * 1024;
        self.count() < limits::BATCH_MESSAGES_MAX
            && (self.count() == 0 || self.raw_bytes() + message.size_bytes() + 1024 <= room)
    }

    /// Adds one message.
    pub fn push(&mut self, message: &Message) {
        let start = self.raw.len();
        let mut flags = 0u8;
        flags |= u8::from(message.key.is_some());
        flags |= u8::from(!message.properties.is_empty()) << 1;
        self.raw.push(flags);
        if let Some(key) = &message.key {
            self.raw.extend_from_slice(&(key.len() as u32).to_le_bytes());
            self.raw.extend_from_slice(key);
        }
        if !message.properties.is_empty() {
            self.raw.extend_from_slice(&(message.properties.len() as u16).to_le_bytes());
            for (name, value) in &message.properties {
                self.raw.extend_from_slice(&(name.len() as u16).to_le_bytes());
                self.raw.extend_from_slice(name.as_bytes());
                self.raw.extend_from_slice(&(value.len() as u32).to_le_bytes());
                self.raw.extend_from_slice(value);
            }
        }
        self.raw.extend_from_slice(&message.body);
        let key_hash = message.key.as_deref().map_or(0, hash::key_hash);
        self.table.extend_from_slice(&key_hash.to_le_bytes());
        self.table.extend_from_slice(&((self.raw.len() - start) as u32).to_le_bytes());
        self.header.count += 1;
    }

    /// Packs the batch. A body that compression does not shrink is stored as it is.
    pub fn build(mut self) -> Result<Batch, BatchError> {
        self.finish()
    }

    /// As [`BatchBuilder::build`], and leaves the builder empty: with the same compression, with nothing else
    /// of the header, and with its memory, so that many batches can be made without allocating anew.
    pub fn finish(&mut self) -> Result<Batch, BatchError> {
        let codec = self.header.codec;
        let mut header = std::mem::replace(&mut self.header, BatchHeader { codec, ..Default::default() });
        if header.count == 0 {
            return Err(BatchError::Empty);
        }
        header.raw_bytes = self.raw.len() as u32;
        let body = match codec.compress_into(&self.raw, &mut self.packed) {
            Some(length) => &self.packed[..length],
            None => {
                header.codec = Codec::None;
                &self.raw[..]
            }
        };
        header.body_bytes = body.len() as u32;
        header.payload_crc = crc32c::crc32c_append(crc32c::crc32c(&self.table), body);
        debug_assert_eq!(self.table.len(), header.count as usize * header::ROW_BYTES);
        let mut bytes = Vec::with_capacity(header.total_bytes());
        header.encode(&mut bytes);
        bytes.extend_from_slice(&self.table);
        bytes.extend_from_slice(body);
        self.table.clear();
        self.raw.clear();
        Batch::trust(Bytes::from(bytes))
    }
}
