//! Whatever happens on the way, each message is stored once, and in order per key.

mod fake_cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use fake_cluster::{Dice, FakeCluster, Fault};
use meridian_proto::v1::ErrorReason;
use meridian_sdk::{Codec, Message, Producer, Receipt};

fn flight(key: u64, number: u64) -> Message {
    Message::new(number.to_string()).with_key(format!("key-{key}"))
}

/// Sends `count` messages over seven keys and waits for their acks.
async fn publish(producer: &Producer, count: u64) -> Vec<Receipt> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        deliveries.push(producer.send(flight(number % 7, number)).await.expect("taken in"));
    }
    let mut receipts = Vec::new();
    for delivery in deliveries {
        receipts.push(delivery.await.expect("delivered"));
    }
    receipts
}

/// Each of `count` messages is there once, keys are in order, and every receipt tells the truth.
fn check(cluster: &FakeCluster, partitions: u32, receipts: &[Receipt]) {
    let mut last_of_key: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut stored = 0;
    for partition in 0..partitions {
        let messages = cluster.messages(partition);
        stored += messages.len();
        for message in &messages {
            let number: i64 = std::str::from_utf8(&message.body).expect("text").parse().expect("a number");
            let key = message.key.clone().expect("a key").to_vec();
            let before = last_of_key.insert(key, number).unwrap_or(-1);
            assert!(before < number, "{number} after {before}: doubled or out of order");
        }
        for (number, receipt) in
            receipts.iter().enumerate().filter(|(_, receipt)| receipt.partition == partition)
        {
            assert_eq!(messages[receipt.offset.0 as usize].body, number.to_string(), "{receipt:?}");
            assert_eq!(receipt.id.log, cluster.partition(partition, |p| p.log));
        }
    }
    assert_eq!(stored, receipts.len(), "lost or doubled");
}

#[tokio::test]
async fn without_faults_for_every_codec() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        let cluster = FakeCluster::with_topic(3).await;
        let producer = cluster.client().await.producer("t").codec(codec).build().await.expect("opened");
        let receipts = publish(&producer, 500).await;
        check(&cluster, 3, &receipts);
        assert!(receipts.iter().all(|receipt| !receipt.duplicate));
        let batches = cluster.with(|state| state.batches_received);
        assert!(batches < 200, "batching: {batches} batches for 500 messages");
    }
}

#[tokio::test]
async fn each_fault_alone_at_the_head_and_in_the_pipeline() {
    let faults = [
        Fault::BreakAfterStore,
        Fault::BreakBeforeStore,
        Fault::UnknownAfterStore,
        Fault::UnknownBeforeStore,
        Fault::Move,
        Fault::Refuse(ErrorReason::Throttled),
        Fault::Refuse(ErrorReason::Unavailable),
        Fault::Refuse(ErrorReason::NotLeader),
        Fault::Refuse(ErrorReason::SequenceGap),
        Fault::Refuse(ErrorReason::NotFound),
        Fault::Refuse(ErrorReason::Internal),
        Fault::Silence,
        Fault::SilenceAfterStore,
    ];
    let mut runs = Vec::new();
    for fault in faults {
        for passing in [0, 3] {
            runs.push(async move {
                let cluster = FakeCluster::with_topic(1).await;
                cluster.script(0, std::iter::repeat_n(Fault::Pass, passing).chain([fault]));
                let config = cluster.config().with_attempt_timeout(Duration::from_millis(300));
                let client = meridian_sdk::Client::connect(config).await.expect("up");
                let producer = client.producer("t").batch_messages_max(5).in_flight_max(8).build();
                let receipts = publish(&producer.await.expect("opened"), 100).await;
                check(&cluster, 1, &receipts);
                assert_eq!(cluster.with(|state| state.opens), 1, "{fault:?} needs no new identity");
            });
        }
    }
    futures::future::join_all(runs).await;
}

