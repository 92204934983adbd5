//! What retention removes, and that it stays removed; readers that are overtaken are told so.

use std::sync::Arc;

use meridian_commitlog::{ReadCommitted, ReadError};
use meridian_deliver::ReadSession;
use meridian_model::{NodeId, Offset, Start as SessionStart, UnixMs};
use meridian_sdk::{Item, Reason, Retention, Start};

use crate::cluster::{NODES, Region, Settings};
use crate::ledger::{agreed, replica_holds};
use crate::patience::until;
use crate::producer::Sender;
use crate::trimming::{SMALL_SEGMENT_BYTES, purged_beyond, small_segments, trim};

const HOUR_MS: u64 = 3_600_000;
const BODY_BYTES: usize = 1024;

async fn publish(region: &Region, sender: &mut Sender, batches: u64) {
    for _ in 0..batches {
        let batch = sender.batch(4, BODY_BYTES);
        sender.publish_surely(&[region.address(1), region.address(2)], batch).await;
    }
}

/// LOG-9: the log start never goes back, whatever happens to the nodes.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_by_size_removed_never_comes_back() {
    let mut region = Region::start().await;
    let keep = 2 * SMALL_SEGMENT_BYTES;
    let topic = region.topic_keeping("by-size", Retention { age_ms: None, bytes: Some(keep) }).await;
    let name = topic.name.resource();
    small_segments(&region, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 60).await;
    let start = until("the oldest messages are gone", async || {
        let log = region.client().get_log(&name, 0, true).await.ok()?;
        (log.start > Offset(0) && log.bytes < keep + SMALL_SEGMENT_BYTES + 8 * 1024).then_some(log.start)
    })
    .await;
    let log = agreed(&region, &topic).await;
    assert!(log.bytes >= keep, "no more is removed than may be: {} of {keep} bytes are left", log.bytes);

    for node in NODES {
        region.lose_power(node).await;
    }
    for node in NODES {
        region.start_node(node).await;
    }
    region.formed().await;
    let after = agreed(&region, &topic).await;
    assert!(after.start >= start, "{} came back (LOG-9)", after.start);
    for node in NODES {
        let (held, records) = replica_holds(&region, &topic, node).await;
        assert!(records.iter().all(|record| record.offset >= start), "node {node} (LOG-9)");
        assert_eq!(held.end.0, sender.next);
    }
    let opened = region.client().reader(&name).partition(0).start(Start::Offset(Offset(0))).clamp(false);
    let refused = match opened.open().await {
        Ok(mut reader) => reader.next().await.expect("an answer").map(drop),
        Err(error) => Err(error),
    };
    let refused = refused.expect_err("what is gone cannot be read");
    assert_eq!(refused.refusal(), Some(Reason::OutOfRange), "{refused}");
    println!(
        "{} messages published, log {}..{} after power loss of all",
        sender.next, after.start, after.end
    );
}

/// LOG-9, by the append stamps of messages: what is younger than the age stays.
#[tokio::test(flavor = "multi_thread")]
async fn retention_by_age_removes_the_old_and_nothing_else() {
    let region = Region::start().await;
    let retention = Retention { age_ms: Some(HOUR_MS), bytes: None };
    let topic = region.topic_keeping("by-age", retention).await;
    let name = topic.name.resource();
    small_segments(&region, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 20).await;
    let old = sender.next;
    region.pass(HOUR_MS / 2).await;
    publish(&region, &mut sender, 20).await;
    assert_eq!(agreed(&region, &topic).await.start, Offset(0), "nothing is old yet");

    region.pass(HOUR_MS / 2 + 10_000).await;
    let log = until("the old half is gone", async || {
        let log = agreed(&region, &topic).await;
        (log.start.0 + 40 >= old).then_some(log)
    })
    .await;
    assert!(log.start.0 <= old, "a message of half an hour was removed: the log starts at {}", log.start);

    region.pass(2 * HOUR_MS).await;
    until("all is gone", async || {
        let log = agreed(&region, &topic).await;
        (log.start == log.end && log.end.0 == sender.next).then_some(())
    })
    .await;
    let batch = sender.batch(1, BODY_BYTES);
    let ack = sender.publish(&region.address(1), batch).await.expect("stored");
    assert_eq!(ack.base_offset + 1, sender.next, "offsets go on where they were");
    println!("{old} old messages removed at {}, then all {}", log.start, sender.next - 1);
}

