//! Nodes that are drained, that leave and come back, and copies that move (CTL-1).

use meridian_model::topology::{Placement, Replica};
use meridian_model::{GroupId, NodeId, ReplicaId, limits};

use super::*;
use crate::control::{ControlDone, Duty};

fn four_nodes() -> super::Cluster {
    let mut cluster = super::Cluster::formed();
    cluster.ok(ControlChange::RegisterNode { record: node(4, 104) });
    cluster
}

fn duty(number: u64, duty: Duty) -> ControlChange {
    ControlChange::SetDuty { node: NodeId(number), duty }
}

fn forget(number: u64) -> ControlChange {
    ControlChange::ForgetNode { node: NodeId(number) }
}

fn move_copy(group: GroupId, from: u64, to: u64) -> ControlChange {
    ControlChange::MoveCopy { group, from: NodeId(from), to: NodeId(to) }
}

fn leaving(cluster: &super::Cluster, group: GroupId) -> Vec<Replica> {
    cluster.machine.leaving(group).copied().collect()
}

fn placement(cluster: &super::Cluster, name: &str) -> Placement {
    cluster.machine.topic(&topic(name)).expect("the topic").partitions[0].clone()
}

#[test]
fn a_copy_that_moves_stays_known_until_the_group_has_voted_it_out() {
    let mut cluster = four_nodes();
    cluster.ok(duty(4, Duty::Draining));
    cluster.ok(create("moved", 1, 3, ""));
    cluster.ok(duty(4, Duty::Serving));
    let before = placement(&cluster, "moved");
    let old = before.replicas[0];
    cluster.ok(move_copy(before.group, old.node.0, 4));
    let after = placement(&cluster, "moved");
    let new = after.replicas[0];
    assert_eq!((new.node, after.replicas[1..].to_vec()), (NodeId(4), before.replicas[1..].to_vec()));
    assert!(before.replicas.iter().all(|copy| copy.replica != new.replica), "a new copy has a new id");
    assert_eq!(after.founders, before.founders, "a copy that moved in founds nothing");
    assert_eq!(leaving(&cluster, before.group), [old]);
    assert_eq!(cluster.machine.carries(old.node), 1, "the old copy is there still");
    let moving: Vec<usize> = (1..=4).map(|number| cluster.machine.moving_at(NodeId(number))).collect();
    let expected: Vec<usize> =
        (1..=4).map(|number| usize::from([old.node, new.node].contains(&NodeId(number)))).collect();
    assert_eq!(moving, expected, "copies that rest are not counted");
    assert_eq!(cluster.reason(move_copy(before.group, 4, old.node.0)), "CONFLICT", "its copy is there still");
    let finish = |replica| ControlChange::FinishMove { group: before.group, replica };
    assert_eq!(cluster.reason(finish(new.replica)), "NOT_FOUND", "not the one that leaves");
    cluster.ok(finish(old.replica));
    assert_eq!(cluster.machine.carries(old.node), 0);
    assert_eq!(cluster.reason(finish(old.replica)), "NOT_FOUND", "once");
}

#[test]
fn a_copy_whose_new_node_is_lost_goes_elsewhere_and_both_before_it_stay_until_voted_out() {
    let mut cluster = four_nodes();
    cluster.ok(ControlChange::RegisterNode { record: node(5, 105) });
    cluster.ok(ControlChange::RegisterNode { record: node(6, 106) });
    cluster.ok(create("lost", 1, 3, ""));
    let before = placement(&cluster, "lost");
    let old = before.replicas[0];
    let free = (1..=6).filter(|node| before.replicas.iter().all(|copy| copy.node.0 != *node));
    let free: Vec<u64> = free.collect();
    cluster.ok(move_copy(before.group, old.node.0, free[0]));
    let lost = placement(&cluster, "lost").replicas[0];
    cluster.ok(move_copy(before.group, free[0], free[1]));
    assert_eq!(leaving(&cluster, before.group), [old, lost]);
    assert_eq!(cluster.reason(move_copy(before.group, free[1], free[2])), "CONFLICT", "two at a time");
    cluster.ok(ControlChange::FinishMove { group: before.group, replica: lost.replica });
    assert_eq!(leaving(&cluster, before.group), [old]);
    cluster.ok(move_copy(before.group, free[1], free[2]));
}

