//! What is watched while the load goes on: each node's memory, and who was elected.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use meridian_harness::arena::say;
use meridian_harness::cluster::Cluster;

const EVERY: Duration = Duration::from_millis(50);
const MIB: f64 = (1 << 20) as f64;

/// The most memory that was seen in use, by node.
pub(crate) struct Watch {
    cluster: Arc<Cluster>,
    idle: BTreeMap<u64, u64>,
    most: Arc<Mutex<BTreeMap<u64, u64>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Notes what idle nodes take, and begins to look.
    pub(crate) fn start(cluster: Arc<Cluster>) -> Result<Self> {
        let mut idle = BTreeMap::new();
        for id in cluster.ids() {
            idle.insert(id, cluster.node(id)?.anonymous_bytes()?);
        }
        let (most, over) = (Arc::new(Mutex::new(idle.clone())), Arc::new(AtomicBool::new(false)));
        let look = Look { cluster: cluster.clone(), most: most.clone(), over: over.clone() };
        let thread = Some(std::thread::spawn(move || look.until_over()));
        Ok(Self { cluster, idle, most, over, thread })
    }

    /// Fails if a node ever took more than it takes idle, and this.
    pub(crate) fn expect_within(mut self, budget_bytes: u64) -> Result<()> {
        self.end();
        let most = self.most.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mib = |bytes: u64| bytes as f64 / MIB;
        for (id, most) in &most {
            let idle = self.idle.get(id).copied().unwrap_or_default();
            let now = self.cluster.node(*id)?.anonymous_bytes()?;
            say(&format!(
                "  node {id}: {:.0} MiB idle, at most {:.0} more of {:.0}, {:.0} more now",
                mib(idle),
                mib(most - idle),
                mib(budget_bytes),
                mib(now.saturating_sub(idle)),
            ));
        }
        for (id, most) in &most {
            let more = most - self.idle.get(id).copied().unwrap_or_default();
            ensure!(more <= budget_bytes, "node {id} took {:.0} MiB more than idle", mib(more));
        }
        Ok(())
    }

    fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

struct Look {
    cluster: Arc<Cluster>,
    most: Arc<Mutex<BTreeMap<u64, u64>>>,
    over: Arc<AtomicBool>,
}

impl Look {
    fn until_over(self) {
        while !self.over.load(Ordering::Relaxed) {
            for id in self.cluster.ids() {
                let Ok(now) = self.cluster.node(id).and_then(|node| node.anonymous_bytes()) else { continue };
                let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = most.entry(id).or_default();
                *entry = now.max(*entry);
            }
            std::thread::sleep(EVERY);
        }
    }
}

/// The latest term of each group that any node knows of.
pub(crate) async fn terms(cluster: &Cluster) -> Result<BTreeMap<u64, u64>> {
    let mut terms: BTreeMap<u64, u64> = BTreeMap::new();
    for id in cluster.ids() {
        for group in cluster.ask(id).await?.groups {
            let term = terms.entry(group.group).or_default();
            *term = group.term.max(*term);
        }
    }
    Ok(terms)
}
