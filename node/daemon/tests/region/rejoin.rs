//! A node that lost its disk comes back as somebody else: new copies, the same place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meridian_model::{GroupId, NodeId, ReplicaId};

use crate::cluster::{NODES, Region};
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::producer::Sender;

const BODY_BYTES: usize = 2 * 1024;

/// The voters of a group as a node sees them, once they are exactly one on each node and nobody learns.
async fn settled(region: &Region, node: u64, group: GroupId, gone: ReplicaId) -> Vec<(ReplicaId, NodeId)> {
    until("the members are one new copy on each node", async || {
        let (voters, learners) = region.registry(node).get(group)?.members();
        let nodes: Vec<u64> = voters.values().map(|node| node.0).collect();
        let mut sorted = nodes.clone();
        sorted.sort_unstable();
        let exact = sorted == NODES && learners.is_empty() && !voters.contains_key(&gone);
        exact.then(|| voters.into_iter().collect())
    })
    .await
}

/// LOG-1, LOG-4: while publishing goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_new_disk_gets_new_copies_and_all_the_data() {
    let mut region = Region::start().await;
    let topic = region.topic("rejoin").await;
    let (name, group) = (topic.name.resource(), topic.partitions[0].group);
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (stop, addresses) = (Arc::clone(&stop), [1, 2].map(|node| region.address(node)));
        tokio::spawn(async move {
            let mut ledger = Ledger::default();
            while !stop.load(Ordering::SeqCst) {
                let first = sender.next;
                let batch = sender.batch(3, BODY_BYTES);
                let ack = sender.publish_surely(&addresses, batch).await;
                ledger.note(&sender, first, &ack, BODY_BYTES);
            }
            ledger
        })
    };
    let replica_of = async |region: &Region, group: GroupId| {
        until("the node has a copy", async || region.registry(3).get(group)).await.replica()
    };
    let (data, control) = (replica_of(&region, group).await, replica_of(&region, GroupId::CONTROL).await);
    region.lose_power(3).await;
    region.replace_disk(3);
    region.start_node(3).await;
    for (group, gone) in [(group, data), (GroupId::CONTROL, control)] {
        for node in NODES {
            let voters = settled(&region, node, group, gone).await;
            let now = replica_of(&region, group).await;
            assert!(now > gone, "{group}: {now} must be new, {gone} was there before");
            assert!(voters.contains(&(now, NodeId(3))), "{group}: {voters:?}");
        }
    }
    stop.store(true, Ordering::SeqCst);
    let ledger = publishing.await.expect("publishes");
    let log = agreed(&region, &topic).await;
    for node in NODES {
        let (held, records) = replica_holds(&region, &topic, node).await;
        assert_eq!(held.chain_head, log.chain_head, "node {node} (LOG-4)");
        assert_eq!(ledger.check(&held, &records), ledger.len(), "node {node} (LOG-1)");
    }
    println!("{} messages acked, all of them on the new disk; {data} and {control} are gone", ledger.len());
}
