//! The engine on RocksDB: one instance for all groups of a node.

mod aside;
mod collection;
mod failure;
mod options;
mod snapshot;
mod witness;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use crate::engine::{Engine, EngineError, EngineSnapshot, Family, KeyValue, Range, Value, Write, WriteSet};
use collection::Collection;
use failure::{engine_error, whole};
use witness::Witness;

pub use options::RocksOptions;

/// RocksDB with a witness of what was synced beside it.
pub struct RocksEngine {
    db: DB,
    folder: PathBuf,
    witness: Mutex<Witness>,
    sync: bool,
    scratch: Mutex<Vec<u8>>,
    collection: Collection,
    /// Fields drop in order: this one tells whoever waits that the database above is closed.
    open: (Sender<Infallible>, Mutex<Option<Closed>>),
}

/// Becomes true once a database is closed. A process must not end before: RocksDB's threads outlive `main`
/// otherwise, find its global locks destroyed, and abort.
pub struct Closed(Receiver<Infallible>);

impl Closed {
    /// Waits until the last holder of the engine let it go and RocksDB is closed. False if that took too long.
    pub fn wait(&self, within: Duration) -> bool {
        matches!(self.0.recv_timeout(within), Err(RecvTimeoutError::Disconnected))
    }
}

impl RocksEngine {
    /// Opens or creates the database in `folder`.
    ///
    /// Fails with [`EngineError::Corruption`] where RocksDB finds damage, and where it finds none but has fewer
    /// writes than the witness saw synced: a flipped length bit in the last WAL block makes RocksDB drop synced
    /// rows without an error.
    pub fn open(folder: &Path, options: &RocksOptions) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(|error| EngineError::Io(error.to_string()))?;
        let db = open_database(&folder.join("db"), options).map_err(engine_error).map_err(whole)?;
        let witness = Witness::open(&folder.join("witness"))?;
        let recovered = db.latest_sequence_number();
        if recovered < witness.synced() {
            return Err(EngineError::Corruption(format!(
                "the write-ahead log was recovered to write {recovered}, but write {} had been synced",
                witness.synced()
            )));
        }
        let (witness, scratch) = (Mutex::new(witness), Mutex::new(Vec::new()));
        let (sync, collection) = (!options.unsafe_no_sync, Collection::new(options.log_buffer_bytes()));
        let (open, closed) = std::sync::mpsc::channel();
        let open = (open, Mutex::new(Some(Closed(closed))));
        Ok(Self { db, folder: folder.to_path_buf(), witness, sync, scratch, collection, open })
    }

    fn family(&self, family: Family) -> Result<&ColumnFamily, EngineError> {
        let missing = || EngineError::Corruption(format!("column family {} is missing", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }

    fn fill(&self, batch: &mut WriteBatch, write: &Write) -> Result<(), EngineError> {
        match write {
            Write::Put(family, key, Value::Row(row)) => batch.put_cf(self.family(*family)?, key, row),
            Write::Put(family, key, Value::Framed { head, body }) => {
                let mut scratch = self.scratch.lock();
                scratch.clear();
                scratch.extend_from_slice(head);
                scratch.extend_from_slice(body);
                batch.put_cf(self.family(*family)?, key, scratch.as_slice());
            }
            Write::Delete(family, key) => batch.delete_cf(self.family(*family)?, key),
            Write::DeleteRange(family, range) => {
                batch.delete_range_cf(self.family(*family)?, &range.from, &range.to);
            }
        }
        Ok(())
    }

    /// Everything written so far is on disk, and the witness says so.
    pub fn close(&self) -> Result<(), EngineError> {
        self.db.flush_wal(true).map_err(engine_error)?;
        self.witness.lock().record(self.db.latest_sequence_number(), true)
    }

    /// What tells when this engine is gone. Only the first caller gets it.
    pub fn closed(&self) -> Option<Closed> {
        self.open.1.lock().take()
    }

    /// What RocksDB says about a property of the whole database, such as `rocksdb.live-blob-file-size`.
    pub fn property(&self, family: Family, name: &str) -> Option<u64> {
        let handle = self.family(family).ok()?;
        self.db.property_int_value_cf(handle, name).ok().flatten()
    }
}

impl Drop for RocksEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the database was not closed cleanly; it recovers at the next start");
        }
    }
}

