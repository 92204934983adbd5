//! The scalars of the control group: the cluster, and the counters that never go back.

use meridian_model::{ClusterId, GroupId, ReplicaId, UnixMs};
use serde::{Deserialize, Serialize};

use super::row::Stored;
use crate::Table;

/// The feature level of a cluster formed by this build.
pub const FEATURE_LEVEL: u32 = 1;

/// The cluster, once formed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn when it was formed.
    pub id: ClusterId,
    /// What the operator calls it.
    pub name: String,
    /// When it was formed, by the leader's stamp.
    pub formed_at: UnixMs,
}

/// The scalars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Core {
    pub(super) applied_term: u64,
    pub(super) applied_index: u64,
    pub(super) last_stamp: UnixMs,
    pub(super) cluster: Option<Cluster>,
    pub(super) feature_level: u32,
    /// The next group id: from 1, each used once.
    pub(super) next_group: u64,
    /// The next replica id: above every founder's, each used once.
    pub(super) next_replica: u64,
    /// The number of the next remembered request.
    pub(super) next_request: u64,
    /// No named producer gets an epoch at or below this one: the highest of any topic that was deleted.
    pub(super) epoch_floor: u32,
}

impl Core {
    pub(super) fn new() -> Self {
        Self {
            applied_term: 0,
            applied_index: 0,
            last_stamp: UnixMs(0),
            cluster: None,
            feature_level: FEATURE_LEVEL,
            next_group: 1,
            next_replica: 1,
            next_request: 0,
            epoch_floor: 0,
        }
    }

    /// A replica id that no copy ever had.
    pub(super) fn mint_replica(&mut self) -> ReplicaId {
        let minted = ReplicaId(self.next_replica);
        self.next_replica += 1;
        minted
    }

    /// A group id that no partition ever had.
    pub(super) fn mint_group(&mut self) -> GroupId {
        let minted = GroupId(self.next_group);
        self.next_group += u64::from(!planted!(ReusesGroup));
        minted
    }
}

impl Stored for Core {
    const TABLE: Table = Table::Core;

    fn key(&self) -> Vec<u8> {
        Vec::new()
    }
}
