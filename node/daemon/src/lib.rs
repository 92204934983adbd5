//! The daemon: one node, wired from its rooms.

mod arrival;
pub mod comparison;
pub mod control_plane;
mod entrance;
pub mod folder;
mod formation;
mod intake;
mod keeper;
mod letterbox;
pub mod listen;
pub mod node;
#[cfg(feature = "rocks")]
mod on_disk;
mod probe;
mod rooms;
mod routes;
mod server;
mod services;
pub mod telemetry;
pub mod tls;

pub use node::{Node, NodeError, NodeParts};
