//! One promise a story. All belong to CTL-1: what a reply says has happened, once, at its index.

use std::collections::BTreeSet;

use meridian_model::topology::{Placement, Retention, Topic};
use meridian_model::{GroupId, NodeId, ProducerId, ReplicaId, limits};

use super::{Cluster, create, delete, finish, form, node, open, topic};
use crate::control::core::Core;
use crate::control::moves::Leaving;
use crate::control::row::Stored;
use crate::control::{
    ControlChange, ControlDone, ControlMachine, ControlRefusal, NamedProducer, producer_id,
};
use crate::{CorruptState, Effect, Row, Table};

fn placements(cluster: &Cluster, name: &str) -> Vec<Placement> {
    cluster.machine.topic(&topic(name)).expect("the topic").partitions.clone()
}

#[test]
fn nothing_can_be_changed_before_the_cluster_is_formed() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.reason(create("t", 1, 1, "")), "NOT_FORMED");
    assert_eq!(cluster.reason(ControlChange::RegisterNode { record: node(1, 1) }), "NOT_FORMED");
}

#[test]
fn a_request_that_came_before_the_cluster_was_formed_may_come_again() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.reason(create("t", 1, 1, "again")), "NOT_FORMED");
    cluster.ok(form(1));
    cluster.ok(create("t", 1, 1, "again"));
}

#[test]
fn forming_twice_is_one_cluster_and_another_cluster_is_refused() {
    let mut cluster = Cluster::formed();
    assert_eq!(cluster.ok(form(1)), ControlDone::Formed);
    assert_eq!(cluster.reason(form(2)), "CONFLICT");
    assert_eq!(cluster.machine.nodes().count(), 3);
    assert!(cluster.machine.tenants().any(|t| t.name == "default"));
    assert_eq!(cluster.machine.namespaces("default").count(), 1);
}

#[test]
fn a_cluster_cannot_be_formed_of_twins() {
    let mut cluster = Cluster::new();
    let ControlChange::Form { cluster: id, name, .. } = form(1) else { return };
    let twins = vec![node(1, 1), node(1, 2)];
    assert_eq!(cluster.reason(ControlChange::Form { cluster: id, name, nodes: twins }), "INVALID_ARGUMENT");
    assert_eq!(cluster.machine.cluster(), None);
}

#[test]
fn a_wiped_node_gets_new_replica_ids_and_is_never_a_founder() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 4, 3, ""));
    let before = placements(&cluster, "t");
    let done = cluster.ok(ControlChange::RegisterNode { record: node(2, 999) });
    let after = placements(&cluster, "t");
    assert_eq!(done, ControlDone::NodeRegistered { control_replica: ReplicaId(16), replaced: 4 });
    for (old, new) in before.iter().zip(&after) {
        assert_eq!(new.founders, old.founders);
        for (was, is) in old.replicas.iter().zip(&new.replicas) {
            assert_eq!(was.node, is.node);
            if is.node == NodeId(2) {
                assert!(is.replica > ReplicaId(15), "{is:?} was given before");
                assert!(!new.founders.contains(&is.replica));
                assert_eq!(is.incarnation, node(2, 999).incarnation);
            } else {
                assert_eq!(was, is);
            }
        }
    }
    assert_eq!(cluster.machine.topic(&topic("t")).map(|t| t.version), Some(3));
}

#[test]
fn a_node_that_returns_with_its_disk_keeps_its_replica_and_may_move() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 4, 3, ""));
    let before = placements(&cluster, "t");
    let mut moved = node(2, 102);
    moved.addresses.raft = "elsewhere:9".into();
    moved.control_replica = ReplicaId(77);
    let done = cluster.ok(ControlChange::RegisterNode { record: moved });
    assert_eq!(done, ControlDone::NodeRegistered { control_replica: ReplicaId(2), replaced: 0 });
    assert_eq!(placements(&cluster, "t"), before);
    let known = cluster.machine.node(NodeId(2)).expect("known");
    assert_eq!((known.addresses.raft.as_str(), known.control_replica), ("elsewhere:9", ReplicaId(2)));
}

