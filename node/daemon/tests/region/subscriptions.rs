//! Subscriptions as operators see them: every partition has those of its topic, whatever happens to the nodes.

use std::collections::BTreeMap;

use meridian_model::{BatchBuilder, Codec, LogId, Message, UnixMs};
use meridian_sdk::admin::{
    NewSubscription, NewTopic, Standing, StandingInfo, SubscriptionSettings, TopicInfo,
};
use meridian_sdk::{
    Error, Offset, Reason, Retention, Start, SubscriptionId, SubscriptionKind, SubscriptionRules,
};

use crate::cluster::{NODES, Region};
use crate::ledger::agreed;
use crate::patience::until;
use crate::producer::Sender;
use crate::trimming::{SMALL_SEGMENT_BYTES, small_segments};

const BODY_BYTES: usize = 1024;

async fn topic(region: &Region, name: &str, partitions: u32) -> TopicInfo {
    let created = region.client().admin().create_topic(NewTopic::new(name, partitions)).await;
    created.expect("the topic is created").topic
}

fn earliest(topic: &str, name: &str) -> NewSubscription {
    NewSubscription { start: Start::Earliest, ..NewSubscription::new(topic, name) }
}

async fn publish(region: &Region, sender: &mut Sender, batches: u64) {
    for _ in 0..batches {
        let batch = sender.batch(4, BODY_BYTES);
        sender
            .publish_surely(
                &region.running().into_iter().map(|n| region.address(n)).collect::<Vec<_>>(),
                batch,
            )
            .await;
    }
}

/// How a subscription stands in each partition, once each of them tells.
async fn standings(region: &Region, topic: &str, name: &str) -> Vec<Standing> {
    until("every partition knows the subscription", async || {
        let found = region.client().admin().get_subscription(topic, name).await.ok()?;
        let told = |found: StandingInfo| found.standing.ok().flatten();
        found.partitions.into_iter().map(told).collect()
    })
    .await
}

/// The ids of subscriptions that a node's replicas hold, by history.
fn held_by(region: &Region, node: u64) -> BTreeMap<LogId, Vec<SubscriptionId>> {
    let groups = region.registry(node).all();
    let held = groups.iter().filter_map(|group| {
        let ids =
            group.view().partition(|machine| machine.subscriptions().map(|view| view.id()).collect())?;
        Some((group.identity().history, ids))
    });
    held.collect()
}

/// Waits until every replica of the topic holds exactly these.
async fn every_replica_holds(region: &Region, topic: &TopicInfo, ids: &[SubscriptionId]) {
    until("every replica holds the topic's subscriptions and no others", async || {
        let holds = |node: u64| {
            let held = held_by(region, node);
            topic.partitions.iter().all(|partition| held.get(&partition.log).is_some_and(|held| held == ids))
        };
        region.running().into_iter().all(holds).then_some(())
    })
    .await;
}

