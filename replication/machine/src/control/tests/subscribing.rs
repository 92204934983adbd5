//! Stories of subscriptions. All belong to CTL-1.

use meridian_model::subscription::{SubscriptionKind, SubscriptionRules};
use meridian_model::{SubscriptionId, limits};

use super::{Cluster, create, delete, finish, topic};
use crate::control::{BeginAt, ControlChange, ControlDone, SubscriptionSettings};
use crate::{CorruptState, Row, Table};

pub(super) fn subscribe(name: &str, subscription: &str, request_id: &str) -> ControlChange {
    ControlChange::CreateSubscription {
        topic: topic(name),
        name: subscription.into(),
        begin: BeginAt::Earliest,
        settings: Box::default(),
        request_id: request_id.into(),
    }
}

pub(super) fn unsubscribe(name: &str, subscription: &str) -> ControlChange {
    ControlChange::DeleteSubscription {
        topic: topic(name),
        name: subscription.into(),
        expected_version: None,
        request_id: String::new(),
    }
}

fn change(name: &str, subscription: &str, settings: SubscriptionSettings) -> ControlChange {
    ControlChange::UpdateSubscription {
        topic: topic(name),
        name: subscription.into(),
        settings: Box::new(settings),
        expected_version: None,
        request_id: String::new(),
    }
}

fn rules(rules: SubscriptionRules) -> SubscriptionSettings {
    SubscriptionSettings { rules, ..SubscriptionSettings::default() }
}

fn id_of(done: &ControlDone) -> SubscriptionId {
    match done {
        ControlDone::SubscriptionCreated { id } => *id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_that_is_used_again_is_another_subscription() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let first = id_of(&cluster.ok(subscribe("t", "s", "")));
    assert_eq!(cluster.reason(subscribe("t", "s", "")), "ALREADY_EXISTS");
    cluster.ok(unsubscribe("t", "s"));
    assert_eq!(cluster.machine.subscription(&topic("t"), "s"), None);
    let second = id_of(&cluster.ok(subscribe("t", "s", "")));
    assert!(second > first, "{second} after {first}");
}

#[test]
fn a_repeated_creation_gets_the_first_id_even_when_the_subscription_is_gone() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let first = cluster.apply(subscribe("t", "s", "r-1"));
    cluster.ok(unsubscribe("t", "s"));
    assert_eq!(cluster.apply(subscribe("t", "s", "r-1")), first);
    assert_eq!(cluster.machine.subscriptions().count(), 0, "it was not created again");
}

#[test]
fn a_topic_that_is_gone_takes_its_subscriptions_with_it_and_no_others() {
    let mut cluster = Cluster::formed();
    for name in ["s", "t", "u"] {
        cluster.ok(create(name, 1, 1, ""));
        cluster.ok(subscribe(name, "one", ""));
        cluster.ok(subscribe(name, "two", ""));
    }
    cluster.ok(delete("t"));
    assert_eq!(cluster.reason(subscribe("t", "three", "")), "CONFLICT");
    assert_eq!(cluster.machine.subscriptions_of(&topic("t")).count(), 2, "until its partitions are sealed");
    cluster.ok(finish("t"));
    let left: Vec<_> = cluster.machine.subscriptions().map(|s| s.topic.topic().to_owned()).collect();
    assert_eq!(left, ["s", "s", "u", "u"]);
}

#[test]
fn a_subscription_remembers_the_partitions_that_were_there_when_it_began() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 2, 1, ""));
    cluster.ok(subscribe("t", "s", ""));
    cluster.ok(ControlChange::AddPartitions {
        name: topic("t"),
        total: 5,
        seed: 1,
        request_id: String::new(),
    });
    let known = cluster.machine.subscription(&topic("t"), "s").expect("known");
    assert_eq!((known.partitions, known.begin), (2, BeginAt::Earliest));
}

#[test]
fn settings_change_and_the_kind_stays() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    let id = id_of(&cluster.ok(subscribe("t", "s", "")));
    let slower = rules(SubscriptionRules { lease_ms: 60_000, ..SubscriptionRules::default() });
    let index = cluster.apply(change("t", "s", slower.clone())).index;
    let known = cluster.machine.subscription(&topic("t"), "s").expect("known");
    assert_eq!((known.id, known.version, &known.settings), (id, index, &slower));
    let kind = SubscriptionKind::Exclusive;
    let other = rules(SubscriptionRules { kind, ..SubscriptionRules::default() });
    assert_eq!(cluster.reason(change("t", "s", other)), "CONFLICT");
}

#[test]
fn a_message_that_may_not_be_tried_again_needs_somewhere_to_go() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    cluster.ok(create("dead", 1, 1, ""));
    cluster.ok(subscribe("t", "s", ""));
    let with = |attempts_max, dead_letter: Option<&str>| SubscriptionSettings {
        rules: SubscriptionRules { attempts_max, ..SubscriptionRules::default() },
        dead_letter: dead_letter.map(topic),
        ..SubscriptionSettings::default()
    };
    for bad in
        [with(Some(3), None), with(None, Some("dead")), with(Some(0), Some("dead")), with(Some(3), Some("t"))]
    {
        assert_eq!(cluster.reason(change("t", "s", bad)), "INVALID_ARGUMENT");
    }
    assert_eq!(cluster.reason(change("t", "s", with(Some(3), Some("nowhere")))), "NOT_FOUND");
    cluster.ok(change("t", "s", with(Some(3), Some("dead"))));
}

#[test]
fn a_topic_holds_as_many_subscriptions_as_each_of_its_partitions() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    for number in 0..limits::SUBSCRIPTIONS_TOPIC_MAX {
        cluster.ok(subscribe("t", &format!("s{number}"), ""));
    }
    assert_eq!(cluster.reason(subscribe("t", "one-more", "")), "LIMIT");
    cluster.ok(unsubscribe("t", "s0"));
    cluster.ok(subscribe("t", "one-more", ""));
}

#[test]
fn a_subscription_of_a_topic_that_is_gone_is_no_state_to_begin_with() {
    let mut cluster = Cluster::formed();
    cluster.ok(create("t", 1, 1, ""));
    cluster.ok(subscribe("t", "s", ""));
    let rows = cluster.disk.iter().filter(|((table, _), _)| *table != Table::Topic);
    let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| Row {
        table: *table,
        key: key.clone(),
        value: value.clone(),
    };
    let restored = super::super::ControlMachine::restore(rows.map(row));
    assert!(matches!(restored, Err(CorruptState::Row { .. })), "{restored:?}");
}
