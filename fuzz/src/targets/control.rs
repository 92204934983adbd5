//! The control group's checkpoint: rows that no machine left are refused, in memory that they account for. What is
//! restored takes commands without harm, and leaves rows of which the same machine is restored again.

mod copies;

use bytes::Bytes;
use meridian_machine::control::{
    BeginAt, ControlChange, ControlCommand, ControlMachine, Duty, SubscriptionSettings,
};
use meridian_machine::{At, Command, Effect};
use meridian_model::subscription::SubscriptionRules;
use meridian_model::topology::{NodeAddresses, NodeRecord, Retention};
use meridian_model::{ClusterId, GroupId, Incarnation, NodeId, ReplicaId, TopicName, UnixMs};

use super::{Met, room};
use crate::story::{self, Disk, Story};

/// Set aside before a list is read, by whoever reads one.
const AHEAD_BYTES: usize = 1024 * 1024;

/// The input is rows, then entries.
pub(super) fn check(input: &[u8]) -> Met {
    story::check_halves(
        input,
        AHEAD_BYTES + room(input, 64),
        |disk: &Disk| ControlMachine::restore(disk.rows()),
        apply,
    )
}

/// Applies one entry, and looks at everything that can be seen.
fn apply(machine: &mut ControlMachine, entry: Option<&Bytes>) -> Vec<Effect> {
    let applied = machine.last_applied();
    let at = At { term: applied.term, index: applied.index + 1 };
    let mut effects = Vec::new();
    match entry.map(|entry| Command::decode(entry.clone())) {
        Some(Ok(Command::Control(command))) => {
            machine.apply(at, &command, &mut effects);
        }
        _ => machine.skip(at, &mut effects),
    }
    let partitions = machine.topics().map(|topic| topic.partitions.len()).sum::<usize>();
    assert_eq!(machine.groups_count(), partitions, "a group is one partition of one topic");
    for subscription in machine.subscriptions() {
        assert!(machine.topic(&subscription.topic).is_some(), "{subscription:?} of a topic that is gone");
    }
    for (group, copy) in machine.all_leaving() {
        assert!(machine.group(group).is_some(), "{copy:?} of a group that is gone");
    }
    copies::assert_sound(machine);
    effects
}

fn record(node: u64) -> NodeRecord {
    NodeRecord {
        node: NodeId(node),
        incarnation: Incarnation::from_u128(node.into()),
        addresses: NodeAddresses { client: format!("n{node}:1"), raft: format!("n{node}:2") },
        zone: format!("zone-{}", node % 3),
        control_replica: ReplicaId(node),
    }
}

/// Subscriptions of two topics: created, changed, deleted.
fn subscriptions(flights: &TopicName, other: &TopicName, dead: &TopicName) -> [ControlChange; 4] {
    let (name, id) = ("board".to_owned(), |id: &str| id.to_owned());
    let subscribe = |topic: &TopicName, settings, request_id| ControlChange::CreateSubscription {
        topic: topic.clone(),
        name: name.clone(),
        begin: BeginAt::Time(UnixMs(5)),
        settings: Box::new(settings),
        request_id,
    };
    let letters = SubscriptionSettings {
        rules: SubscriptionRules { attempts_max: Some(5), ..SubscriptionRules::default() },
        dead_letter: Some(dead.clone()),
        durable: false,
        ..SubscriptionSettings::default()
    };
    [
        subscribe(flights, SubscriptionSettings::default(), id("r10")),
        subscribe(other, SubscriptionSettings::default(), id("")),
        ControlChange::UpdateSubscription {
            topic: flights.clone(),
            name: name.clone(),
            settings: Box::new(letters),
            expected_version: None,
            request_id: id("r11"),
        },
        ControlChange::DeleteSubscription {
            topic: flights.clone(),
            name: name.clone(),
            expected_version: None,
            request_id: id("r12"),
        },
    ]
}

/// A region's life, with every kind of change.
pub(super) fn commands() -> Vec<Command> {
    let topic = |name: &str| TopicName::parse(name).expect("a name");
    let (flights, seed) = (topic("acme/air/flights"), 7u128);
    let (tenant, name) = ("acme".to_owned(), "air".to_owned());
    let retention = Retention { age_ms: Some(60_000), bytes: None };
    let id = |id: &str| id.to_owned();
    let wiped = NodeRecord { incarnation: Incarnation::from_u128(99), ..record(2) };
    let form = ControlChange::Form {
        cluster: ClusterId::from_u128(5),
        name: "test".into(),
        nodes: (1..=3).map(record).collect(),
    };
    let create = |name: TopicName, partitions, request_id| ControlChange::CreateTopic {
        name,
        partitions,
        replication: 2,
        retention,
        seed,
        request_id,
    };
    let open =
        |request_id| ControlChange::OpenProducer { topic: flights.clone(), name: "tower".into(), request_id };
    let begun = [
        form,
        ControlChange::RegisterNode { record: record(4) },
        ControlChange::CreateTenant { name: tenant.clone(), request_id: id("r1") },
        ControlChange::CreateNamespace { tenant: tenant.clone(), name: name.clone(), request_id: id("r2") },
        create(flights.clone(), 2, id("r3")),
        create(topic("short-lived"), 1, id("")),
        ControlChange::UpdateTopic {
            name: flights.clone(),
            retention,
            expected_version: None,
            request_id: id("r4"),
        },
        ControlChange::AddPartitions { name: flights.clone(), total: 3, seed, request_id: id("r5") },
        open(id("r6")),
        open(id("r6")),
        ControlChange::TrimLog { closed: 0 },
        ControlChange::PreferLeader { group: GroupId(1), node: NodeId(2) },
        ControlChange::MoveCopy { group: GroupId(1), from: NodeId(1), to: NodeId(4) },
        ControlChange::MoveCopy { group: GroupId(2), from: NodeId(2), to: NodeId(4) },
        ControlChange::FinishMove { group: GroupId(1), replica: ReplicaId(5) },
        ControlChange::RegisterNode { record: wiped },
        ControlChange::SetDuty { node: NodeId(3), duty: Duty::Draining },
        ControlChange::SetDuty { node: NodeId(1), duty: Duty::Leaving },
        ControlChange::ForgetNode { node: NodeId(1) },
        create(topic("acme/air/dead"), 1, id("")),
    ];
    let ended = [
        ControlChange::DeleteTopic { name: topic("short-lived"), request_id: id("r7") },
        ControlChange::FinishDelete { name: topic("short-lived"), expected_version: None },
        ControlChange::DeleteNamespace { tenant: tenant.clone(), name, request_id: id("r8") },
        ControlChange::DeleteTenant { name: tenant, request_id: id("r9") },
        ControlChange::TrimLog { closed: 11 },
    ];
    let subscribed = subscriptions(&flights, &topic("short-lived"), &topic("acme/air/dead"));
    let changes = begun.into_iter().chain(subscribed).chain(ended);
    let stamped = changes.zip(1_700_000_000_000..);
    stamped.map(|(change, at)| Command::Control(ControlCommand { stamp: UnixMs(at), change })).collect()
}

/// All of that life as entries, then as a checkpoint after every fourth of them with the rest as entries.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let history: Vec<Option<Bytes>> = commands().iter().map(|command| Some(command.encode())).collect();
    let (mut machine, mut disk) = (ControlMachine::new(), Disk::default());
    let mut seeds = vec![Story::write(&disk, &history)];
    for (entry, done) in history.iter().zip(1..) {
        disk.write(&apply(&mut machine, entry.as_ref()));
        if done % 4 == 0 {
            seeds.push(Story::write(&disk, &history[done..]));
        }
    }
    seeds
}
