//! The keepers: loops that bring the actual state of this node toward the desired state of the control group.

mod addresses;
mod backlog;
mod balance;
mod control_log;
mod damage;
mod digests;
mod disk;
mod groups;
pub(crate) mod leadership;
mod membership;
mod retention;
mod stall;
mod subscriptions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_config::{MembershipConfig, StorageConfig};
use meridian_model::{Incarnation, NodeId};
use meridian_raft::{GroupParts, Registry};
use tokio::task::JoinHandle;

use crate::comparison::Comparison;
use crate::control_plane::ControlPlane;
use crate::probe::Prober;

pub(crate) use disk::{DiskSpace, Endless, FileSystem};

/// How often a keeper looks even if nothing seems to have changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What keepers need.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) own: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) parts: GroupParts,
    pub(crate) storage: StorageConfig,
    pub(crate) membership: MembershipConfig,
    pub(crate) disk: Arc<dyn DiskSpace>,
    pub(crate) prober: Prober,
    /// The data folder, if there is one: what is damaged is kept there.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) comparison: Arc<Comparison>,
}

impl Keeper {
    /// Starts every keeper.
    pub(crate) fn spawn(self) -> Vec<JoinHandle<()>> {
        vec![
            tokio::spawn(addresses::keep(self.clone())),
            tokio::spawn(balance::keep(self.clone())),
            tokio::spawn(control_log::keep(self.clone())),
            tokio::spawn(damage::keep(self.clone())),
            tokio::spawn(digests::keep(self.clone())),
            tokio::spawn(groups::keep(self.clone())),
            tokio::spawn(leadership::keep(self.clone())),
            tokio::spawn(membership::keep(self.clone())),
            tokio::spawn(retention::keep(self.clone())),
            tokio::spawn(stall::keep(self.clone())),
            tokio::spawn(subscriptions::keep(self.clone())),
            tokio::spawn(disk::keep(self)),
        ]
    }

    /// Waits until the control state moved past `seen`, or for a while. Returns how far it is.
    async fn control_moved(&self, seen: Option<u64>) -> Option<u64> {
        let moved = async {
            match self.control.group() {
                Some(group) => {
                    let mut applied = group.view().watch();
                    let _ = applied.wait_for(|applied| applied.index > seen).await;
                }
                None => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(LOOK_EVERY, moved).await;
        self.control.group().and_then(|group| group.view().applied().index)
    }
}
