//! Opens the replicas placed on this node, founds new groups, and removes what is placed here no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use meridian_model::topology::Placement;
use meridian_model::{GroupId, ReplicaId};
use meridian_raft::{Group, GroupIdentity};
use meridian_storage::keys::{index, log, meta, state};
use meridian_storage::{Durability, Family, WriteSet};

use super::{Keeper, damage};
use crate::formation::StoredReplica;

/// How long a founder waits for the one that should lead before it founds the group itself.
const FOUND_AFTER: Duration = Duration::from_millis(1_500);

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
    let mut first = true;
    loop {
        seen = keeper.control_moved(seen).await;
        let Some(placed) = keeper.placed() else { continue };
        if std::mem::take(&mut first) {
            tracing::info!(partitions = placed.len(), "the control state is known");
        }
        for (placement, replica) in &placed {
            if let Err(error) = keeper.ensure(placement, *replica).await {
                tracing::error!(group = %placement.group, %error, "a replica could not be opened");
            }
        }
        let wanted: BTreeSet<GroupId> = placed.iter().map(|(placement, _)| placement.group).collect();
        keeper.drop_unplaced(&wanted).await;
    }
}

impl Keeper {
    /// The partitions with a replica for this life of this node. `None` until the control state can be trusted
    /// to be as new as this node's own registration.
    fn placed(&self) -> Option<Vec<(Placement, ReplicaId)>> {
        self.control.look(|machine| {
            let registered =
                machine.node(self.own).is_some_and(|record| record.incarnation == self.incarnation);
            let here = |placement: &Placement| {
                let mine = |replica: &&meridian_model::topology::Replica| {
                    replica.node == self.own && replica.incarnation == self.incarnation
                };
                // A copy on its way out is still needed: the group has not voted it out yet.
                let leaving = machine.leaving(placement.group);
                let copy = placement.replicas.iter().chain(leaving).find(mine)?;
                Some((placement.clone(), copy.replica))
            };
            let all = machine.topics().flat_map(|topic| topic.partitions.iter());
            registered.then(|| all.filter_map(here).collect())
        })?
    }

    async fn ensure(&self, placement: &Placement, replica: ReplicaId) -> io::Result<()> {
        if let Some(group) = self.registry.get(placement.group) {
            let damaged = self.parts.disk.is_damaged(placement.group);
            if group.replica() == replica && (group.fatal().is_none() || damaged) {
                return Ok(());
            }
            if let Some(why) = group.fatal() {
                tracing::error!(group = %placement.group, why, "the replica stopped by itself; it is opened again");
            }
            self.stop(placement.group).await;
            if group.replica() != replica {
                self.destroy(placement.group).await?;
            }
        }
        let stored = StoredReplica::load(&self.parts, placement.group).await?;
        if stored.is_some_and(|stored| stored.replica == replica)
            && self.is_condemned(placement.group).await?
        {
            return Ok(());
        }
        if stored.is_some_and(|stored| stored.replica != replica) {
            self.destroy(placement.group).await?;
        }
        if stored.is_none_or(|stored| stored.replica != replica) {
            StoredReplica { history: placement.log, replica }.save(&self.parts, placement.group).await?;
        }
        let identity = GroupIdentity { group: placement.group, history: placement.log, replica };
        let group = Group::open(identity, self.parts.clone()).await?;
        self.registry.insert(group.clone());
        if placement.founders.contains(&replica) && group.is_pristine().await {
            self.found(placement, group);
        }
        Ok(())
    }

    /// Whether the stored copy may not be opened. Whoever keeps damaged copies is told of those found at a start.
    async fn is_condemned(&self, group: GroupId) -> io::Result<bool> {
        if self.parts.disk.is_damaged(group) {
            return Ok(true);
        }
        let why = damage::condemned(self, group).await?;
        if let Some(why) = &why {
            self.parts.disk.report_damaged_group(group, why);
        }
        Ok(why.is_some())
    }

    /// Founds a new group. The node that should lead does it at once; the others only if it does not.
    fn found(&self, placement: &Placement, group: std::sync::Arc<Group>) {
        let founders =
            placement.replicas.iter().filter(|replica| placement.founders.contains(&replica.replica));
        let voters: BTreeMap<_, _> = founders.map(|replica| (replica.replica, replica.node)).collect();
        if voters.len() != placement.founders.len() {
            // A founder was replaced meanwhile; the rest hold the group or nobody does.
            tracing::warn!(group = %group.id(), "not all founders are left");
        }
        let at_once = placement.preferred_leader == self.own;
        tokio::spawn(async move {
            if !at_once {
                tokio::time::sleep(FOUND_AFTER).await;
                if !group.is_pristine().await {
                    return;
                }
            }
            if let Err(error) = group.initialize(voters).await {
                tracing::warn!(group = %group.id(), %error, "the group could not be founded");
            }
        });
    }

    async fn drop_unplaced(&self, wanted: &BTreeSet<GroupId>) {
        for group in self.registry.all() {
            let id = group.id();
            if id.is_control() || wanted.contains(&id) {
                continue;
            }
            tracing::info!(group = %id, "no longer placed here");
            self.stop(id).await;
            if let Err(error) = self.destroy(id).await {
                tracing::error!(group = %id, %error, "its data could not be removed");
            }
        }
    }

    pub(super) async fn stop(&self, group: GroupId) {
        if let Some(group) = self.registry.remove(group) {
            group.shutdown().await;
        }
    }

    /// Removes everything stored of a group: its id is never used again.
    pub(super) async fn destroy(&self, group: GroupId) -> io::Result<()> {
        let mut set = WriteSet::default();
        set.delete_range(Family::Log, log::all(group));
        set.delete_range(Family::Index, index::all(group));
        set.delete_range(Family::State, state::all(group));
        set.delete_range(Family::Meta, meta::all(group));
        set.delete_range(Family::Staging, meta::all(group));
        self.parts.writer.write(set, Durability::Synced).await?;
        self.parts.disk.forget_damage(group);
        Ok(self.parts.disk.read(move |engine| engine.reclaim(Family::Log, &log::all(group))).await?)
    }
}
