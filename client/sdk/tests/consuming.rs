//! A consumer gets each message until it is acked, through whatever breaks, and says so when it holds one no longer.

mod fake_cluster;

use std::collections::BTreeSet;
use std::time::Duration;

use fake_cluster::FakeCluster;
use fake_cluster::subscribe::SubscribeFault;
use futures::FutureExt;
use meridian_proto::v1::subscribe_request::Request as Said;
use meridian_sdk::consumer::{Consumer, Delivery, Kind, Revoked};
use meridian_sdk::{Client, ConsumerBuilder, Error, Message, Reason, Start};

/// Partitions with messages 0, 1, 2, ... in batches of ten.
async fn filled(partitions: u32, messages: u64) -> (FakeCluster, Client) {
    let cluster = FakeCluster::with_topic(partitions).await;
    for partition in 0..partitions {
        append(&cluster, partition, 0..messages);
    }
    let client = cluster.client().await;
    (cluster, client)
}

fn append(cluster: &FakeCluster, partition: u32, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for chunk in numbers.chunks(10) {
        let messages: Vec<Message> =
            chunk.iter().map(|n| Message::new(n.to_string()).with_key("k").with_property("p", "v")).collect();
        cluster.partition(partition, |partition| partition.append_plain(&messages, 1_000));
    }
}

fn shared(client: &Client) -> ConsumerBuilder {
    client.consumer(["t"]).subscription("s").kind(Kind::Shared).create(true).start(Start::Earliest)
}

async fn take(consumer: &mut Consumer, messages: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..messages {
        taken.push(consumer.next().await.expect("goes on").expect("a message"));
    }
    taken
}

fn places(deliveries: &[Delivery]) -> BTreeSet<(u32, u64)> {
    deliveries.iter().map(|delivery| (delivery.partition, delivery.offset.0)).collect()
}

/// Waits until something is so, on the fake cluster's own ticks.
async fn until(cluster: &FakeCluster, is_so: impl Fn() -> bool) {
    let mut changes = cluster.changes.subscribe();
    while !is_so() {
        let _ = tokio::time::timeout(Duration::from_millis(20), changes.changed()).await;
    }
}

#[tokio::test]
async fn every_message_comes_once_and_is_settled_by_its_ack() {
    let (cluster, client) = filled(3, 50).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 150).await;
    assert_eq!(places(&taken).len(), 150);
    let first = &taken[0];
    let number = first.offset.0.to_string();
    assert_eq!((first.body.as_ref(), first.key.as_deref()), (number.as_bytes(), Some(&b"k"[..])));
    assert_eq!((first.attempt, first.properties.len(), first.is_revoked()), (1, 1, false));
    let acks: Vec<_> = taken.iter().map(|delivery| consumer.ack(delivery)).collect();
    for ack in acks {
        ack.await.expect("durable");
    }
    for (partition, offset) in places(&taken) {
        assert!(cluster.with(|state| state.subscribing.is_settled(partition, offset)));
    }
    assert_eq!(first.revoked(), Some(Revoked::Settled));
    let requests = cluster.with(|state| acks_said(&state.subscribing.said));
    assert!(requests <= 30, "150 acks took {requests} requests");
    append(&cluster, 1, 50..51);
    assert_eq!(take(&mut consumer, 1).await[0].offset.0, 50, "what comes later is delivered too");
}

fn acks_said(said: &[Said]) -> usize {
    said.iter().filter(|said| matches!(said, Said::Ack(_))).count()
}

#[tokio::test]
async fn an_ack_whose_answer_is_lost_is_said_again_and_nothing_comes_twice() {
    for fault in [SubscribeFault::BreakBefore, SubscribeFault::BreakAfter] {
        let (cluster, client) = filled(2, 10).await;
        let mut consumer = shared(&client).open().await.expect("opened");
        let mut taken = take(&mut consumer, 20).await;
        cluster.with(|state| state.subscribing.script.push_back(fault));
        consumer.ack(&taken[3]).await.expect("durable in the end");
        let opened = cluster.with(|state| state.subscribing.opened.clone());
        assert_eq!(opened.len(), 2);
        assert_eq!(opened[0].consumer_id, opened[1].consumer_id);
        let held = opened[1].holds.iter().flat_map(|held| &held.ranges).map(|range| range.to - range.from);
        assert_eq!(held.sum::<u64>(), 20, "also what is being acked");
        for (partition, numbers) in [(0, 10..12), (1, 10..12)] {
            append(&cluster, partition, numbers);
        }
        taken.extend(take(&mut consumer, 4).await);
        assert_eq!(places(&taken).len(), 24, "{fault:?}: nothing twice");
        assert!(!taken[5].is_revoked());
        consumer.ack(&taken[5]).await.expect("held through the break");
    }
}

#[tokio::test]
async fn when_its_node_dies_a_consumer_goes_on_at_another_with_what_it_holds() {
    let (cluster, client) = filled(1, 30).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 30).await;
    for node in [1, 2] {
        cluster.take_down(node);
    }
    for delivery in &taken {
        consumer.ack(delivery).await.expect("durable");
    }
    append(&cluster, 0, 30..31);
    assert_eq!(take(&mut consumer, 1).await[0].offset.0, 30);
    assert!(consumer.lag().is_empty(), "no node told");
}

