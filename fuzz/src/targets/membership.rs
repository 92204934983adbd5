//! What Raft keeps of a group: votes, memberships and the boundaries of its log. What decodes means the same when it
//! is written and read again.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::NodeId;
use meridian_raft::types::{Membership, ReplicaNode, StoredMembership, Vote, log_id};
use meridian_raft::{snapshot, wire};

use super::{Met, room};
use crate::memory;

/// Set aside before a list is read, by whoever reads one.
const AHEAD_BYTES: usize = 1024 * 1024;

/// The input is each of the rows.
pub(super) fn check(input: &[u8]) -> Met {
    let met = memory::within(AHEAD_BYTES + room(input, 256), || {
        [vote(input), membership(input), stored_membership(input), boundary(input)]
    });
    if met.contains(&true) { Met::Understood } else { Met::Refused }
}

fn vote(bytes: &[u8]) -> bool {
    let Ok(vote) = wire::decode_vote(bytes) else { return false };
    assert_eq!(wire::decode_vote(&wire::encode_vote(&vote)), Ok(vote));
    assert_eq!(wire::vote_from_wire(Some(wire::vote_to_wire(&vote))), Ok(vote));
    true
}

fn membership(bytes: &[u8]) -> bool {
    let Ok(membership) = wire::decode_membership(bytes) else { return false };
    let again = wire::decode_membership(&wire::encode_membership(&membership));
    assert_eq!(again.as_ref(), Ok(&membership));
    let nodes: BTreeSet<u64> = membership.nodes().map(|(id, _)| *id).collect();
    assert!(membership.voter_ids().all(|voter| nodes.contains(&voter)), "a voter without a node");
    true
}

fn stored_membership(bytes: &[u8]) -> bool {
    let Ok(stored) = wire::decode_stored_membership(bytes) else { return false };
    let again = wire::decode_stored_membership(&wire::encode_stored_membership(&stored));
    assert_eq!(again, Ok(stored));
    true
}

fn boundary(bytes: &[u8]) -> bool {
    let Ok((at, membership)) = snapshot::decode_boundary(bytes) else { return false };
    let again = snapshot::decode_boundary(&snapshot::encode_boundary(&at, &membership));
    assert_eq!(again.ok(), Some((at, membership)));
    true
}

/// Each row, as groups write them.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let members = |voters: &[u64]| voters.iter().copied().collect::<BTreeSet<u64>>();
    let nodes = |ids: std::ops::RangeInclusive<u64>| {
        ids.map(|id| (id, ReplicaNode { node: NodeId(id * 10) })).collect::<BTreeMap<_, _>>()
    };
    let still = Membership::new(vec![members(&[1, 2, 3])], nodes(1..=4)).expect("a membership");
    let joint = vec![members(&[1, 2, 3]), members(&[2, 3, 4])];
    let joint = Membership::new(joint, nodes(1..=4)).expect("a membership");
    let stored = StoredMembership::new(Some(log_id(3, 17)), still.clone());
    vec![
        wire::encode_vote(&Vote::new(3, 2)),
        wire::encode_vote(&Vote::new_committed(300, 70_000)),
        wire::encode_membership(&still),
        wire::encode_membership(&joint),
        wire::encode_membership(&Membership::default()),
        wire::encode_stored_membership(&stored),
        wire::encode_stored_membership(&StoredMembership::default()),
        snapshot::encode_boundary(&log_id(4, 99), &stored),
    ]
}
