//! What every client holds: the history, the stage of the run, the figures so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use meridian_history::Recorder;
use meridian_model::hash;
use parking_lot::Mutex;

use crate::chance::Chance;
use crate::plan::Plan;
use crate::trace::{Trace, now_ns};

/// The topic that everybody works on.
pub(crate) const TOPIC: &str = "simulated";

/// How long one partition has all the traffic where messages expire.
const TURN_NS: u64 = 3_000_000_000;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    /// The nodes become a cluster.
    Forming,
    /// Clients work under faults.
    Working,
    /// Everything is healed, and clients still work.
    Healed,
    /// Clients finish what they have begun.
    Stopping,
    /// The run is over.
    Done,
}

impl Stage {
    const ALL: [Stage; 5] = [Self::Forming, Self::Working, Self::Healed, Self::Stopping, Self::Done];
}

/// Shared by all clients of a run.
pub(crate) struct Scene {
    pub(crate) plan: Arc<Plan>,
    pub(crate) recorder: Recorder,
    pub(crate) trace: Arc<Trace>,
    stage: AtomicU8,
    next: AtomicU64,
    hosts_done: AtomicU64,
    acked: AtomicU64,
    trimmed: AtomicU64,
    problems: Mutex<Vec<String>>,
}

impl Scene {
    pub(crate) fn new(plan: Arc<Plan>, recorder: Recorder, trace: Arc<Trace>) -> Arc<Self> {
        Arc::new(Self {
            plan,
            recorder,
            trace,
            stage: AtomicU8::new(0),
            next: AtomicU64::new(1),
            hosts_done: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            trimmed: AtomicU64::new(0),
            problems: Mutex::default(),
        })
    }

    /// Where the run stands.
    pub(crate) fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.stage.load(Ordering::Relaxed))]
    }

    /// Takes the run on to a later stage.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Relaxed);
    }

    /// Waits until the run has come to a stage.
    pub(super) async fn reached(&self, stage: Stage) {
        while self.stage() < stage {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage() >= Stage::Stopping
    }

    pub(super) fn client_host_done(&self) {
        self.hosts_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn client_hosts_done(&self) -> u64 {
        self.hosts_done.load(Ordering::Relaxed)
    }

    /// The number of a logical client or a session, never given twice.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn chance(&self, label: &str) -> Chance {
        Chance::new(self.plan.seed).fork(label)
    }

    pub(super) async fn pace(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// A partition to work on. Where messages expire, all work on one for a while and leave the others in
    /// peace: only a partition without traffic is trimmed to its end.
    pub(super) fn any_partition(&self, chance: &mut Chance) -> u32 {
        let partitions = u64::from(self.plan.partitions);
        let any = chance.between(0, partitions - 1);
        if self.plan.expires_soon() { (now_ns() / TURN_NS % partitions) as u32 } else { any as u32 }
    }

    /// A key that belongs to a partition.
    pub(super) fn key_of(&self, partition: u32) -> String {
        let keys = (0_u32..).map(|n| format!("key-{n}"));
        let mut fitting =
            keys.filter(|key| hash::partition_of(key.as_bytes(), self.plan.partitions) == partition);
        fitting.next().unwrap_or_default()
    }

    pub(super) fn acked(&self, messages: u64) {
        self.acked.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages acked so far.
    pub(crate) fn acked_so_far(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    pub(super) fn note_trimmed(&self, offsets: u64) {
        self.trimmed.fetch_add(offsets, Ordering::Relaxed);
    }

    /// Messages that retention had removed at the end, over all replicas.
    pub(crate) fn trimmed(&self) -> u64 {
        self.trimmed.load(Ordering::Relaxed)
    }

    /// Notes what should not have happened although no promise of the log is broken by it.
    pub(crate) fn problem(&self, what: impl Into<String>) {
        self.problems.lock().push(what.into());
    }

    /// What was noted.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.lock().clone()
    }
}
