//! The replicated state machine: pure and deterministic. `(state, command) -> reply and effects`.
//!
//! It knows no clock, no randomness, no disk and no network: commands carry the leader's stamp and whatever
//! randomness was drawn for them, and what should be written is returned as [`Effect`]s. Two replicas that
//! apply the same commands hold the same rows, byte for byte.
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
mod met;
#[macro_use]
mod planted;

pub mod command;
pub mod control;
pub mod corrupt;
pub mod effect;
pub mod partition;
mod wire;

pub use command::{Command, CommandError};
pub use control::{ControlMachine, ControlReply};
pub use corrupt::CorruptState;
pub use effect::{At, Effect, IndexRow, Row, Table};
pub use partition::{PartitionMachine, PartitionReply};
#[cfg(any(test, feature = "mutants"))]
pub use planted::{Mutant, with_mutant};
