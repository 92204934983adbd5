//! A region that is changed while it runs: nodes join, are drained, leave, die; publishing goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use meridian_config::MembershipConfig;
use meridian_model::NodeId;
use meridian_sdk::admin::{NewTopic, NodeDuty, NodeInfo, TopicInfo};
use meridian_sdk::{Codec, Item, Message, Start};
use tokio::task::JoinHandle;

use crate::cluster::{NODES, Region, Settings};
use crate::patience::until;

const PARTITIONS: u32 = 6;

/// Publishes numbered messages until it is told to stop.
struct Load {
    over: Arc<AtomicBool>,
    task: JoinHandle<u64>,
}

impl Load {
    fn start(region: &Region, topic: &TopicInfo) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (client, name, until) = (region.client(), topic.name.resource(), Arc::clone(&over));
        let task = tokio::spawn(async move {
            let producer = client.producer(&name).build().await.expect("a producer");
            let mut number = 0;
            while !until.load(Ordering::SeqCst) {
                let message = Message::new(number.to_string()).with_key(format!("key-{}", number % 50));
                let delivery = producer.send(message).await.expect("no publish fails");
                delivery.await.expect("no publish fails");
                number += 1;
            }
            producer.close().await.expect("closes");
            number
        });
        Self { over, task }
    }

    /// LOG-1, LOG-5: every message is read once. Returns how many there were.
    async fn stop_and_check(self, region: &Region, topic: &TopicInfo) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        let sent = self.task.await.expect("no publish fails");
        // To the end of every partition: a second copy may lie behind everything else.
        let reader = region.client().reader(topic.name.resource()).start(Start::Earliest).open();
        let mut reader = reader.await.expect("a reader");
        let mut seen = BTreeSet::new();
        while let Some(item) =
            tokio::time::timeout(crate::producer::HANG, reader.next()).await.expect("no reader hangs")
        {
            if let Item::Record(record) = item.expect("reads") {
                let number: u64 = String::from_utf8_lossy(&record.body).parse().expect("a number");
                assert!(seen.insert(number), "{number} is there twice");
            }
        }
        assert!(seen.iter().copied().eq(0..sent), "{} of {sent} are there", seen.len());
        sent
    }
}

async fn region_that_moves(dead_after_ms: u64) -> Region {
    let membership = MembershipConfig { dead_after_ms, ..MembershipConfig::default() };
    Region::start_with(Settings { membership: Some(membership), ..Settings::default() }).await
}

async fn topic(region: &Region, name: &str) -> TopicInfo {
    region.client().admin().create_topic(NewTopic::new(name, PARTITIONS)).await.expect("created").topic
}

/// The nodes as a running one sees them.
async fn nodes(region: &Region) -> Option<Vec<NodeInfo>> {
    let any = *region.running().last()?;
    Some(region.client().admin().get_cluster_at(&region.address(any), false).await.ok()?.nodes)
}

async fn carries(region: &Region, node: u64) -> Option<u64> {
    let info = nodes(region).await?.into_iter().find(|info| info.node == NodeId(node))?;
    (info.moving == 0).then_some(info.copies)
}

