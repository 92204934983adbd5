//! Raft: the one room that knows openraft.
//!
//! A [`Group`] is one replica of one Raft group, of the control group or of a partition: its log store and
//! machine store lie on the shared engine, its messages travel over the multiplexed [`network`]. The
//! [`Registry`] holds the groups of a node.

pub mod alone;
pub mod clock_book;
pub mod digest;
pub mod group;
pub mod log_store;
pub mod machine_store;
mod metronome;
pub mod network;
mod ports;
pub mod proposer;
mod quiet;
pub mod registry;
pub mod runtime;
pub mod signs;
pub mod snapshot;
mod succession;
pub mod timing;
pub mod types;
pub mod view;
mod vigil;
pub mod wire;

pub use clock_book::{ClockBook, DiskState};
pub use digest::StateDigest;
pub use group::{Group, GroupIdentity, GroupParts};
pub use metronome::Metronome;
pub use proposer::ProposeError;
pub use registry::Registry;
pub use signs::Signs;
pub use timing::GroupConfig;
pub use types::{Reply, TypeConfig};
pub use view::{Applied, GroupView};
pub use vigil::Vigil;
