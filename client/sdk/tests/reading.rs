//! A reader delivers every message once, in order, and says what is missing.

mod fake_cluster;

use bytes::Bytes;
use fake_cluster::FakeCluster;
use meridian_sdk::{BatchItem, Error, Item, Message, NodeId, Offset, Reader, Reason, Start, UnixMs};

/// Partition 0 with messages 0, 1, 2, ... in batches of `per_batch`; a batch is appended at 1000 + its number.
async fn filled(batches: u64, per_batch: u64) -> FakeCluster {
    let cluster = FakeCluster::with_topic(1).await;
    for batch in 0..batches {
        append(&cluster, 0, batch * per_batch, per_batch, 1_000 + batch);
    }
    cluster
}

fn append(cluster: &FakeCluster, partition: u32, first: u64, count: u64, at: u64) {
    let messages: Vec<Message> =
        (first..first + count).map(|n| Message::new(n.to_string()).with_key("k")).collect();
    cluster.partition(partition, |partition| partition.append_plain(&messages, at));
}

async fn numbers(reader: &mut Reader) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(item) = reader.next().await {
        match item.expect("readable") {
            Item::Record(record) => {
                let number: u64 = std::str::from_utf8(&record.body).expect("text").parse().expect("a number");
                assert_eq!(record.offset.0, number);
                numbers.push(number);
            }
            Item::Skipped { from, to, .. } => panic!("skipped {from}..{to}"),
        }
    }
    numbers
}

