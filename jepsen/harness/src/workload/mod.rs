//! Clients of many kinds at work at once, each writing down what it did and saw.

mod control;
mod ends;
mod follow;
mod once;
mod oracle;
mod pages;
mod rescan;
mod sdk_producer;
mod tally;
mod wire_producer;
mod witness;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use meridian_history::Recorder;
use meridian_model::hash;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::cluster::Cluster;

pub use rescan::{Rescan, rescan};
pub use tally::{Counts, Tally};
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

/// What every client holds.
#[derive(Debug)]
pub(crate) struct Scene {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    topic: String,
    partitions: u32,
    tally: Arc<Tally>,
    stop: CancellationToken,
    /// Numbers of logical clients and of reading sessions.
    next: AtomicU64,
}

impl Scene {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Sleeps as the pace of a client says; returns early when the work is over.
    async fn pace(&self, ms: u64) {
        let pause = tokio::time::sleep(Duration::from_millis(ms));
        tokio::select! {
            () = pause => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn any_node(&self, chance: &mut Chance) -> u64 {
        *chance.pick(&self.cluster.ids())
    }

    /// A key that belongs to a partition.
    fn key_of(&self, partition: u32) -> String {
        let keys = (0_u32..).map(|n| format!("key-{n}"));
        let mut fitting = keys.filter(|key| hash::partition_of(key.as_bytes(), self.partitions) == partition);
        fitting.next().unwrap_or_default()
    }
}

/// Clients at work on one topic.
#[derive(Debug)]
pub struct Workload {
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
        let scene = Arc::new(Scene {
            cluster,
            recorder,
            topic: topic.to_owned(),
            partitions,
            tally: Arc::default(),
            stop: CancellationToken::new(),
            // Several workloads may write one history; none has as many clients as this.
            next: AtomicU64::new(NEXT.fetch_add(1, Ordering::Relaxed) * 10_000),
        });
        let mut workload = Self { scene, tasks: JoinSet::new() };
        let fork = |label: &str, nth: u64| chance.fork(&format!("{topic}/{label}/{nth}"));
        for nth in 0..spec.sdk_producers {
            workload.add(|scene| sdk_producer::produce(scene, nth, spec.clone(), fork("sdk", nth)));
        }
        for nth in 0..spec.wire_producers {
            workload.add(|scene| wire_producer::produce(scene, nth, None, spec.clone(), fork("wire", nth)));
        }
        for nth in 0..spec.rivals * 2 {
            let name = Some(format!("rival-{}", nth / 2));
            workload.add(|scene| wire_producer::produce(scene, nth, name, spec.clone(), fork("rival", nth)));
        }
        for nth in 0..spec.followers {
            workload.add(|scene| follow::follow(scene, nth, fork("follow", nth)));
        }
        for nth in 0..spec.pagers {
            workload.add(|scene| pages::read(scene, nth, fork("pages", nth)));
        }
        for nth in 0..spec.probes {
            workload.add(|scene| ends::probe(scene, fork("ends", nth)));
        }
        for nth in 0..spec.administrators {
            workload.add(|scene| control::administer(scene, fork("control", nth)));
        }
        workload
    }

    fn add<F>(&mut self, client: impl FnOnce(Arc<Scene>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(client(self.scene.clone()));
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
        self.scene.stop.cancel();
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
