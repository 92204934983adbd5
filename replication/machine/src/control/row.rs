//! Rows of the control group: a version byte, then postcard. The key follows from the value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CorruptState, Effect, Row, Table};

/// The format of every row of the control group.
const VERSION: u8 = 1;

/// Something kept as one row.
pub(super) trait Stored: Serialize + DeserializeOwned {
    /// Where it is kept.
    const TABLE: Table;

    /// Its key within the table.
    fn key(&self) -> Vec<u8>;

    /// The effect that writes it.
    fn put(&self) -> Effect {
        // Writing plain data to a vector cannot fail; a row cut short would be refused when restored.
        let value = postcard::to_extend(self, vec![VERSION]).unwrap_or_default();
        Effect::Put(Row { table: Self::TABLE, key: self.key(), value })
    }

    /// The effect that removes it.
    fn delete(&self) -> Effect {
        Effect::Delete { table: Self::TABLE, key: self.key() }
    }

    /// Reads the row, and checks that it stands under its own key.
    fn decode(row: &Row) -> Result<Self, CorruptState> {
        let corrupt = |why| CorruptState::row(Self::TABLE, why);
        let (version, bytes) = row.value.split_first().ok_or(corrupt("empty"))?;
        if *version != VERSION {
            return Err(CorruptState::Version(*version));
        }
        let (value, rest) =
            postcard::take_from_bytes::<Self>(bytes).map_err(|_| corrupt("does not decode"))?;
        if !rest.is_empty() {
            return Err(corrupt("bytes left over"));
        }
        if value.key() != row.key {
            return Err(corrupt("stands under another key"));
        }
        Ok(value)
    }
}

/// Joins names so that no two lists of names give the same key: each is preceded by its length, u16 BE.
pub(super) fn join_key(names: &[&str]) -> Vec<u8> {
    let mut key = Vec::with_capacity(names.iter().map(|n| 2 + n.len()).sum());
    for name in names {
        key.extend_from_slice(&(name.len() as u16).to_be_bytes());
        key.extend_from_slice(name.as_bytes());
    }
    key
}
