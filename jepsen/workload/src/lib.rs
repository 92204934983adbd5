//! What clients do to a region while faults come and go, and how they write down what they did and saw.
//!
//! The same clients work over real sockets (`jepsen/harness`) and in a simulation (`jepsen/sim`): a [`Region`]
//! connects them, tokio's clock paces them, a seed makes their choices. They use no other clock, no thread and no
//! map without an order, so that where the runtime is simulated all they do follows from the seed.
//!
//! Deliberately absent: faults, deadlines, and when to begin and to stop. Those are the rooms' own.

mod administer;
mod bounds;
mod chance;
mod follow;
mod once;
pub mod oracle;
mod pages;
pub mod queue;
mod region;
mod scan;
mod scene;
mod sdk_producer;
mod tally;
pub mod wait;
mod wire_producer;

pub use administer::administer;
pub use bounds::{Whose, log, probe};
pub use chance::Chance;
pub use follow::follow;
pub use pages::{Pager, read_pages};
pub use region::Region;
pub use scan::{Scanned, agree, scan};
pub use scene::{Manner, Scene};
pub use sdk_producer::produce as produce_by_sdk;
pub use tally::{Counts, Tally};
pub use wire_producer::produce as produce_by_wire;
