//! Dispatch: on the node that leads a partition, the dispatchers of its subscriptions at work.
//!
//! [`Dispatcher`](meridian_deliver::subscription::Dispatcher) decides and touches nothing; this room reads the log for
//! it, commits what it settles, and speaks with the consumers, wherever their streams end. One task serves one
//! partition: each batch is read and decoded once for all of its subscriptions.
#![forbid(unsafe_code)]

mod attached;
mod frames;
mod pages;
mod partition;
mod refused;
mod room;
mod served;
mod speech;
mod steady;
mod work;

pub use attached::{Attach, Attached, Speaker};
pub use pages::PageBudget;
pub use room::{Letterbox, Room};
