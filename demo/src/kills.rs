//! Killing leaders while they work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_harness::cluster::Cluster;
use serde::Serialize;

use crate::publishing::Progress;
use crate::{PARTITIONS, Story, TOPIC};

const RESTART_AFTER: Duration = Duration::from_millis(1_000);
const LEADER_MAX: Duration = Duration::from_secs(10);

/// One kill.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kill {
    /// Which node.
    pub(crate) node: u64,
    /// The partition it led.
    pub(crate) partition: u32,
    /// How long that partition had no other leader, in milliseconds.
    pub(crate) without_leader_ms: u64,
    /// From its start until it listened again, in milliseconds.
    pub(crate) restart_ms: u64,
}

/// Kills a leader each time another part of the flights is acknowledged, and starts it again.
pub(crate) async fn kill_leaders(
    cluster: &Arc<Cluster>,
    story: &Story,
    kills: u32,
    progress: Arc<Progress>,
) -> Result<Vec<Kill>> {
    let mut done = Vec::new();
    for number in 0..kills {
        let due = f64::from(number + 1) / f64::from(kills + 1);
        while progress.part() < due {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let partition = number % PARTITIONS;
        let node = cluster.await_leader(TOPIC, partition, LEADER_MAX).await?;
        cluster.node(node)?.kill()?;
        let killed = Instant::now();
        progress.suspend(|| story.say(format!("kill -9 of node {node}, which leads partition {partition}")));
        let other = loop {
            let leader = cluster.await_leader(TOPIC, partition, LEADER_MAX).await?;
            if leader != node {
                break leader;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let without_leader_ms = killed.elapsed().as_millis() as u64;
        progress.suspend(|| {
            story.say(format!("  node {other} leads partition {partition} after {without_leader_ms} ms"))
        });
        tokio::time::sleep(RESTART_AFTER).await;
        let restart = cluster.start_node(node).await?;
        let restart_ms = restart.as_millis() as u64;
        progress.suspend(|| {
            story.say(format!("  node {node} is back: it recovered its disk in {restart_ms} ms"))
        });
        done.push(Kill { node, partition, without_leader_ms, restart_ms });
    }
    Ok(done)
}