#[test]
fn a_deleted_topic_created_again_has_new_groups_and_new_logs() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 3, 3, ""));
    let old = placements(&cluster, "t");
    cluster.ok(delete("t"));
    assert_eq!(cluster.reason(create("t", 3, 3, "")), "CONFLICT");
    cluster.ok(finish("t"));
    assert_eq!(cluster.machine.group(GroupId(1)), None);
    cluster.ok(create("t", 3, 3, ""));
    let new = placements(&cluster, "t");
    assert_eq!(new.iter().map(|p| p.group.0).collect::<Vec<_>>(), [4, 5, 6]);
    for placement in &new {
        assert!(!placement.log.is_nil());
        assert!(old.iter().all(|o| o.log != placement.log));
        assert!(old.iter().flat_map(|o| &o.founders).all(|r| !placement.founders.contains(r)));
    }
}

#[test]
fn a_repeated_request_gets_the_first_reply_whatever_has_happened_since() {
    let mut cluster = Cluster::formed();
    let first = cluster.apply(create("t", 1, 1, "r-1"));
    cluster.ok(delete("t"));
    cluster.ok(finish("t"));
    assert_eq!(cluster.apply(create("t", 1, 1, "r-1")), first);
    assert_eq!(cluster.machine.topic(&topic("t")), None, "it was not created again");
    let refused = cluster.apply(create("u", 1, 4, "r-2"));
    assert_eq!(refused.result, Err(ControlRefusal::NotEnoughNodes { need: 4, have: 3 }));
    cluster.ok(ControlChange::RegisterNode { record: node(4, 104) });
    assert_eq!(cluster.apply(create("u", 1, 4, "r-2")), refused);
}

#[test]
fn a_request_id_names_one_request_and_no_other_tenant_sees_it() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, "r-1"));
    assert_eq!(cluster.reason(create("u", 1, 1, "r-1")), "CONFLICT");
    let tenant = ControlChange::CreateTenant { name: "acme".into(), request_id: "r-1".into() };
    assert_eq!(cluster.ok(tenant), ControlDone::Changed);
}

#[test]
fn the_oldest_requests_are_forgotten_at_the_bound() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, "first"));
    for n in 0..limits::REQUEST_IDS_MAX {
        // Restoring four thousand requests four thousand times proves nothing new.
        let at = crate::At { term: 1, index: 3 + n as u64 };
        let stamp = meridian_model::UnixMs(1);
        let change = open("t", "p", &format!("r-{n}"));
        let mut effects = Vec::new();
        cluster.machine.apply(at, &crate::command::ControlCommand { stamp, change }, &mut effects);
        cluster.write(effects);
    }
    cluster.index = 3 + limits::REQUEST_IDS_MAX as u64;
    let remembered = cluster.disk.keys().filter(|(table, _)| *table == Table::Request).count();
    assert_eq!(remembered, limits::REQUEST_IDS_MAX);
    assert_eq!(cluster.reason(create("t", 1, 1, "first")), "ALREADY_EXISTS");
}

#[test]
fn a_named_producer_gets_a_higher_epoch_each_time_also_from_a_topic_created_again() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let producer = producer_id(&topic("t"), "p");
    for epoch in 1..=3 {
        assert_eq!(cluster.ok(open("t", "p", "")), ControlDone::ProducerOpened { producer, epoch });
    }
    assert_eq!(cluster.machine.producers_of(&topic("t")).map(|p| p.epoch).collect::<Vec<_>>(), [3]);
    cluster.ok(delete("t"));
    assert_eq!(cluster.reason(open("t", "p", "")), "CONFLICT");
    cluster.ok(finish("t"));
    cluster.ok(create("t", 1, 1, ""));
    assert_eq!(cluster.machine.producers_of(&topic("t")).count(), 0);
    assert_eq!(cluster.ok(open("t", "p", "")), ControlDone::ProducerOpened { producer, epoch: 4 });
}

#[test]
fn an_opening_that_is_retried_is_one_epoch() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let first = cluster.apply(open("t", "p", "r-1"));
    assert_eq!(cluster.apply(open("t", "p", "r-1")), first);
    let ControlDone::ProducerOpened { epoch, .. } = cluster.ok(open("t", "p", "r-2")) else { return };
    assert_eq!(epoch, 2);
}

#[test]
fn the_identity_of_a_named_producer_is_the_published_one() {
    let hash = blake3::hash(b"tenants/default/namespaces/default/topics/t\0p");
    assert_eq!(producer_id(&topic("t"), "p"), ProducerId(*hash.as_bytes().first_chunk().expect("16")));
}

