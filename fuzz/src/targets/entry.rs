//! Log entries as stored: one spelling each, one flipped bit is always found, and what Raft makes of them it writes
//! down as something that means the same.

use bytes::Bytes;
use meridian_model::NodeId;
use meridian_raft::types::{Membership, ReplicaNode};
use meridian_raft::wire;
use meridian_storage::keys::entry::{self, EntryKind, StoredEntry};

use super::{Met, room};
use crate::{heal, memory};

/// The input is a stored value: as it came, and with its checksum set right.
pub(super) fn check(input: &[u8]) -> Met {
    let met = [input.to_vec(), heal::entry(input)].map(decode);
    if met.contains(&Met::Understood) { Met::Understood } else { Met::Refused }
}

fn decode(bytes: Vec<u8>) -> Met {
    let bytes = Bytes::from(bytes);
    let Ok(stored) = entry::decode(bytes.clone()) else { return Met::Refused };
    let head = entry::header(stored.term, stored.index, stored.kind, &stored.payload);
    assert_eq!([&head[..], &stored.payload].concat(), bytes, "an entry has one spelling");
    assert_flip_is_found(&bytes, stored.index as usize % (bytes.len() * 8));
    let (term, index) = (stored.term, stored.index);
    let understood = memory::within(room(&bytes, 128), || wire::entry_of_stored(stored));
    let Ok(understood) = understood else { return Met::Refused };
    let (kind, payload) = wire::entry_parts(&understood);
    let again = wire::entry_from(term, index, kind, payload).expect("what Raft holds can be stored");
    assert_eq!(again, understood);
    Met::Understood
}

fn assert_flip_is_found(bytes: &Bytes, bit: usize) {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    assert!(entry::decode(Bytes::from(flipped)).is_err(), "bit {bit} was flipped, and nobody noticed");
}

fn stored(entry: &StoredEntry) -> Vec<u8> {
    let head = entry::header(entry.term, entry.index, entry.kind, &entry.payload);
    [&head[..], &entry.payload].concat()
}

/// An entry of each kind, and one with a membership that is being changed.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let members = |voters: &[u64]| voters.iter().copied().collect::<std::collections::BTreeSet<u64>>();
    let nodes = (1..=4).map(|id| (id, ReplicaNode { node: NodeId(id * 10) }));
    let joint = Membership::new(
        vec![members(&[1, 2, 3]), members(&[2, 3, 4])],
        nodes.collect::<std::collections::BTreeMap<_, _>>(),
    );
    let joint = wire::encode_membership(&joint.expect("a membership"));
    let commands = super::command::seeds().into_iter().map(|command| (EntryKind::Command, command));
    let others = [(EntryKind::Blank, Vec::new()), (EntryKind::Membership, joint)];
    let kinds = others.into_iter().chain(commands);
    kinds
        .zip(1..)
        .map(|((kind, payload), index)| {
            stored(&StoredEntry { term: 3, index, kind, payload: payload.into() })
        })
        .collect()
}