fn reason<T: std::fmt::Debug>(refused: Result<T, Error>) -> Reason {
    refused.expect_err("refused").refusal().expect("by the region")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_in_every_partition_until_it_is_deleted_and_another_one_has_its_name_then() {
    let region = Region::start().await;
    let (topic, admin) = (topic(&region, "lived", 3).await, region.client().admin());
    let first = admin.create_subscription(earliest("lived", "s")).await.expect("created");
    assert_eq!(first.pending_partitions, Vec::<u32>::new());
    let id = first.subscription.id;
    every_replica_holds(&region, &topic, &[id]).await;
    assert_eq!(reason(admin.create_subscription(earliest("lived", "s")).await), Reason::AlreadyExists);

    let listed = admin.list_subscriptions("lived").await.expect("listed");
    assert_eq!(listed, [first.subscription]);
    for node in NODES {
        let found = region.registry(node).all().len();
        assert_eq!(found, 4, "node {node} has the control group and three partitions");
    }
    assert_eq!(standings(&region, "lived", "s").await.len(), 3);

    let deleted = admin.delete_subscription("lived", "s", None).await.expect("deleted");
    assert_eq!(deleted.pending_partitions, Vec::<u32>::new());
    every_replica_holds(&region, &topic, &[]).await;
    assert_eq!(reason(admin.get_subscription("lived", "s").await), Reason::NotFound);
    let second = admin.create_subscription(earliest("lived", "s")).await.expect("created").subscription.id;
    assert!(second > id, "{second} after {id}");
    every_replica_holds(&region, &topic, &[second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_survive_the_death_of_a_leader_and_what_changed_meanwhile_is_made_good() {
    let mut region = Region::start().await;
    let topic = topic(&region, "survived", 3).await;
    let kept =
        region.client().admin().create_subscription(earliest("survived", "kept")).await.expect("created");
    let gone =
        region.client().admin().create_subscription(earliest("survived", "gone")).await.expect("created");
    every_replica_holds(&region, &topic, &[kept.subscription.id, gone.subscription.id]).await;

    let leader = region.leader(&topic).await;
    region.kill(leader).await;
    let admin = region.client().admin();
    let deleted = admin.delete_subscription("survived", "gone", None).await.expect("deleted");
    assert_eq!(deleted.pending_partitions, Vec::<u32>::new());
    let new = admin.create_subscription(earliest("survived", "new")).await.expect("created");
    let ids = [kept.subscription.id, new.subscription.id];
    every_replica_holds(&region, &topic, &ids).await;
    region.start_node(leader).await;
    every_replica_holds(&region, &topic, &ids).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_added_has_the_subscriptions_from_its_first_message_on() {
    let region = Region::start().await;
    topic(&region, "grown", 1).await;
    let admin = region.client().admin();
    admin.create_subscription(NewSubscription::new("grown", "s")).await.expect("created");
    let added = admin.add_partitions("grown", 3).await.expect("added");
    let mut sender = Sender::open(&region.address(1), &added.topic.name.resource(), "").await.expect("opens");
    publish(&region, &mut sender, 2).await;
    let stands = standings(&region, "grown", "s").await;
    assert_eq!(stands.len(), 3);
    assert!(stands[1..].iter().all(|stand| stand.floor == Offset(0)), "{stands:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_counted_sought_skipped_and_cleared() {
    let region = Region::start().await;
    let topic = topic(&region, "moved", 1).await;
    let name = topic.name.resource();
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 5).await;
    let (admin, messages) = (region.client().admin(), sender.next);
    admin.create_subscription(earliest("moved", "s")).await.expect("created");
    admin.create_subscription(NewSubscription::new("moved", "at-the-end")).await.expect("created");
    let backlog = async |name: &str| standings(&region, "moved", name).await[0].backlog_messages;
    assert_eq!((backlog("s").await, backlog("at-the-end").await), (messages, 0));

    let skipped = admin.skip_messages("moved", "s", 0, 7).await.expect("skipped");
    assert_eq!((skipped.skipped_messages, skipped.floor), (7, Offset(7)));
    assert_eq!(backlog("s").await, messages - 7);
    let sought = admin.seek_subscription("moved", "s", None, Start::Offset(Offset(3))).await.expect("sought");
    assert_eq!((sought[0].floor, sought[0].seek_epoch), (Offset(3), 1));
    assert_eq!(backlog("s").await, messages - 3);
    let beyond = Start::Offset(Offset(messages + 1));
    let refused = admin.seek_subscription("moved", "s", Some(0), beyond).await;
    assert_eq!(reason(refused), Reason::OutOfRange);
    let cleared = admin.clear_backlog("moved", "s", None).await.expect("cleared");
    assert_eq!(cleared[0].floor, Offset(messages));
    assert_eq!(backlog("s").await, 0);
    admin.seek_subscription("moved", "s", None, Start::Earliest).await.expect("sought");
    assert_eq!(backlog("s").await, messages);
}

/// Messages 0 to 20, of which 4 to 8 and 12 to 16 are due in an hour.
async fn publish_some_delayed(region: &Region, topic: &TopicInfo) {
    let sender = Sender::open(&region.address(1), &topic.name.resource(), "").await.expect("opens");
    for number in 0..5u64 {
        let due = if number % 2 == 1 { sender.opened_at_ms + 3_600_000 } else { 0 };
        let mut builder = BatchBuilder::new(Codec::None).deliver_at(UnixMs(due));
        (0..4).for_each(|_| builder.push(&Message::new("m")));
        let batch = builder.build().expect("a batch").into_bytes();
        let ack = sender.publish(&region.address(1), batch).await.expect("stored");
        assert_eq!(ack.base_offset, number * 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delayed_messages_are_counted_apart_and_left_alone_by_a_skip() {
    let region = Region::start().await;
    let topic = topic(&region, "delayed", 1).await;
    publish_some_delayed(&region, &topic).await;
    let admin = region.client().admin();
    admin.create_subscription(earliest("delayed", "s")).await.expect("created");
    let backlog = async || {
        let stand = standings(&region, "delayed", "s").await.remove(0);
        (stand.backlog_messages, stand.delayed_messages, stand.delayed_at_most)
    };
    assert_eq!(backlog().await, (12, 8, false));
    let middle = Start::Offset(Offset(6));
    admin.seek_subscription("delayed", "s", Some(0), middle).await.expect("sought");
    assert_eq!(backlog().await, (8, 6, false), "in the middle of delayed ones");
    let skipped = admin.skip_messages("delayed", "s", 0, 5).await.expect("skipped");
    assert_eq!((skipped.skipped_messages, skipped.floor), (5, Offset(17)));
    assert_eq!(backlog().await, (3, 6, false), "delayed ones are still to come");
    let skipped = admin.skip_messages("delayed", "s", 0, 99).await.expect("skipped");
    assert_eq!((skipped.skipped_messages, skipped.floor), (3, Offset(20)));
    assert_eq!(backlog().await, (0, 6, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_says_what_to_do() {
    let region = Region::start().await;
    topic(&region, "refused", 2).await;
    let admin = region.client().admin();
    let with = |rules: SubscriptionRules, dead_letter: Option<&str>| NewSubscription {
        settings: SubscriptionSettings {
            rules,
            dead_letter_topic: dead_letter.map(Into::into),
            ..SubscriptionSettings::default()
        },
        ..NewSubscription::new("refused", "s")
    };
    let rules = SubscriptionRules::default;
    for bad in [
        with(SubscriptionRules { attempts_max: Some(3), ..rules() }, None),
        with(SubscriptionRules { attempts_max: Some(0), ..rules() }, Some("nowhere")),
        with(rules(), Some("refused")),
        with(SubscriptionRules { lease_ms: 1, ..rules() }, None),
        NewSubscription { start: Start::Offset(Offset(0)), ..NewSubscription::new("refused", "s") },
        NewSubscription::new("refused", "no spaces"),
    ] {
        assert_eq!(reason(admin.create_subscription(bad.clone()).await), Reason::InvalidArgument, "{bad:?}");
    }
    assert_eq!(reason(admin.create_subscription(earliest("nowhere", "s")).await), Reason::NotFound);
    let lost = with(SubscriptionRules { attempts_max: Some(3), ..rules() }, Some("nowhere"));
    assert_eq!(reason(admin.create_subscription(lost).await), Reason::NotFound);

    let created = admin.create_subscription(earliest("refused", "s")).await.expect("created").subscription;
    let mut settings = created.settings.clone();
    settings.rules.lease_ms = 60_000;
    let changed =
        admin.update_subscription("refused", "s", &settings, Some(&created.etag)).await.expect("changed");
    assert_eq!((changed.subscription.id, &changed.subscription.settings), (created.id, &settings));
    let again = admin.update_subscription("refused", "s", &settings, Some(&created.etag)).await;
    assert_eq!(reason(again), Reason::Conflict);
    settings.rules.kind = SubscriptionKind::Exclusive;
    assert_eq!(reason(admin.update_subscription("refused", "s", &settings, None).await), Reason::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_keeps_what_a_durable_subscription_has_not_acked() {
    let region = Region::start().await;
    let keep = 2 * SMALL_SEGMENT_BYTES;
    let topic = region.topic_keeping("kept", Retention { age_ms: None, bytes: Some(keep) }).await;
    let name = topic.name.resource();
    small_segments(&region, &topic).await;
    let admin = region.client().admin();
    let created = admin.create_subscription(earliest("kept", "s")).await.expect("created").subscription;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 60).await;
    let acked = sender.next / 2;
    admin.skip_messages("kept", "s", 0, acked).await.expect("skipped");
    let log = until("what is acked is gone", async || {
        let log = agreed(&region, &topic).await;
        (log.start.0 > 0).then_some(log)
    })
    .await;
    assert!(log.start.0 <= acked, "the log starts at {}, acked is what lies below {acked}", log.start);

    assert_eq!(standings(&region, "kept", "s").await[0].dropped_messages, 0);

    let fleeting = SubscriptionSettings { durable: false, ..created.settings };
    admin.update_subscription("kept", "s", &fleeting, None).await.expect("changed");
    let log = until("retention waits no longer", async || {
        let log = agreed(&region, &topic).await;
        (log.bytes < keep + SMALL_SEGMENT_BYTES + 8 * 1024).then_some(log)
    })
    .await;
    let stand = standings(&region, "kept", "s").await.remove(0);
    assert_eq!(
        (stand.floor, stand.dropped_messages),
        (log.start, log.start.0 - acked),
        "it is told what it lost"
    );
}