#[test]
fn partitions_only_grow_and_those_present_do_not_move() {
    let mut cluster = Cluster::formed();
    let grow =
        |total| ControlChange::AddPartitions { name: topic("t"), total, seed: 9, request_id: String::new() };
    cluster.ok(create("t", 3, 2, ""));
    let before = placements(&cluster, "t");
    assert_eq!(cluster.ok(grow(5)), ControlDone::PartitionsAdded { first_group: GroupId(4) });
    let after = placements(&cluster, "t");
    assert_eq!((after.len(), &after[..3]), (5, &before[..]));
    assert_eq!(cluster.reason(grow(4)), "INVALID_ARGUMENT");
    assert_eq!(cluster.reason(grow(limits::TOPIC_PARTITIONS_MAX + 1)), "LIMIT");
    assert_eq!(cluster.machine.group(GroupId(5)).map(|(t, n)| (t.name.clone(), n)), Some((topic("t"), 4)));
}

#[test]
fn an_update_of_another_version_is_refused() {
    let mut cluster = Cluster::formed();
    let created = cluster.apply(create("t", 1, 1, ""));
    let update = |expected_version| ControlChange::UpdateTopic {
        name: topic("t"),
        retention: Retention { age_ms: Some(5), bytes: None },
        expected_version,
        request_id: String::new(),
    };
    let updated = cluster.apply(update(Some(created.index)));
    assert_eq!(cluster.machine.topic(&topic("t")).map(|t| t.version), Some(updated.index));
    assert_eq!(cluster.reason(update(Some(created.index))), "CONFLICT");
}

#[test]
fn what_is_not_empty_and_what_is_default_stays() {
    let mut cluster = Cluster::formed();
    let none = String::new;
    cluster.ok(ControlChange::CreateTenant { name: "acme".into(), request_id: none() });
    let (tenant, name) = ("acme".to_owned(), "air".to_owned());
    cluster.ok(ControlChange::CreateNamespace {
        tenant: tenant.clone(),
        name: name.clone(),
        request_id: none(),
    });
    cluster.ok(create("acme/air/t", 1, 1, ""));
    let delete_namespace = |tenant: &str, name: &str| ControlChange::DeleteNamespace {
        tenant: tenant.into(),
        name: name.into(),
        request_id: none(),
    };
    let delete_tenant = |name: &str| ControlChange::DeleteTenant { name: name.into(), request_id: none() };
    assert_eq!(cluster.reason(delete_tenant("acme")), "CONFLICT");
    assert_eq!(cluster.reason(delete_namespace("acme", "air")), "CONFLICT");
    assert_eq!(cluster.reason(delete_namespace("default", "default")), "CONFLICT");
    cluster.ok(delete("acme/air/t"));
    assert_eq!(cluster.reason(delete_namespace("acme", "air")), "CONFLICT");
    cluster.ok(finish("acme/air/t"));
    cluster.ok(delete_namespace("acme", "air"));
    cluster.ok(delete_tenant("acme"));
    assert_eq!(cluster.reason(delete_tenant("default")), "CONFLICT");
}

#[test]
fn a_delayed_finish_does_not_remove_a_newer_topic_of_the_name() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let deleted = cluster.apply(delete("t")).index;
    cluster.ok(finish("t"));
    cluster.ok(create("t", 1, 1, ""));
    cluster.ok(delete("t"));
    let late = ControlChange::FinishDelete { name: topic("t"), expected_version: Some(deleted) };
    assert_eq!(cluster.reason(late), "CONFLICT");
    assert!(cluster.machine.topic(&topic("t")).is_some());
}

#[test]
fn a_refused_topic_takes_no_ids() {
    let mut cluster = Cluster::formed();
    assert_eq!(cluster.reason(create("t", 1, 4, "")), "NOT_ENOUGH_NODES");
    assert_eq!(cluster.reason(create("t", 0, 1, "")), "INVALID_ARGUMENT");
    assert_eq!(cluster.reason(create("t", 1, 0, "")), "INVALID_ARGUMENT");
    assert_eq!(cluster.reason(create("a/b/t", 1, 1, "")), "NOT_FOUND");
    cluster.ok(create("t", 1, 1, ""));
    let placed = placements(&cluster, "t");
    assert_eq!((placed[0].group, placed[0].founders.as_slice()), (GroupId(1), &[ReplicaId(4)][..]));
}

#[test]
fn founders_are_the_copies_named_at_creation() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 5, 3, ""));
    for p in placements(&cluster, "t") {
        let copies: BTreeSet<ReplicaId> = p.replicas.iter().map(|r| r.replica).collect();
        assert_eq!(copies, p.founders.iter().copied().collect());
        assert!(p.replicas.iter().any(|r| r.node == p.preferred_leader));
    }
}

