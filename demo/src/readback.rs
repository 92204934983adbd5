//! Reading everything back, from every replica's own applied state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use meridian_checker::Record;
use meridian_harness::cluster::Cluster;
use meridian_sdk::{Item, NodeId, Start};

use crate::Story;

const CONVERGE_MAX: Duration = Duration::from_secs(30);

/// What the replicas returned.
pub(crate) struct Replicas {
    /// By replica, in the order of its offsets.
    pub(crate) records: BTreeMap<String, Vec<Record>>,
    /// Seconds until all replicas held the same.
    pub(crate) converge_s: f64,
    /// Whether the hash chains of all replicas end in the same heads.
    pub(crate) chains_agree: bool,
}

/// Waits until the replicas have converged, then reads each of them.
pub(crate) async fn read_all(
    cluster: &Arc<Cluster>,
    story: &Story,
    topic: &str,
    partitions: u32,
) -> Result<Replicas> {
    let began = Instant::now();
    for partition in 0..partitions {
        cluster.await_converged(topic, partition, CONVERGE_MAX).await?;
    }
    let converge_s = began.elapsed().as_secs_f64();
    story.say(format!("all replicas hold the same after {converge_s:.1} s"));
    let client = cluster.client(7)?;
    let mut records = BTreeMap::new();
    for node in cluster.ids() {
        let mut read = Vec::new();
        for partition in 0..partitions {
            let reader =
                client.reader(topic).partition(partition).start(Start::Earliest).replica(NodeId(node));
            let mut reader = reader.open().await?;
            while let Some(item) = reader.next().await {
                match item? {
                    Item::Record(record) => read.push(record_of(&record)?),
                    other => bail!("node {node}, partition {partition}: {other:?}"),
                }
            }
        }
        story.say(format!("  node {node}: {} flights", read.len()));
        records.insert(format!("node {node}"), read);
    }
    Ok(Replicas { records, converge_s, chains_agree: chains_agree(cluster, topic, partitions).await? })
}

fn record_of(record: &meridian_sdk::Record) -> Result<Record> {
    let line =
        record.properties.iter().find(|(name, _)| name == "line").context("a record without its line")?;
    let key = record.key.as_deref().unwrap_or_default();
    Ok(Record::new(String::from_utf8_lossy(&line.1), String::from_utf8_lossy(key)))
}

async fn chains_agree(cluster: &Arc<Cluster>, topic: &str, partitions: u32) -> Result<bool> {
    use meridian_harness::cluster::Whose;
    for partition in 0..partitions {
        let mut heads = Vec::new();
        for node in cluster.ids() {
            let log = cluster.log(node, topic, partition, Whose::Replica(node)).await?;
            heads.push((log.log_end, log.chain_head));
        }
        if heads.windows(2).any(|pair| pair[0] != pair[1]) {
            return Ok(false);
        }
    }
    Ok(true)
}
