//! Segments: the pieces that retention removes whole, each ending at one Raft entry.

use meridian_model::{Offset, UnixMs};

use crate::wire::{OutOfBytes, Reader};
use crate::{At, CorruptState, Effect, Row, Table};

/// A closed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its last entry.
    pub at: At,
    /// The offset after its last message.
    pub end: Offset,
    /// Bytes of the batches stored in it.
    pub bytes: u64,
    /// The stamp of its first message; without messages, the same as `last_stamp`.
    pub first_stamp: UnixMs,
    /// The stamp of the last message stored in it or in a segment before it.
    pub last_stamp: UnixMs,
    /// The head of the hash chain at `end`.
    pub head: [u8; 32],
}

impl Segment {
    /// The key sorts by Raft index.
    pub(super) fn key(index: u64) -> Vec<u8> {
        index.to_be_bytes().to_vec()
    }

    pub(super) fn put(&self) -> Effect {
        let mut value = Vec::with_capacity(72);
        for field in [self.at.term, self.end.0, self.bytes, self.first_stamp.0, self.last_stamp.0] {
            value.extend_from_slice(&field.to_le_bytes());
        }
        value.extend_from_slice(&self.head);
        Effect::Put(Row { table: Table::Segment, key: Self::key(self.at.index), value })
    }

    pub(super) fn delete(&self) -> Effect {
        Effect::Delete { table: Table::Segment, key: Self::key(self.at.index) }
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, CorruptState> {
        let index = key.try_into().map(u64::from_be_bytes);
        let index = index.map_err(|_| CorruptState::row(Table::Segment, "key length"))?;
        let mut reader = Reader::new(value);
        let segment = Self::read(index, &mut reader).map_err(CorruptState::length(Table::Segment))?;
        reader.end().map_err(CorruptState::length(Table::Segment))?;
        Ok(segment)
    }

    fn read(index: u64, reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        Ok(Self {
            at: At { term: reader.u64()?, index },
            end: Offset(reader.u64()?),
            bytes: reader.u64()?,
            first_stamp: UnixMs(reader.u64()?),
            last_stamp: UnixMs(reader.u64()?),
            head: reader.array()?,
        })
    }
}

/// What has come since the last boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenSegment {
    /// Raft entries of every kind.
    pub(super) entries: u64,
    /// Bytes of those entries' payloads.
    pub(super) entry_bytes: u64,
    /// Bytes of the batches stored.
    pub(super) bytes: u64,
    /// Messages stored.
    pub(super) messages: u64,
    /// The stamp of the first message. Means nothing while there are none.
    pub(super) first_stamp: UnixMs,
    /// The stamp of the last message, here or before.
    pub(super) last_stamp: UnixMs,
}

impl OpenSegment {
    pub(super) fn store(&mut self, messages: u32, bytes: u64, stamp: UnixMs) {
        if self.messages == 0 {
            self.first_stamp = stamp;
        }
        self.messages += u64::from(messages);
        self.bytes += bytes;
        self.last_stamp = stamp;
    }

    /// Closes this one and opens the next.
    pub(super) fn close(&mut self, at: At, end: Offset, head: [u8; 32]) -> Segment {
        let first_stamp = if self.messages == 0 { self.last_stamp } else { self.first_stamp };
        let closed = Segment { at, end, bytes: self.bytes, first_stamp, last_stamp: self.last_stamp, head };
        *self = OpenSegment { last_stamp: self.last_stamp, ..OpenSegment::default() };
        closed
    }
}
