//! A copy of a database for somebody to look at, while the database goes on.

use std::path::Path;

use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use super::failure::engine_error;
use crate::engine::EngineError;

/// Keeps `db`, whose files lie in `files`, in the new folder `to`.
pub(super) fn keep(db: &DB, files: &Path, to: &Path) -> Result<(), EngineError> {
    let checkpoint = Checkpoint::new(db).map_err(engine_error)?;
    checkpoint.create_checkpoint(to).or_else(|error| {
        // A file is gone, or too damaged to be read.
        tracing::warn!(%error, "no clean copy of the database can be kept; its files are kept as they lie");
        link_files(files, to).map_err(|error| EngineError::Io(error.to_string()))
    })
}

/// Keeps every file of one folder in another. Tables and blobs never change, so both folders can share them.
fn link_files(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let fixed = source.extension().is_some_and(|kind| kind == "sst" || kind == "blob");
        let kept = match fixed {
            true => std::fs::hard_link(&source, &target),
            false => std::fs::copy(&source, &target).map(drop),
        };
        // RocksDB may have removed a file that it needs no longer.
        kept.or_else(|error| if source.exists() { Err(error) } else { Ok(()) })?;
    }
    std::fs::File::open(to)?.sync_all()
}
