//! Fuzzing: targets for the bytes of strangers, other nodes and the disk that the crates below the daemon decode.
//!
//! They are batches, requests, what nodes say to each other, log entries, commands, keys and rows, checkpoints, what
//! Raft keeps of a group, and the file of `serve`. Absent are the storage room's witness of its last sync, and what
//! the daemon and the clients, which this crate may not know, read themselves: the frames of a connection, the small
//! files and facts of a data folder, answers to clients. The control group's reply within an answer to a node is
//! looked at only where a checkpoint remembers it.
//!
//! A target is a function of bytes that says what must hold of them, and panics where it does not. Its seeds are
//! made by our own encoders when a run begins, so they are always of the format of today. `cargo xtask fuzz` gives
//! all targets a fixed number of inputs, or one target an hour; the tests of this crate give each a few thousand,
//! without looking where they lead.

mod frames;
mod heal;
pub mod memory;
mod story;
pub mod targets;

pub use targets::{Met, TARGETS, Target};
