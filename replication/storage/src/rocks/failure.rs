//! What RocksDB's errors mean to us.

use crate::engine::EngineError;

pub(super) fn engine_error(error: rocksdb::Error) -> EngineError {
    let text = error.to_string();
    match error.kind() {
        rocksdb::ErrorKind::ShutdownInProgress => EngineError::Closed,
        rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::IOError if speaks_of_values(&text) => {
            EngineError::DamagedValue(text)
        }
        rocksdb::ErrorKind::Corruption | rocksdb::ErrorKind::Incomplete => EngineError::Corruption(text),
        _ if text.contains("No space left") => EngineError::NoSpace(text),
        // A file that the manifest names and that is not there was lost, not "not found".
        _ if text.contains("No such file") || text.contains("Corruption") => EngineError::Corruption(text),
        _ => EngineError::Io(text),
    }
}

/// A database that does not open is damaged as a whole, whatever file it was.
pub(super) fn whole(error: EngineError) -> EngineError {
    match error {
        EngineError::DamagedValue(why) => EngineError::Corruption(why),
        other => other,
    }
}

/// Whether RocksDB complains of a blob file and of nothing else. It has no code for that: each of its messages
/// about one names a blob, or the file. Any other file that is named makes it damage of the whole.
fn speaks_of_values(text: &str) -> bool {
    const ELSEWHERE: [&str; 5] = [".sst", "MANIFEST", ".log", "CURRENT", "blob index"];
    let lost = text.contains("Corruption") || text.contains("No such file");
    let blob = text.contains(".blob") || text.contains(" blob") || text.contains("Blob ");
    lost && blob && !ELSEWHERE.iter().any(|name| text.contains(name))
}
