//! The append entry: a table of fixed rows in front, so that one batch is found without reading the others.
//!
//! After the prefix, little-endian: stamp u64, number of batches u32, then for each batch a row of
//! end u32 (from the first batch's first byte), leaf 32 bytes, opened-at u64; then the batches, verbatim.

use bytes::Bytes;
use meridian_model::UnixMs;

use super::{CommandError, PREFIX_BYTES, PartitionCommand, partition_prefix};
use crate::wire::Reader;

pub(super) const KIND_APPEND: u8 = 1;
const ROW_BYTES: usize = 4 + 32 + 8;
const TABLE_AT: usize = PREFIX_BYTES + 8 + 4;

/// The leaf of a batch in its log's hash chain: BLAKE3 of the batch's bytes, computed before proposing.
pub fn leaf(batch: &[u8]) -> [u8; 32] {
    *blake3::hash(batch).as_bytes()
}

/// One producer batch on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendItem {
    /// The whole batch, verbatim.
    pub batch: Bytes,
    /// [`leaf`] of the batch.
    pub leaf: [u8; 32],
    /// When the producer was opened, by the token that opening returned. Matters only at sequence 0.
    pub opened_at: UnixMs,
}

impl AppendItem {
    /// An item with its leaf computed: one pass of BLAKE3 over the batch.
    pub fn new(batch: Bytes, opened_at: UnixMs) -> Self {
        let leaf = leaf(&batch);
        Self { batch, leaf, opened_at }
    }
}

/// Encodes an append with exactly one allocation.
pub(super) fn encode(stamp: UnixMs, items: &[AppendItem]) -> Bytes {
    let payload: usize = items.iter().map(|i| i.batch.len()).sum();
    let total = TABLE_AT + items.len() * ROW_BYTES + payload;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&partition_prefix(KIND_APPEND));
    out.extend_from_slice(&stamp.0.to_le_bytes());
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    let mut end = 0u32;
    for item in items {
        end += item.batch.len() as u32;
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&item.leaf);
        out.extend_from_slice(&item.opened_at.0.to_le_bytes());
    }
    for item in items {
        out.extend_from_slice(&item.batch);
    }
    debug_assert_eq!(out.len(), total);
    Bytes::from(out)
}

/// Reads an append; `entry` begins with the prefix.
pub(super) fn decode(entry: &Bytes) -> Result<PartitionCommand, CommandError> {
    let table = Table::of(entry)?;
    let items = (0..table.count).map(|position| table.item(position)).collect::<Result<Vec<_>, _>>()?;
    let held = items.iter().map(|i| i.batch.len()).sum::<usize>();
    if held != entry.len() - table.batches_at {
        return Err(CommandError::Malformed("batches do not fill the entry"));
    }
    Ok(PartitionCommand::Append { stamp: table.stamp, items })
}

/// Batch number `position` of an encoded append: a slice of `entry`, found without reading the others.
pub fn append_batch_at(entry: &Bytes, position: u32) -> Result<Bytes, CommandError> {
    let table = Table::of(entry)?;
    if position >= table.count {
        return Err(CommandError::Position { position, count: table.count });
    }
    table.item(position).map(|item| item.batch)
}

/// Every batch of an encoded append, in order: slices of `entry`.
pub fn append_batches(entry: &Bytes) -> Result<Vec<Bytes>, CommandError> {
    match decode(entry)? {
        PartitionCommand::Append { items, .. } => Ok(items.into_iter().map(|i| i.batch).collect()),
        _ => Err(CommandError::NotAppend),
    }
}

/// The front of an append whose rows are known to lie within the entry.
struct Table<'a> {
    entry: &'a Bytes,
    stamp: UnixMs,
    count: u32,
    batches_at: usize,
}

impl<'a> Table<'a> {
    fn of(entry: &'a Bytes) -> Result<Self, CommandError> {
        let mut reader = Reader::new(entry);
        if reader.array::<PREFIX_BYTES>()? != partition_prefix(KIND_APPEND) {
            return Err(CommandError::NotAppend);
        }
        let stamp = UnixMs(reader.u64()?);
        let count = reader.u32()?;
        let batches_at = (count as usize).checked_mul(ROW_BYTES).and_then(|rows| rows.checked_add(TABLE_AT));
        match batches_at {
            Some(batches_at) if batches_at <= entry.len() => Ok(Self { entry, stamp, count, batches_at }),
            _ => Err(CommandError::Truncated),
        }
    }

    /// `position` must be below the count.
    fn item(&self, position: u32) -> Result<AppendItem, CommandError> {
        let start = match position {
            0 => 0,
            _ => self.row(position - 1).u32()? as usize,
        };
        let mut row = self.row(position);
        let end = row.u32()? as usize;
        let (leaf, opened_at) = (row.array()?, UnixMs(row.u64()?));
        if start > end || end > self.entry.len() - self.batches_at {
            return Err(CommandError::Malformed("a batch lies outside the entry"));
        }
        let batch = self.entry.slice(self.batches_at + start..self.batches_at + end);
        Ok(AppendItem { batch, leaf, opened_at })
    }

    fn row(&self, position: u32) -> Reader<'a> {
        let at = TABLE_AT + position as usize * ROW_BYTES;
        Reader::new(&self.entry[at..at + ROW_BYTES])
    }
}