#[tokio::test]
async fn a_message_that_is_lost_is_known_to_be_and_its_ack_is_refused() {
    let (cluster, client) = filled(1, 3).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 3).await;
    cluster.with(|state| {
        let queue = state.subscribing.queue(0);
        queue.held.insert(1, "somebody else".into());
    });
    cluster.changed();
    until(&cluster, || taken[1].is_revoked()).await;
    assert_eq!((taken[1].revoked(), taken[2].revoked()), (Some(Revoked::LeaseEnded), None));
    let refused = consumer.ack(&taken[1]).await.expect_err("another's");
    assert_eq!(refused.refusal(), Some(Reason::LeaseEnded));
    consumer.ack_cumulative(&taken[2]).await.expect("the others are held");
}

#[tokio::test]
async fn a_refused_message_comes_again_as_another_attempt() {
    let (cluster, client) = filled(1, 2).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 2).await;
    consumer.nack(&taken[0]).await.expect("refused");
    cluster.changed();
    let again = take(&mut consumer, 1).await.remove(0);
    assert_eq!((again.offset, again.attempt), (taken[0].offset, 2));
    assert!(taken[0].is_revoked() && !again.is_revoked());
    assert!(consumer.ack(&taken[0]).await.is_err(), "the earlier delivery is over");
    consumer.ack(&again).await.expect("durable");
}

#[tokio::test]
async fn a_refusal_whose_answer_is_lost_is_not_said_twice() {
    let (cluster, client) = filled(1, 2).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 2).await;
    cluster.with(|state| state.subscribing.script.push_back(SubscribeFault::BreakAfter));
    let doubt = consumer.nack(&taken[0]).await.expect_err("in doubt");
    assert!(matches!(doubt, Error::Indeterminate { .. }));
    let again = take(&mut consumer, 1).await.remove(0);
    assert_eq!((again.offset, again.attempt), (taken[0].offset, 2), "it counted once");
}

#[tokio::test]
async fn acks_wait_for_a_partition_that_is_away() {
    let (cluster, client) = filled(2, 5).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 10).await;
    cluster.with(|state| state.subscribing.away.insert(1));
    cluster.changed();
    let (here, there): (Vec<_>, Vec<_>) = taken.iter().partition(|delivery| delivery.partition == 0);
    let mut waiting: Vec<_> = there.iter().map(|delivery| consumer.ack(delivery)).collect();
    for delivery in here {
        consumer.ack(delivery).await.expect("here");
    }
    assert!((&mut waiting[0]).now_or_never().is_none());
    cluster.with(|state| state.subscribing.away.clear());
    cluster.changed();
    for ack in waiting {
        ack.await.expect("durable");
    }
}

#[tokio::test]
async fn a_slow_application_is_sent_no_more_than_fits() {
    let (cluster, client) = filled(1, 100).await;
    let mut consumer = shared(&client).queue_messages_max(10).held_max(25).open().await.expect("opened");
    let held = || cluster.with(|state| state.subscribing.queue(0).held.len());
    until(&cluster, || held() == 10).await;
    let mut taken = take(&mut consumer, 25).await;
    assert_eq!(held(), 25, "no more than may be held");
    assert!(consumer.next().now_or_never().is_none());
    while taken.len() < 100 {
        consumer.ack_cumulative(taken.last().expect("some")).await.expect("durable");
        taken.extend(take(&mut consumer, 5).await);
        assert!(held() <= 25);
    }
    assert_eq!(places(&taken).len(), 100);
}

