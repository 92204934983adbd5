//! Fuzzing: one target for each decoder that takes bytes from strangers, from other nodes or from the disk.
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
