//! What operators do to a region while it works, written into the history as faults are: a run that planned it
//! and did not do it fails.

use std::future::Future;

use anyhow::Result;
use meridian_history::{FaultEffect, FaultPhase};
use meridian_sdk::NodeId;

use super::{Faults, OPERATOR, fault, target};

impl Faults {
    /// Asks for a node to lead nothing. Done once the region has said yes: handing over takes longer.
    ///
    /// # Errors
    /// If the region refuses or does not answer in time.
    pub async fn drain(&self, id: u64) -> Result<()> {
        self.operate("drain", id, FaultPhase::Installed, self.set_drained(id, true)).await
    }

    /// Lets a drained node lead again.
    ///
    /// # Errors
    /// As [`Faults::drain`].
    pub async fn undo_drain(&self, id: u64) -> Result<()> {
        self.operate("drain", id, FaultPhase::Healed, self.set_drained(id, false)).await
    }

    /// Asks for a node to move out. Done once the region has said yes: its copies go one after the other.
    ///
    /// # Errors
    /// As [`Faults::drain`].
    pub async fn decommission(&self, id: u64) -> Result<()> {
        self.operate("decommission", id, FaultPhase::Installed, self.set_leaving(id)).await
    }

    /// Starts a spare node. Done once the region counts it among its own: copies come later.
    ///
    /// # Errors
    /// If it is not let in in time.
    pub async fn join(&self, id: u64) -> Result<()> {
        let joined = async { self.cluster.join(id).await.map(drop) };
        self.operate("join", id, FaultPhase::Installed, joined).await
    }

    async fn set_drained(&self, id: u64, drained: bool) -> Result<()> {
        Ok(self.cluster.client(id)?.admin().drain_node(NodeId(id), !drained).await.map(drop)?)
    }

    async fn set_leaving(&self, id: u64) -> Result<()> {
        Ok(self.cluster.client(id)?.admin().decommission_node(NodeId(id), false).await.map(drop)?)
    }

    async fn operate(
        &self,
        name: &'static str,
        id: u64,
        phase: FaultPhase,
        act: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let pending = self.recorder.invoke(OPERATOR, fault(name, &target(id), phase));
        let done = act.await;
        let effect = if done.is_ok() { FaultEffect::Installed } else { FaultEffect::Indeterminate };
        match &done {
            Ok(()) => pending.ok(effect),
            Err(error) => pending.partial(effect, format!("{error:#}")),
        }
        if phase == FaultPhase::Installed {
            self.count(name, effect);
        }
        done
    }
}
