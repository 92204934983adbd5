//! `index`: group, base offset -> one row a batch.

use meridian_machine::IndexRow;
use meridian_model::{GroupId, Offset, UnixMs};

use super::{Malformed, u64_at};
use crate::engine::Range;

const ROW_BYTES: usize = 60;

/// The key of the batch that begins at `base`.
pub fn encode(group: GroupId, base: Offset) -> Vec<u8> {
    [group.0.to_be_bytes(), base.0.to_be_bytes()].concat()
}

/// Back from a key.
pub fn decode(key: &[u8]) -> Result<(GroupId, Offset), Malformed> {
    match (u64_at(key, 0), u64_at(key, 8), key.len()) {
        (Some(group), Some(base), 16) => Ok((GroupId(group), Offset(base))),
        _ => Err(Malformed("index")),
    }
}

/// Batches that begin in `from..to`.
pub fn range(group: GroupId, from: Offset, to: Offset) -> Range {
    Range { from: encode(group, from), to: encode(group, to) }
}

/// All batches of a group.
pub fn all(group: GroupId) -> Range {
    Range::prefix(&group.0.to_be_bytes())
}

/// The row as stored.
pub fn encode_row(row: &IndexRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(ROW_BYTES);
    out.extend_from_slice(&row.index.to_be_bytes());
    out.extend_from_slice(&row.stamp.0.to_be_bytes());
    out.extend_from_slice(&row.position.to_be_bytes());
    out.extend_from_slice(&row.count.to_be_bytes());
    out.extend_from_slice(&row.bytes.to_be_bytes());
    out.extend_from_slice(&row.head);
    out
}

/// Back from a stored row.
pub fn decode_row(bytes: &[u8]) -> Result<IndexRow, Malformed> {
    const BAD: Malformed = Malformed("index");
    if bytes.len() != ROW_BYTES {
        return Err(BAD);
    }
    let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    Ok(IndexRow {
        index: u64_at(bytes, 0).ok_or(BAD)?,
        stamp: UnixMs(u64_at(bytes, 8).ok_or(BAD)?),
        position: u32_at(16),
        count: u32_at(20),
        bytes: u32_at(24),
        head: bytes[28..60].try_into().map_err(|_| BAD)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip_and_keep_order(a: (u64, u64), b: (u64, u64)) {
            let (ka, kb) = (encode(GroupId(a.0), Offset(a.1)), encode(GroupId(b.0), Offset(b.1)));
            prop_assert_eq!(decode(&ka), Ok((GroupId(a.0), Offset(a.1))));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
        }

        #[test]
        fn rows_round_trip(index: u64, stamp: u64, position: u32, count: u32, bytes: u32, head: [u8; 32]) {
            let row = IndexRow { index, stamp: UnixMs(stamp), position, count, bytes, head };
            prop_assert_eq!(decode_row(&encode_row(&row)), Ok(row));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes);
            prop_assert_eq!(decode_row(&bytes).is_ok(), bytes.len() == ROW_BYTES);
        }
    }
}