/// LOG-8: a session that retention overtakes between two pages is told what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_overtaken_is_told_what_it_missed() {
    let region = Region::start().await;
    let topic = region.topic("overtaken").await;
    let (name, group) = (topic.name.resource(), topic.partitions[0].group);
    small_segments(&region, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 10).await;
    agreed(&region, &topic).await;
    let log: Arc<dyn ReadCommitted> = region.registry(2) as _;
    let mut session = ReadSession::open(log, group, SessionStart::Earliest, false).await.expect("opens");
    session.page().await.expect("the first page");
    let place = session.place();
    publish(&region, &mut sender, 50).await;
    trim(&region, &topic, 1).await;
    let start = agreed(&region, &topic).await.start;
    assert!(start > place);
    let page = session.page().await.expect("overtaken is no error");
    assert_eq!(page.skipped, Some((place, start)));
    let page = session.page().await.expect("goes on at the start");
    assert_eq!(page.batches.first().map(|batch| batch.base), Some(start));

    let reader = region.client().reader(&name).partition(0).start(Start::Offset(Offset(3))).clamp(true);
    let mut reader = reader.open().await.expect("opens");
    let first = reader.next().await.expect("an item").expect("reads");
    assert_eq!(first, Item::Skipped { partition: 0, from: Offset(3), to: start });
    println!("skips reported: {place}..{start} in a session, 3..{start} at the door");
}

/// LOG-8: also when retention strikes in the middle of one read: neither a damaged disk nor an old log start
/// is reported.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_overtaken_in_the_middle_says_where_the_log_starts_now() {
    // Without memory for log tails, old messages are read from the disk.
    let region = Region::start_with(Settings { tail_bytes: Some(0), ..Settings::default() }).await;
    let topic = region.topic("in-the-middle").await;
    let (name, group) = (topic.name.resource(), topic.partitions[0].group);
    small_segments(&region, &topic).await;
    region.make_leader(1, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    publish(&region, &mut sender, 60).await;
    let last = region.status(2, &topic).await.expect("answers").purged_index;
    let (power, registry) = (region.power(2), region.registry(2));
    power.hold_log_reads();
    let reading = {
        let registry = Arc::clone(&registry);
        tokio::spawn(async move { registry.read(group, Offset(0), 64 * 1024).await })
    };
    until("the read is on its way", async || power.is_read_waiting().then_some(())).await;
    trim(&region, &topic, 1).await;
    purged_beyond(&region, &topic, last).await;
    until("the log of the replica read begins later", async || {
        let purged = region.group(2, &topic)?.positions().2;
        (purged > last).then_some(())
    })
    .await;
    power.release_log_reads();
    let start = registry.bounds(group).expect("answers").start;
    match reading.await.expect("no panic") {
        Err(ReadError::OutOfRange { offset, start: said, .. }) => {
            assert_eq!((offset, said), (Offset(0), start));
        }
        other => panic!("an overtaken read must say so: {other:?}"),
    }
    println!("overtaken at 0, told that the log starts at {start}");
}

/// Reading from a time begins at the first message appended then.
#[tokio::test(flavor = "multi_thread")]
async fn reading_from_a_time_begins_at_the_first_message_appended_then() {
    let region = Region::start().await;
    let topic = region.topic("by-time").await;
    let name = topic.name.resource();
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let mut parts = Vec::new();
    for _ in 0..3 {
        parts.push(sender.next);
        publish(&region, &mut sender, 3).await;
        region.pass(HOUR_MS).await;
    }
    agreed(&region, &topic).await;
    let (_, records) = replica_holds(&region, &topic, 1).await;
    let stamp = |offset: u64| records[offset as usize].appended_at;
    let end = sender.next;
    let expected = [
        (UnixMs(0), 0),
        (stamp(parts[1]), parts[1]),
        (stamp(parts[1]).plus_ms(HOUR_MS / 2), parts[2]),
        (stamp(parts[2]).plus_ms(HOUR_MS / 2), end),
    ];
    for (time, offset) in expected {
        for node in NODES {
            let reader = region.client().reader(&name).partition(0).replica(NodeId(node));
            let mut reader = reader.start(Start::Time(time)).open().await.expect("opens");
            let first = match reader.next().await.transpose().expect("reads") {
                Some(Item::Record(record)) => record.offset.0,
                None => end,
                other => panic!("{other:?}"),
            };
            assert_eq!(first, offset, "from {time} on node {node}");
        }
    }
    println!("{} times looked up on {} replicas", expected.len(), NODES.len());
}