impl Engine for RocksEngine {
    fn write(&self, sets: &[WriteSet], sync: bool) -> Result<(), EngineError> {
        let bytes: usize = sets.iter().map(WriteSet::bytes).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + 64);
        for write in sets.iter().flat_map(WriteSet::writes) {
            self.fill(&mut batch, write)?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync && self.sync);
        self.db.write_opt(batch, &options).map_err(engine_error)?;
        if sync && self.sync {
            self.witness.lock().record(self.db.latest_sequence_number(), false)?;
        }
        self.collection.wrote(bytes, &self.db, self.family(Family::Log)?);
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.db.get_cf(self.family(family)?, key).map_err(engine_error)?;
        Ok(value.map(Bytes::from))
    }

    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        let options = bounded(range);
        collect(self.db.iterator_cf_opt(self.family(family)?, options, start(range)), rows, bytes)
    }

    fn last(&self, family: Family, range: &Range) -> Result<Option<KeyValue>, EngineError> {
        let mode = IteratorMode::From(&range.to, Direction::Reverse);
        let rows =
            collect(self.db.iterator_cf_opt(self.family(family)?, bounded(range), mode), 1, usize::MAX)?;
        Ok(rows.into_iter().next())
    }

    fn snapshot(self: Arc<Self>) -> Arc<dyn EngineSnapshot> {
        Arc::new(snapshot::RocksSnapshot::of(self))
    }

    fn reclaim(&self, family: Family, range: &Range) -> Result<(), EngineError> {
        let handle = self.family(family)?;
        self.db.delete_file_in_range_cf(handle, &range.from, &range.to).map_err(engine_error)?;
        self.collection.look(&self.db, self.family(Family::Log)?);
        Ok(())
    }

    fn keep_aside(&self, folder: &Path) -> Result<(), EngineError> {
        aside::keep(&self.db, &self.folder.join("db"), folder)
    }

    fn disk_bytes(&self) -> u64 {
        let Ok(entries) = std::fs::read_dir(self.folder.join("db")) else { return 0 };
        entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
    }
}

/// Opens the database, past the page cache where the file system can do that.
fn open_database(folder: &Path, options: &RocksOptions) -> Result<DB, rocksdb::Error> {
    let open = |direct| {
        let families = Family::ALL.map(|family| options.column_family(family));
        DB::open_cf_descriptors(&options.database(direct), folder, families)
    };
    // RocksDB tries direct I/O on a file of the database, so there must be one.
    if !folder.join("CURRENT").exists() {
        drop(open(false)?);
    }
    match open(true) {
        Err(error) if error.kind() == rocksdb::ErrorKind::InvalidArgument => {
            tracing::info!(%error, "flushes and compactions go through the page cache");
            open(false)
        }
        opened => opened,
    }
}

fn start(range: &Range) -> IteratorMode<'_> {
    IteratorMode::From(&range.from, Direction::Forward)
}

fn bounded(range: &Range) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(range.from.clone());
    options.set_iterate_upper_bound(range.to.clone());
    options.set_readahead_size(256 * 1024);
    options
}

type Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>;

fn collect(
    items: impl Iterator<Item = Item>,
    rows: usize,
    bytes: usize,
) -> Result<Vec<KeyValue>, EngineError> {
    let mut found = Vec::new();
    let mut total = 0;
    for item in items.take(rows) {
        let (key, value) = item.map_err(engine_error)?;
        total += key.len() + value.len();
        found.push((Bytes::from(key), Bytes::from(value)));
        if total >= bytes {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod collection_tests;
#[cfg(test)]
mod tests;
