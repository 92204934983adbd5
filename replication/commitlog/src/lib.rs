//! The ports to a partition: append to its log, read what is committed, settle messages of subscriptions. The trait
//! docs are the contract; [`conformance`] checks it, and [`memory`] is its smallest implementation.
#![forbid(unsafe_code)]

mod append;
pub mod conformance;
mod cursors;
pub mod memory;
mod read;

pub use append::{Append, AppendError, Appended, Share, Ticket};
pub use cursors::{
    CursorBound, CursorError, CursorRefusal, Cursors, DelayedPage, Glance, Mandate, SeekTo, Settled,
    Standing, Tail,
};
pub use read::{LogBounds, ReadCommitted, ReadError, StoredBatch};
