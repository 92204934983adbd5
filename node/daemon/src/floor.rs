//! The storage engine as `meridian bench floor` measures it: set up as a node sets it up, without a node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_bench::Store;
use meridian_model::GroupId;
use meridian_storage::rocks::{Closed, RocksOptions};
use meridian_storage::{Engine, Family, RocksEngine, Value, Write, WriteSet, keys};

/// As many groups as a small topic has partitions.
const GROUPS: u64 = 6;
const CLOSE_MAX: Duration = Duration::from_secs(30);

struct EngineStore {
    engine: Option<Arc<RocksEngine>>,
    closed: Option<Closed>,
}

/// Opens an engine with the options that `serve` has by default.
pub(crate) fn open_store(folder: &Path) -> Result<Box<dyn Store>, String> {
    let engine = RocksEngine::open(folder, &RocksOptions::default()).map_err(|error| error.to_string())?;
    let closed = engine.closed();
    Ok(Box::new(EngineStore { engine: Some(Arc::new(engine)), closed }))
}

impl Store for EngineStore {
    fn write_synced(&self, number: u64, body: Bytes) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Err("the engine is closed".into()) };
        let key = keys::log::encode(GroupId(number % GROUPS), number / GROUPS);
        let mut set = WriteSet::default();
        set.push(Write::Put(Family::Log, key, Value::Framed { head: [0; 24], body }));
        engine.write(&[set], true).map_err(|error| error.to_string())
    }
}

impl Drop for EngineStore {
    fn drop(&mut self) {
        self.engine = None;
        // RocksDB's threads must be gone before the folder is deleted.
        if self.closed.take().is_some_and(|closed| !closed.wait(CLOSE_MAX)) {
            tracing::warn!("the storage engine takes long to close");
        }
    }
}
