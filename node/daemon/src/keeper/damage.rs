//! Copies whose messages are damaged: they stop at once, what is stored is kept aside, and once a quorum of other
//! copies serves the group this one is made anew under another id. Without such a quorum they wait: then nothing
//! here may be replaced.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use meridian_machine::control::ControlChange;
use meridian_model::{GroupId, ReplicaId};
use meridian_storage::keys::meta;
use meridian_storage::{Durability, Family, WriteSet};

use super::Keeper;
use crate::folder;
use crate::formation::StoredReplica;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const CHANGE_MAX: Duration = Duration::from_secs(10);

pub(super) async fn keep(keeper: Keeper) {
    let mut found = keeper.parts.disk.damaged_groups();
    let mut condemned = BTreeSet::new();
    loop {
        let damaged = found.borrow_and_update().clone();
        condemned.retain(|group| damaged.contains_key(group));
        for (group, why) in &damaged {
            if condemned.insert(*group)
                && let Err(error) = keeper.condemn(*group, why).await
            {
                tracing::error!(%group, %error, "a damaged copy could not be set aside");
            }
        }
        if !condemned.is_empty() {
            keeper.renew(&condemned).await;
        }
        let _ = tokio::time::timeout(LOOK_EVERY, found.changed()).await;
    }
}

/// Why a stored copy may not be opened, if it may not.
pub(super) async fn condemned(keeper: &Keeper, group: GroupId) -> io::Result<Option<String>> {
    let key = meta::encode(group, meta::Fact::Condemned);
    let stored = keeper.parts.disk.read(move |engine| engine.get(Family::Meta, &key)).await?;
    Ok(stored.map(|why| String::from_utf8_lossy(&why).into_owned()))
}

impl Keeper {
    /// Stops a damaged copy for good and keeps what is stored, unless that was done before.
    async fn condemn(&self, group: GroupId, why: &str) -> io::Result<()> {
        self.stop(group).await;
        if condemned(self, group).await?.is_some() {
            return Ok(());
        }
        tracing::error!(%group, why, "messages of this copy are damaged: it stops, and is made anew from others");
        let mut set = WriteSet::default();
        set.put(Family::Meta, meta::encode(group, meta::Fact::Condemned), why.as_bytes().to_vec());
        self.parts.writer.write(set, Durability::Synced).await?;
        let Some(data) = self.folder.as_deref() else { return Ok(()) };
        let aside = folder::new_quarantine(data)?;
        std::fs::write(aside.join("WHY"), format!("{group}: {why}\n"))?;
        let engine = aside.join("engine");
        self.parts.disk.read(move |from| from.keep_aside(&engine)).await?;
        tracing::warn!(%group, quarantine = %aside.display(), "a copy of the damaged data is kept");
        Ok(())
    }

    /// Asks for new copies where others hold the group; forgets copies that are not wanted here any more.
    async fn renew(&self, condemned: &BTreeSet<GroupId>) {
        let others: Vec<_> =
            self.control.look(|machine| machine.nodes().map(|r| r.node).collect()).unwrap_or_default();
        if others.is_empty() {
            return;
        }
        let elsewhere = self.prober.elsewhere(others).await;
        for group in condemned {
            match self.placed_here(*group) {
                None => {}
                Some(None) => self.forget(*group).await,
                // The keeper of groups removes it, and what it opens then is another copy.
                Some(placed) if self.stored(*group).await != placed => {}
                Some(_) if !elsewhere.led.contains(group) => {
                    tracing::warn!(%group, "a damaged copy waits: no quorum of others holds the group");
                }
                Some(_) => {
                    let renewed = ControlChange::MoveCopy { group: *group, from: self.own, to: self.own };
                    match self.control.change(renewed, CHANGE_MAX).await {
                        Ok(_) => tracing::info!(%group, "a new copy takes the place of the damaged one"),
                        Err(error) => tracing::info!(%group, %error, "the damaged copy is not replaced yet"),
                    }
                }
            }
        }
    }

    /// Which copy of the group this node should have, if any. `None`: it cannot be told now.
    fn placed_here(&self, group: GroupId) -> Option<Option<ReplicaId>> {
        self.control.look(|machine| {
            let (topic, partition) = machine.group(group)?;
            let placement = topic.partitions.get(partition as usize)?;
            let copies = placement.replicas.iter().chain(machine.leaving(group));
            copies.into_iter().find(|copy| copy.node == self.own).map(|copy| copy.replica)
        })
    }

    async fn stored(&self, group: GroupId) -> Option<ReplicaId> {
        let stored = StoredReplica::load(&self.parts, group).await;
        stored.ok().flatten().map(|stored| stored.replica)
    }

    async fn forget(&self, group: GroupId) {
        if let Err(error) = self.destroy(group).await {
            tracing::error!(%group, %error, "a damaged copy could not be removed");
        }
    }
}
