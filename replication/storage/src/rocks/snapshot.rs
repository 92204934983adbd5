//! A frozen view of RocksDB that keeps its database alive.

use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{ReadOptions, Snapshot};

use super::failure::engine_error;
use super::{RocksEngine, bounded, collect, start};
use crate::engine::{EngineError, EngineSnapshot, Family, KeyValue, Range};

/// A snapshot and the engine it belongs to. Field order matters: the snapshot is released first.
pub(super) struct RocksSnapshot {
    snapshot: Snapshot<'static>,
    engine: Arc<RocksEngine>,
}

impl RocksSnapshot {
    #[allow(unsafe_code)]
    pub(super) fn of(engine: Arc<RocksEngine>) -> Self {
        let snapshot = engine.db.snapshot();
        // SAFETY: the snapshot borrows `engine.db`. The Arc beside it keeps that database alive and at its
        // place on the heap for as long as the snapshot lives, and fields are dropped in declaration order.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self { snapshot, engine }
    }
}

impl EngineSnapshot for RocksSnapshot {
    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        let handle = self.engine.family(family)?;
        collect(self.snapshot.iterator_cf_opt(handle, bounded(range), start(range)), rows, bytes)
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let handle = self.engine.family(family)?;
        let value = self.snapshot.get_cf_opt(handle, key, ReadOptions::default()).map_err(engine_error)?;
        Ok(value.map(Bytes::from))
    }
}
