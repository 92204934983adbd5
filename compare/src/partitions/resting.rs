//! What partitions cost while nobody uses them: CPU and memory of each node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::region::Region;
use crate::child;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    /// Resident, of whatever kind.
    pub(super) rss_kib: u64,
    /// Resident and backed by no file: heap and stacks, without the program and mapped files.
    pub(super) anonymous_kib: u64,
}

/// One node at rest.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Resting {
    pub(super) node: u64,
    /// User and system time, in percent of one core.
    pub(super) cpu_percent: f64,
    pub(super) before: Memory,
    pub(super) after: Memory,
    pub(super) rss_kib_per_replica: f64,
    pub(super) anonymous_kib_per_replica: f64,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rest {
    pub(super) seconds: f64,
    pub(super) nodes: Vec<Resting>,
    pub(super) cpu_percent: f64,
    /// The node where a replica takes most, by resident memory.
    pub(super) kib_per_replica_max: f64,
}

impl Rest {
    pub(super) fn told(&self) -> String {
        format!(
            "{:.1} % of one core for all nodes, at most {:.0} KiB resident a replica",
            self.cpu_percent, self.kib_per_replica_max
        )
    }
}

/// The memory of every node.
pub(super) fn memory(region: &Region) -> Result<BTreeMap<u64, Memory>> {
    region.pids()?.into_iter().map(|(node, pid)| Ok((node, memory_of(pid)?))).collect()
}

fn memory_of(pid: u32) -> Result<Memory> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok());
        number.with_context(|| format!("{file} has no {name}"))
    };
    Ok(Memory { rss_kib: field("Rss")?, anonymous_kib: field("Anonymous")? })
}

pub(super) async fn measure(region: &Region, empty: &BTreeMap<u64, Memory>, takes: Duration) -> Result<Rest> {
    let pids = region.pids()?;
    let cpu = || pids.values().map(|pid| child::cpu_s_of(*pid)).collect::<Vec<f64>>();
    let (begun, before) = (Instant::now(), cpu());
    tokio::time::sleep(takes).await;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), cpu());
    let full = memory(region)?;
    let replicas = f64::from(region.partitions);
    let mut nodes = Vec::new();
    for (number, node) in pids.keys().enumerate() {
        let (before_kib, after_kib) = (empty[node], full[node]);
        let each = |after: u64, before: u64| (after as f64 - before as f64) / replicas;
        nodes.push(Resting {
            node: *node,
            cpu_percent: (after[number] - before[number]) / seconds * 100.0,
            before: before_kib,
            after: after_kib,
            rss_kib_per_replica: each(after_kib.rss_kib, before_kib.rss_kib),
            anonymous_kib_per_replica: each(after_kib.anonymous_kib, before_kib.anonymous_kib),
        });
    }
    let cpu_percent = nodes.iter().map(|node| node.cpu_percent).sum();
    let kib_per_replica_max = nodes.iter().map(|node| node.rss_kib_per_replica).fold(0.0, f64::max);
    Ok(Rest { seconds, nodes, cpu_percent, kib_per_replica_max })
}
