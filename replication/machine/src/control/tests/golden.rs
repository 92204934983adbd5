//! Version 1 of every row and every command of the control group, byte by byte. A change here needs a new
//! version: older data must stay readable, and replicas of one feature level hold the same rows.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use meridian_model::subscription::{Backoff, SubscriptionKind, SubscriptionRules};
use meridian_model::topology::Retention;
use meridian_model::{GroupId, NodeId, Offset, ReplicaId, UnixMs};

use super::subscribing::subscribe;
use super::{Cluster, create, delete, finish, form, node, open, topic};
use crate::control::{BeginAt, ControlChange, ControlCommand, Duty, SubscriptionSettings};
use crate::{Command, Table};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn bytes(hex: &str) -> Bytes {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hex");
    hex.as_bytes().chunks(2).map(digits).collect::<Vec<_>>().into()
}

/// None of them as they are by default.
fn settings() -> SubscriptionSettings {
    let rules = SubscriptionRules {
        kind: SubscriptionKind::KeyShared,
        lease_ms: 300,
        backoff: Backoff::Linear { step_ms: 7, max_ms: 300 },
        attempts_max: Some(5),
    };
    let (dead_letter, retry) = (Some(topic("d")), Some(topic("r")));
    SubscriptionSettings { rules, dead_letter, retry, durable: false, idle_ms_max: Some(300) }
}

/// One of each kind, in order of the kind.
fn changes() -> Vec<ControlChange> {
    let id = || "r".to_owned();
    let retention = Retention { age_ms: Some(300), bytes: None };
    vec![
        form(5),
        ControlChange::RegisterNode { record: node(4, 104) },
        ControlChange::CreateTenant { name: "acme".into(), request_id: id() },
        ControlChange::DeleteTenant { name: "acme".into(), request_id: id() },
        ControlChange::CreateNamespace { tenant: "acme".into(), name: "air".into(), request_id: id() },
        ControlChange::DeleteNamespace { tenant: "acme".into(), name: "air".into(), request_id: id() },
        create("acme/air/t", 2, 3, "r"),
        ControlChange::UpdateTopic {
            name: topic("t"),
            retention,
            expected_version: Some(9),
            request_id: id(),
        },
        ControlChange::AddPartitions { name: topic("t"), total: 3, seed: 7, request_id: id() },
        delete("t"),
        finish("t"),
        open("t", "p", "r"),
        ControlChange::TrimLog { closed: 300 },
        ControlChange::SetDuty { node: NodeId(300), duty: Duty::Leaving },
        ControlChange::ForgetNode { node: NodeId(300) },
        ControlChange::MoveCopy { group: GroupId(300), from: NodeId(3), to: NodeId(4) },
        ControlChange::FinishMove { group: GroupId(300), replica: ReplicaId(301) },
        ControlChange::PreferLeader { group: GroupId(300), node: NodeId(4) },
        ControlChange::CreateSubscription {
            topic: topic("t"),
            name: "s".into(),
            begin: BeginAt::Time(UnixMs(300)),
            settings: Box::new(settings()),
            request_id: id(),
        },
        ControlChange::UpdateSubscription {
            topic: topic("t"),
            name: "s".into(),
            settings: Box::default(),
            expected_version: Some(9),
            request_id: id(),
        },
        ControlChange::DeleteSubscription {
            topic: topic("t"),
            name: "s".into(),
            expected_version: Some(300),
            request_id: id(),
        },
    ]
}

