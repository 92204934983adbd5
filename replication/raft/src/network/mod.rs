//! The network between the nodes of a region: few connections, many groups.
//!
//! Each pair of nodes has two lanes, each a bidirectional gRPC stream: bulk for entries, urgent for heartbeats
//! and votes, so that a large append never delays them. Calls of all groups share a lane and are coalesced
//! into frames; answers come back by id. Snapshots have a stream of their own.

mod client;
mod dial;
mod lane;
#[cfg(test)]
mod lanes_apart;
mod links;
mod pace;
mod service;
mod snapshot_client;
mod snapshot_service;

pub use client::GroupNetwork;
pub(crate) use client::Standing;
pub use dial::{Credentials, Dial, TcpDial, TlsDial, endpoint};
pub use links::{AddressBook, Links};
pub use pace::Pace;
pub use service::ExchangeStream;
pub use service::{RaftService, Speaker};

/// The version of the protocol between nodes.
pub const PROTOCOL_VERSION: u32 = 1;
