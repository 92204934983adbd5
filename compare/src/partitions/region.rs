//! The region under measurement: three nodes in namespaces, everything else as it is by default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use meridian_harness::cluster::{Cluster, Setup, Timing};
use meridian_harness::net::Placement;
use meridian_harness::run::Run;
use meridian_harness::{probe, probe::Capability};
use meridian_sdk::Client;
use meridian_sdk::admin::NewTopic;

use crate::Story;

pub(super) const TOPIC: &str = "many";
const LED_MAX: Duration = Duration::from_secs(120);
const SPREAD_MAX: Duration = Duration::from_secs(120);
/// How long leaders must have stayed where they are before the region is at rest.
const STILL_FOR: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The nodes. Dropping it ends them and removes their namespaces and data.
pub(super) struct Region {
    pub(super) cluster: Arc<Cluster>,
    pub(super) partitions: u32,
    client: Client,
    /// After the cluster: its folder goes last.
    _run: Arc<Run>,
}

/// How long it took until a topic was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Created {
    /// Until the call that creates it returned.
    pub(super) answered: Duration,
    /// Until every partition had a leader.
    pub(super) led: Duration,
}

impl Region {
    pub(super) async fn start(partitions: u32) -> Result<Self> {
        probe::require(&[Capability::Root, Capability::Namespaces, Capability::Filters])?;
        let run = Arc::new(Run::begin("partitions")?);
        let setup = Setup { placement: Placement::Namespaces, timing: Timing::Usual, ..Setup::default() };
        let cluster = Cluster::start(Arc::clone(&run), setup).await?;
        let client = cluster.client(1)?;
        // What starting costs is over when memory is looked at.
        tokio::time::sleep(STILL_FOR).await;
        Ok(Self { cluster, partitions, client, _run: run })
    }

    pub(super) async fn create(&self) -> Result<Created> {
        let begun = Instant::now();
        self.client.admin().create_topic(NewTopic::new(TOPIC, self.partitions)).await?;
        let answered = begun.elapsed();
        loop {
            let led = self.led().await?;
            if led.values().map(Vec::len).sum::<usize>() == self.partitions as usize {
                return Ok(Created { answered, led: begun.elapsed() });
            }
            if begun.elapsed() > LED_MAX {
                bail!("after {} s not every partition is led", LED_MAX.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn delete(&self) -> Result<()> {
        self.client.admin().delete_topic(TOPIC).await?;
        Ok(())
    }

    /// The partitions by the node that leads them.
    pub(super) async fn led(&self) -> Result<BTreeMap<u64, Vec<u32>>> {
        self.cluster.led(TOPIC).await
    }

    /// Waits until all nodes answer, every partition is led, and no node leads less than nine tenths of its share.
    pub(super) async fn spread(&self) -> Result<()> {
        let begun = Instant::now();
        let nodes = self.cluster.ids().len();
        let least = self.partitions as usize * 9 / (10 * nodes);
        loop {
            let led = self.led().await?;
            let all = led.values().map(Vec::len).sum::<usize>() == self.partitions as usize;
            if all && led.len() == nodes && led.values().all(|led| led.len() >= least) {
                return Ok(());
            }
            if begun.elapsed() > SPREAD_MAX {
                let counts: BTreeMap<u64, usize> = led.iter().map(|(node, led)| (*node, led.len())).collect();
                bail!("after {} s leaders are not spread: {counts:?}", SPREAD_MAX.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no node has a copy of any topic: what was deleted is gone, and takes nothing from what is measured.
    pub(super) async fn await_empty(&self) -> Result<()> {
        let begun = Instant::now();
        for id in self.cluster.ids() {
            while self.cluster.ask(id).await?.groups.iter().any(|group| !group.topic.is_empty()) {
                ensure!(begun.elapsed() < SPREAD_MAX, "node {id} has copies of deleted topics still");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Waits until leaders are spread and have stayed where they are for so long. Returns where that is.
    pub(super) async fn steady(&self, still_for: Duration) -> Result<BTreeMap<u64, Vec<u32>>> {
        self.spread().await?;
        let begun = Instant::now();
        let (mut seen, mut since) = (self.led().await?, Instant::now());
        while since.elapsed() < still_for {
            ensure!(begun.elapsed() < SPREAD_MAX, "leaders do not stay where they are");
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.led().await?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(seen)
    }

    /// Waits until the region is at rest.
    pub(super) async fn settle(&self, story: &Story) -> Result<()> {
        let seen = self.steady(STILL_FOR).await?;
        let counts: Vec<String> =
            seen.iter().map(|(node, led)| format!("node {node}: {}", led.len())).collect();
        story.say(format!("leaders stay where they are; {}", counts.join(", ")));
        Ok(())
    }

    /// Every node's process.
    pub(super) fn pids(&self) -> Result<BTreeMap<u64, u32>> {
        let mut pids = BTreeMap::new();
        for id in self.cluster.ids() {
            match self.cluster.node(id)?.pid() {
                Some(pid) => drop(pids.insert(id, pid)),
                None => bail!("node {id} does not run"),
            }
        }
        Ok(pids)
    }

    /// A client of its own, as an application has it.
    pub(super) fn client(&self, seed: u64) -> Result<Client> {
        self.cluster.client(seed)
    }

    /// Where clients reach the nodes.
    pub(super) fn servers(&self) -> String {
        let addresses = self.cluster.ids().into_iter().map(|id| self.cluster.address(id));
        addresses.collect::<Vec<_>>().join(",")
    }
}
