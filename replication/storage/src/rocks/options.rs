//! How RocksDB is set up, and why.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options,
    WriteBufferManager,
};

use super::collection;
use crate::engine::Family;

const MIB: usize = 1024 * 1024;

/// Settings of the database. Everything that is not here is fixed, with its reason, below.
pub struct RocksOptions {
    /// Bytes of the block cache.
    pub cache_bytes: usize,
    /// Bytes of all memtables together.
    pub memtable_bytes: usize,
    /// Never sync. Only for tests that must see data lost.
    pub unsafe_no_sync: bool,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 * MIB, memtable_bytes: 192 * MIB, unsafe_no_sync: false }
    }
}

impl RocksOptions {
    /// Bytes that the log family collects in memory before they become a blob file.
    pub(super) fn log_buffer_bytes(&self) -> usize {
        (self.memtable_bytes / 6).clamp(MIB, 64 * MIB)
    }

    pub(super) fn database(&self, direct: bool) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // The default, point-in-time, drops everything behind one damaged record and says OK. This one
        // forgives only an unfinished last record; the witness watches over that.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_paranoid_checks(true);
        // A quiet family must not pin old write-ahead logs: three buffers of the log, then the small families
        // are flushed too. Files that live shortly also reuse the page cache's pages while these are warm.
        options.set_max_total_wal_size(3 * self.log_buffer_bytes() as u64);
        let cache = Cache::new_lru_cache(self.cache_bytes);
        options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
            self.memtable_bytes,
            true,
            cache,
        ));
        options.set_max_background_jobs(2);
        // Background writes go to the disk in steps, so that a synced write never waits for a mountain.
        options.set_bytes_per_sync(MIB as u64);
        // What is flushed was in memory a moment ago and is read again, if at all, much later: copying it into
        // the page cache cost a fifth of a node's CPU, and pushed out what readers need.
        options.set_use_direct_io_for_flush_and_compaction(direct);
        options.set_compaction_readahead_size(2 * MIB);
        options.set_ratelimiter(200 * MIB as i64, 100_000, 10);
        options.set_keep_log_file_num(4);
        options.set_max_open_files(512);
        options.set_skip_stats_update_on_db_open(true);
        options
    }

    pub(super) fn column_family(&self, family: Family) -> ColumnFamilyDescriptor {
        let mut options = Options::default();
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(self.cache_bytes / 4));
        table.set_format_version(6);
        table.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&table);
        match family {
            Family::Log => {
                options.set_write_buffer_size(self.log_buffer_bytes());
                options.set_max_write_buffer_number(4);
                options.set_compression_type(DBCompressionType::None);
                // Messages lie in blob files, written once. Tables hold only keys and references, so that
                // compactions cost little and may come early: they find out what is garbage. What moves live
                // messages out of its way is off until there is enough: see `collection.rs`.
                options.set_enable_blob_files(true);
                options.set_min_blob_size(512);
                options.set_blob_file_size(self.log_buffer_bytes() as u64);
                options.set_blob_compression_type(DBCompressionType::None);
                options.set_enable_blob_gc(false);
                options.set_blob_gc_age_cutoff(collection::AGE_CUTOFF);
                options.set_blob_compaction_readahead_size(2 * MIB as u64);
                // While a long collection runs, small tables pile up in level 0; that must not stop writes.
                options.set_level_zero_slowdown_writes_trigger(200);
                options.set_level_zero_stop_writes_trigger(400);
            }
            Family::Index | Family::State | Family::Staging => {
                options.set_write_buffer_size(16 * MIB);
                options.set_compression_type(DBCompressionType::Lz4);
            }
            Family::Meta => {
                options.set_write_buffer_size(4 * MIB);
                options.set_compression_type(DBCompressionType::None);
            }
        }
        ColumnFamilyDescriptor::new(family.name(), options)
    }
}
