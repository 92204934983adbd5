//! The replicated state machine: pure and deterministic. `(state, command) -> reply and effects`.
//!
//! It knows no clock, no randomness, no disk and no network: commands carry the leader's stamp and whatever
//! randomness was drawn for them, and what should be written is returned as [`Effect`]s. Two replicas that
//! apply the same commands hold the same rows, byte for byte.
#![forbid(unsafe_code)]

pub mod command;
pub mod control;
pub mod effect;
pub mod partition;

pub use command::{Command, CommandError};
pub use effect::{At, Effect, IndexRow, Row, Table};