#[tokio::test]
async fn every_start_begins_at_its_message() {
    let cluster = filled(10, 7).await;
    let client = cluster.client().await;
    let cases = [
        (Start::Earliest, 0..70),
        (Start::Offset(Offset(10)), 10..70),
        (Start::Time(UnixMs(1_003)), 21..70),
        (Start::Time(UnixMs(9_999)), 70..70),
        (Start::Latest, 70..70),
    ];
    for (start, expected) in cases {
        for unpack_on_node in [false, true] {
            let builder = client.reader("t").partition(0).start(start).unpack_on_node(unpack_on_node);
            let mut reader = builder.open().await.expect("opened");
            assert_eq!(numbers(&mut reader).await, expected.clone().collect::<Vec<_>>(), "{start:?}");
        }
    }
    let mut limited = client.reader("t").limit(9).open().await.expect("opened");
    assert_eq!(numbers(&mut limited).await, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn broken_streams_and_new_leaders_leave_no_gap_and_no_repeat() {
    let cluster = filled(40, 3).await;
    cluster.with(|state| state.read_breaks = 25);
    let mut reader = cluster.client().await.reader("t").open().await.expect("opened");
    assert_eq!(numbers(&mut reader).await, (0..120).collect::<Vec<_>>());
    assert_eq!(cluster.with(|state| state.read_breaks), 0, "all breaks happened");
}

#[tokio::test]
async fn following_sees_what_comes_and_survives_the_leader() {
    let cluster = filled(1, 5).await;
    let client = cluster.client().await;
    let mut reader =
        client.reader("t").start(Start::Latest).follow(true).limit(6).open().await.expect("opened");
    append(&cluster, 0, 5, 3, 2_000);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(reader.next().await.expect("follows").expect("readable"));
    }
    cluster.move_leader(0, 2);
    cluster.take_down(1);
    append(&cluster, 0, 8, 3, 2_001);
    assert_eq!(numbers(&mut reader).await, [8, 9, 10], "and then the limit");
    assert!(matches!(&seen[0], Item::Record(record) if record.offset == Offset(5)));
}

#[tokio::test]
async fn what_retention_took_is_reported() {
    let cluster = filled(10, 2).await;
    cluster.partition(0, |partition| {
        partition.start = 6;
        partition.batches.drain(..3);
    });
    let client = cluster.client().await;
    let mut reader = client.reader("t").start(Start::Offset(Offset(1))).open().await.expect("opened");
    let first = reader.next().await.expect("an item").expect("readable");
    assert_eq!(first, Item::Skipped { partition: 0, from: Offset(1), to: Offset(6) });
    assert_eq!(numbers(&mut reader).await, (6..20).collect::<Vec<_>>());
    let strict = client.reader("t").start(Start::Offset(Offset(1))).clamp(false);
    let error = strict.open().await.expect("opened").next().await.expect("an item").expect_err("refused");
    assert_eq!(error.refusal(), Some(Reason::OutOfRange));
    let beyond = client.reader("t").start(Start::Offset(Offset(99)));
    let error = beyond.open().await.expect("opened").next().await.expect("an item").expect_err("refused");
    assert_eq!(error.refusal(), Some(Reason::OutOfRange));
}

#[tokio::test]
async fn damaged_bytes_and_silent_gaps_are_errors() {
    let cluster = filled(3, 4).await;
    cluster.partition(0, |partition| {
        let mut bytes = partition.batches[1].batch.bytes().to_vec();
        *bytes.last_mut().expect("a batch has bytes") ^= 1;
        partition.batches[1].served = Some(Bytes::from(bytes));
    });
    let client = cluster.client().await;
    let mut reader = client.reader("t").limit(100).open().await.expect("opened");
    for _ in 0..4 {
        reader.next().await.expect("an item").expect("the first batch is whole");
    }
    let error = reader.next().await.expect("an item").expect_err("damaged");
    assert!(matches!(error, Error::Corrupt { offset: Offset(4), .. }), "{error:?}");
    assert!(reader.next().await.is_none(), "and then it ends");

    let cluster = filled(3, 4).await;
    cluster.partition(0, |partition| partition.batches.remove(1));
    let mut reader = cluster.client().await.reader("t").open().await.expect("opened");
    for _ in 0..4 {
        reader.next().await.expect("an item").expect("the first batch is there");
    }
    let error = reader.next().await.expect("an item").expect_err("a hole");
    assert!(matches!(error, Error::Gap { expected: Offset(4), got: Offset(8), .. }), "{error:?}");
}

#[tokio::test]
async fn another_history_is_an_error() {
    let cluster = filled(2, 2).await;
    let mut reader = cluster.client().await.reader("t").follow(true).open().await.expect("opened");
    for _ in 0..4 {
        reader.next().await.expect("an item").expect("readable");
    }
    cluster.create("t", 1);
    append(&cluster, 0, 0, 9, 1);
    let error = reader.next().await.expect("an item").expect_err("another log");
    assert!(matches!(error, Error::LogChanged { .. }), "{error:?}");
}

#[tokio::test]
async fn all_partitions_come_each_in_order() {
    let cluster = FakeCluster::with_topic(5).await;
    for partition in 0..5 {
        for batch in 0..20 {
            append(&cluster, partition, batch * 3, 3, batch);
        }
    }
    let mut reader = cluster.client().await.reader("t").open().await.expect("opened");
    let mut next = [0; 5];
    while let Some(item) = reader.next().await {
        let Item::Record(record) = item.expect("readable") else { panic!("skipped") };
        assert_eq!(record.offset.0, next[record.partition as usize]);
        next[record.partition as usize] += 1;
    }
    assert_eq!(next, [60; 5]);
}

#[tokio::test]
async fn whole_batches_replicas_and_log_bounds() {
    let cluster = filled(3, 4).await;
    let client = cluster.client().await;
    let mut batches =
        client.reader("t").start(Start::Offset(Offset(5))).open_batches().await.expect("opened");
    let BatchItem::Batch { base, batch, .. } = batches.next().await.expect("an item").expect("readable")
    else {
        panic!("skipped");
    };
    assert_eq!((base, batch.header().count), (Offset(4), 4), "the whole batch around the offset");
    let mut replica = client.reader("t").replica(NodeId(3)).open().await.expect("opened");
    assert_eq!(numbers(&mut replica).await.len(), 12);
    let log = client.get_log("t", 0, true).await.expect("bounds");
    assert_eq!((log.start, log.end, log.chain_head.len()), (Offset(0), Offset(12), 32));
    assert_eq!(client.end_offset("t", 0, false).await.expect("end"), Offset(12));
    let wrong = client.reader("t").partition(7).open().await.expect_err("there is one partition");
    assert!(wrong.to_string().contains("partitions 0 to 0"), "{wrong}");
}
