//! What every host of a run holds: the plan, the stage of the run, what the clients share, what went wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use meridian_history::Recorder;
use meridian_workload::{Chance, Manner, Scene as Clients};

use parking_lot::Mutex;

use super::consumers::Consumers;
use crate::plan::Plan;
use crate::plant::Plant;
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

fn manner(plan: &Plan) -> Manner {
    Manner {
        message_pause_ms: plan.pace_ms,
        page_pause_ms: 60,
        control_pause_ms: 250,
        filler_bytes_max: plan.filler_bytes_max,
        opens_again: true,
        // Where messages expire, all work on one partition for a while and leave the others in peace: only a
        // partition without traffic is trimmed to its end.
        turn: plan.expires_soon().then_some(turn),
        copies_move: false,
        unconfirmed_ends: plan.plant == Plant::UnconfirmedEnd,
    }
}

fn turn(partitions: u32) -> u32 {
    (now_ns() / TURN_NS % u64::from(partitions)) as u32
}

/// A run as all its hosts see it.
pub(crate) struct Scene {
    pub(crate) plan: Arc<Plan>,
    /// What the clients share.
    pub(crate) clients: Arc<Clients>,
    /// Who consumes what they publish.
    pub(super) consumers: Option<Consumers>,
    pub(crate) trace: Arc<Trace>,
    stage: AtomicU8,
    hosts_done: AtomicU64,
    trimmed: AtomicU64,
    problems: Mutex<Vec<String>>,
}

impl Scene {
    pub(crate) fn new(plan: Arc<Plan>, recorder: Recorder, trace: Arc<Trace>) -> Arc<Self> {
        let consumers = plan.subscription.map(|kind| Consumers::new(kind, plan.partitions, recorder.clone()));
        let clients = Clients::new(TOPIC, plan.partitions, recorder, manner(&plan), 1);
        Arc::new(Self {
            plan,
            clients: Arc::new(clients),
            consumers,
            trace,
            stage: AtomicU8::new(0),
            hosts_done: AtomicU64::new(0),
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
        if stage >= Stage::Stopping {
            self.clients.end();
        }
    }

    /// Waits until the run has come to a stage.
    pub(super) async fn reached(&self, stage: Stage) {
        while self.stage() < stage {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) fn client_host_done(&self) {
        self.hosts_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn client_hosts_done(&self) -> u64 {
        self.hosts_done.load(Ordering::Relaxed)
    }

    pub(super) fn chance(&self, label: &str) -> Chance {
        Chance::new(self.plan.seed).fork(label)
    }

    /// Messages acked so far.
    pub(crate) fn acked_so_far(&self) -> u64 {
        self.clients.tally.acked()
    }

    /// Messages given to consumers so far.
    pub(crate) fn delivered_so_far(&self) -> u64 {
        self.consumers.as_ref().map_or(0, Consumers::delivered)
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
        let mut problems = self.problems.lock().clone();
        // The SDK must hide every fault of a run.
        problems.extend(self.clients.tally.counts().sdk_errors);
        problems.extend(self.consumers.iter().flat_map(Consumers::errors));
        problems
    }
}
