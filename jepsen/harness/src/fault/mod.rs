//! Faults, each written into the history when it is put in and when it is taken out.

mod damage;
mod nemesis;
mod operation;
mod partition;
mod wal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use meridian_history::{Fault, FaultEffect, FaultPhase, Recorder};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::net::Cut;
use crate::wait;

pub use damage::{Damage, Injury, injure};
pub use nemesis::{Kind, Nemesis};
pub use partition::{bridge, isolate, isolate_from_all, majority_apart, one_way};

/// The logical client under which faults are recorded.
const PROCESS: u64 = 1_000_000;
/// The logical client under which operators' work is recorded.
const OPERATOR: u64 = 1_000_001;
/// How long a cut link may stay without a packet that proves the cut.
const PROOF_MAX: Duration = Duration::from_secs(3);
/// How long a node may take to notice its neighbour's clock.
const CLOCK_MAX: Duration = Duration::from_secs(20);

/// The hand that puts faults in and takes them out.
#[derive(Debug)]
pub struct Faults {
    cluster: Arc<Cluster>,
    recorder: Recorder,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    /// Faults for this cluster, recorded there.
    pub fn new(cluster: Arc<Cluster>, recorder: Recorder) -> Self {
        Self { cluster, recorder, counts: Mutex::default() }
    }

    /// How many of each kind took effect.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// SIGKILL. Skipped where the node does not run.
    ///
    /// # Errors
    /// If the process does not go away.
    pub fn kill(&self, id: u64) -> Result<FaultEffect> {
        self.install("kill", &target(id), || {
            let mut node = self.cluster.node(id)?;
            if !node.is_running() {
                return Ok(FaultEffect::Skipped);
            }
            node.kill().map(|()| FaultEffect::Installed)
        })
    }

    /// Starts a node that was killed. Returns how long it took to listen.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&self, name: &'static str, id: u64) -> Result<Duration> {
        let pending = self.recorder.invoke(PROCESS, fault(name, &target(id), FaultPhase::Healed));
        let took = self.cluster.start_node(id).await?;
        pending.ok(FaultEffect::Installed);
        Ok(took)
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// If the process does not stop.
    pub fn pause(&self, id: u64) -> Result<FaultEffect> {
        self.install("pause", &target(id), || {
            let mut node = self.cluster.node(id)?;
            if !node.is_running() {
                return Ok(FaultEffect::Skipped);
            }
            node.pause().map(|()| FaultEffect::Installed)
        })
    }

    /// SIGCONT. A node that was killed meanwhile is left alone.
    ///
    /// # Errors
    /// If the process does not go on.
    pub fn resume(&self, id: u64) -> Result<FaultEffect> {
        self.heal("pause", &target(id), || {
            let mut node = self.cluster.node(id)?;
            if !node.is_running() {
                return Ok(FaultEffect::Skipped);
            }
            node.resume().map(|()| FaultEffect::Installed)
        })
    }

    /// Cuts links. It counts as installed once a packet was dropped.
    ///
    /// # Errors
    /// If the rules are refused.
    pub async fn partition(&self, name: &'static str, cuts: &[Cut]) -> Result<FaultEffect> {
        let target = format!("{cuts:?}");
        let pending = self.recorder.invoke(PROCESS, fault(name, &target, FaultPhase::Installed));
        self.cluster.network().cut(cuts)?;
        let proof = wait::until("a dropped packet", PROOF_MAX, async || {
            let dropped = self.cluster.network().dropped().ok()?;
            dropped.iter().any(|(_, packets)| *packets > 0).then_some(())
        });
        let effect = match proof.await {
            Ok(()) => FaultEffect::Installed,
            Err(_) => FaultEffect::Indeterminate,
        };
        pending.ok(effect);
        self.count(name, effect);
        Ok(effect)
    }

    /// Restores every link.
    ///
    /// # Errors
    /// If the rules cannot be removed.
    pub fn mend(&self, name: &'static str) -> Result<FaultEffect> {
        self.heal(name, "all links", || self.cluster.network().cut(&[]).map(|()| FaultEffect::Installed))
    }

    /// Cuts the power of these nodes' disks, one right after the other, then ends their processes.
    ///
    /// # Errors
    /// If a disk still takes writes, or a process does not go away.
    pub fn cut_power(&self, ids: &[u64]) -> Result<FaultEffect> {
        self.install("power-loss", &format!("{ids:?}"), || {
            for id in ids {
                self.cluster.node(*id)?.disk().cut_power()?;
            }
            for id in ids {
                let mut node = self.cluster.node(*id)?;
                if node.is_running() {
                    node.kill()?;
                }
            }
            Ok(FaultEffect::Installed)
        })
    }

    /// Mounts the disks again and starts the nodes.
    ///
    /// # Errors
    /// If a disk cannot be mounted or a node does not come up.
    pub async fn restore_power(&self, ids: &[u64]) -> Result<()> {
        let pending =
            self.recorder.invoke(PROCESS, fault("power-loss", &format!("{ids:?}"), FaultPhase::Healed));
        for id in ids {
            let mut node = self.cluster.node(*id)?;
            node.disk().restore_power()?;
            node.start()?;
        }
        for id in ids {
            self.cluster.await_ready(*id, crate::cluster::READY_MAX).await?;
        }
        pending.ok(FaultEffect::Installed);
        Ok(())
    }

    /// From now on the syncs of these nodes say that they are done and are not.
    ///
    /// # Errors
    /// If a node's file cannot be written.
    pub fn begin_lying(&self, ids: &[u64]) -> Result<FaultEffect> {
        self.install("lying-sync", &format!("{ids:?}"), || self.lie(ids, true))
    }

