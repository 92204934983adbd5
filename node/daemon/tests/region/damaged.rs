//! Damaged messages condemn a copy of one group, not its node; the copy comes back as another, from the others.

use std::time::Duration;

use meridian_sdk::Item;
use meridian_sdk::admin::TopicInfo;
use meridian_storage::keys::{log, meta};
use meridian_storage::{Engine, Family, WriteSet};

use crate::cluster::{Region, Settings};
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::producer::Sender;

/// Few of these leave memory: they are read from the disk.
const BODY_BYTES: usize = 60 * 1024;
const BATCHES: u64 = 12;

async fn filled(region: &Region, topic: &TopicInfo) -> Ledger {
    let mut sender = Sender::open(&region.address(1), &topic.name.resource(), "").await.expect("opens");
    let mut ledger = Ledger::default();
    for first in 0..BATCHES {
        let batch = sender.batch(1, BODY_BYTES);
        let ack = sender.publish_to(&region.address(1), 0, batch).await.expect("stored");
        ledger.note(&sender, first, &ack, BODY_BYTES);
    }
    agreed(region, topic).await;
    ledger
}

/// Overwrites a stored entry in the middle of the topic's log on one node.
fn damage(region: &Region, node: u64, topic: &TopicInfo) {
    let group = topic.partitions[0].group;
    let entries = region.disk(node).scan(Family::Log, &log::all(group), usize::MAX, usize::MAX);
    let entries = entries.expect("reads");
    let (key, value) = &entries[entries.len() / 3];
    let mut damaged = value.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut set = WriteSet::default();
    set.put(Family::Log, key.to_vec(), damaged);
    region.disk(node).write(&[set], true).expect("writes");
}

/// Reads the replica until it stumbles: whoever reads finds the damage, and what it reads before that is right.
async fn stumble(region: &Region, node: u64, topic: &TopicInfo, ledger: &Ledger) {
    let before = region.group(node, topic).expect("a copy").replica();
    until("the damaged copy stops", async || {
        let reader = region.client().reader(topic.name.resource()).partition(0);
        let reader = reader
            .replica(meridian_model::NodeId(node))
            .limit(BATCHES)
            .patience(Duration::from_secs(1))
            .open()
            .await;
        if let Ok(mut reader) = reader {
            while let Some(Ok(Item::Record(record))) = reader.next().await {
                ledger.check_one(&record);
            }
        }
        let group = region.group(node, topic);
        group.is_none_or(|group| group.replica() != before).then_some(())
    })
    .await;
}

/// LOG-1, LOG-4: nothing acked is lost and nothing damaged is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_costs_a_copy_of_its_group_and_no_more() {
    let settings = Settings { tail_bytes: Some(64 * 1024), ..Settings::default() };
    let region = Region::start_with(settings).await;
    let (hurt, well) = (region.topic("hurt").await, region.topic("well").await);
    let (ledger, mut unhurt) = (filled(&region, &hurt).await, filled(&region, &well).await);
    let old = region.group(2, &hurt).expect("a copy").replica();
    let bystander = region.group(2, &well).expect("a copy").replica();

    damage(&region, 2, &hurt);
    stumble(&region, 2, &hurt, &ledger).await;
    let mut sender = Sender::open(&region.address(1), &well.name.resource(), "").await.expect("opens");
    let batch = sender.batch(1, BODY_BYTES);
    let ack = sender.publish_to(&region.address(1), 0, batch).await.expect("stored");
    unhurt.note(&sender, 0, &ack, BODY_BYTES);

    let new = until("a new copy is whole", async || {
        let group = region.group(2, &hurt).filter(|group| group.replica() != old)?;
        let votes = region.group(region.leader(&hurt).await, &hurt)?.members().0;
        (votes.contains_key(&group.replica()) && !votes.contains_key(&old)).then(|| group.replica())
    })
    .await;
    agreed(&region, &hurt).await;
    let (log, records) = replica_holds(&region, &hurt, 2).await;
    assert_eq!(ledger.check(&log, &records), BATCHES as usize);
    agreed(&region, &well).await;
    let (log, records) = replica_holds(&region, &well, 2).await;
    assert_eq!(unhurt.check(&log, &records), BATCHES as usize + 1);
    assert_eq!(region.group(2, &well).expect("a copy").replica(), bystander, "the node went on");
    println!("{old} was condemned and came back as {new}; {bystander} of another group never stopped");
}

/// Without a quorum of others a damaged copy is kept: it may be what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_kept_until_a_quorum_of_others_holds_the_group() {
    let settings = Settings { tail_bytes: Some(64 * 1024), ..Settings::default() };
    let mut region = Region::start_with(settings).await;
    let (topic, well) = (region.topic("kept").await, region.topic("well").await);
    let ledger = filled(&region, &topic).await;
    let old = region.group(2, &topic).expect("a copy").replica();
    region.kill(3).await;
    damage(&region, 2, &topic);
    stumble(&region, 2, &topic, &ledger).await;
    let mark = meta::encode(topic.partitions[0].group, meta::Fact::Condemned);
    until("it is condemned for good", async || {
        region.disk(2).get(Family::Meta, &mark).expect("reads").map(drop)
    })
    .await;
    // Started again, it still is not opened: what was said of it is on the disk.
    region.kill(2).await;
    region.start_node(2).await;
    until("node 2 has opened its copies", async || region.group(2, &well).map(drop)).await;
    let stored = || {
        let rows = region.disk(2).scan(Family::Log, &log::all(topic.partitions[0].group), 1, 1);
        !rows.expect("reads").is_empty()
    };
    assert!(stored() && region.group(2, &topic).is_none(), "neither opened nor removed");

    assert!(stored(), "not removed while nobody else has a quorum");
    region.start_node(3).await;
    until("a new copy votes", async || {
        let group = region.group(2, &topic).filter(|group| group.replica() != old)?;
        let votes = region.group(region.leader(&topic).await, &topic)?.members().0;
        votes.contains_key(&group.replica()).then_some(())
    })
    .await;
    agreed(&region, &topic).await;
    let (log, records) = replica_holds(&region, &topic, 2).await;
    assert_eq!(ledger.check(&log, &records), BATCHES as usize);
}