/// One seed: batches received, batches stored, acks of duplicates.
async fn run_seed(seed: u64) -> [u64; 3] {
    let cluster = FakeCluster::with_topic(3).await;
    cluster.with(|state| state.dice = Some(Dice::new(seed, 150)));
    let config = cluster.config().with_attempt_timeout(Duration::from_millis(500)).with_seed(seed);
    let client = meridian_sdk::Client::connect(config).await.expect("up");
    let builder = client.producer("t").batch_messages_max(4).in_flight_max(1 + seed as usize % 8);
    let receipts = publish(&builder.build().await.expect("opened"), 300).await;
    check(&cluster, 3, &receipts);
    let stored: usize = (0..3).map(|p| cluster.partition(p, |p| p.batches.len())).sum();
    let duplicates = receipts.iter().filter(|receipt| receipt.duplicate).count();
    [cluster.with(|state| state.batches_received), stored as u64, duplicates as u64]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_over_many_seeds() {
    const SEEDS: u64 = 60;
    let runs: Vec<_> = (0..SEEDS).map(|seed| tokio::spawn(run_seed(seed))).collect();
    let mut sums = [0; 3];
    for run in runs {
        let counts = run.await.expect("the seed holds");
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let [received, stored, duplicates] = sums;
    println!("{SEEDS} seeds: {received} batches received, {stored} stored, {duplicates} acks of duplicates");
    assert!(received > stored && duplicates > 100, "the faults must have bitten");
}

#[tokio::test]
async fn a_dead_leader_is_survived() {
    let cluster = FakeCluster::with_topic(1).await;
    let client = cluster.client().await;
    let producer = client.producer("t").build().await.expect("opened");
    let first = producer.send(flight(0, 0)).await.expect("taken in").await.expect("delivered");
    cluster.take_down(1);
    let delivery = producer.send(flight(0, 1)).await.expect("taken in");
    let mover = async {
        while cluster.with(|state| state.lookups) < 3 {
            tokio::task::yield_now().await;
        }
        cluster.move_leader(0, 2);
    };
    let (second, ()) = tokio::join!(delivery, mover);
    check(&cluster, 1, &[first, second.expect("delivered by the new leader")]);
}

/// A node that takes batches and says nothing, while another one leads by now: no connection breaks.
#[tokio::test]
async fn a_silent_node_is_left_as_soon_as_others_name_another_leader() {
    let cluster = FakeCluster::with_topic(1).await;
    cluster.script(0, [Fault::Silence]);
    let producer = cluster.client().await.producer("t").build().await.expect("opened");
    let begun = std::time::Instant::now();
    let delivery = producer.send(flight(0, 0)).await.expect("taken in");
    tokio::time::sleep(Duration::from_millis(900)).await;
    cluster.move_leader(0, 2);
    let receipt = delivery.await.expect("delivered by the new leader");
    let took = begun.elapsed();
    check(&cluster, 1, &[receipt]);
    assert!(
        took < Duration::from_secs(3),
        "after {took:?}, and not only when an answer is overdue after 5 s"
    );
}

#[tokio::test]
async fn a_silent_node_is_waited_for_while_nobody_else_leads() {
    let cluster = FakeCluster::with_topic(1).await;
    cluster.script(0, [Fault::Silence]);
    let config = cluster.config().with_attempt_timeout(Duration::from_millis(2_500));
    let client = meridian_sdk::Client::connect(config).await.expect("up");
    let producer = client.producer("t").build().await.expect("opened");
    let delivery = producer.send(flight(0, 0)).await.expect("taken in");
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let (received, lookups) = cluster.with(|state| (state.batches_received, state.lookups));
    assert_eq!(received, 1, "sent again although nobody else leads");
    assert!(lookups > 3, "others were asked {lookups} times");
    check(&cluster, 1, &[delivery.await.expect("delivered once the answer was overdue")]);
}

#[tokio::test]
async fn credit_is_respected_and_one_batch_always_fits() {
    for credit_bytes in [10, 400, 2_000] {
        let cluster = FakeCluster::with_topic(1).await;
        cluster.with(|state| state.credit_bytes = credit_bytes);
        cluster.script(0, [Fault::Pass, Fault::Silence, Fault::Silence, Fault::Silence]);
        let config = cluster.config().with_attempt_timeout(Duration::from_millis(200));
        let client = meridian_sdk::Client::connect(config).await.expect("up");
        let producer = client.producer("t").batch_messages_max(3).build().await.expect("opened");
        let receipts = publish(&producer, 60).await;
        check(&cluster, 1, &receipts);
        assert_eq!(cluster.with(|state| state.overdrawn), 0, "credit {credit_bytes}");
    }
}

#[tokio::test]
async fn keyless_messages_stick_and_spread() {
    let cluster = FakeCluster::with_topic(4).await;
    let builder = cluster.client().await.producer("t").batch_bytes_max(1_000);
    let producer = builder.build().await.expect("opened");
    for _ in 0..400 {
        producer.send(Message::new(vec![b'x'; 100])).await.expect("taken in");
    }
    producer.close().await.expect("all delivered");
    let counts: Vec<usize> = (0..4).map(|p| cluster.messages(p).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|count| count % 10 == 0 && *count > 0), "runs of ten: {counts:?}");
}

#[tokio::test]
async fn a_lingering_batch_goes_with_the_flush() {
    let cluster = FakeCluster::with_topic(1).await;
    let builder = cluster.client().await.producer("t").linger(Duration::from_secs(3600));
    let producer = builder.build().await.expect("opened");
    for number in 0..10 {
        producer.send(flight(0, number)).await.expect("taken in");
    }
    producer.flush().await.expect("delivered without waiting an hour");
    assert_eq!(cluster.partition(0, |partition| partition.batches.len()), 1, "one batch");
}

#[tokio::test]
async fn a_partition_that_hangs_does_not_disturb_its_neighbours() {
    let cluster = FakeCluster::with_topic(4).await;
    // Partitions 0 and 3 have the same leader.
    cluster.script(0, [Fault::SilenceAfterStore]);
    cluster.with(|state| state.credit_bytes = 2_000);
    let config = cluster.config().with_attempt_timeout(Duration::from_millis(1_000));
    let client = meridian_sdk::Client::connect(config).await.expect("up");
    let producer = client.producer("t").build().await.expect("opened");
    let key_of = |partition| {
        let keys = (0..).map(|n: u32| n.to_string());
        keys.into_iter().find(|key| meridian_model::hash::partition_of(key.as_bytes(), 4) == partition)
    };
    let (hanging, lively) = (key_of(0).expect("a key"), key_of(3).expect("a key"));
    let mut slow = producer.send(Message::new("slow").with_key(hanging)).await.expect("taken in");
    let mut delivered = 0;
    let receipt = loop {
        let delivery = producer.send(Message::new("quick").with_key(lively.clone())).await.expect("taken in");
        assert!(!delivery.await.expect("delivered").duplicate, "its stream was not broken");
        delivered += 1;
        if let Some(receipt) = futures::FutureExt::now_or_never(&mut slow) {
            break receipt.expect("delivered in the end");
        }
    };
    assert!(receipt.duplicate, "stored by the copy that was never answered");
    assert!(delivered > 50, "answers give their credit back: {delivered} beside the one that hangs");
}
