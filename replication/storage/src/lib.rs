//! Storage: the one room that knows RocksDB.
//!
//! [`Engine`] is the port: ordered families of rows, atomic writes, snapshots. Below it stands RocksDB or, for
//! tests and simulation, [`MemoryEngine`], which forgets what was not synced. Above it the [`Writer`] turns the
//! writes of all groups of a node into few synced ones, and [`keys`] says where everything lies.

pub mod disk;
pub mod engine;
pub mod keys;
pub mod memory;
#[cfg(feature = "rocks")]
pub mod rocks;
pub mod writer;

pub use disk::Disk;
pub use engine::{Engine, EngineError, EngineSnapshot, Family, Range, Value, Write, WriteSet};
pub use memory::MemoryEngine;
#[cfg(feature = "rocks")]
pub use rocks::RocksEngine;
pub use writer::{Durability, Writer, WriterHandle};
