//! `log`: group, Raft index -> entry.

use meridian_model::GroupId;

use super::{Malformed, u64_at};
use crate::engine::Range;

/// The key of one entry.
pub fn encode(group: GroupId, index: u64) -> Vec<u8> {
    [group.0.to_be_bytes(), index.to_be_bytes()].concat()
}

/// Back from a key.
pub fn decode(key: &[u8]) -> Result<(GroupId, u64), Malformed> {
    match (u64_at(key, 0), u64_at(key, 8), key.len()) {
        (Some(group), Some(index), 16) => Ok((GroupId(group), index)),
        _ => Err(Malformed("log")),
    }
}

/// Entries from `from` (inclusive) to `to` (exclusive).
pub fn range(group: GroupId, from: u64, to: u64) -> Range {
    Range { from: encode(group, from), to: encode(group, to) }
}

/// All entries of a group.
pub fn all(group: GroupId) -> Range {
    Range::prefix(&group.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip_and_order(a: (u64, u64), b: (u64, u64)) {
            let (ka, kb) = (encode(GroupId(a.0), a.1), encode(GroupId(b.0), b.1));
            prop_assert_eq!(decode(&ka), Ok((GroupId(a.0), a.1)));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
        }

        #[test]
        fn any_bytes_decode_without_panic(key in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&key).is_ok(), key.len() == 16);
        }
    }
}