/// Every partition has three voters and no more, on these nodes; nothing is on its way.
async fn settled_on(region: &Region, topic: &TopicInfo, on: &[u64]) {
    until("every partition has its three copies where they should be", async || {
        for partition in &topic.partitions {
            let leader = region.running().into_iter().find_map(|node| {
                region.registry(node).get(partition.group).filter(|group| group.is_leader())
            })?;
            let (voters, learners) = leader.members();
            let sound = voters.len() == 3 && learners.is_empty();
            (sound && voters.values().all(|node| on.contains(&node.0))).then_some(())?;
        }
        nodes(region).await?.iter().all(|info| info.moving == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_leads_nothing_and_no_publish_fails() {
    let mut region = region_that_moves(0).await;
    let topic = topic(&region, "drained").await;
    let load = Load::start(&region, &topic);
    for node in NODES {
        for _ in 0..2 {
            region.client().admin().drain_node(NodeId(node), false).await.expect("drains, once or twice");
        }
        until("the node leads nothing", async || {
            region.registry(node).all().iter().all(|group| !group.is_leader()).then_some(())
        })
        .await;
        region.leave(node).await;
        region.start_node(node).await;
        region.client().admin().drain_node(NodeId(node), true).await.expect("serves again");
        until("the node is in step again", async || {
            let led = region.registry(node).all().iter().filter(|group| group.is_leader()).count();
            (led > 0).then_some(())
        })
        .await;
    }
    println!("{} messages while three nodes were drained", load.stop_and_check(&region, &topic).await);
    let unknown = region.client().admin().drain_node(NodeId(9), false).await.expect_err("there is no node 9");
    assert_eq!(unknown.reason(), "NOT_FOUND");
}

/// What a node sends to new copies is bounded in bytes a second, whatever there is to send.
#[tokio::test(flavor = "multi_thread")]
async fn copies_are_made_no_faster_than_they_may() {
    const RATE: u64 = 1024 * 1024;
    const MESSAGES: u64 = 6;
    let membership = MembershipConfig { move_bytes_per_second: RATE, ..MembershipConfig::default() };
    let settings = Settings { membership: Some(membership), ..Settings::default() };
    let mut region = Region::start_with(settings).await;
    let topic = region.topic("paced").await;
    let producer = region.client().producer(topic.name.resource()).codec(Codec::None).build();
    let producer = producer.await.expect("a producer");
    for number in 0..MESSAGES {
        let message = Message::new(crate::producer::body(number, 1_000_000));
        producer.send(message).await.expect("sent").await.expect("stored");
    }
    region.add_node(4).await;
    let leader = region.leader(&topic).await;
    let leaver = NODES.into_iter().find(|node| *node != leader).expect("two of three");
    until("the new node is known to be there", async || carries(&region, 4).await).await;
    let began = Instant::now();
    until("the node may leave", async || {
        region.client().admin().decommission_node(NodeId(leaver), false).await.ok()
    })
    .await;
    until("the node is forgotten", async || {
        nodes(&region).await?.iter().all(|info| info.node != NodeId(leaver)).then_some(())
    })
    .await;
    let took = began.elapsed();
    println!("{MESSAGES} MB were copied within {took:?}, at 1 MiB a second");
    let least = Duration::from_secs_f64((MESSAGES - 1) as f64 * 1e6 / RATE as f64);
    assert!(took >= least, "{took:?} for {MESSAGES} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_gets_its_share_and_another_leaves_for_good() {
    let mut region = region_that_moves(0).await;
    let topic = topic(&region, "grown").await;
    let load = Load::start(&region, &topic);
    let early = region.client().admin().decommission_node(NodeId(1), false).await;
    assert_eq!(early.expect_err("three copies need three nodes").reason(), "NOT_ENOUGH_NODES");
    region.add_node(4).await;
    until("the new node has its share", async || (carries(&region, 4).await? >= 4).then_some(())).await;
    settled_on(&region, &topic, &[1, 2, 3, 4]).await;
    region.client().admin().decommission_node(NodeId(1), false).await.expect("enough are left");
    until("the node is forgotten", async || {
        nodes(&region).await?.iter().all(|info| info.node != NodeId(1)).then_some(())
    })
    .await;
    settled_on(&region, &topic, &[2, 3, 4]).await;
    until("nothing is left on its disk", async || {
        region.registry(1).all().iter().all(|group| group.id().is_control()).then_some(())
    })
    .await;
    region.kill(1).await;
    println!("{} messages while nodes came and went", load.stop_and_check(&region, &topic).await);
    assert!(nodes(&region).await.expect("answers").iter().all(|info| info.duty == NodeDuty::Serving));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_and_its_return_does_no_harm() {
    let mut region = region_that_moves(3_000).await;
    let topic = topic(&region, "replaced").await;
    region.add_node(4).await;
    settled_on(&region, &topic, &[1, 2, 3, 4]).await;
    let load = Load::start(&region, &topic);
    region.kill(3).await;
    settled_on(&region, &topic, &[1, 2, 4]).await;
    region.start_node(3).await;
    until("it gets its share again", async || (carries(&region, 3).await? >= 4).then_some(())).await;
    settled_on(&region, &topic, &[1, 2, 3, 4]).await;
    println!("{} messages while a node died and came back", load.stop_and_check(&region, &topic).await);
}
