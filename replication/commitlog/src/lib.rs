//! The ports to a partition's log: append to it, read what is committed. The trait docs are the contract.
#![forbid(unsafe_code)]

mod append;
mod read;

pub use append::{Append, AppendError, Appended, Ticket};
pub use read::{LogBounds, ReadCommitted, ReadError, StoredBatch};
