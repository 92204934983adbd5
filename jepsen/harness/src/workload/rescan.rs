//! Reading every replica from end to end once everything is healed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use meridian_history::Recorder;
use meridian_workload::{agree, scan};

use crate::cluster::Cluster;

/// What a rescan found.
#[derive(Debug, Clone, Default)]
pub struct Rescan {
    /// Messages on each replica, summed over partitions.
    pub messages: Vec<(u64, u64)>,
    /// Hash chains that were compared after the last scan and found the same, summed over partitions.
    pub chains: u64,
    /// How long the replicas took to converge.
    pub converged_after: Duration,
    /// Replicas that did not converge, could not be read or differ, in words.
    pub problems: Vec<String>,
}

/// Waits until all replicas of a topic have converged, reads each of them, and compares their hash chains. What goes
/// wrong is recorded and told, not fatal: the checker decides what it means.
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
        let replicas = cluster.replicas(topic, partition).await.unwrap_or_else(|_| cluster.ids());
        for &id in &replicas {
            match scan(cluster, &client, recorder, (topic, partition), id).await {
                Ok(scanned) => *messages.entry(id).or_default() += scanned.messages,
                Err(why) => found.problems.push(format!("node {id}, {topic}[{partition}]: {why}")),
            }
        }
        match agree(cluster, recorder, (topic, partition), &replicas).await {
            Ok(compared) => found.chains += compared,
            Err(why) => found.problems.push(format!("{topic}[{partition}]: {why}")),
        }
    }
    found.messages = messages.into_iter().collect();
    Ok(found)
}
