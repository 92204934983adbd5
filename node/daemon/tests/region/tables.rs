//! Digests of tables: equal on all replicas of a group at the same index, and different where a table differs.

use std::collections::BTreeMap;

use meridian_machine::Table;
use meridian_model::NodeId;
use meridian_sdk::admin::TopicInfo;
use meridian_storage::keys::state;
use meridian_storage::{Engine, Family, WriteSet};

use crate::cluster::{NODES, Region};
use crate::ledger::agreed;
use crate::patience::until;
use crate::producer::Sender;

const BODY_BYTES: usize = 64;
/// Longer than a segment may be open.
const SEGMENT_MS: u64 = 61_000;
/// One in eight segments is compared: so many without one would be no chance.
const SEGMENTS_MAX: usize = 120;

async fn digests_now(region: &Region, topic: &TopicInfo) -> Vec<(u64, [u8; 32])> {
    let mut found = Vec::new();
    for node in NODES {
        let group = region.group(node, topic).expect("a copy");
        let digest = group.state_digest().await.expect("reads").expect("something was applied");
        found.push((digest.index, digest.digest));
    }
    found
}

/// LOG-4, for tables.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_have_the_same_tables_and_a_difference_shows() {
    let region = Region::start().await;
    let topic = region.topic("tables").await;
    let mut sender = Sender::open(&region.address(1), &topic.name.resource(), "").await.expect("opens");
    for _ in 0..5 {
        let batch = sender.batch(3, BODY_BYTES);
        sender.publish_to(&region.address(1), 0, batch).await.expect("stored");
    }
    agreed(&region, &topic).await;
    let same = until("all have applied the same", async || {
        let found = digests_now(&region, &topic).await;
        found.iter().all(|(index, _)| *index == found[0].0).then_some(found)
    })
    .await;
    assert!(same.iter().all(|found| found == &same[0]), "{same:?}");

    let mut stray = WriteSet::default();
    let key = state::encode(topic.partitions[0].group, Table::Producer, b"nobody");
    stray.put(Family::State, key, vec![1]);
    region.disk(2).write(&[stray], true).expect("writes");
    let found = digests_now(&region, &topic).await;
    assert_eq!(found[0], found[2]);
    assert_ne!(found[0].1, found[1].1, "one row more");
}

/// LOG-4, for tables: at certain segments' ends every replica takes a digest, the nodes compare them, and a difference is told.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_compare_their_tables_at_fixed_indexes() {
    let region = Region::start().await;
    let topic = region.topic("compared").await;
    let group = topic.partitions[0].group;
    let mut sender = Sender::open(&region.address(1), &topic.name.resource(), "").await.expect("opens");
    let taken = |node: u64| -> BTreeMap<u64, [u8; 32]> {
        let digests = region.group(node, &topic).map(|group| group.view().digests()).unwrap_or_default();
        digests.into_iter().map(|taken| (taken.index, taken.digest)).collect()
    };
    let mut segments = 0;
    let mut until_taken = async |more_than: usize| {
        while taken(1).len() <= more_than {
            assert!(segments < SEGMENTS_MAX, "{segments} segments and no digest");
            segments += 1;
            region.pass(SEGMENT_MS).await;
            let batch = sender.batch(1, BODY_BYTES);
            sender.publish_to(&region.address(1), 0, batch).await.expect("stored");
            agreed(&region, &topic).await;
        }
    };
    until_taken(0).await;
    let first = until("all have taken it", async || {
        let (index, digest) = taken(1).pop_first()?;
        NODES.iter().all(|node| taken(*node).get(&index) == Some(&digest)).then_some(index)
    })
    .await;
    until("it was compared", async || (region.comparison(1).compared() >= 2).then_some(())).await;
    assert!(region.comparison(1).differing().is_empty());

    let mut stray = WriteSet::default();
    stray.put(Family::State, state::encode(group, Table::Producer, b"nobody"), vec![1]);
    region.disk(2).write(&[stray], true).expect("writes");
    until_taken(1).await;
    let differing = until("the difference is told", async || {
        region.comparison(1).differing().get(&(group, NodeId(2))).copied()
    })
    .await;
    assert!(differing > first && !region.comparison(1).differing().contains_key(&(group, NodeId(3))));
}
