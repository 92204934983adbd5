//! Which batches of the log are delayed: rows on disk, and in memory only how many.
//!
//! A batch's two rows live as long as its messages, so that a seek, or a subscription that begins at the oldest
//! message, finds them. A trim leaves them behind, below the log's start, where they mean nothing; the leader, who
//! can read them, has them removed a bounded number at a time (`SweepDelayed`). The machine removes only what lies
//! below the start, whatever it is told to, so the rows from the start on are exactly as many as it counts.

use std::collections::BTreeMap;

use meridian_model::{Offset, Place, UnixMs};

use super::journal::Journal;
use super::keys;
use crate::wire::{OutOfBytes, Reader};
use crate::{CorruptState, Table};

/// Delayed batches of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentDelayed {
    pub(super) batches: u64,
    pub(super) messages: u64,
}

/// Delayed batches of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DelayedLog {
    /// Messages since the log began.
    pub(super) messages: u64,
    /// Messages below the log's start.
    pub(super) trimmed: u64,
    pub(super) open: SegmentDelayed,
    /// Closed segments that have any, by the Raft index of their last entry.
    pub(super) segments: BTreeMap<u64, SegmentDelayed>,
}

impl DelayedLog {
    /// A batch is stored that is due later than now.
    pub(super) fn store(&mut self, first: Place, count: u32, journal: &mut Journal) {
        journal.insert(Table::DelayedByTime, keys::by_time(first), count.to_le_bytes().to_vec());
        let value =
            [&first.deliver_at.0.to_le_bytes()[..], &count.to_le_bytes(), &self.messages.to_le_bytes()];
        journal.insert(Table::DelayedByOffset, keys::by_offset(first.offset), value.concat());
        self.open.batches += 1;
        self.open.messages += u64::from(count);
        self.messages += u64::from(count);
    }

    /// The open segment was closed.
    pub(super) fn close(&mut self, index: u64, journal: &mut Journal) {
        let closed = std::mem::take(&mut self.open);
        if closed.batches > 0 {
            let value = [closed.batches, closed.messages].map(u64::to_le_bytes).concat();
            journal.insert(Table::SegmentDelayed, keys::segment(index), value);
            self.segments.insert(index, closed);
        }
    }

    /// A segment, the oldest, was removed.
    pub(super) fn remove(&mut self, index: u64, journal: &mut Journal) {
        if let Some(removed) = self.segments.remove(&index) {
            self.trimmed += removed.messages;
            journal.delete(Table::SegmentDelayed, keys::segment(index));
        }
    }

    pub(super) fn in_segment(&self, index: u64) -> u64 {
        self.segments.get(&index).map_or(0, |segment| segment.messages)
    }

    pub(super) fn decode_segment(key: &[u8], value: &[u8]) -> Result<(u64, SegmentDelayed), CorruptState> {
        let read = || {
            let mut reader = Reader::new(key);
            let index = keys::read_be(&mut reader)?;
            reader.end()?;
            let mut reader = Reader::new(value);
            let segment = SegmentDelayed { batches: reader.u64()?, messages: reader.u64()? };
            reader.end().map(|()| (index, segment))
        };
        read().map_err(CorruptState::length(Table::SegmentDelayed))
    }
}

/// A delayed batch, as the leader reads it from its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayedBatch {
    /// Its first message.
    pub first: Place,
    /// Messages in it.
    pub count: u32,
}

impl DelayedBatch {
    /// From a row of `Table::DelayedByTime`.
    pub fn by_time(key: &[u8], value: &[u8]) -> Result<Self, CorruptState> {
        let read = || {
            let mut reader = Reader::new(key);
            let (time, offset) = (keys::read_be(&mut reader)?, keys::read_be(&mut reader)?);
            reader.end()?;
            let mut reader = Reader::new(value);
            let count = reader.u32()?;
            let first = Place { deliver_at: UnixMs(time), offset: Offset(offset) };
            reader.end().map(|()| Self { first, count })
        };
        read().map_err(CorruptState::length(Table::DelayedByTime))
    }

    /// From a row of `Table::DelayedByOffset`, with the number of delayed messages before it since the log began.
    pub fn by_offset(key: &[u8], value: &[u8]) -> Result<(Self, u64), CorruptState> {
        let read = || -> Result<_, OutOfBytes> {
            let mut reader = Reader::new(key);
            let offset = Offset(keys::read_be(&mut reader)?);
            reader.end()?;
            let mut reader = Reader::new(value);
            let first = Place { deliver_at: UnixMs(reader.u64()?), offset };
            let (count, before) = (reader.u32()?, reader.u64()?);
            reader.end().map(|()| (Self { first, count }, before))
        };
        read().map_err(CorruptState::length(Table::DelayedByOffset))
    }
}