#[test]
fn damaged_rows_are_refused_and_not_repaired() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, "r"));
    let rows: Vec<Row> = (cluster.disk.iter())
        .map(|((table, key), value)| Row { table: *table, key: key.clone(), value: value.clone() })
        .collect();
    let without_core = rows.iter().filter(|r| r.table != Table::Core).cloned();
    assert_eq!(ControlMachine::restore(without_core), Err(CorruptState::NoCore));
    for at in 0..rows.len() {
        let mut newer = rows.clone();
        newer[at].value[0] = 2;
        assert_eq!(ControlMachine::restore(newer), Err(CorruptState::Version(2)));
        let mut short = rows.clone();
        short[at].value.pop();
        assert!(ControlMachine::restore(short).is_err());
        let mut moved = rows.clone();
        moved[at].key.push(0);
        assert!(ControlMachine::restore(moved).is_err());
    }
}

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 2, 2, "r"));
    let rows = || {
        let rows = cluster.disk.iter();
        rows.map(|((table, key), value)| Row { table: *table, key: key.clone(), value: value.clone() })
    };
    let core = cluster.machine.core.clone();
    let changed = [
        Core { next_group: 2, ..core.clone() },
        Core { next_request: 0, ..core.clone() },
        Core { next_group: u64::MAX, ..core.clone() },
        Core { next_replica: u64::MAX, ..core.clone() },
        Core { applied_index: u64::MAX, ..core.clone() },
        Core { next_replica: 4, ..core.clone() },
        Core { cluster: None, ..core },
    ];
    let topic_of = |change: &dyn Fn(&mut Topic)| {
        let mut changed = cluster.machine.topic(&topic("t")).expect("a topic").clone();
        change(&mut changed);
        changed
    };
    let together = topic_of(&|topic| {
        let placement = &mut topic.partitions[0];
        placement.replicas[1].node = placement.replicas[0].node;
    });
    let leaderless = topic_of(&|topic| topic.partitions[0].preferred_leader = NodeId(99));
    let same_id = topic_of(&|topic| {
        let id = topic.partitions[0].replicas[0].replica;
        topic.partitions[1].replicas[0].replica = id;
    });
    let twin = Topic { name: topic("twin"), ..cluster.machine.topic(&topic("t")).expect("a topic").clone() };
    let copy = twin.partitions[0].replicas[0];
    let stray = Leaving { group: GroupId(99), copy };
    let topics = [twin.put(), together.put(), leaderless.put(), same_id.put()];
    let puts = changed.iter().map(Stored::put).chain(topics).chain([stray.put()]);
    for put in puts {
        let Effect::Put(row) = put else { unreachable!("every one of them puts a row") };
        // The later of two rows under one key counts.
        let refused = ControlMachine::restore(rows().chain([row.clone()]));
        let damaged = matches!(refused, Err(CorruptState::Row { .. } | CorruptState::Uncountable { .. }));
        assert!(damaged, "{row:?}: {refused:?}");
    }
    assert!(ControlMachine::restore(rows()).is_ok());
}

#[test]
fn a_trim_of_the_log_leaves_the_last_segment_and_happens_once() {
    let mut cluster = Cluster::formed();
    let trim = |closed| ControlChange::TrimLog { closed };
    assert_eq!(cluster.ok(trim(0)), ControlDone::LogTrimmed { start: 0 });
    assert_eq!(
        (cluster.machine.log_start(), cluster.machine.log_closed().map(|at| at.index)),
        (None, Some(2))
    );
    assert_eq!(cluster.reason(trim(0)), "CONFLICT", "somebody else was first");
    cluster.ok(create("t", 1, 1, ""));
    assert_eq!(cluster.ok(trim(2)), ControlDone::LogTrimmed { start: 2 });
    let bounds = (cluster.machine.log_start(), cluster.machine.log_closed());
    assert_eq!((bounds.0.map(|at| at.index), bounds.1.map(|at| at.index)), (Some(2), Some(5)));
    assert!(cluster.machine.topic(&topic("t")).is_some(), "what the log said is in the tables");
}

#[test]
fn a_producer_whose_epochs_are_used_up_is_refused_and_not_wrapped_around() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    cluster.ok(open("t", "p", ""));
    cluster.machine.producers.values_mut().for_each(|producer| producer.epoch = u32::MAX);
    let last = NamedProducer { topic: topic("t"), name: "p".into(), epoch: u32::MAX };
    cluster.write(vec![last.put()]);
    assert_eq!(cluster.reason(open("t", "p", "")), "LIMIT");
}
