//! The daemon: one node, wired from its rooms.

pub mod config;
pub mod control_plane;
pub mod folder;
mod formation;
mod keeper;
pub mod listen;
pub mod node;
mod rooms;
mod routes;
mod services;
pub mod telemetry;

pub use config::Config;
pub use node::{Node, NodeError, NodeParts};
