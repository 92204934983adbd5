//! What cannot be delivered ends as a typed error, and takes nothing else with it.

mod fake_cluster;

use std::time::Duration;

use fake_cluster::{FakeCluster, Fault};
use meridian_sdk::{Client, Error, Message, Producer, Reason};

async fn send(producer: &Producer, body: &str) -> meridian_sdk::Delivery {
    producer.send(Message::new(body.to_string()).with_key("k")).await.expect("taken in")
}

fn bodies(cluster: &FakeCluster) -> Vec<String> {
    let messages = cluster.messages(0);
    messages.iter().map(|m| String::from_utf8(m.body.to_vec()).expect("text")).collect()
}

#[tokio::test]
async fn a_producer_of_the_same_name_fences_the_first() {
    let cluster = FakeCluster::with_topic(1).await;
    let client = cluster.client().await;
    let first = client.producer("t").name("loader").build().await.expect("opened");
    send(&first, "a").await.await.expect("delivered");
    let second = client.producer("t").name("loader").build().await.expect("opened");
    match send(&first, "b").await.await {
        Err(error @ Error::Fenced { current_epoch: Some(2), .. }) => assert!(!error.retryable()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(first.send(Message::new("c")).await, Err(Error::Fenced { .. })), "dead for good");
    send(&second, "d").await.await.expect("the second one lives");
    assert_eq!(bodies(&cluster), ["a", "d"]);
}

#[tokio::test]
async fn a_refused_batch_fails_alone_and_the_rest_goes_on_under_a_new_identity() {
    for name in [None, Some("loader")] {
        let cluster = FakeCluster::with_topic(1).await;
        cluster.script(0, [Fault::Pass, Fault::Refuse(Reason::CorruptBatch)]);
        let mut builder = cluster.client().await.producer("t").batch_messages_max(2).in_flight_max(8);
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let producer = builder.build().await.expect("opened");
        let mut deliveries = Vec::new();
        for body in ["0", "1", "2", "3", "4", "5", "6", "7", "8"] {
            deliveries.push(send(&producer, body).await);
        }
        let mut failed = Vec::new();
        for (number, delivery) in deliveries.into_iter().enumerate() {
            if let Err(error) = delivery.await {
                assert_eq!(error.refusal(), Some(Reason::CorruptBatch), "{error}");
                failed.push(number.to_string());
            }
        }
        assert!((1..=2).contains(&failed.len()), "one batch: {failed:?}");
        let mut all = bodies(&cluster);
        assert!(all.is_sorted(), "{all:?}");
        all.extend(failed);
        all.sort();
        assert_eq!(all, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
        assert_eq!(cluster.with(|state| state.opens), 2, "a new identity");
    }
}

#[tokio::test]
async fn a_new_epoch_after_a_refusal_is_taken_over_by_all_partitions() {
    let cluster = FakeCluster::with_topic(2).await;
    let producer = cluster.client().await.producer("t").name("loader").build().await.expect("opened");
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let publish_all = |round: &'static str| {
        let producer = producer.clone();
        async move {
            let mut failed = 0;
            for key in keys {
                let message = Message::new(round).with_key(key);
                failed += usize::from(producer.send(message).await.expect("taken in").await.is_err());
            }
            failed
        }
    };
    assert_eq!(publish_all("one").await, 0);
    cluster.script(0, [Fault::Refuse(Reason::CorruptBatch)]);
    assert_eq!(
        publish_all("two").await,
        1,
        "the refused one; the other partition is not fenced by its own producer"
    );
    assert_eq!(publish_all("three").await, 0);
    assert_eq!(cluster.messages(0).len() + cluster.messages(1).len(), 23);
}

#[tokio::test]
async fn a_forgotten_producer_opens_again_and_loses_nothing() {
    let cluster = FakeCluster::with_topic(1).await;
    let producer = cluster.client().await.producer("t").build().await.expect("opened");
    send(&producer, "a").await.await.expect("delivered");
    cluster.partition(0, |partition| partition.forget_producers());
    send(&producer, "b").await.await.expect("delivered under a new identity");
    cluster.script(0, [Fault::Refuse(Reason::TokenExpired)]);
    send(&producer, "c").await.await.expect("delivered under another one");
    assert_eq!(bodies(&cluster), ["a", "b", "c"]);
    assert_eq!(cluster.with(|state| state.opens), 3);
}

#[tokio::test]
async fn an_old_duplicate_is_an_error_that_says_so_and_the_sequence_goes_on() {
    let cluster = FakeCluster::with_topic(1).await;
    cluster.script(0, [Fault::UnknownAfterStore, Fault::Refuse(Reason::DuplicateBeyondWindow)]);
    let producer = cluster.client().await.producer("t").build().await.expect("opened");
    let error = send(&producer, "a").await.await.expect_err("its offset is forgotten");
    assert_eq!(error.refusal(), Some(Reason::DuplicateBeyondWindow));
    assert!(error.hint().contains("stored already"), "{}", error.hint());
    send(&producer, "b").await.await.expect("the next sequence fits");
    assert_eq!((bodies(&cluster).len(), cluster.with(|state| state.opens)), (2, 1));
}

#[tokio::test]
async fn a_deleted_topic_fails_everything_at_once() {
    let cluster = FakeCluster::with_topic(1).await;
    let producer = cluster.client().await.producer("t").batch_messages_max(1).build().await.expect("opened");
    send(&producer, "a").await.await.expect("delivered");
    cluster.partition(0, |partition| partition.sealed = true);
    let deliveries = [send(&producer, "b").await, send(&producer, "c").await];
    for delivery in deliveries {
        assert_eq!(delivery.await.expect_err("sealed").refusal(), Some(Reason::TopicSealed));
    }
    cluster.with(|state| state.topics.clear());
    let error = send(&producer, "d").await.await.expect_err("gone");
    assert_eq!(error.refusal(), Some(Reason::NotFound), "{error}");
}

#[tokio::test]
async fn when_time_is_up_the_error_says_whether_it_may_be_stored() {
    let cases = [
        (Fault::Refuse(Reason::DiskFull), false),
        (Fault::Refuse(Reason::Throttled), false),
        (Fault::UnknownBeforeStore, true),
        (Fault::Silence, true),
        (Fault::BreakBeforeStore, true),
    ];
    for (fault, may_be_stored) in cases {
        let cluster = FakeCluster::with_topic(1).await;
        cluster.script(0, std::iter::repeat_n(fault, 10_000));
        let config = cluster.config().with_attempt_timeout(Duration::from_millis(100));
        let client = Client::connect(config).await.expect("up");
        let builder = client.producer("t").delivery_timeout(Duration::from_millis(400));
        let producer = builder.build().await.expect("opened");
        match send(&producer, "a").await.await {
            Err(Error::Indeterminate { .. }) => assert!(may_be_stored, "{fault:?}"),
            Err(Error::Timeout { .. }) => assert!(!may_be_stored, "{fault:?}"),
            other => panic!("{fault:?}: {other:?}"),
        }
        cluster.partition(0, |partition| partition.script.clear());
        send(&producer, "b").await.await.expect("the producer recovers");
        assert_eq!(bodies(&cluster), ["b"]);
    }
}

#[tokio::test]
async fn a_full_buffer_holds_the_sender_back() {
    let cluster = FakeCluster::with_topic(1).await;
    cluster.script(0, [Fault::Silence]);
    let config = cluster.config().with_attempt_timeout(Duration::from_millis(300));
    let builder = Client::connect(config).await.expect("up").producer("t").buffer_bytes_max(2_000);
    let producer = builder.build().await.expect("opened");
    let first = producer.send(Message::new(vec![0; 1_000])).await.expect("taken in");
    let mut second = Box::pin(producer.send(Message::new(vec![1; 1_000])));
    let full = tokio::time::timeout(Duration::from_millis(50), &mut second).await;
    assert!(full.is_err(), "no room for a second one");
    first.await.expect("resent after the attempt timeout");
    second.await.expect("room").await.expect("delivered");
}

#[tokio::test]
async fn flush_reports_the_first_failure_once_and_close_closes() {
    let cluster = FakeCluster::with_topic(1).await;
    cluster.script(0, [Fault::Refuse(Reason::TooLarge)]);
    let producer = cluster.client().await.producer("t").build().await.expect("opened");
    drop(send(&producer, "a").await);
    assert_eq!(producer.flush().await.expect_err("refused").refusal(), Some(Reason::TooLarge));
    producer.flush().await.expect("told once");
    let clone = producer.clone();
    producer.close().await.expect("nothing left");
    assert!(matches!(clone.send(Message::new("b")).await, Err(Error::Closed)));
}

#[test]
fn a_producer_whose_runtime_has_ended_does_not_say_that_all_is_stored() {
    let runtime = || tokio::runtime::Runtime::new().expect("a runtime");
    let (around, inner) = (runtime(), runtime());
    let cluster = around.block_on(FakeCluster::with_topic(1));
    cluster.script(0, [Fault::Silence]);
    let (producer, flushing, delivery) = inner.block_on(async {
        let producer = cluster.client().await.producer("t").build().await.expect("opened");
        let delivery = send(&producer, "a").await;
        let mut flushing = Box::pin({
            let producer = producer.clone();
            async move { producer.flush().await }
        });
        assert!(futures::poll!(&mut flushing).is_pending());
        (producer, flushing, delivery)
    });
    inner.shutdown_background();
    around.block_on(async {
        let outcomes =
            [delivery.await.map(drop), flushing.await, producer.flush().await, producer.close().await];
        for (outcome, who) in outcomes.into_iter().zip(["delivery", "flush before", "flush", "close"]) {
            assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{who}: {outcome:?}");
        }
    });
}

#[tokio::test]
async fn wrong_input_is_refused_before_anything_is_sent() {
    let cluster = FakeCluster::with_topic(1).await;
    let client = cluster.client().await;
    let producer = client.producer("t").build().await.expect("opened");
    let large = producer.send(Message::new(vec![0; 2 << 20])).await.expect_err("too large");
    assert!(matches!(large, Error::Invalid { field: "message", .. }), "{large:?}");
    let name = client.producer("t").name("a b").build().await.expect_err("a bad name");
    assert_eq!(name.reason(), "INVALID_ARGUMENT");
    let greedy = client.producer("t").in_flight_max(1_000).build().await.expect_err("too many");
    assert!(greedy.to_string().contains("in_flight_max"), "{greedy}");
    let unknown = client.producer("nothing").build().await.expect_err("no such topic");
    assert_eq!(unknown.refusal(), Some(Reason::NotFound));
    assert_eq!(cluster.with(|state| state.batches_received), 0);
}