#[test]
fn a_damaged_copy_is_made_anew_where_it_is_under_another_id() {
    let mut cluster = super::Cluster::formed();
    cluster.ok(create("damaged", 1, 3, ""));
    let before = placement(&cluster, "damaged");
    let old = before.replicas[1];
    cluster.ok(duty(old.node.0, Duty::Draining));
    cluster.ok(move_copy(before.group, old.node.0, old.node.0));
    let after = placement(&cluster, "damaged");
    let new = after.replicas[1];
    assert_eq!((new.node, new.incarnation), (old.node, old.incarnation));
    assert!(before.replicas.iter().all(|copy| copy.replica != new.replica), "an id never returns");
    assert_eq!(after.founders, before.founders);
    assert_eq!(leaving(&cluster, before.group), [old], "it votes until the group says otherwise");
    let other = before.replicas[0].node.0;
    cluster.ok(move_copy(before.group, old.node.0, old.node.0));
    assert_eq!(leaving(&cluster, before.group), [old, new], "damaged once more");
    assert_eq!(cluster.reason(move_copy(before.group, other, other)), "CONFLICT", "two at a time");
    cluster.ok(ControlChange::FinishMove { group: before.group, replica: new.replica });
    cluster.ok(move_copy(before.group, other, other));
}

#[test]
fn only_sound_moves_are_made() {
    let mut cluster = four_nodes();
    cluster.ok(create("still", 1, 2, ""));
    let placed = placement(&cluster, "still");
    let on: Vec<u64> = placed.replicas.iter().map(|copy| copy.node.0).collect();
    let free: Vec<u64> = (1..=4).filter(|node| !on.contains(node)).collect();
    assert_eq!(cluster.reason(move_copy(placed.group, on[0], 9)), "NOT_FOUND");
    assert_eq!(cluster.reason(move_copy(GroupId(99), on[0], free[0])), "NOT_FOUND");
    assert_eq!(cluster.reason(move_copy(placed.group, on[0], on[1])), "CONFLICT");
    assert_eq!(cluster.reason(move_copy(placed.group, free[0], free[1])), "CONFLICT");
    cluster.ok(duty(free[0], Duty::Draining));
    assert_eq!(cluster.reason(move_copy(placed.group, on[0], free[0])), "CONFLICT");
    let prefer = |node| ControlChange::PreferLeader { group: placed.group, node: NodeId(node) };
    assert_eq!(cluster.reason(prefer(free[1])), "CONFLICT");
    cluster.ok(prefer(on[1]));
    assert_eq!(placement(&cluster, "still").preferred_leader, NodeId(on[1]));
    cluster.ok(delete("still"));
    assert_eq!(cluster.reason(move_copy(placed.group, on[0], free[1])), "CONFLICT", "being deleted");
    assert_eq!(cluster.reason(prefer(on[0])), "CONFLICT");
}

#[test]
fn a_node_leaves_once_it_carries_nothing_and_that_life_does_not_come_back() {
    let mut cluster = four_nodes();
    cluster.ok(create("left", 1, 3, ""));
    let placed = placement(&cluster, "left");
    let leaver = placed.replicas[0].node.0;
    let free = (1..=4).find(|node| placed.replicas.iter().all(|copy| copy.node.0 != *node)).expect("one");
    assert_eq!(cluster.reason(forget(leaver)), "CONFLICT", "it serves");
    cluster.ok(duty(leaver, Duty::Leaving));
    cluster.ok(duty(leaver, Duty::Leaving));
    assert_eq!(cluster.reason(forget(leaver)), "CONFLICT", "it carries a copy");
    assert_eq!(cluster.reason(duty(free, Duty::Leaving)), "NOT_ENOUGH_NODES");
    cluster.ok(move_copy(placed.group, leaver, free));
    assert_eq!(cluster.reason(forget(leaver)), "CONFLICT", "the old copy is there still");
    cluster.ok(ControlChange::FinishMove { group: placed.group, replica: placed.replicas[0].replica });
    cluster.ok(forget(leaver));
    assert!(cluster.machine.node(NodeId(leaver)).is_none());
    assert_eq!(cluster.reason(forget(leaver)), "NOT_FOUND");
    let again = |life| ControlChange::RegisterNode { record: node(leaver, life) };
    assert_eq!(cluster.reason(again(100 + u128::from(leaver))), "CONFLICT", "the same life");
    let ControlDone::NodeRegistered { control_replica, .. } = cluster.ok(again(500)) else { panic!() };
    assert!(control_replica > ReplicaId(4), "a new life gets a new copy of the control group");
    assert_eq!(cluster.machine.duty(NodeId(leaver)), Duty::Serving);
}

