//! The control group: stories (CTL-1), and random operations judged by a model.

mod check;
mod coverage;
mod golden;
mod model;
mod moving;
mod operation;
mod random;
mod stories;
mod subscribing;

use std::collections::BTreeMap;

use meridian_model::topology::{NodeAddresses, NodeRecord, Retention};
use meridian_model::{ClusterId, Incarnation, NodeId, ReplicaId, TopicName, UnixMs};

use super::{Bounds, ControlChange, ControlCommand, ControlMachine, ControlReply};
use crate::{At, Command, Effect, Row, Table};

/// Bounds so small that random runs meet every one of them.
const SMALL: Bounds = Bounds {
    nodes_max: 5,
    tenants_max: 3,
    namespaces_max: 3,
    topics_max: 3,
    topic_partitions_max: 3,
    groups_max: 5,
    producers_max: 2,
    requests_max: 6,
    subscriptions_topic_max: 2,
    subscriptions_max: 3,
    epoch_max: 3,
};

/// A machine with its disk: every command goes over the wire, and the machine is restored after each.
pub(super) struct Cluster {
    pub(super) machine: ControlMachine,
    pub(super) disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    /// The tables that the last command touched.
    pub(super) touched: Vec<Table>,
    index: u64,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self { machine: ControlMachine::new(), disk: BTreeMap::new(), touched: Vec::new(), index: 0 }
    }

    /// A cluster of three founders in three zones, with control replicas 1 to 3.
    pub(super) fn formed() -> Self {
        let mut cluster = Self::new();
        cluster.ok(form(1));
        cluster
    }

    pub(super) fn apply(&mut self, change: ControlChange) -> ControlReply {
        self.index += 1;
        let at = At { term: 1, index: self.index };
        let stamp = UnixMs(1_000 + self.index);
        let entry = Command::Control(ControlCommand { stamp, change }).encode();
        let Ok(Command::Control(command)) = Command::decode(entry) else { panic!("does not decode") };
        let mut effects = Vec::new();
        let reply = self.machine.apply(at, &command, &mut effects);
        self.write(effects);
        assert_eq!(self.machine.last_applied(), at);
        assert_eq!(self.restored(), self.machine, "restored, then live");
        reply
    }

    pub(super) fn ok(&mut self, change: ControlChange) -> super::ControlDone {
        self.apply(change).result.expect("accepted")
    }

    pub(super) fn reason(&mut self, change: ControlChange) -> &'static str {
        self.apply(change).result.expect_err("refused").reason()
    }

    pub(super) fn restored(&self) -> ControlMachine {
        let rows = self.disk.iter().map(|((table, key), value)| Row {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        ControlMachine::restore(rows).expect("sound rows")
    }

    fn write(&mut self, effects: Vec<Effect>) {
        self.touched.clear();
        for effect in effects {
            match effect {
                Effect::Put(row) => {
                    self.touched.push(row.table);
                    self.disk.insert((row.table, row.key), row.value);
                }
                Effect::Delete { table, key } => {
                    self.touched.push(table);
                    assert!(self.disk.remove(&(table, key)).is_some(), "nothing to delete in {table:?}");
                }
                Effect::SegmentClosed { .. } | Effect::Trimmed { .. } => {}
                other => panic!("{other:?} from the control group"),
            }
        }
    }
}

pub(super) fn node(number: u64, life: u128) -> NodeRecord {
    NodeRecord {
        node: NodeId(number),
        incarnation: Incarnation::from_u128(life),
        addresses: NodeAddresses { client: format!("n{number}:1"), raft: format!("n{number}:2") },
        zone: format!("zone-{}", number % 3),
        control_replica: ReplicaId(number),
    }
}

pub(super) fn form(cluster: u128) -> ControlChange {
    let nodes = (1..=3).map(|n| node(n, 100 + u128::from(n))).collect();
    ControlChange::Form { cluster: ClusterId::from_u128(cluster), name: "north".into(), nodes }
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::parse(name).expect("a name")
}

pub(super) fn create(name: &str, partitions: u32, replication: u32, request_id: &str) -> ControlChange {
    ControlChange::CreateTopic {
        name: topic(name),
        partitions,
        replication,
        retention: Retention::default(),
        seed: 42,
        request_id: request_id.into(),
    }
}

pub(super) fn delete(name: &str) -> ControlChange {
    ControlChange::DeleteTopic { name: topic(name), request_id: String::new() }
}

pub(super) fn finish(name: &str) -> ControlChange {
    ControlChange::FinishDelete { name: topic(name), expected_version: None }
}

pub(super) fn open(name: &str, producer: &str, request_id: &str) -> ControlChange {
    ControlChange::OpenProducer { topic: topic(name), name: producer.into(), request_id: request_id.into() }
}
