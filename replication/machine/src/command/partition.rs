//! What can be asked of a partition.

use bytes::Bytes;
use meridian_model::topology::Retention;
use meridian_model::{ProducerId, UnixMs, limits};
use serde::{Deserialize, Serialize};

use super::append::{self, AppendItem, KIND_APPEND};
use super::subscription_codec::{KIND_SET_SUBSCRIPTION, KIND_TRIM_BACKLOG};
use super::{CommandError, PREFIX_BYTES, SubscriptionCommand, partition_prefix};
use crate::wire::{OutOfBytes, Reader, put_option_u64};

const KIND_FENCE: u8 = 2;
const KIND_SET_POLICY: u8 = 3;
const KIND_TRIM: u8 = 4;
const KIND_SEAL: u8 = 5;

/// A command to one partition. Each carries the leader's stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionCommand {
    /// Store batches, each on its own: one may be stored and the next refused.
    Append {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The batches, in the order in which they get offsets.
        items: Vec<AppendItem>,
    },
    /// A named producer was opened: earlier epochs write no more.
    Fence {
        /// The leader's stamp.
        stamp: UnixMs,
        /// Who was opened.
        producer: ProducerId,
        /// The epoch that opening returned.
        epoch: u32,
    },
    /// The topic's settings changed.
    SetPolicy {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The control index of the change: an older one than that in force is refused.
        control_index: u64,
        /// The complete policy.
        policy: PartitionPolicy,
    },
    /// Remove old segments and forget old producers. Nothing goes that a subscription waits for; as nobody looked
    /// where the delayed messages are for which one waits, no segment with delayed messages goes at all.
    Trim {
        /// The leader's stamp.
        stamp: UnixMs,
        /// Messages appended before this may go.
        before: Option<UnixMs>,
        /// The oldest messages may go while this many bytes of stored batches stay.
        keep_bytes: Option<u64>,
        /// Producers that made up their name and sent nothing since may be forgotten. The machine never
        /// forgets one whose token could still be accepted, whatever is asked.
        forget_producers_before: Option<UnixMs>,
    },
    /// The topic is being deleted: nothing more is stored.
    Seal {
        /// The leader's stamp.
        stamp: UnixMs,
        /// The control index of the deletion.
        control_index: u64,
    },
    /// About subscriptions.
    Subscription(SubscriptionCommand),
}

/// What a partition knows of its topic's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPolicy {
    /// What is kept.
    pub retention: Retention,
    /// Entry bytes after which a segment is closed.
    pub segment_bytes: u64,
    /// Entries after which a segment is closed.
    pub segment_entries: u64,
}

impl Default for PartitionPolicy {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            segment_bytes: limits::SEGMENT_BYTES,
            segment_entries: limits::SEGMENT_ENTRIES,
        }
    }
}

impl PartitionPolicy {
    /// 34 bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_option_u64(out, self.retention.age_ms);
        put_option_u64(out, self.retention.bytes);
        out.extend_from_slice(&self.segment_bytes.to_le_bytes());
        out.extend_from_slice(&self.segment_entries.to_le_bytes());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        Ok(Self {
            retention: Retention { age_ms: reader.option_u64()?, bytes: reader.option_u64()? },
            segment_bytes: reader.u64()?,
            segment_entries: reader.u64()?,
        })
    }
}

impl PartitionCommand {
    /// The leader's stamp.
    pub fn stamp(&self) -> UnixMs {
        match self {
            PartitionCommand::Append { stamp, .. }
            | PartitionCommand::Fence { stamp, .. }
            | PartitionCommand::SetPolicy { stamp, .. }
            | PartitionCommand::Trim { stamp, .. }
            | PartitionCommand::Seal { stamp, .. } => *stamp,
            PartitionCommand::Subscription(command) => command.stamp(),
        }
    }

    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let mut begin = |kind: u8, stamp: &UnixMs| {
            out.extend_from_slice(&partition_prefix(kind));
            out.extend_from_slice(&stamp.0.to_le_bytes());
        };
        match self {
            PartitionCommand::Append { stamp, items } => return append::encode(*stamp, items),
            PartitionCommand::Subscription(command) => return Bytes::from(command.encode()),
            PartitionCommand::Fence { stamp, producer, epoch } => {
                begin(KIND_FENCE, stamp);
                out.extend_from_slice(&producer.0);
                out.extend_from_slice(&epoch.to_le_bytes());
            }
            PartitionCommand::SetPolicy { stamp, control_index, policy } => {
                begin(KIND_SET_POLICY, stamp);
                out.extend_from_slice(&control_index.to_le_bytes());
                policy.write(&mut out);
            }
            PartitionCommand::Trim { stamp, before, keep_bytes, forget_producers_before } => {
                begin(KIND_TRIM, stamp);
                put_option_u64(&mut out, before.map(|t| t.0));
                put_option_u64(&mut out, *keep_bytes);
                put_option_u64(&mut out, forget_producers_before.map(|t| t.0));
            }
            PartitionCommand::Seal { stamp, control_index } => {
                begin(KIND_SEAL, stamp);
                out.extend_from_slice(&control_index.to_le_bytes());
            }
        }
        Bytes::from(out)
    }

    /// `entry` begins with the prefix.
    pub(super) fn decode(kind: u8, entry: Bytes) -> Result<Self, CommandError> {
        if kind == KIND_APPEND {
            return append::decode(&entry);
        }
        let mut reader = Reader::new(&entry[PREFIX_BYTES..]);
        let stamp = UnixMs(reader.u64()?);
        let command = match kind {
            KIND_FENCE => {
                PartitionCommand::Fence { stamp, producer: ProducerId(reader.array()?), epoch: reader.u32()? }
            }
            KIND_SET_POLICY => PartitionCommand::SetPolicy {
                stamp,
                control_index: reader.u64()?,
                policy: PartitionPolicy::read(&mut reader)?,
            },
            KIND_TRIM => PartitionCommand::Trim {
                stamp,
                before: reader.option_u64()?.map(UnixMs),
                keep_bytes: reader.option_u64()?,
                forget_producers_before: reader.option_u64()?.map(UnixMs),
            },
            KIND_SEAL => PartitionCommand::Seal { stamp, control_index: reader.u64()? },
            KIND_SET_SUBSCRIPTION..=KIND_TRIM_BACKLOG => {
                PartitionCommand::Subscription(SubscriptionCommand::decode(kind, stamp, &mut reader)?)
            }
            _ => return Err(CommandError::Kind { kind }),
        };
        reader.end()?;
        Ok(command)
    }
}
