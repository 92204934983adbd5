//! The payload of a normal Raft entry: `[format version][machine][kind]`, then the command.
//!
//! What this build does not know is an error, never skipped: a replica that cannot apply an entry stops.

mod append;
mod partition;
pub(crate) mod rules_codec;
mod settlement_codec;
mod subscription;
pub(crate) mod subscription_codec;

pub use append::{AppendItem, append_batch_at, append_batches, leaf};
pub use partition::{PartitionCommand, PartitionPolicy};
pub use subscription::{LiveDelayed, SettlePart, StartAt, SubscriptionCommand};

pub use crate::control::{ControlChange, ControlCommand};

use bytes::Bytes;

use crate::wire::OutOfBytes;

/// The format this build writes, and the only one it reads.
pub const FORMAT_VERSION: u8 = 1;
/// Bytes before the command: format version, machine, kind.
pub(crate) const PREFIX_BYTES: usize = 3;
const MACHINE_PARTITION: u8 = 0;
const MACHINE_CONTROL: u8 = 1;

/// A command to one of the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To a partition.
    Partition(PartitionCommand),
    /// To the control group.
    Control(ControlCommand),
}

impl Command {
    /// The bytes of the entry, in one piece. Batches are copied once, here.
    pub fn encode(&self) -> Bytes {
        match self {
            Command::Partition(command) => command.encode(),
            Command::Control(command) => command.encode(),
        }
    }

    /// Reads an entry. Batches are slices of `entry`: nothing of them is copied or checked.
    pub fn decode(entry: Bytes) -> Result<Command, CommandError> {
        let &[version, machine, kind] = entry.first_chunk::<PREFIX_BYTES>().ok_or(CommandError::Truncated)?;
        if version != FORMAT_VERSION {
            return Err(CommandError::Version(version));
        }
        match machine {
            MACHINE_PARTITION => PartitionCommand::decode(kind, entry).map(Command::Partition),
            MACHINE_CONTROL => ControlCommand::decode(kind, &entry[PREFIX_BYTES..]).map(Command::Control),
            _ => Err(CommandError::Machine(machine)),
        }
    }
}

impl From<PartitionCommand> for Command {
    fn from(command: PartitionCommand) -> Self {
        Command::Partition(command)
    }
}

impl From<SubscriptionCommand> for Command {
    fn from(command: SubscriptionCommand) -> Self {
        Command::Partition(PartitionCommand::Subscription(command))
    }
}

impl From<ControlCommand> for Command {
    fn from(command: ControlCommand) -> Self {
        Command::Control(command)
    }
}

/// The prefix of a partition's command.
fn partition_prefix(kind: u8) -> [u8; PREFIX_BYTES] {
    [FORMAT_VERSION, MACHINE_PARTITION, kind]
}

/// The prefix of a control command.
pub(crate) fn control_prefix(kind: u8) -> [u8; PREFIX_BYTES] {
    [FORMAT_VERSION, MACHINE_CONTROL, kind]
}

/// Why bytes are not a command of this build. Not retryable: the replica must stop before this entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The entry ends before its fields do, or goes on after them.
    #[error("the entry is cut short or has bytes left over")]
    Truncated,
    /// Written by a newer build.
    #[error("command format {0} is not known to this build")]
    Version(u8),
    /// Neither a partition's nor the control group's.
    #[error("machine {0} is not known to this build")]
    Machine(u8),
    /// A command of a newer feature level.
    #[error("command kind {kind} is not known to this build")]
    Kind {
        /// The kind byte.
        kind: u8,
    },
    /// The fields contradict each other.
    #[error("malformed command: {0}")]
    Malformed(&'static str),
    /// The entry is a command, but not an append.
    #[error("the entry holds no batches")]
    NotAppend,
    /// The entry holds fewer batches.
    #[error("the entry holds {count} batches, batch {position} was asked for")]
    Position {
        /// Asked for, from 0.
        position: u32,
        /// Held.
        count: u32,
    },
}

impl From<OutOfBytes> for CommandError {
    fn from(OutOfBytes: OutOfBytes) -> Self {
        CommandError::Truncated
    }
}

#[cfg(test)]
mod subscription_tests;
#[cfg(test)]
mod tests;
