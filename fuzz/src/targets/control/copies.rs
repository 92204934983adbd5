//! Where copies are placed, and under which ids.

use std::collections::BTreeSet;

use meridian_machine::control::ControlMachine;
use meridian_model::{NodeId, ReplicaId};

/// Panics where two copies of a partition share a node, nobody of them should lead, or two copies share an id.
pub(super) fn assert_sound(machine: &ControlMachine) {
    for placed in machine.board() {
        let nodes: BTreeSet<NodeId> = placed.nodes.iter().copied().collect();
        let apart = nodes.len() == placed.nodes.len();
        assert!(apart && nodes.contains(&placed.leader), "{placed:?}");
    }
    let placed = machine.topics().flat_map(|topic| &topic.partitions);
    let copies = placed.flat_map(|placement| &placement.replicas);
    let copies = copies.chain(machine.all_leaving().map(|(_, copy)| copy)).map(|copy| copy.replica);
    let control = machine.nodes().map(|record| record.control_replica);
    let ids: Vec<ReplicaId> = copies.chain(control).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "two copies have one id: {ids:?}");
}
