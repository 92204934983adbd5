//! The groups of a real region keep the contract of the ports.

use meridian_commitlog::conformance::{CursorSubject, Subject, all, cursors};
use meridian_model::{Clock, GroupId};
use meridian_sdk::admin::{NewSubscription, SubscriptionSettings};
use meridian_sdk::{SubscriptionId, SubscriptionKind, SubscriptionRules};

use crate::cluster::Region;
use crate::ledger::agreed;
use crate::trimming::{small_segments, trim};

/// LOG-1, LOG-5, LOG-7, LOG-8: with everything at hand, and again behind a trim.
#[tokio::test(flavor = "multi_thread")]
async fn replicated_partitions_keep_the_contract_of_the_ports() {
    let region = Region::start().await;
    let topic = region.topic("contract").await;
    small_segments(&region, &topic).await;
    region.make_leader(1, &topic).await;
    let registry = region.registry(1);
    let subject = Subject {
        append: &*registry,
        read: &*registry,
        group: topic.partitions[0].group,
        absent: GroupId(999),
        opened_at: region.clock.now(),
    };
    let checks = all(&subject).await;
    trim(&region, &topic, 1).await;
    let start = agreed(&region, &topic).await.start;
    assert!(start.0 > 0, "something was trimmed");
    println!("{checks} checks, and {} behind a trim to {start}", all(&subject).await);
}

/// SUB-1 to SUB-3 and SUB-6, as far as a partition keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn replicated_subscriptions_keep_the_contract_of_the_ports() {
    let region = Region::start().await;
    let topic = region.topic("cursors").await;
    let admin = region.client().admin();
    let subscribed = async |name: &str, kind| {
        let rules = SubscriptionRules { kind, ..SubscriptionRules::default() };
        let settings = SubscriptionSettings { rules, ..SubscriptionSettings::default() };
        let new = NewSubscription { settings, ..NewSubscription::new("cursors", name) };
        admin.create_subscription(new).await.expect("created").subscription.id
    };
    let shared = subscribed("shared", SubscriptionKind::Shared).await;
    let failover = subscribed("failover", SubscriptionKind::Failover).await;
    region.make_leader(1, &topic).await;
    let registry = region.registry(1);
    let group = topic.partitions[0].group;
    let opened_at = region.clock.now();
    let subject = CursorSubject {
        log: Subject { append: &*registry, read: &*registry, group, absent: GroupId(999), opened_at },
        cursors: &*registry,
        shared,
        failover,
        absent: SubscriptionId(999),
    };
    println!("{} checks of subscriptions, and {} more", cursors(&subject).await, cursors(&subject).await);
    agreed(&region, &topic).await;
}
