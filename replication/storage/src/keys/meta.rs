//! `meta`: group, tag -> the few facts Raft needs of a group.

use meridian_model::GroupId;

use super::{Malformed, u64_at};
use crate::engine::Range;

/// What a row of this family tells. The number is the tag on disk: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fact {
    /// The vote.
    Vote = 1,
    /// The last purged log position.
    Purged = 2,
    /// The last position whose effects are in the tables (or were skipped), and the membership in force.
    Applied = 3,
    /// The position the tables came from, where a snapshot was installed that is ahead of `Applied`.
    TablesAt = 4,
    /// A snapshot is being moved from staging into place.
    Installing = 5,
    /// Which replica this is, and of what.
    Replica = 6,
    /// The start of the log: the boundary that the last trim left.
    Boundary = 7,
    /// The stored copy is damaged, and how: it is not to be opened.
    Condemned = 8,
    /// Of the control group: the nodes that this one neither hears nor speaks to, because they were given up.
    Fence = 9,
}

/// The key of one fact.
pub fn encode(group: GroupId, fact: Fact) -> Vec<u8> {
    let mut out = group.0.to_be_bytes().to_vec();
    out.push(fact as u8);
    out
}

/// Back from a key: the group and the tag.
pub fn decode(key: &[u8]) -> Result<(GroupId, u8), Malformed> {
    match (u64_at(key, 0), key.get(8), key.len()) {
        (Some(group), Some(tag), 9) => Ok((GroupId(group), *tag)),
        _ => Err(Malformed("meta")),
    }
}

/// All facts of a group.
pub fn all(group: GroupId) -> Range {
    Range::prefix(&group.0.to_be_bytes())
}

/// All facts of all groups.
pub fn everything() -> Range {
    Range { from: Vec::new(), to: vec![0xff; 10] }
}

/// A log position: term and index.
pub fn encode_position(term: u64, index: u64) -> Vec<u8> {
    [term.to_be_bytes(), index.to_be_bytes()].concat()
}

/// Back from a stored position.
pub fn decode_position(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    match (u64_at(bytes, 0), u64_at(bytes, 8), bytes.len()) {
        (Some(term), Some(index), 16) => Ok((term, index)),
        _ => Err(Malformed("meta")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_round_trip_and_keep_order(a: (u64, u64), b: (u64, u64)) {
            let (ea, eb) = (encode_position(a.0, a.1), encode_position(b.0, b.1));
            prop_assert_eq!(decode_position(&ea), Ok(a));
            prop_assert_eq!(ea.cmp(&eb), a.cmp(&b));
        }

        #[test]
        fn keys_round_trip(group: u64) {
            prop_assert_eq!(decode(&encode(GroupId(group), Fact::Vote)), Ok((GroupId(group), 1)));
        }

        #[test]
        fn any_bytes_decode_without_panic(key in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&key).is_ok(), key.len() == 9);
            prop_assert_eq!(decode_position(&key).is_ok(), key.len() == 16);
        }
    }
}
