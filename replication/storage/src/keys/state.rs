//! `state`: group, table tag, key -> a row of a state machine.

use meridian_machine::Table;
use meridian_model::GroupId;

use super::{Malformed, u64_at};
use crate::engine::Range;

/// The key of one row.
pub fn encode(group: GroupId, table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + key.len());
    out.extend_from_slice(&group.0.to_be_bytes());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}

/// Back from a key.
pub fn decode(key: &[u8]) -> Result<(GroupId, Table, &[u8]), Malformed> {
    let group = u64_at(key, 0).ok_or(Malformed("state"))?;
    let table = key.get(8).copied().and_then(Table::from_tag).ok_or(Malformed("state"))?;
    Ok((GroupId(group), table, &key[9..]))
}

/// All rows of a group.
pub fn all(group: GroupId) -> Range {
    Range::prefix(&group.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_table() -> impl Strategy<Value = Table> {
        prop::sample::select(Table::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn round_trip_and_order(
            a in (any::<u64>(), any_table(), prop::collection::vec(any::<u8>(), 0..20)),
            b in (any::<u64>(), any_table(), prop::collection::vec(any::<u8>(), 0..20)),
        ) {
            let (ka, kb) = (encode(GroupId(a.0), a.1, &a.2), encode(GroupId(b.0), b.1, &b.2));
            prop_assert_eq!(decode(&ka), Ok((GroupId(a.0), a.1, &a.2[..])));
            prop_assert_eq!(ka.cmp(&kb), (a.0, a.1 as u8, &a.2).cmp(&(b.0, b.1 as u8, &b.2)));
        }

        #[test]
        fn any_bytes_decode_without_panic(key in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&key);
        }
    }
}