/// In order of the kind.
const COMMANDS: [&str; 21] = [
    "010100e8070000000000000000000000000000000005056e6f72746803010000000000000000000000000000\
     0065046e313a31046e313a32067a6f6e652d31010200000000000000000000000000000066046e323a31046e\
     323a32067a6f6e652d32020300000000000000000000000000000067046e333a31046e333a32067a6f6e652d\
     3003",
    "010101e807010400000000000000000000000000000068046e343a31046e343a32067a6f6e652d3104",
    "010102e807020461636d650172",
    "010103e807030461636d650172",
    "010104e807040461636d65036169720172",
    "010105e807050461636d65036169720172",
    "010106e807060461636d65036169720174020300002a0172",
    "010107e807070764656661756c740764656661756c74017401ac020001090172",
    "010108e807080764656661756c740764656661756c74017403070172",
    "010109e807090764656661756c740764656661756c74017400",
    "01010ae8070a0764656661756c740764656661756c74017400",
    "01010be8070b0764656661756c740764656661756c74017401700172",
    "01010ce8070cac02",
    "01010de8070dac0202",
    "01010ee8070eac02",
    "01010fe8070fac020304",
    "010110e80710ac02ad02",
    "010111e80711ac0204",
    "010112e807120764656661756c740764656661756c740174017302ac0203ac020007ac020105010764656661756c7407\
     64656661756c740164010764656661756c740764656661756c7401720001ac020172",
    "010113e807130764656661756c740764656661756c740174017302b0ea0101e807e0d403000000010001090172",
    "010114e807140764656661756c740764656661756c740174017301ac020172",
];

#[test]
fn each_command_is_written_and_read_as_in_version_1() {
    let changes = changes();
    let written = |change: &ControlChange| {
        Command::Control(ControlCommand { stamp: UnixMs(1_000), change: change.clone() }).encode()
    };
    let all: Vec<String> = changes.iter().map(|change| hex(&written(change))).collect();
    assert_eq!(all, COMMANDS, "{all:#?}");
    for (golden, change) in COMMANDS.iter().zip(changes) {
        let Ok(Command::Control(command)) = Command::decode(bytes(golden)) else { panic!("{golden}") };
        assert_eq!((command.stamp, command.change), (UnixMs(1_000), change));
    }
}

const ROWS: [(Table, &str, &str); 9] = [
    (Table::Core, "", "010106ee070100000000000000000000000000000005056e6f727468e9070102030200"),
    (
        Table::Node,
        "0000000000000001",
        "010100000000000000000000000000000065046e313a31046e313a32067a6f6e652d3101",
    ),
    (Table::Tenant, "000764656661756c74", "010764656661756c74e90701"),
    (Table::Namespace, "000764656661756c74000764656661756c74", "010764656661756c740764656661756c74e90701"),
    (
        Table::Topic,
        "000764656661756c74000764656661756c74000174",
        "010764656661756c740764656661756c74017401000001017b5353c1ad27d591bcac7a57f112555a01020100\
         0000000000000000000000000000650102010200",
    ),
    (
        Table::NamedProducer,
        "000764656661756c74000764656661756c74000174000170",
        "010764656661756c740764656661756c740174017001",
    ),
    (
        Table::Request,
        "0000000000000000",
        "01000764656661756c740172062b74656e616e74732f64656661756c742f6e616d657370616365732f646566\
         61756c742f746f706963732f7402000301",
    ),
    (
        Table::Request,
        "0000000000000001",
        "01010764656661756c740173062b74656e616e74732f64656661756c742f6e616d657370616365732f646566\
         61756c742f746f706963732f750601050901",
    ),
    (Table::ControlLog, "", "0101040105"),
];

/// A cluster with at least one row in each table but those of nodes that do not serve and of moves.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    let nodes = vec![node(1, 101)];
    let ControlChange::Form { cluster: id, name, .. } = form(5) else { panic!("a form") };
    cluster.ok(ControlChange::Form { cluster: id, name, nodes });
    cluster.ok(create("t", 1, 1, "r"));
    cluster.ok(open("t", "p", ""));
    for closed in [0, 4] {
        cluster.ok(ControlChange::TrimLog { closed });
    }
    cluster.apply(create("u", 1, 9, "s"));
    cluster
}

#[test]
fn each_row_is_written_and_read_as_in_version_1() {
    let written = cluster();
    let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| (*table, hex(key), hex(value));
    let all: Vec<(Table, String, String)> = written.disk.iter().map(row).collect();
    let golden = ROWS.map(|(table, key, value)| (table, key.to_owned(), value.to_owned()));
    assert_eq!(all, golden, "{all:#?}");
    let rows = ROWS.map(|(table, key, value)| ((table, bytes(key).to_vec()), bytes(value).to_vec()));
    let read = Cluster { disk: BTreeMap::from(rows), ..Cluster::new() };
    assert_eq!(read.restored(), written.machine);
}

