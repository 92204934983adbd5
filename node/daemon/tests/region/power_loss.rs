//! The power fails at all nodes at once, while messages are published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use meridian_sdk::admin::TopicInfo;
use tokio::task::JoinHandle;

use crate::cluster::{NODES, Region};
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::producer::Sender;

const ROUNDS: usize = 5;
const WRITERS: usize = 3;
const BODY_BYTES: usize = 512;
/// Batches acked before the power fails.
const ACKED_MIN: usize = 40;

/// What writers share with the story.
#[derive(Default)]
struct Desk {
    acked: AtomicUsize,
    closed: AtomicBool,
}

/// A writer that goes on until the desk is closed, and what it was told is stored.
fn write_on(region: &Region, mut sender: Sender, desk: Arc<Desk>) -> JoinHandle<(Sender, Ledger)> {
    let addresses: Vec<String> = NODES.map(|node| region.address(node)).into();
    tokio::spawn(async move {
        let mut ledger = Ledger::default();
        for address in addresses.iter().cycle() {
            let first = sender.next;
            match sender.publish(address, sender.batch_at(first, 2, BODY_BYTES)).await {
                Ok(ack) => {
                    ledger.note(&sender, first, &ack, BODY_BYTES);
                    sender.next += 2;
                    desk.acked.fetch_add(1, Ordering::SeqCst);
                }
                Err(failure) => assert!(failure.retryable, "{failure:?}"),
            }
            if desk.closed.load(Ordering::SeqCst) {
                break;
            }
        }
        (sender, ledger)
    })
}

/// Lets writers write until enough is acked, cuts the power of all nodes at once, and starts them again.
async fn lose_all_power(region: &mut Region, writers: Vec<Sender>) -> (Vec<Sender>, Ledger) {
    let desk = Arc::<Desk>::default();
    let writing: Vec<_> =
        writers.into_iter().map(|sender| write_on(region, sender, Arc::clone(&desk))).collect();
    until("enough is acked", async || (desk.acked.load(Ordering::SeqCst) >= ACKED_MIN).then_some(())).await;
    let powers = NODES.map(|node| region.power(node));
    powers.iter().for_each(|power| power.cut());
    desk.closed.store(true, Ordering::SeqCst);
    for node in NODES {
        region.lose_power(node).await;
    }
    let (mut writers, mut ledger) = (Vec::new(), Ledger::default());
    for written in writing {
        let (sender, acked) = written.await.expect("no panic");
        writers.push(sender);
        ledger.extend(acked);
    }
    for node in NODES {
        region.start_node(node).await;
    }
    region.formed().await;
    (writers, ledger)
}

async fn open_writers(region: &Region, topic: &TopicInfo) -> Vec<Sender> {
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let opened = Sender::open(&region.address(1), &topic.name.resource(), "").await;
        writers.push(opened.expect("opens"));
    }
    writers
}

/// LOG-1, LOG-4, LOG-5: and whoever resends what was under way finds it stored once or stores it now.
#[tokio::test(flavor = "multi_thread")]
async fn power_loss_of_all_nodes_loses_nothing_that_was_acked() {
    let mut region = Region::start().await;
    let topic = region.topic("power-loss").await;
    let mut writers = open_writers(&region, &topic).await;
    let (mut ledger, mut under_way) = (Ledger::default(), 0);
    for round in 0..ROUNDS {
        let (returned, acked) = lose_all_power(&mut region, writers).await;
        writers = returned;
        ledger.extend(acked);
        for sender in &mut writers {
            let first = sender.next;
            let batch = sender.batch(2, BODY_BYTES);
            let ack = sender.publish_surely(&[region.address(1)], batch).await;
            under_way += usize::from(ack.duplicate);
            ledger.note(sender, first, &ack, BODY_BYTES);
        }
        agreed(&region, &topic).await;
        for node in NODES {
            let (log, records) = replica_holds(&region, &topic, node).await;
            assert_eq!(ledger.check(&log, &records), ledger.len(), "node {node}, round {round}");
            assert_eq!(records.len(), ledger.len(), "every message once (LOG-5), node {node}, round {round}");
        }
    }
    println!(
        "{ROUNDS} power losses of all nodes: {} messages acked, none lost; {under_way} of {} batches under way \
         had been stored",
        ledger.len(),
        ROUNDS * WRITERS
    );
}

/// The negative control of LOG-1: with disks that only say "synced" the same check finds what is lost.
#[tokio::test(flavor = "multi_thread")]
async fn with_disks_that_lie_the_same_check_finds_the_loss() {
    let mut region = Region::start().await;
    let topic = region.topic("lying-disks").await;
    let writers = open_writers(&region, &topic).await;
    agreed(&region, &topic).await;
    NODES.iter().for_each(|node| region.disk(*node).lie_about_sync());
    let (_, ledger) = lose_all_power(&mut region, writers).await;
    agreed(&region, &topic).await;
    let (log, records) = replica_holds(&region, &topic, 1).await;
    let lost = ledger.lost(&log, &records);
    println!("disks that lie: {lost} of {} acked messages lost, and found", ledger.len());
    assert!(lost > 0);
}
