//! Reading every replica from end to end once everything is healed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meridian_history::{Chain, FinalRead, Recorder, Scan, Skip, SkipReason};
use meridian_sdk::{Client, Item, NodeId, Start};

use super::{ends, oracle};
use crate::cluster::{Cluster, Whose};

/// The logical client of all final scans.
const PROCESS: u64 = 2_000_000;
/// How long a replica may keep a scan waiting.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a rescan found.
#[derive(Debug, Clone, Default)]
pub struct Rescan {
    /// Messages on each replica, summed over partitions.
    pub messages: Vec<(u64, u64)>,
    /// How long the replicas took to converge.
    pub converged_after: Duration,
    /// Replicas that did not converge or could not be read, in words.
    pub problems: Vec<String>,
}

/// Waits until all replicas of a topic have converged, then reads each of them. What goes wrong is recorded and
/// told, not fatal: the checker decides what it means.
///
/// # Errors
/// If no client can be made.
pub async fn rescan(
    cluster: &Cluster,
    recorder: &Recorder,
    topic: &str,
    partitions: u32,
    within: Duration,
) -> Result<Rescan> {
    let begun = Instant::now();
    let mut found = Rescan::default();
    for partition in 0..partitions {
        let left = within.saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
        if let Err(error) = cluster.await_converged(topic, partition, left).await {
            found.problems.push(format!("{error:#}"));
        }
    }
    found.converged_after = begun.elapsed();
    let client = cluster.client(0)?;
    let mut messages: BTreeMap<u64, u64> = BTreeMap::new();
    for partition in 0..partitions {
        let replicas = cluster.replicas(topic, partition).await;
        for id in replicas.unwrap_or_else(|_| cluster.ids()) {
            match scan(cluster, &client, recorder, topic, partition, id).await {
                Ok(count) => *messages.entry(id).or_default() += count,
                Err(error) => found.problems.push(format!("node {id}, {topic}[{partition}]: {error:#}")),
            }
        }
    }
    found.messages = messages.into_iter().collect();
    Ok(found)
}

async fn scan(
    cluster: &Cluster,
    client: &Client,
    recorder: &Recorder,
    topic: &str,
    partition: u32,
    id: u64,
) -> Result<u64> {
    let replica = format!("node-{id}");
    let call = Chain { topic: topic.into(), partition, replica: replica.clone(), at: None };
    let pending = recorder.invoke(PROCESS, call);
    let bounds = cluster.log(id, topic, partition, Whose::Replica(id)).await;
    match &bounds {
        Ok(log) => pending.ok(ends::head(log)),
        Err(status) => pending.fail(status.message()),
    }
    let pending = recorder.invoke(PROCESS, FinalRead { topic: topic.into(), partition, replica, scan: None });
    let bounds = match bounds {
        Ok(bounds) => bounds,
        Err(status) => {
            pending.fail(status.message());
            return Err(status.into());
        }
    };
    let mut scan = Scan { start: bounds.log_start, end: bounds.log_end, ..Scan::default() };
    match fill(client, topic, partition, id, &mut scan).await {
        Ok(()) => {
            let count = scan.records.len() as u64;
            pending.ok(scan);
            Ok(count)
        }
        Err(error) => {
            pending.partial(scan, format!("{error:#}"));
            Err(error)
        }
    }
}

async fn fill(client: &Client, topic: &str, partition: u32, id: u64, scan: &mut Scan) -> Result<()> {
    let wanted = scan.end - scan.start;
    if wanted == 0 {
        return Ok(());
    }
    let reader = client.reader(topic).partition(partition).replica(NodeId(id)).start(Start::Earliest);
    let mut reader = reader.limit(wanted).patience(PATIENCE).open().await?;
    while let Some(item) = reader.next().await {
        match item.with_context(|| format!("after {} of {wanted} messages", scan.records.len()))? {
            Item::Record(record) => {
                scan.records.push(oracle::open(record.offset.0, record.key.as_deref(), &record.body));
            }
            Item::Skipped { from, to, .. } => {
                scan.skips.push(Skip { from: from.0, to: to.0, reason: SkipReason::Trimmed });
            }
        }
    }
    Ok(())
}
