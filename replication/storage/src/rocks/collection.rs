//! When live messages are moved so that the dead ones between them give their space back.
//!
//! A blob file goes by itself once nothing in it is alive. Groups with different retention share files, so
//! without moving anything mixed files would stay for ever. RocksDB moves every live blob of the oldest quarter
//! of the files whenever it compacts, whether or not there is garbage in them: left on, that rewrites a quarter
//! of all messages for every few buffers that fill. So it is on only while enough of the files is garbage. Where
//! that lies evenly, six live bytes are moved for each that is freed when it begins (85 to 15), and nineteen when it
//! ends (95 to 5), however much is stored.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rocksdb::{ColumnFamily, DB, Error};

/// The share of the files, oldest first, that one compaction empties.
pub(super) const AGE_CUTOFF: f64 = 0.25;
/// Percent of the bytes in blob files that must be garbage before live ones are moved.
const BEGIN_PERCENT: u64 = 15;
/// Percent at which moving ends.
const END_PERCENT: u64 = 5;

/// Switches the moving of live messages on and off.
pub(super) struct Collection {
    /// Look after so many bytes: what is garbage changes only with compactions, and these come with writes.
    look_every_bytes: u64,
    unseen_bytes: AtomicU64,
    running: AtomicBool,
}

impl Collection {
    pub(super) fn new(look_every_bytes: usize) -> Self {
        let look_every_bytes = look_every_bytes as u64;
        Self { look_every_bytes, unseen_bytes: AtomicU64::new(0), running: AtomicBool::new(false) }
    }

    /// So many bytes were written.
    pub(super) fn wrote(&self, bytes: usize, db: &DB, log: &ColumnFamily) {
        let unseen = self.unseen_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if unseen < self.look_every_bytes {
            return;
        }
        self.unseen_bytes.store(0, Ordering::Relaxed);
        self.look(db, log);
    }

    /// Compares what is garbage with what there is. What was written is written all the same if that fails.
    pub(super) fn look(&self, db: &DB, log: &ColumnFamily) {
        if let Err(error) = self.compare(db, log) {
            tracing::warn!(%error, "the space of deleted messages may come back later: collecting was not switched");
        }
    }

    fn compare(&self, db: &DB, log: &ColumnFamily) -> Result<(), Error> {
        let property = |name| Ok(db.property_int_value_cf(log, name)?.unwrap_or(0));
        let stored: u64 = property("rocksdb.live-blob-file-size")?;
        let garbage: u64 = property("rocksdb.live-blob-file-garbage-size")?;
        let running = self.running.load(Ordering::Relaxed);
        let percent = if running { END_PERCENT } else { BEGIN_PERCENT };
        let wanted = garbage * 100 > stored * percent;
        if wanted != running {
            tracing::debug!(stored, garbage, wanted, "moving live messages out of the way of garbage");
            db.set_options_cf(
                log,
                &[("enable_blob_garbage_collection", if wanted { "true" } else { "false" })],
            )?;
            self.running.store(wanted, Ordering::Relaxed);
        }
        Ok(())
    }
}