    /// Syncs are honest again.
    ///
    /// # Errors
    /// If a node's file cannot be removed.
    pub fn end_lying(&self, ids: &[u64]) -> Result<FaultEffect> {
        self.heal("lying-sync", &format!("{ids:?}"), || self.lie(ids, false))
    }

    fn lie(&self, ids: &[u64], lies: bool) -> Result<FaultEffect> {
        for id in ids {
            self.cluster.node(*id)?.set_lying(lies)?;
        }
        Ok(FaultEffect::Installed)
    }

    /// A node's disk refuses every write, as after an error of its device.
    ///
    /// # Errors
    /// If it still takes writes.
    pub fn turn_read_only(&self, id: u64) -> Result<FaultEffect> {
        self.install("read-only-disk", &target(id), || {
            self.cluster.node(id)?.disk().turn_read_only().map(|()| FaultEffect::Installed)
        })
    }

    /// Mounts the disk of a node that has ended anew, and starts the node.
    ///
    /// # Errors
    /// If the disk cannot be mounted or the node does not come up.
    pub async fn turn_writable(&self, id: u64) -> Result<Duration> {
        let pending = self.recorder.invoke(PROCESS, fault("read-only-disk", &target(id), FaultPhase::Healed));
        self.cluster.node(id)?.disk().restore_power()?;
        let took = self.cluster.start_node(id).await?;
        pending.ok(FaultEffect::Installed);
        Ok(took)
    }

    /// Damages a file of a node that is down.
    ///
    /// # Errors
    /// If the node runs, or there is no file of that kind.
    pub fn damage(&self, id: u64, damage: Damage, chance: &mut Chance) -> Result<Injury> {
        let mut done = None;
        self.install(damage.name(), &target(id), || {
            let mut node = self.cluster.node(id)?;
            anyhow::ensure!(!node.is_running(), "node {id} runs");
            done = Some(injure(&node.disk().data(), damage, chance)?);
            Ok(FaultEffect::Installed)
        })?;
        done.ok_or_else(|| anyhow::anyhow!("nothing was damaged"))
    }

    /// Removes all data of a node that is down.
    ///
    /// # Errors
    /// If it runs, or something cannot be removed.
    pub fn wipe(&self, id: u64) -> Result<FaultEffect> {
        self.install("wipe", &target(id), || {
            let mut node = self.cluster.node(id)?;
            anyhow::ensure!(!node.is_running(), "node {id} runs");
            node.disk().wipe().map(|()| FaultEffect::Installed)
        })
    }

    /// Takes disk space from a node.
    ///
    /// # Errors
    /// If the space cannot be taken.
    pub fn fill(&self, id: u64, percent: u64) -> Result<FaultEffect> {
        self.install("disk-full", &target(id), || {
            self.cluster.node(id)?.disk().fill_to_percent(percent).map(|()| FaultEffect::Installed)
        })
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// If the ballast cannot be removed.
    pub fn unfill(&self, id: u64) -> Result<FaultEffect> {
        self.heal("disk-full", &target(id), || {
            self.cluster.node(id)?.disk().drop_ballast().map(|()| FaultEffect::Installed)
        })
    }

    /// Moves a node's clock; installed once its neighbours see it that far off.
    ///
    /// # Errors
    /// If the clock cannot be moved.
    pub async fn move_clock(&self, id: u64, offset: &str, at_least_ms: u64) -> Result<FaultEffect> {
        let pending = self.recorder.invoke(PROCESS, fault("clock", &target(id), FaultPhase::Installed));
        self.cluster.node(id)?.set_clock(offset)?;
        let seen = wait::until("the clock to be seen moved", CLOCK_MAX, async || {
            let cluster = self.cluster.ask(id).await.ok()?;
            let offsets = cluster.nodes.iter().filter(|node| node.node != id);
            offsets
                .filter_map(|node| node.clock_offset_ms)
                .any(|ms| ms.unsigned_abs() >= at_least_ms)
                .then_some(())
        });
        let effect = match seen.await {
            Ok(()) => FaultEffect::Installed,
            Err(_) => FaultEffect::Indeterminate,
        };
        pending.ok(effect);
        self.count("clock", effect);
        Ok(effect)
    }

    /// Sets a node's clock right.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn right_clock(&self, id: u64) -> Result<FaultEffect> {
        self.heal("clock", &target(id), || {
            self.cluster.node(id)?.set_clock("+0").map(|()| FaultEffect::Installed)
        })
    }

    fn install(
        &self,
        name: &'static str,
        target: &str,
        act: impl FnOnce() -> Result<FaultEffect>,
    ) -> Result<FaultEffect> {
        let effect = self.note(name, target, FaultPhase::Installed, act)?;
        self.count(name, effect);
        Ok(effect)
    }

    fn heal(
        &self,
        name: &'static str,
        target: &str,
        act: impl FnOnce() -> Result<FaultEffect>,
    ) -> Result<FaultEffect> {
        self.note(name, target, FaultPhase::Healed, act)
    }

    fn note(
        &self,
        name: &str,
        target: &str,
        phase: FaultPhase,
        act: impl FnOnce() -> Result<FaultEffect>,
    ) -> Result<FaultEffect> {
        let pending = self.recorder.invoke(PROCESS, fault(name, target, phase));
        match act() {
            Ok(effect) => {
                pending.ok(effect);
                Ok(effect)
            }
            Err(error) => {
                pending.partial(FaultEffect::Indeterminate, format!("{error:#}"));
                Err(error)
            }
        }
    }

    fn count(&self, name: &'static str, effect: FaultEffect) {
        let took = u64::from(effect == FaultEffect::Installed);
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += took;
    }
}

fn target(id: u64) -> String {
    format!("node-{id}")
}

fn fault(name: &str, target: &str, phase: FaultPhase) -> Fault {
    Fault { name: name.into(), target: target.into(), phase, effect: None }
}
