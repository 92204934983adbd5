//! Clients of many kinds at work at once, each writing down what it did and saw.

mod rescan;
mod witness;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use meridian_history::Recorder;
use meridian_workload::{
    Chance, Manner, Pager, Region, Scene, administer, follow, probe, produce_by_sdk, produce_by_wire,
    read_pages,
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::cluster::Cluster;

pub use meridian_workload::{Counts, Tally};
pub use rescan::{Rescan, rescan};
pub use witness::Looked;

/// Which clients there are.
#[derive(Debug, Clone, Serialize)]
pub struct Spec {
    /// Producers of the SDK, which hide every fault that a retry can hide.
    pub sdk_producers: u64,
    /// Producers that make one attempt per operation and are told the truth about it.
    pub wire_producers: u64,
    /// Pairs of such producers that take one name from each other.
    pub rivals: u64,
    /// SDK readers that follow a partition.
    pub followers: u64,
    /// Readers that fetch page by page, from any node or from one replica.
    pub pagers: u64,
    /// Probes of end, start and hash chain.
    pub probes: u64,
    /// Clients that create, describe, change, list and delete topics.
    pub administrators: u64,
    /// The pause between two messages or batches of one producer.
    pub pace_ms: u64,
    /// The largest filler of a message, in bytes.
    pub filler_bytes_max: u64,
    /// Whether a node that holds a copy today may hold none at the end.
    pub copies_move: bool,
}

impl Default for Spec {
    /// Everything but metadata, at a rate that two cores bear.
    fn default() -> Self {
        Self {
            sdk_producers: 2,
            wire_producers: 2,
            rivals: 1,
            followers: 1,
            pagers: 2,
            probes: 1,
            administrators: 0,
            pace_ms: 10,
            filler_bytes_max: 1_200,
            copies_move: false,
        }
    }
}

impl Spec {
    /// Metadata only, with just enough publishing for the history to have an ack.
    pub fn control() -> Self {
        Self {
            administrators: 3,
            sdk_producers: 1,
            wire_producers: 0,
            rivals: 0,
            pagers: 0,
            pace_ms: 100,
            ..Self::default()
        }
    }

    /// SDK producers only.
    pub fn sdk_only() -> Self {
        Self { sdk_producers: 3, wire_producers: 0, rivals: 0, ..Self::default() }
    }
}

impl Spec {
    fn manner(&self) -> Manner {
        Manner {
            message_pause_ms: self.pace_ms,
            page_pause_ms: 30,
            control_pause_ms: 60,
            filler_bytes_max: self.filler_bytes_max,
            opens_again: false,
            turn: None,
            copies_move: self.copies_move,
            unconfirmed_ends: false,
        }
    }
}

/// Clients at work on one topic.
#[derive(Debug)]
pub struct Workload {
    cluster: Arc<Cluster>,
    scene: Arc<Scene>,
    tasks: JoinSet<()>,
}

impl Workload {
    /// Sets the clients to work.
    pub fn start(
        cluster: Arc<Cluster>,
        recorder: Recorder,
        topic: &str,
        partitions: u32,
        spec: &Spec,
        chance: &Chance,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Several workloads may write one history; none has as many clients as this.
        let first = NEXT.fetch_add(1, Ordering::Relaxed) * 10_000;
        let scene = Scene::new(topic, partitions, recorder, spec.manner(), first);
        let mut workload = Self { cluster, scene: Arc::new(scene), tasks: JoinSet::new() };
        let fork = |label: &str, nth: u64| chance.fork(&format!("{topic}/{label}/{nth}"));
        for nth in 0..spec.sdk_producers {
            workload.add(|scene, region| produce_by_sdk(scene, region, nth, fork("sdk", nth)));
        }
        for nth in 0..spec.wire_producers {
            let label = format!("wire-{nth}");
            workload.add(|scene, region| produce_by_wire(scene, region, label, None, fork("wire", nth)));
        }
        for nth in 0..spec.rivals * 2 {
            let (label, name) = (format!("rival-wire-{nth}"), Some(format!("rival-{}", nth / 2)));
            workload.add(|scene, region| produce_by_wire(scene, region, label, name, fork("rival", nth)));
        }
        for nth in 0..spec.followers {
            let partition = nth as u32 % partitions;
            workload.add(|scene, region| follow(scene, region, partition, fork("follow", nth)));
        }
        for nth in 0..spec.pagers {
            // Even readers go through the cluster, odd ones ask one replica each.
            let mut chance = fork("pages", nth);
            let replica = (nth % 2 == 1).then(|| workload.cluster.any_node(&mut chance));
            let pager = Pager { partition: (nth / 2) as u32 % partitions, replica };
            workload.add(|scene, region| read_pages(scene, region, pager, chance));
        }
        for nth in 0..spec.probes {
            workload.add(|scene, region| probe(scene, region, fork("ends", nth)));
        }
        for nth in 0..spec.administrators {
            workload.add(|scene, region| administer(scene, region, fork("control", nth)));
        }
        workload
    }

    fn add<F>(&mut self, client: impl FnOnce(Arc<Scene>, Arc<Cluster>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(client(self.scene.clone(), self.cluster.clone()));
    }

    /// What the clients have done so far.
    pub fn tally(&self) -> &Tally {
        &self.scene.tally
    }

    /// The topic they work on.
    pub fn topic(&self) -> &str {
        &self.scene.topic
    }

    /// Its partitions.
    pub fn partitions(&self) -> u32 {
        self.scene.partitions
    }

    /// Lets every client finish what it has begun and returns the figures.
    ///
    /// # Errors
    /// If one does not finish in time, or has panicked.
    pub async fn stop(mut self, within: Duration) -> Result<Counts> {
        self.scene.end();
        let deadline = Instant::now() + within;
        let mut left = self.tasks.len();
        while left > 0 {
            let patience = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(patience, self.tasks.join_next()).await {
                Ok(Some(Ok(()))) => left -= 1,
                Ok(Some(Err(error))) => bail!("a client ended badly: {error}"),
                Ok(None) => break,
                Err(_) => bail!("{left} clients did not finish within {} s after heal", within.as_secs()),
            }
        }
        Ok(self.scene.tally.counts())
    }
}
