//! Digests of a group's tables, taken at the same log indexes on every replica. Hash chains show where logs differ;
//! these show where machines made different tables of the same log.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use meridian_machine::Table;
use meridian_model::GroupId;
use meridian_storage::keys::{meta, state};
use meridian_storage::{Disk, EngineSnapshot, Family};
use parking_lot::Mutex;

use crate::snapshot::boundary_of;

/// Digests that a replica remembers.
const REMEMBERED: usize = 8;
/// One segment's end in so many is a place to compare at.
const SAMPLED: u64 = 8;
/// Rows and bytes of one read.
const READ_ROWS: usize = 4_096;
const READ_BYTES: usize = 1024 * 1024;

/// What the tables of a group were after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateDigest {
    /// The Raft index of the entry.
    pub index: u64,
    /// BLAKE3 over the rows in the order of their keys, each with its lengths.
    pub digest: [u8; 32],
}

/// Whether replicas compare their tables after the entry that closed a segment: the same answer on each of them.
pub(crate) fn is_due(closed_at: u64) -> bool {
    (closed_at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(SAMPLED)
}

/// The digest of a group's tables in a frozen view of the disk. `None` where nothing was applied, or while a
/// received snapshot is ahead of the log.
pub(crate) async fn of(
    group: GroupId,
    view: Arc<dyn EngineSnapshot>,
    disk: &Disk,
) -> Result<Option<StateDigest>, io::Error> {
    let frozen = Arc::clone(&view);
    let facts = disk.read(move |_| {
        let applied = frozen.get(Family::Meta, &meta::encode(group, meta::Fact::Applied))?;
        Ok((applied, frozen.get(Family::Meta, &meta::encode(group, meta::Fact::TablesAt))?))
    });
    let (applied, tables_at) = facts.await?;
    let (Some((at, _)), None) = (boundary_of(applied)?, tables_at) else { return Ok(None) };
    let mut hasher = blake3::Hasher::new();
    let mut range = state::all(group);
    loop {
        let (part, view) = (range.clone(), Arc::clone(&view));
        let rows = disk.read(move |_| view.scan(Family::State, &part, READ_ROWS, READ_BYTES)).await?;
        let Some((last, _)) = rows.last() else { break };
        range.from = [&last[..], &[0]].concat();
        // Memberships at boundaries are this room's own; which of them a replica has depends on its past.
        for (key, value) in rows.iter().filter(|(key, _)| key[8] != Table::BoundaryMembership as u8) {
            for part in [&key[8..], &value[..]] {
                hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
            }
        }
    }
    Ok(Some(StateDigest { index: at.index, digest: *hasher.finalize().as_bytes() }))
}

/// The last digests of a replica.
#[derive(Default)]
pub(crate) struct Digests(Mutex<VecDeque<StateDigest>>);

impl Digests {
    pub(crate) fn remember(&self, digest: StateDigest) {
        let mut last = self.0.lock();
        if last.len() == REMEMBERED {
            last.pop_front();
        }
        last.push_back(digest);
    }

    pub(crate) fn all(&self) -> Vec<StateDigest> {
        self.0.lock().iter().copied().collect()
    }
}
