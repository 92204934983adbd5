//! A simulated disk: an engine in memory whose writes are traced, and which outlives the node that uses it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::engine::KeyValue;
use meridian_storage::{
    Engine, EngineError, EngineSnapshot, Family, MemoryEngine, Range, Value, Write, WriteSet,
};

use crate::trace::{Event, Trace};

/// An engine that tells the trace what it writes.
pub(crate) struct TracedEngine {
    pub(crate) node: Arc<str>,
    pub(crate) engine: Arc<MemoryEngine>,
    pub(crate) trace: Arc<Trace>,
}

/// A write in a few bytes: which row, how long, and a checksum of its value.
fn describe(write: &Write, out: &mut Vec<u8>) {
    let (tag, family, key, value_crc) = match write {
        Write::Put(family, key, Value::Row(row)) => (b'p', family, key, crc32c::crc32c(row)),
        Write::Put(family, key, Value::Framed { head, body }) => {
            (b'f', family, key, crc32c::crc32c_append(crc32c::crc32c(head), body))
        }
        Write::Delete(family, key) => (b'd', family, key, 0),
        Write::DeleteRange(family, range) => (b'r', family, &range.from, crc32c::crc32c(&range.to)),
    };
    out.push(b' ');
    out.push(tag);
    out.extend_from_slice(family.name().as_bytes());
    for byte in key {
        out.extend_from_slice(format!("{byte:02x}").as_bytes());
    }
    out.extend_from_slice(format!("={value_crc:08x}").as_bytes());
}

impl Engine for TracedEngine {
    fn write(&self, sets: &[WriteSet], sync: bool) -> Result<(), EngineError> {
        let mut told = format!("{} sets, sync {sync}", sets.len()).into_bytes();
        sets.iter().flat_map(WriteSet::writes).for_each(|write| describe(write, &mut told));
        self.trace.record(Event::Engine, &self.node, &told);
        self.engine.write(sets, sync)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.engine.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        self.engine.scan(family, range, rows, bytes)
    }

    fn last(&self, family: Family, range: &Range) -> Result<Option<KeyValue>, EngineError> {
        self.engine.last(family, range)
    }

    fn snapshot(self: Arc<Self>) -> Arc<dyn EngineSnapshot> {
        Arc::clone(&self.engine).snapshot()
    }

    fn reclaim(&self, family: Family, range: &Range) -> Result<(), EngineError> {
        self.engine.reclaim(family, range)
    }

    fn keep_aside(&self, folder: &Path) -> Result<(), EngineError> {
        self.engine.keep_aside(folder)
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}
