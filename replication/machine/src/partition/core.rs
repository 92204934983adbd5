//! The scalars of a partition: one small row, rewritten with every entry.

use meridian_model::{LogId, Offset, UnixMs};

use super::chain;
use super::segment::OpenSegment;
use super::subscription::SCALARS;
use crate::command::PartitionPolicy;
use crate::wire::{OutOfBytes, Reader};
use crate::{At, CorruptState, Table};

/// The format of this row and of every other row of a partition that knows neither subscriptions nor delayed messages.
const VERSION: u8 = 1;
/// The same, followed by the scalars of subscriptions and delayed messages, of which one is not zero.
const VERSION_SUBSCRIPTIONS: u8 = 2;

/// What the other rows must add up to, so that a lost one is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) segments: u64,
    pub(super) producers: u64,
    pub(super) subscriptions: [u64; SCALARS],
}

/// The scalars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Core {
    pub(super) applied: At,
    pub(super) last_stamp: UnixMs,
    pub(super) end: Offset,
    pub(super) head: [u8; 32],
    /// The Raft index of the boundary at which the log starts; 0 until the first trim.
    pub(super) start_index: u64,
    pub(super) control_index: u64,
    pub(super) policy: PartitionPolicy,
    pub(super) sealed: bool,
    pub(super) open: OpenSegment,
}

impl Core {
    pub(super) fn new(log: LogId) -> Self {
        Self {
            applied: At::default(),
            last_stamp: UnixMs(0),
            end: Offset(0),
            head: chain::initial(log),
            start_index: 0,
            control_index: 0,
            policy: PartitionPolicy::default(),
            sealed: false,
            open: OpenSegment::default(),
        }
    }

    /// The row. `rows` is how many closed segments and producers there are, so that a lost row is noticed.
    pub(super) fn encode(&self, log: LogId, rows: [u64; 2], subscriptions: [u64; SCALARS]) -> Vec<u8> {
        let plain = subscriptions == [0; SCALARS];
        let mut out = Vec::with_capacity(if plain { 224 } else { 296 });
        out.push(if plain { VERSION } else { VERSION_SUBSCRIPTIONS });
        out.extend_from_slice(&log.0);
        for value in [self.applied.term, self.applied.index, self.last_stamp.0, self.end.0] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.start_index.to_le_bytes());
        out.extend_from_slice(&self.control_index.to_le_bytes());
        self.policy.write(&mut out);
        out.push(u8::from(self.sealed));
        for count in rows {
            out.extend_from_slice(&count.to_le_bytes());
        }
        let open = &self.open;
        for value in
            [open.entries, open.entry_bytes, open.bytes, open.messages, open.first_stamp.0, open.last_stamp.0]
        {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in subscriptions.iter().filter(|_| !plain) {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out
    }

    /// The scalars, and what the other rows must add up to.
    pub(super) fn decode(log: LogId, bytes: &[u8]) -> Result<(Self, Expected), CorruptState> {
        let plain = match bytes.first() {
            None => return Err(CorruptState::row(Table::Core, "empty")),
            Some(&VERSION) => true,
            Some(&VERSION_SUBSCRIPTIONS) => false,
            Some(&newer) => return Err(CorruptState::Version(newer)),
        };
        let mut reader = Reader::new(&bytes[1..]);
        let written_for = LogId(reader.array().map_err(CorruptState::length(Table::Core))?);
        if written_for != log {
            return Err(CorruptState::OtherLog);
        }
        let (core, rows) = Self::read(&mut reader).map_err(CorruptState::length(Table::Core))?;
        let mut subscriptions = [0; SCALARS];
        for value in subscriptions.iter_mut().filter(|_| !plain) {
            *value = reader.u64().map_err(CorruptState::length(Table::Core))?;
        }
        reader.end().map_err(CorruptState::length(Table::Core))?;
        if plain != (subscriptions == [0; SCALARS]) {
            return Err(CorruptState::row(Table::Core, "no subscriptions, and yet their version"));
        }
        let [segments, producers] = rows;
        Ok((core, Expected { segments, producers, subscriptions }))
    }

    fn read(reader: &mut Reader<'_>) -> Result<(Self, [u64; 2]), OutOfBytes> {
        let mut core = Self {
            applied: At { term: reader.u64()?, index: reader.u64()? },
            last_stamp: UnixMs(reader.u64()?),
            end: Offset(reader.u64()?),
            head: reader.array()?,
            start_index: reader.u64()?,
            control_index: reader.u64()?,
            policy: PartitionPolicy::read(reader)?,
            sealed: reader.flag()?,
            open: OpenSegment::default(),
        };
        let rows = [reader.u64()?, reader.u64()?];
        core.open = OpenSegment {
            entries: reader.u64()?,
            entry_bytes: reader.u64()?,
            bytes: reader.u64()?,
            messages: reader.u64()?,
            first_stamp: UnixMs(reader.u64()?),
            last_stamp: UnixMs(reader.u64()?),
        };
        Ok((core, rows))
    }
}
