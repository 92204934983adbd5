//! One producer as a partition remembers it: a small row, and the ring of its latest batches.

use meridian_model::{Offset, ProducerId, UnixMs};

use crate::wire::{OutOfBytes, Reader};
use crate::{CorruptState, Effect, Row, Table};

/// What a partition remembers of a producer, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerView {
    /// The epoch in force.
    pub epoch: u32,
    /// Whether the producer chose its name, so that only a fence raises its epoch.
    pub named: bool,
    /// The only sequence that can be stored next.
    pub next_sequence: u64,
    /// When it was last heard of: its last stored batch, its fence or its opening, whichever is latest.
    pub last_stamp: UnixMs,
}

/// A stored batch within the dedup window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredBatch {
    pub(super) first_sequence: u64,
    pub(super) count: u32,
    pub(super) base: Offset,
}

/// A producer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) view: ProducerView,
    /// Batches stored since the row was made, over all epochs: the ring's position.
    pub(super) stored: u64,
    /// How many of the latest ring rows belong to the epoch in force: the window.
    pub(super) live: usize,
    /// Slot `n` holds the latest batch whose number is `n` modulo the window. Mirrors the rows exactly.
    pub(super) ring: Vec<StoredBatch>,
}

impl Producer {
    pub(super) fn new(epoch: u32, named: bool, last_stamp: UnixMs) -> Self {
        let view = ProducerView { epoch, named, next_sequence: 0, last_stamp };
        Self { view, stored: 0, live: 0, ring: Vec::new() }
    }

    /// Begins a new epoch at sequence 0. The ring's rows stay until they are overwritten; none is live.
    pub(super) fn begin_epoch(&mut self, epoch: u32) {
        self.view.epoch = epoch;
        if !planted!(FenceKeepsSequence) {
            self.view.next_sequence = 0;
        }
        if !planted!(FenceKeepsWindow) {
            self.live = 0;
        }
    }

    pub(super) fn store(&mut self, batch: StoredBatch, window: usize) {
        let slot = slot_of(self.stored, window);
        match self.ring.get_mut(slot) {
            Some(oldest) => *oldest = batch,
            None => self.ring.push(batch),
        }
        self.stored += 1;
        self.live = (self.live + 1).min(window);
        self.view.next_sequence = batch.first_sequence + u64::from(batch.count);
    }

    /// The batches of the window, latest first.
    pub(super) fn window(&self, window: usize) -> impl Iterator<Item = &StoredBatch> {
        let live = if planted!(WindowOneShort) { self.live.min(window - 1) } else { self.live };
        (1..=live as u64).map(move |back| &self.ring[slot_of(self.stored - back, window)])
    }

    /// Bytes: epoch 4, named 1, next sequence 8, last stamp 8, stored 8, live 4.
    pub(super) fn put(&self, id: ProducerId) -> Effect {
        let mut value = Vec::with_capacity(33);
        value.extend_from_slice(&self.view.epoch.to_le_bytes());
        value.push(u8::from(self.view.named));
        for field in [self.view.next_sequence, self.view.last_stamp.0, self.stored] {
            value.extend_from_slice(&field.to_le_bytes());
        }
        value.extend_from_slice(&(self.live as u32).to_le_bytes());
        Effect::Put(Row { table: Table::Producer, key: id.0.to_vec(), value })
    }

    /// Bytes: first sequence 8, count 4, base 8.
    pub(super) fn put_slot(&self, id: ProducerId, slot: usize) -> Effect {
        let batch = &self.ring[slot];
        let mut value = Vec::with_capacity(20);
        value.extend_from_slice(&batch.first_sequence.to_le_bytes());
        value.extend_from_slice(&batch.count.to_le_bytes());
        value.extend_from_slice(&batch.base.0.to_le_bytes());
        Effect::Put(Row { table: Table::Sequence, key: slot_key(id, slot), value })
    }

    /// Removes the row and those of the ring.
    pub(super) fn delete(&self, id: ProducerId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Delete { table: Table::Producer, key: id.0.to_vec() });
        let slots = (0..self.ring.len()).map(|slot| slot_key(id, slot));
        effects.extend(slots.map(|key| Effect::Delete { table: Table::Sequence, key }));
    }

    /// A producer whose ring is still empty, and how long the ring must become.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(ProducerId, Self), CorruptState> {
        let mut reader = Reader::new(key);
        let id = reader.array().and_then(|id| reader.end().map(|()| ProducerId(id)));
        let mut reader = Reader::new(value);
        let producer = Self::read(&mut reader).and_then(|p| reader.end().map(|()| p));
        id.and_then(|id| producer.map(|p| (id, p))).map_err(CorruptState::length(Table::Producer))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        let view = ProducerView {
            epoch: reader.u32()?,
            named: reader.flag()?,
            next_sequence: reader.u64()?,
            last_stamp: UnixMs(reader.u64()?),
        };
        Ok(Self { view, stored: reader.u64()?, live: reader.u32()? as usize, ring: Vec::new() })
    }
}

/// Reads a row of the ring.
pub(super) fn decode_slot(
    key: &[u8],
    value: &[u8],
) -> Result<(ProducerId, usize, StoredBatch), CorruptState> {
    let read = || {
        let mut reader = Reader::new(key);
        let (id, slot) = (ProducerId(reader.array()?), usize::from(reader.u8()?));
        reader.end()?;
        let mut reader = Reader::new(value);
        let (first_sequence, count) = (reader.u64()?, reader.u32()?);
        let base = Offset(reader.u64()?);
        reader.end()?;
        Ok((id, slot, StoredBatch { first_sequence, count, base }))
    };
    read().map_err(CorruptState::length(Table::Sequence))
}

/// The slot of batch number `stored` in a ring of `window`.
pub(super) fn slot_of(stored: u64, window: usize) -> usize {
    (stored % window as u64) as usize
}

fn slot_key(id: ProducerId, slot: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.extend_from_slice(&id.0);
    key.push(slot as u8);
    key
}

const _: () = assert!(meridian_model::limits::DEDUP_WINDOW_BATCHES <= 256, "a slot is one byte");
