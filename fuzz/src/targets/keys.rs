//! Keys and rows of every family: what decodes is encoded to the same bytes, two keys are in the order of what they
//! name, and a key lies in the ranges that should hold it and in no others.

use meridian_machine::{IndexRow, Table};
use meridian_model::{GroupId, Offset, UnixMs};
use meridian_storage::Range;
use meridian_storage::keys::meta::Fact;
use meridian_storage::keys::{index, log, meta, state};

use super::Met;
use crate::frames;

/// The input is byte strings; each is taken for a key or a row of every family, and for a neighbour of the next.
pub(super) fn check(input: &[u8]) -> Met {
    let strings = frames::split(input);
    let mut met = Met::Refused;
    for string in &strings {
        if [log_key(string), index_key(string), meta_key(string), state_key(string), rows(string)]
            .contains(&true)
        {
            met = Met::Understood;
        }
    }
    for pair in strings.windows(2) {
        assert_order(pair[0], pair[1]);
    }
    met
}

fn holds(range: &Range, key: &[u8]) -> bool {
    range.from.as_slice() <= key && key < range.to.as_slice()
}

fn log_key(key: &[u8]) -> bool {
    let Ok((group, index)) = log::decode(key) else { return false };
    assert_eq!(log::encode(group, index), key);
    if group.0 < u64::MAX {
        assert!(holds(&log::all(group), key) && !holds(&log::all(GroupId(group.0 + 1)), key));
    }
    assert!(!holds(&log::range(group, 0, index), key));
    assert_eq!(holds(&log::range(group, index, index.saturating_add(1)), key), index < u64::MAX);
    true
}

fn index_key(key: &[u8]) -> bool {
    let Ok((group, base)) = index::decode(key) else { return false };
    assert_eq!(index::encode(group, base), key);
    if group.0 < u64::MAX {
        assert!(holds(&index::all(group), key) && !holds(&index::all(GroupId(group.0 + 1)), key));
    }
    assert!(!holds(&index::range(group, Offset(0), base), key));
    true
}

fn meta_key(key: &[u8]) -> bool {
    let Ok((group, tag)) = meta::decode(key) else { return false };
    assert_eq!([&group.0.to_be_bytes()[..], &[tag]].concat(), key);
    if group.0 < u64::MAX {
        assert!(holds(&meta::all(group), key) && !holds(&meta::all(GroupId(group.0 + 1)), key));
    }
    true
}

fn state_key(key: &[u8]) -> bool {
    let Ok((group, table, rest)) = state::decode(key) else { return false };
    assert_eq!(state::encode(group, table, rest), key);
    if group.0 < u64::MAX {
        assert!(holds(&state::all(group), key) && !holds(&state::all(GroupId(group.0 + 1)), key));
    }
    true
}

fn rows(row: &[u8]) -> bool {
    let index = index::decode_row(row);
    if let Ok(decoded) = &index {
        assert_eq!(index::encode_row(decoded), row);
    }
    let position = meta::decode_position(row);
    if let Ok((term, at)) = position {
        assert_eq!(meta::encode_position(term, at), row);
    }
    index.is_ok() || position.is_ok()
}

/// Byte order is the order of what the keys name.
fn assert_order(a: &[u8], b: &[u8]) {
    if let (Ok(named_a), Ok(named_b)) = (log::decode(a), log::decode(b)) {
        assert_eq!(a.cmp(b), named_a.cmp(&named_b));
    }
    if let (Ok(named_a), Ok(named_b)) = (index::decode(a), index::decode(b)) {
        assert_eq!(a.cmp(b), named_a.cmp(&named_b));
    }
    if let (Ok(named_a), Ok(named_b)) = (state::decode(a), state::decode(b)) {
        let name = |(group, table, key): (GroupId, Table, &[u8])| (group, table as u8, key.to_vec());
        assert_eq!(a.cmp(b), name(named_a).cmp(&name(named_b)));
    }
    if let (Ok(named_a), Ok(named_b)) = (meta::decode_position(a), meta::decode_position(b)) {
        assert_eq!(a.cmp(b), named_a.cmp(&named_b));
    }
}

/// Neighbours in every family.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let groups = [GroupId::CONTROL, GroupId(1), GroupId(0x0102_0304_0506_0708)];
    let row = IndexRow { index: 5, position: 1, count: 9, bytes: 700, stamp: UnixMs(77), head: [3; 32] };
    vec![
        frames::join(groups.map(|group| log::encode(group, 255))),
        frames::join([log::encode(GroupId(3), 255), log::encode(GroupId(3), 256)]),
        frames::join(groups.map(|group| index::encode(group, Offset(65_536)))),
        frames::join(groups.map(|group| meta::encode(group, Fact::Applied))),
        frames::join(Table::ALL.map(|table| state::encode(GroupId(7), table, b"a key"))),
        frames::join([index::encode_row(&row)]),
        frames::join([meta::encode_position(3, 9), meta::encode_position(4, 1)]),
    ]
}