#[tokio::test]
async fn a_call_for_the_next_message_that_is_dropped_loses_none() {
    let (cluster, client) = filled(1, 20).await;
    let mut consumer = shared(&client).queue_messages_max(3).open().await.expect("opened");
    let mut taken = Vec::new();
    while taken.len() < 20 {
        match tokio::time::timeout(Duration::from_micros(200), consumer.next()).await {
            Ok(next) => taken.push(next.expect("goes on").expect("a message")),
            Err(_) => cluster.changed(),
        }
    }
    let offsets: Vec<u64> = taken.iter().map(|delivery| delivery.offset.0).collect();
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_drain_ends_when_everything_in_hand_is_settled() {
    let (cluster, client) = filled(1, 40).await;
    let mut consumer = shared(&client).queue_messages_max(10).open().await.expect("opened");
    let first = take(&mut consumer, 1).await;
    until(&cluster, || cluster.with(|state| state.subscribing.queue(0).held.len() >= 10)).await;
    let drained = consumer.drain();
    let mut settled = 1;
    consumer.ack(&first[0]).await.expect("durable");
    while let Some(next) = consumer.next().await {
        let delivery = next.expect("a message");
        consumer.ack(&delivery).await.expect("durable");
        settled += 1;
    }
    drained.await.expect("nothing is held");
    let (held, done) = cluster
        .with(|state| (state.subscribing.queue(0).held.len(), state.subscribing.queue(0).settled.len()));
    assert_eq!((held, done), (0, settled));
    assert!(settled < 40, "no more came");
}

#[tokio::test]
async fn what_a_consumer_held_when_it_closed_goes_to_another() {
    let (cluster, client) = filled(1, 10).await;
    let mut first = shared(&client).open().await.expect("opened");
    let taken = take(&mut first, 10).await;
    let ack = first.ack(&taken[4]);
    first.close().await;
    ack.await.expect("answered before the end");
    assert_eq!(cluster.with(|state| state.subscribing.queue(0).held.len()), 0);
    let mut second = shared(&client).open().await.expect("opened");
    assert_eq!(places(&take(&mut second, 9).await).len(), 9);
    drop(second);
    until(&cluster, || cluster.with(|state| state.subscribing.queue(0).held.is_empty())).await;
}

#[tokio::test]
async fn whole_batches_are_unpacked_here() {
    let (cluster, client) = filled(1, 30).await;
    let mut consumer = shared(&client).kind(Kind::Exclusive).batches(true).open().await.expect("opened");
    let taken = take(&mut consumer, 30).await;
    let bodies: Vec<u64> = taken
        .iter()
        .map(|d| std::str::from_utf8(&d.body).expect("text").parse().expect("a number"))
        .collect();
    assert_eq!(bodies, (0..30).collect::<Vec<_>>());
    consumer.ack_cumulative(&taken[19]).await.expect("durable");
    let ranges = cluster.with(|state| {
        let ack = state.subscribing.said.iter().find_map(|said| match said {
            Said::Ack(ack) => Some(ack.ranges.clone()),
            _ => None,
        });
        ack.expect("an ack")
    });
    assert_eq!((ranges.len(), ranges[0].to), (1, 20), "one range for all of them");
    assert!(!taken[20].is_revoked() && taken[0].is_revoked());
}

#[tokio::test]
async fn a_seek_brings_everything_back_and_what_was_held_is_revoked() {
    let (_cluster, client) = filled(2, 5).await;
    let mut consumer = shared(&client).open().await.expect("opened");
    let taken = take(&mut consumer, 10).await;
    consumer.ack(&taken[0]).await.expect("durable");
    consumer.seek(Start::Earliest).await.expect("sought");
    assert_eq!(taken[1].revoked(), Some(Revoked::Sought));
    let again = take(&mut consumer, 10).await;
    assert_eq!(places(&again).len(), 10);
    assert!(again.iter().all(|delivery| delivery.epochs().seek == 1));
    assert_eq!(consumer.ack(&taken[1]).await.expect_err("stale").refusal(), Some(Reason::StaleDelivery));
}

#[tokio::test]
async fn an_opening_that_is_refused_says_why() {
    let (cluster, client) = filled(1, 1).await;
    for reason in [Reason::OtherKind, Reason::ConsumerPresent, Reason::NotFound] {
        cluster.with(|state| state.subscribing.refuse_open = Some(reason));
        let refused = shared(&client).open().await.expect_err("refused");
        assert_eq!(refused.refusal(), Some(reason));
    }
    let unnamed = client.consumer(["t"]).open().await.expect_err("no name");
    assert!(matches!(unnamed, Error::Invalid { field: "subscription", .. }));
}

#[tokio::test]
async fn when_nobody_is_there_for_long_enough_the_consumer_says_so_and_ends() {
    let (cluster, client) = filled(1, 3).await;
    let mut consumer = shared(&client).patience(Duration::from_millis(300)).open().await.expect("opened");
    let taken = take(&mut consumer, 3).await;
    (1..=3).for_each(|node| cluster.take_down(node));
    let ack = consumer.ack(&taken[0]);
    let error = consumer.next().await.expect("an error").expect_err("nobody is there");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(consumer.next().await.is_none());
    assert!(matches!(ack.await, Err(Error::Indeterminate { .. })));
    assert!(matches!(consumer.ack(&taken[1]).await, Err(Error::Timeout { .. })));
}

#[tokio::test]
async fn single_calls_take_ack_and_refuse() {
    let (cluster, client) = filled(2, 3).await;
    let wait = Duration::from_millis(10);
    let pulled = client.pull("t", "s", 4, wait, None).await.expect("pulled");
    let seen: Vec<_> = pulled.iter().map(|one| (one.partition, one.offset.0, one.attempt)).collect();
    assert_eq!(seen, [(0, 0, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1)]);
    let ids: Vec<_> = pulled.iter().map(|one| one.ack_id.clone()).collect();
    let outcomes = client
        .acknowledge("t", "s", vec![ids[0].clone(), "nonsense".into(), ids[2].clone()])
        .await
        .expect("answered");
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert!(client.extend("t", "s", vec![ids[1].clone()]).await.expect("answered")[0].is_ok());
    assert!(client.refuse("t", "s", vec![ids[1].clone()]).await.expect("answered")[0].is_ok());
    let again = client.pull("t", "s", 10, wait, Some(0)).await.expect("pulled");
    assert_eq!(again.iter().map(|one| (one.offset.0, one.attempt)).collect::<Vec<_>>(), [(1, 2)]);
    assert!(cluster.with(|state| state.subscribing.is_settled(0, 0)));
}
