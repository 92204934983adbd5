//! The control group's own log is kept short: whoever was away for longer gets the state itself.

use std::sync::Arc;

use futures::StreamExt;
use meridian_model::GroupId;
use meridian_model::limits::CONTROL_SEGMENT_ENTRIES;
use meridian_raft::Group;
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig};

use crate::cluster::{NODES, Region};
use crate::patience::until;

/// Two segments, and what comes while a trim is on its way.
const LIVE_ENTRIES_MAX: u64 = 2 * CONTROL_SEGMENT_ENTRIES + 1_024;
/// Changes that are on their way at a time.
const AT_ONCE: usize = 32;
/// Tenants that come and go before somebody looks at the log.
const ROUND: u64 = 128;

fn control(region: &Region, node: u64) -> Option<Arc<Group>> {
    region.registry(node).get(GroupId::CONTROL)
}

/// Creates and deletes tenants until the leader's log begins behind `index`. Returns how many changes it took.
async fn churn_beyond(region: &Region, nodes: &[u64], index: u64) -> u64 {
    let admin = client_of(region, nodes).admin();
    let mut changes = 0;
    until("enough was changed for a trim", async || {
        let round = futures::stream::iter(0..ROUND).map(|number| {
            let (admin, tenant) = (admin.clone(), format!("passing-{changes}-{number}"));
            async move {
                admin.create_tenant(&tenant).await.expect("created");
                admin.delete_tenant(&tenant).await.expect("deleted");
            }
        });
        round.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        changes += 2 * ROUND;
        let leader = control_leader(region).await;
        (control(region, leader)?.positions().2 > index).then_some(())
    })
    .await;
    changes
}

fn client_of(region: &Region, nodes: &[u64]) -> Client {
    Client::new(ClientConfig::new(nodes.iter().map(|node| region.address(*node)))).expect("good addresses")
}

/// Waits until a node's copy of the log begins behind `index`, and is no longer than it may be.
async fn purged_beyond(region: &Region, node: u64, index: u64) -> u64 {
    until("the control group's log is short", async || {
        let (_, last, purged) = control(region, node)?.positions();
        (purged > index && last - purged <= LIVE_ENTRIES_MAX).then_some(purged)
    })
    .await
}

/// The whole state of a node's copy, once it has applied what another has.
async fn same_state(region: &Region, nodes: &[u64]) {
    until("the copies hold the same", async || {
        let mut states = Vec::new();
        for node in nodes {
            let group = control(region, *node)?;
            let ready = !group.view().applied().catching_up;
            states.push(ready.then(|| group.view().control(|machine| machine.clone()))??);
        }
        states.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
    })
    .await;
}

async fn control_leader(region: &Region) -> u64 {
    until("the control group has a leader", async || {
        region
            .running()
            .into_iter()
            .find(|node| control(region, *node).is_some_and(|group| group.is_leader()))
    })
    .await
}

/// CTL-1: a node with a new disk, a region without power, and a leader that never saw the beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_gets_the_control_state_although_its_log_was_trimmed() {
    let mut region = Region::start().await;
    region.topic("kept").await;
    let changes = churn_beyond(&region, &NODES, 0).await;
    for node in NODES {
        purged_beyond(&region, node, 0).await;
    }
    let gone = control(&region, 3).expect("runs").replica();
    region.lose_power(3).await;
    region.replace_disk(3);
    region.start_node(3).await;
    until("the node votes under a new id", async || {
        let group = control(&region, 3)?;
        let (voters, _) = group.members();
        (group.replica() > gone && voters.len() == 3 && voters.contains_key(&group.replica())).then_some(())
    })
    .await;
    same_state(&region, &NODES).await;
    assert_eq!(region.power(3).installs(GroupId::CONTROL), 1, "filled from a snapshot");

    let replica = control(&region, 3).expect("runs").replica();
    until("it leads the control group", async || {
        let leader = control_leader(&region).await;
        if leader == 3 {
            return Some(());
        }
        let _ = control(&region, leader)?.transfer_leader(replica).await;
        None
    })
    .await;
    let admin = client_of(&region, &[3]).admin();
    admin.create_topic(NewTopic::new("new", 1)).await.expect("created where the beginning was never seen");
    for node in NODES {
        region.lose_power(node).await;
    }
    for node in NODES {
        region.start_node(node).await;
    }
    for node in NODES {
        let admin = client_of(&region, &[node]).admin();
        let topics = admin.list_topics("default", "default").await.expect("answers");
        let names: Vec<String> = topics.iter().map(|topic| topic.name.resource()).collect();
        assert_eq!(names.len(), 2, "node {node}: {names:?}");
    }
    let (_, last, purged) = control(&region, 1).expect("runs").positions();
    println!(
        "{changes} changes; the log is {purged}..{last}; node 3 installed one snapshot, led, and came back"
    );
}

/// CTL-1: a node that was away comes back behind the beginning of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_for_longer_than_the_control_log_reaches_is_whole_again() {
    let mut region = Region::start().await;
    region.topic("kept").await;
    let seen = control(&region, 3).expect("runs").positions().1;
    region.kill(3).await;
    let changes = churn_beyond(&region, &[1, 2], seen).await;
    let leader = control_leader(&region).await;
    let purged = purged_beyond(&region, leader, seen).await;
    region.start_node(3).await;
    same_state(&region, &NODES).await;
    assert_eq!(region.power(3).installs(GroupId::CONTROL), 1, "filled from a snapshot");
    let topics = client_of(&region, &[3]).admin().list_topics("default", "default").await.expect("answers");
    assert_eq!(topics.len(), 1);
    println!("{changes} changes; seen through {seen}, purged through {purged}");
}
