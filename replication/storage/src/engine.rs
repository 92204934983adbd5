//! The port to a storage engine.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A family of rows: a column family of RocksDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Raft log entries: the messages themselves, in blob files.
    Log,
    /// One small row a batch.
    Index,
    /// The tables of the state machines.
    State,
    /// Votes, purge points, applied positions.
    Meta,
    /// A snapshot on its way in, until it is complete.
    Staging,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 5] = [Family::Log, Family::Index, Family::State, Family::Meta, Family::Staging];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Family::Log => "log",
            Family::Index => "index",
            Family::State => "state",
            Family::Meta => "meta",
            Family::Staging => "staging",
        }
    }
}

/// Keys from `from` (inclusive) to `to` (exclusive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first key.
    pub from: Vec<u8>,
    /// The first key behind.
    pub to: Vec<u8>,
}

impl Range {
    /// Every key that begins with `prefix`. The prefix must not be all 0xff.
    pub fn prefix(prefix: &[u8]) -> Range {
        let mut to = prefix.to_vec();
        while let Some(last) = to.pop() {
            if last < 0xff {
                to.push(last + 1);
                break;
            }
        }
        Range { from: prefix.to_vec(), to }
    }
}

/// A value to write. A framed one is stored as head and body joined, without joining them first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A small row.
    Row(Vec<u8>),
    /// A log entry: its header, then its payload.
    Framed {
        /// What stands in front.
        head: [u8; 24],
        /// What follows, shared with whoever else holds it.
        body: Bytes,
    },
}

impl Value {
    /// Bytes it takes.
    pub fn len(&self) -> usize {
        match self {
            Value::Row(row) => row.len(),
            Value::Framed { head, body } => head.len() + body.len(),
        }
    }

    /// Whether it takes no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write a row.
    Put(Family, Vec<u8>, Value),
    /// Remove a row.
    Delete(Family, Vec<u8>),
    /// Remove every row of the range.
    DeleteRange(Family, Range),
}

/// Changes that are applied all or not at all, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    writes: Vec<Write>,
    bytes: usize,
}

impl WriteSet {
    /// Writes a small row.
    pub fn put(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.push(Write::Put(family, key, Value::Row(value)));
    }

    /// Removes a row.
    pub fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.push(Write::Delete(family, key));
    }

    /// Removes a range of rows.
    pub fn delete_range(&mut self, family: Family, range: Range) {
        self.push(Write::DeleteRange(family, range));
    }

    /// Adds any change.
    pub fn push(&mut self, write: Write) {
        self.bytes += match &write {
            Write::Put(_, key, value) => key.len() + value.len() + 16,
            Write::Delete(_, key) => key.len() + 16,
            Write::DeleteRange(_, range) => range.from.len() + range.to.len() + 16,
        };
        self.writes.push(write);
    }

    /// The changes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Roughly the bytes it will take in the write-ahead log.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A row as read.
pub type KeyValue = (Bytes, Bytes);

/// Why the engine failed. Every failure of a write is final: the node stops, because what is in memory and
/// what is on disk may differ from then on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// What is stored is not what was written. The data folder is condemned.
    #[error("stored data is damaged: {0}")]
    Corruption(String),
    /// One value, or a file that holds nothing but values, is damaged or gone. The other rows can be trusted.
    #[error("a stored value is damaged: {0}")]
    DamagedValue(String),
    /// The disk refused.
    #[error("the disk failed: {0}")]
    Io(String),
    /// No space is left.
    #[error("no space is left on the disk: {0}")]
    NoSpace(String),
    /// The engine was closed.
    #[error("the storage engine is closed")]
    Closed,
}

impl From<EngineError> for std::io::Error {
    fn from(error: EngineError) -> Self {
        let kind = match error {
            EngineError::Corruption(_) | EngineError::DamagedValue(_) => std::io::ErrorKind::InvalidData,
            EngineError::NoSpace(_) => std::io::ErrorKind::StorageFull,
            EngineError::Io(_) | EngineError::Closed => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

/// Ordered rows in families, with atomic writes. Methods block on the disk: call them through
/// [`crate::Disk`] or from the writer, never on a runtime's thread.
pub trait Engine: Send + Sync + 'static {
    /// Applies all changes or none. With `sync` they are on the disk when this returns, and so is all that was
    /// written before.
    fn write(&self, set: &[WriteSet], sync: bool) -> Result<(), EngineError>;

    /// One row.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Rows in key order, at most `rows` of them, and no further once `bytes` are collected (at least one row).
    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError>;

    /// The last row of the range.
    fn last(&self, family: Family, range: &Range) -> Result<Option<KeyValue>, EngineError>;

    /// A view that later writes do not change.
    fn snapshot(self: Arc<Self>) -> Arc<dyn EngineSnapshot>;

    /// Gives disk space of a deleted range back where that is cheap. Only a hint.
    fn reclaim(&self, family: Family, range: &Range) -> Result<(), EngineError>;

    /// Keeps a copy of everything as it is now in `folder`, which must not exist: for somebody to look at what is
    /// damaged. Shares files where it can. An engine without files keeps nothing.
    fn keep_aside(&self, folder: &Path) -> Result<(), EngineError>;

    /// Bytes on disk, all families.
    fn disk_bytes(&self) -> u64;
}

/// A frozen view of an engine.
pub trait EngineSnapshot: Send + Sync {
    /// As [`Engine::scan`].
    fn scan(
        &self,
        family: Family,
        range: &Range,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<KeyValue>, EngineError>;

    /// As [`Engine::get`].
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
}
