//! What applying an entry changes: rows to write, in the words of tables and keys.

use meridian_model::{Offset, UnixMs};

/// The entry being applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The Raft term it was proposed in.
    pub term: u64,
    /// Its Raft index.
    pub index: u64,
}

/// The tables of a machine's state. The number is the tag in the key on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// The few scalars of the machine, one row.
    Core = 1,
    /// Partition: closed segments, by the Raft index of their last entry.
    Segment = 2,
    /// Partition: producers, by id.
    Producer = 3,
    /// Partition: the dedup window, by producer id and slot.
    Sequence = 4,
    /// Owned by the raft room: the membership that held at a segment's boundary.
    BoundaryMembership = 5,
    /// Partition: subscriptions, by id.
    Subscription = 6,
    /// Partition: settled ranges above the floors, by subscription, time (zero in the main lane) and first offset.
    Settled = 7,
    /// Partition: messages with failed attempts, by subscription, time and offset.
    Attempts = 8,
    /// Partition: where dead letters go, by subscription and history.
    Destination = 9,
    /// Partition: dead letters on their way, by subscription, history and sequence.
    DeadLetter = 10,
    /// Partition: dropped subscriptions, by id.
    DroppedSubscription = 11,
    /// Partition: closed segments with delayed messages, by the Raft index of their last entry.
    SegmentDelayed = 12,
    /// Partition: delayed batches, by time and first offset, both big-endian. The value: messages, u32.
    /// A row below the log's start means nothing.
    DelayedByTime = 13,
    /// Partition: delayed batches, by first offset, big-endian. The value: time u64, messages u32, delayed messages
    /// before it since the log began u64, little-endian. A row below the log's start means nothing.
    DelayedByOffset = 14,
    /// Control: nodes.
    Node = 16,
    /// Control: tenants.
    Tenant = 17,
    /// Control: namespaces.
    Namespace = 18,
    /// Control: topics.
    Topic = 19,
    /// Control: epochs of named producers.
    NamedProducer = 20,
    /// Control: remembered request ids.
    Request = 21,
    /// Control: the segments of its own log, one row from the first trim on.
    ControlLog = 22,
    /// Control: nodes that do not simply serve.
    NodeDuty = 23,
    /// Control: copies on their way out.
    Move = 24,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 23] = [
        Table::Core,
        Table::Segment,
        Table::Producer,
        Table::Sequence,
        Table::BoundaryMembership,
        Table::Subscription,
        Table::Settled,
        Table::Attempts,
        Table::Destination,
        Table::DeadLetter,
        Table::DroppedSubscription,
        Table::SegmentDelayed,
        Table::DelayedByTime,
        Table::DelayedByOffset,
        Table::Node,
        Table::Tenant,
        Table::Namespace,
        Table::Topic,
        Table::NamedProducer,
        Table::Request,
        Table::ControlLog,
        Table::NodeDuty,
        Table::Move,
    ];

    /// From the tag on disk.
    pub fn from_tag(tag: u8) -> Option<Table> {
        Table::ALL.into_iter().find(|t| *t as u8 == tag)
    }
}

/// A stored row, as a machine is restored from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its table.
    pub table: Table,
    /// Its key within the table.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// One small row for each stored batch: where it is, and what it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The Raft index of the entry that holds the batch.
    pub index: u64,
    /// Which batch of that entry, from 0.
    pub position: u32,
    /// Messages in it.
    pub count: u32,
    /// Stored bytes of the batch.
    pub bytes: u32,
    /// When it was appended, by the leader's stamp.
    pub stamp: UnixMs,
    /// The head of the hash chain after this batch.
    pub head: [u8; 32],
}

/// One change to the stored state. All effects of an entry are written in one atomic step, with its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write a row.
    Put(Row),
    /// Remove a row.
    Delete {
        /// Its table.
        table: Table,
        /// Its key.
        key: Vec<u8>,
    },
    /// Write an index row.
    Index {
        /// The offset of the batch's first message.
        base: Offset,
        /// The row.
        row: IndexRow,
    },
    /// A segment was closed at this entry: what holds here may become the start of the log.
    SegmentClosed {
        /// The entry.
        at: At,
    },
    /// The log now begins after `at`: index rows below `start` go, and entries through `at` may be purged.
    Trimmed {
        /// The last entry that goes.
        at: At,
        /// The first offset that stays.
        start: Offset,
    },
}
