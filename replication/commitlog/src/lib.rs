//! The ports to a partition's log: append to it, read what is committed. The trait docs are the contract;
//! [`conformance`] checks it, and [`memory`] is its smallest implementation.
#![forbid(unsafe_code)]

mod append;
pub mod conformance;
pub mod memory;
mod read;

pub use append::{Append, AppendError, Appended, Share, Ticket};
pub use read::{LogBounds, ReadCommitted, ReadError, StoredBatch};
