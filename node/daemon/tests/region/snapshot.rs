//! A replica that was away for longer than the log reaches back gets a snapshot, and is whole again.

use meridian_sdk::Retention;

use crate::cluster::Region;
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::producer::Sender;
use crate::trimming::purged_beyond;

/// Ten of these, each in a batch of its own, fill a segment.
const BODY_BYTES: usize = 900 * 1024;

/// LOG-1, LOG-4, LOG-5, LOG-8: by retention as it is, with segments as large as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_left_behind_by_retention_is_filled_from_a_snapshot() {
    let mut region = Region::start().await;
    let retention = Retention { age_ms: None, bytes: Some(1024 * 1024) };
    let topic = region.topic_keeping("left-behind", retention).await;
    let name = topic.name.resource();
    region.make_leader(1, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let mut ledger = Ledger::default();
    let mut acks = Vec::new();
    let mut publish = async |region: &Region, ledger: &mut Ledger| {
        let first = sender.next;
        let batch = sender.batch(1, BODY_BYTES);
        let ack = sender.publish(&region.address(1), batch).await.expect("stored");
        ledger.note(&sender, first, &ack, BODY_BYTES);
        acks.push(ack);
    };
    for _ in 0..3 {
        publish(&region, &mut ledger).await;
    }
    agreed(&region, &topic).await;
    let last_index = region.status(3, &topic).await.expect("the node answers").last_index;
    region.kill(3).await;
    for _ in 0..27 {
        publish(&region, &mut ledger).await;
    }
    let purged = purged_beyond(&region, &topic, last_index).await;

    region.start_node(3).await;
    let log = agreed(&region, &topic).await;
    assert_eq!(region.power(3).installs(topic.partitions[0].group), 1, "a snapshot was installed");
    assert!(log.start.0 > 0);
    let (held, records) = replica_holds(&region, &topic, 3).await;
    assert_eq!((held.start, held.end, &held.chain_head), (log.start, log.end, &log.chain_head));
    let checked = ledger.check(&held, &records);
    assert_eq!(checked, records.len(), "nothing but what was acked");
    let (led, leaders) = replica_holds(&region, &topic, 1).await;
    assert_eq!((led.start, leaders), (held.start, records), "the same on the leader");

    // What the snapshot carried of producers is in force where it leads: the newest batch, and one long gone.
    region.make_leader(3, &topic).await;
    for (sequence, ack) in [(acks.len() - 1, acks.last()), (0, acks.first())] {
        let again = sender.batch_at(sequence as u64, 1, BODY_BYTES);
        let resent = sender.publish(&region.address(3), again).await.expect("known");
        assert!(resent.duplicate, "stored once (LOG-5)");
        assert_eq!(resent.base_offset, ack.expect("acked").base_offset);
    }
    let end = region.client().end_offset(&name, 0, true).await.expect("answers");
    assert_eq!(end.0, acks.len() as u64, "a resend takes no offset (LOG-5)");
    println!(
        "acked {} messages of {BODY_BYTES} bytes; purged through index {purged}; log {}..{}; checked {checked}",
        ledger.len(),
        log.start,
        log.end
    );
}

/// The log of a replica that comes back is not the only thing that moves on: it takes part again.
#[tokio::test(flavor = "multi_thread")]
async fn a_filled_replica_votes_and_carries_the_log_alone_with_one_other() {
    let mut region = Region::start().await;
    let retention = Retention { age_ms: None, bytes: Some(1) };
    let topic = region.topic_keeping("carries", retention).await;
    let name = topic.name.resource();
    crate::trimming::small_segments(&region, &topic).await;
    let addresses: Vec<String> = [1, 2].map(|node| region.address(node)).into();
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let mut ledger = Ledger::default();
    region.make_leader(1, &topic).await;
    let last_index = region.status(3, &topic).await.expect("the node answers").last_index;
    region.kill(3).await;
    for _ in 0..30 {
        let first = sender.next;
        let batch = sender.batch(4, 1024);
        let ack = sender.publish_surely(&addresses, batch).await;
        ledger.note(&sender, first, &ack, 1024);
    }
    purged_beyond(&region, &topic, last_index).await;
    region.start_node(3).await;
    agreed(&region, &topic).await;

    region.lose_power(1).await;
    let addresses: Vec<String> = [2, 3].map(|node| region.address(node)).into();
    let first = sender.next;
    let batch = sender.batch(4, 1024);
    let ack = sender.publish_surely(&addresses, batch).await;
    ledger.note(&sender, first, &ack, 1024);
    until("the filled replica holds the newest message", async || {
        let status = region.status(3, &topic).await?;
        (status.log_end.0 == sender.next).then_some(())
    })
    .await;
    let (log, records) = replica_holds(&region, &topic, 3).await;
    println!("acked {}; checked {} on the filled replica", ledger.len(), ledger.check(&log, &records));
}
