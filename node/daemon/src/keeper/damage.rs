//! Copies whose messages are damaged: they stop at once, what is stored is kept aside, and once a quorum of other
//! copies serves the group this one is made anew under another id. Without such a quorum they wait: then nothing
//! here may be replaced.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use meridian_machine::control::ControlChange;
use meridian_model::{GroupId, ReplicaId};
use meridian_storage::keys::meta;
use meridian_storage::{Durability, Family, WriteSet};
use tokio::time::Instant;

use super::Keeper;
use crate::folder;
use crate::formation::StoredReplica;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest pause between two questions whether others hold a group: each costs them a round.
const ASK_PAUSE_MAX: Duration = Duration::from_secs(10);
const CHANGE_MAX: Duration = Duration::from_secs(10);

pub(super) async fn keep(keeper: Keeper) {
    let mut found = keeper.parts.disk.damaged_groups();
    let mut waiting = Waiting::default();
    loop {
        let damaged = found.borrow_and_update().clone();
        waiting.condemned.retain(|group| damaged.contains_key(group));
        for (group, why) in &damaged {
            // Also one that was being opened when the damage was found.
            if keeper.parts.disk.is_damaged(*group) {
                keeper.stop(*group).await;
            }
            if waiting.condemned.contains(group) {
                continue;
            }
            match keeper.condemn(*group, why).await {
                Ok(()) => waiting.add(*group),
                Err(error) => {
                    tracing::error!(%group, %error, "a damaged copy could not be kept aside: it is not replaced yet");
                }
            }
        }
        if waiting.ask_now() {
            keeper.renew(&waiting.condemned).await;
        }
        let _ = tokio::time::timeout(LOOK_EVERY, found.changed()).await;
    }
}

/// Condemned copies that are not replaced yet, and when others are asked about them again.
struct Waiting {
    condemned: BTreeSet<GroupId>,
    ask_at: Instant,
    pause: Duration,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { condemned: BTreeSet::new(), ask_at: Instant::now(), pause: LOOK_EVERY }
    }
}

impl Waiting {
    fn add(&mut self, group: GroupId) {
        self.condemned.insert(group);
        (self.ask_at, self.pause) = (Instant::now(), LOOK_EVERY);
    }

    fn ask_now(&mut self) -> bool {
        let due = !self.condemned.is_empty() && self.ask_at <= Instant::now();
        if due {
            self.ask_at = Instant::now() + self.pause;
            self.pause = (self.pause * 2).min(ASK_PAUSE_MAX);
        }
        due
    }
}

/// Why a stored copy may not be opened, if it may not.
pub(super) async fn condemned(keeper: &Keeper, group: GroupId) -> io::Result<Option<String>> {
    let key = meta::encode(group, meta::Fact::Condemned);
    let stored = keeper.parts.disk.read(move |engine| engine.get(Family::Meta, &key)).await?;
    Ok(stored.map(|why| String::from_utf8_lossy(&why).into_owned()))
}

impl Keeper {
    /// Keeps what is stored of a damaged copy, unless that was done before.
    async fn condemn(&self, group: GroupId, why: &str) -> io::Result<()> {
        if condemned(self, group).await?.is_some() {
            return Ok(());
        }
        tracing::error!(%group, why, "messages of this copy are damaged: it stops, and is made anew from others");
        if let Some(data) = self.folder.as_deref() {
            let aside = folder::new_quarantine(data)?;
            if let Err(error) = self.keep_aside(&aside, &format!("{group}: {why}\n")).await {
                std::fs::remove_dir_all(&aside)?;
                return Err(error);
            }
            tracing::warn!(%group, quarantine = %aside.display(), "a copy of the damaged data is kept");
        }
        // Last: whoever finds this written may replace the copy.
        let mut set = WriteSet::default();
        set.put(Family::Meta, meta::encode(group, meta::Fact::Condemned), why.as_bytes().to_vec());
        Ok(self.parts.writer.write(set, Durability::Synced).await?)
    }

    async fn keep_aside(&self, aside: &Path, why: &str) -> io::Result<()> {
        std::fs::write(aside.join("WHY"), why)?;
        let engine = aside.join("engine");
        Ok(self.parts.disk.read(move |from| from.keep_aside(&engine)).await?)
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