/// Of nodes that do not simply serve, one in each way; and of a copy on its way out.
const MOVED_ROWS: [(Table, &str, &str); 4] = [
    (Table::NodeDuty, "0000000000000003", "010301"),
    (Table::NodeDuty, "0000000000000004", "010402"),
    (Table::NodeDuty, "0000000000000005", "01050300000000000000000000000000000069"),
    (Table::Move, "00000000000000010000000000000002", "0101020100000000000000000000000000000065"),
];

/// A cluster with those rows.
fn moved() -> Cluster {
    let mut cluster = Cluster::new();
    let ControlChange::Form { cluster: id, name, .. } = form(5) else { panic!("a form") };
    cluster.ok(ControlChange::Form { cluster: id, name, nodes: vec![node(1, 101)] });
    cluster.ok(create("t", 1, 1, ""));
    for number in 2..=5 {
        cluster.ok(ControlChange::RegisterNode { record: node(number, 100 + u128::from(number)) });
    }
    cluster.ok(ControlChange::MoveCopy { group: GroupId(1), from: NodeId(1), to: NodeId(2) });
    for (number, duty) in [(3, Duty::Draining), (4, Duty::Leaving), (5, Duty::Leaving)] {
        cluster.ok(ControlChange::SetDuty { node: NodeId(number), duty });
    }
    cluster.ok(ControlChange::ForgetNode { node: NodeId(5) });
    cluster
}

#[test]
fn each_row_of_nodes_and_moves_is_written_and_read_as_in_version_1() {
    let mut moved = moved();
    let of_moves = |table: &Table| matches!(table, Table::NodeDuty | Table::Move);
    let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| (*table, hex(key), hex(value));
    let all: Vec<_> = moved.disk.iter().filter(|((table, _), _)| of_moves(table)).map(row).collect();
    let golden = MOVED_ROWS.map(|(table, key, value)| (table, key.to_owned(), value.to_owned()));
    assert_eq!(all, golden, "{all:#?}");
    let rows = MOVED_ROWS.map(|(table, key, value)| ((table, bytes(key).to_vec()), bytes(value).to_vec()));
    moved.disk.retain(|(table, _), _| !of_moves(table));
    moved.disk.extend(rows);
    assert_eq!(moved.restored(), moved.machine);
}

/// Of a subscription that begins at an offset, and of one with nothing left out.
const SUBSCRIPTION_ROWS: [(Table, &str, &str); 2] = [
    (
        Table::TopicSubscription,
        "000764656661756c74000764656661756c74000174000173",
        "010764656661756c740764656661756c7401740173050002b0ea0101e807e0d40300000001000205",
    ),
    (
        Table::TopicSubscription,
        "000764656661756c74000764656661756c7400017400017a",
        "010764656661756c740764656661756c740174017a0603ac0203ac020007ac020105010764656661756c740764656661\
         756c740164010764656661756c740764656661756c7401720001ac020206",
    ),
];

/// A cluster with those rows.
fn subscribed() -> Cluster {
    let mut cluster = Cluster::formed();
    for name in ["t", "d", "r"] {
        cluster.ok(create(name, 2, 1, ""));
    }
    cluster.ok(subscribe("t", "s", ""));
    cluster.ok(ControlChange::CreateSubscription {
        topic: topic("t"),
        name: "z".into(),
        begin: BeginAt::Offset(Offset(300)),
        settings: Box::new(settings()),
        request_id: String::new(),
    });
    cluster
}

#[test]
fn each_row_of_subscriptions_is_written_and_read_as_in_version_1() {
    let mut written = subscribed();
    let of_subscriptions = |table: &Table| *table == Table::TopicSubscription;
    let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| (*table, hex(key), hex(value));
    let all: Vec<_> =
        written.disk.iter().filter(|((table, _), _)| of_subscriptions(table)).map(row).collect();
    let golden = SUBSCRIPTION_ROWS.map(|(table, key, value)| (table, key.to_owned(), value.to_owned()));
    assert_eq!(all, golden, "{all:#?}");
    let rows =
        SUBSCRIPTION_ROWS.map(|(table, key, value)| ((table, bytes(key).to_vec()), bytes(value).to_vec()));
    written.disk.retain(|(table, _), _| !of_subscriptions(table));
    written.disk.extend(rows);
    assert_eq!(written.restored(), written.machine);
}
