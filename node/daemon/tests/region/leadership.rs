//! Who leads: not a node whose clock is off, and in the long run the one that should.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use meridian_config::MembershipConfig;
use meridian_sdk::admin::{NewTopic, TopicInfo};

use crate::cluster::{NODES, Region, Settings};
use crate::patience::until;
use crate::producer::Sender;

const HOUR_MS: u64 = 3_600_000;
const BODY_BYTES: usize = 64;

fn leader_of(region: &Region, topic: &TopicInfo, partition: usize) -> Option<u64> {
    let group = topic.partitions[partition].group;
    let leads = |node: &u64| region.registry(*node).get(group).is_some_and(|group| group.is_leader());
    region.running().into_iter().find(leads)
}

async fn every_node_leads_one(region: &Region, topic: &TopicInfo) {
    until("every node leads a partition", async || {
        let leaders: BTreeSet<u64> = (0..3).filter_map(|p| leader_of(region, topic, p)).collect();
        (leaders.len() == 3).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_spread_again_after_a_node_was_away() {
    let settings = Settings { membership: Some(MembershipConfig::default()), ..Settings::default() };
    let mut region = Region::start_with(settings).await;
    let created = region.client().admin().create_topic(NewTopic::new("spread", 3)).await.expect("created");
    let topic = created.topic;
    every_node_leads_one(&region, &topic).await;
    for node in NODES {
        region.kill(node).await;
        until("the others lead", async || {
            (0..3).all(|partition| leader_of(&region, &topic, partition).is_some()).then_some(())
        })
        .await;
        region.start_node(node).await;
        every_node_leads_one(&region, &topic).await;
    }
}

/// openraft alone stands after the lease and another timeout; whoever sees that the node is lost need not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_a_dead_node_are_led_again_when_its_lease_ends() {
    const PARTITIONS: usize = 48;
    // By its own timer a replica stands after 15 s at the earliest.
    let settings = Settings { election_ms: Some((7_000, 8_000)), ..Settings::default() };
    let mut region = Region::start_with(settings).await;
    let new = NewTopic::new("orphans", PARTITIONS as u32);
    let topic = region.client().admin().create_topic(new).await.expect("created").topic;
    let leaders = async |region: &Region| {
        until("every partition has a leader", async || {
            let leaders = (0..PARTITIONS).map(|partition| leader_of(region, &topic, partition));
            leaders.collect::<Option<Vec<u64>>>()
        })
        .await
    };
    let before = leaders(&region).await;
    // The one that leads most: so many have two heirs.
    let led = |node: &u64| before.iter().filter(|leader| *leader == node).count();
    let dead = NODES.into_iter().max_by_key(led).expect("nodes");
    region.kill(dead).await;
    let begun = Instant::now();
    let after = leaders(&region).await;
    let took = begun.elapsed();
    println!("{PARTITIONS} partitions are led again after {took:?}: {before:?}, then {after:?}");
    assert!(took < Duration::from_millis(15_000), "after {took:?}: nobody stood before its own timer");
    let heirs: BTreeSet<u64> =
        before.iter().zip(&after).filter(|(b, _)| **b == dead).map(|(_, a)| *a).collect();
    assert_eq!(heirs.len(), NODES.len() - 1, "those who are left share what it led");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_is_off_hands_over_and_publishing_goes_on() {
    let region = Region::start().await;
    let topic = region.topic("skewed").await;
    region.make_leader(2, &topic).await;
    let mut sender = Sender::open(&region.address(2), &topic.name.resource(), "").await.expect("opens");
    region.skew(2, HOUR_MS);
    let leader =
        until("another node leads", async || leader_of(&region, &topic, 0).filter(|n| *n != 2)).await;
    let addresses = NODES.map(|node| region.address(node));
    let batch = sender.batch(1, BODY_BYTES);
    sender.publish_surely(&addresses, batch).await;
    assert_ne!(region.leader(&topic).await, 2, "it does not come back while its clock is off");
    println!("node {leader} took over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_hangs_hands_over_and_leads_again_only_once_it_moves() {
    let region = Region::start().await;
    let topic = region.topic("hanging").await;
    region.make_leader(2, &topic).await;
    let term = region.status(2, &topic).await.expect("an answer").term;
    let mut sender = Sender::open(&region.address(2), &topic.name.resource(), "").await.expect("opens");
    region.power(2).hold();
    // The others are a quorum and commit it; only the leader's own write hangs.
    let addresses = [1, 3].map(|node| region.address(node));
    let batch = sender.batch(1, BODY_BYTES);
    sender.publish_surely(&addresses, batch).await;
    let leader =
        until("another node leads", async || leader_of(&region, &topic, 0).filter(|n| *n != 2)).await;
    assert!(region.power(2).is_waiting(), "it hangs still");
    let batch = sender.batch(1, BODY_BYTES);
    sender.publish_surely(&addresses, batch).await;
    region.power(2).release();
    region.make_leader(2, &topic).await;
    let batch = sender.batch(1, BODY_BYTES);
    sender.publish_surely(&addresses, batch).await;
    println!("node {leader} took over from term {term}");
}