#[test]
fn a_drained_node_keeps_its_copies_and_gets_no_new_ones() {
    let mut cluster = four_nodes();
    cluster.ok(duty(2, Duty::Draining));
    cluster.ok(create("elsewhere", 5, 3, ""));
    assert_eq!(cluster.machine.carries(NodeId(2)), 0);
    cluster.ok(duty(3, Duty::Draining));
    cluster.ok(create("needed", 1, 3, ""));
    assert_eq!(cluster.reason(duty(9, Duty::Draining)), "NOT_FOUND");
    let gone = Duty::Gone { incarnation: Default::default() };
    assert_eq!(cluster.reason(duty(2, gone)), "INVALID_ARGUMENT");
}

#[test]
fn the_last_node_that_could_lead_is_not_drained() {
    let mut cluster = four_nodes();
    cluster.ok(create("alone", 1, 1, ""));
    let only = placement(&cluster, "alone").replicas[0].node.0;
    let refused = cluster.apply(duty(only, Duty::Draining)).result.expect_err("it has the only copy");
    assert_eq!(refused.reason(), "NOT_ENOUGH_NODES");
    let said = refused.to_string();
    assert!(
        said.contains("partition 0 of") && said.contains("alone") && said.contains("add nodes"),
        "{said}"
    );
    cluster.ok(delete("alone"));
    cluster.ok(duty(only, Duty::Draining));
    cluster.ok(duty(only, Duty::Draining));
    let others: Vec<u64> = (1..=4).filter(|node| *node != only).collect();
    cluster.ok(duty(others[0], Duty::Leaving));
    cluster.ok(duty(others[1], Duty::Draining));
    let refused = cluster.apply(duty(others[2], Duty::Draining)).result.expect_err("nobody else serves");
    assert!(refused.to_string().contains("the region"), "{refused}");
    cluster.ok(duty(only, Duty::Serving));
    cluster.ok(duty(others[2], Duty::Draining));
}

#[test]
fn a_deleted_topic_leaves_no_move_behind() {
    let mut cluster = four_nodes();
    cluster.ok(create("gone", 1, 3, ""));
    let placed = placement(&cluster, "gone");
    let free = (1..=4).find(|node| placed.replicas.iter().all(|copy| copy.node.0 != *node)).expect("one");
    cluster.ok(move_copy(placed.group, placed.replicas[0].node.0, free));
    cluster.ok(delete("gone"));
    cluster.ok(finish("gone"));
    assert_eq!(cluster.machine.all_leaving().count(), 0);
    assert!(cluster.disk.keys().all(|(table, _)| *table != Table::Move));
}

#[test]
fn a_node_that_left_and_is_refused_has_left_still() {
    let mut cluster = super::Cluster::formed();
    let join = |number: u64, life| ControlChange::RegisterNode { record: node(number, life) };
    cluster.ok(join(4, 104));
    cluster.ok(duty(4, Duty::Leaving));
    cluster.ok(forget(4));
    for number in (5..).take(limits::NODES_MAX - 3) {
        cluster.ok(join(number, 1));
    }
    assert_eq!(cluster.reason(join(4, 105)), "LIMIT");
    assert!(cluster.touched.iter().all(|table| *table == Table::Core), "{:?}", cluster.touched);
    cluster.ok(duty(5, Duty::Leaving));
    cluster.ok(forget(5));
    assert_eq!(cluster.reason(join(4, 104)), "CONFLICT", "the life that left");
}
