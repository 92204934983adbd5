//! When a majority of a group's voters is lost for ever: what is left of the group goes on alone.
//!
//! Raft cannot decide that, because nobody can tell what the lost voters had acknowledged. An operator can, who knows
//! that they will not come back. To a stopped copy's log one entry is added, in a term above every term it knows, that
//! makes it the only voter. It elects itself, and whatever else its log held is committed. What only the lost copies
//! held is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use meridian_machine::control::ControlMachine;
use meridian_model::{GroupId, Incarnation, NodeId, ReplicaId};
use meridian_storage::keys::entry::EntryKind;
use meridian_storage::keys::{entry, log, meta};
use meridian_storage::{Disk, Engine, Family, Value, Write, WriteSet};
use serde::{Deserialize, Serialize};

use crate::machine_store::stored_rows;
use crate::snapshot::boundary_of;
use crate::types::{Membership, ReplicaNode, Vote};
use crate::wire;

/// Rows of one read.
const ROWS: usize = 1_024;
/// Bytes of one read.
const BYTES: usize = 4 * 1024 * 1024;

/// What a stopped node holds of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// Which group.
    pub group: GroupId,
    /// The nodes of the voters, by copy; during a change of members of both memberships.
    pub voters: BTreeMap<ReplicaId, NodeId>,
    /// The memberships of which each needs a majority.
    majorities_of: Vec<BTreeSet<ReplicaId>>,
    /// Term and index of the last entry.
    pub last: (u64, u64),
    /// The highest term that the copy has voted in or has an entry of.
    term: u64,
    /// The tables came from a snapshot and are ahead of the log.
    pub incomplete: bool,
    /// The copy is damaged.
    pub condemned: bool,
}

impl Remains {
    /// The copy of a node, if it votes.
    pub fn voter_on(&self, node: NodeId) -> Option<ReplicaId> {
        self.voters.iter().find(|(_, on)| **on == node).map(|(replica, _)| *replica)
    }

    /// Whether a majority is left when these nodes are lost.
    pub fn survives(&self, lost: &BTreeSet<NodeId>) -> bool {
        self.majorities_of.iter().all(|voters| {
            let left =
                |replica: &&ReplicaId| self.voters.get(replica).is_some_and(|node| !lost.contains(node));
            2 * voters.iter().filter(left).count() > voters.len()
        })
    }

    /// The other nodes with a voter, which are not lost.
    pub fn others(&self, own: NodeId, lost: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        self.voters.values().filter(|node| **node != own && !lost.contains(node)).copied().collect()
    }

    /// The changes that make the copy on `own` the only voter. To be written as a whole, synced. `None` where no
    /// copy there votes, or it is damaged or incomplete.
    pub fn go_on_alone(&self, own: NodeId) -> Option<WriteSet> {
        let replica = self.voter_on(own).filter(|_| !self.incomplete && !self.condemned)?;
        let nodes = BTreeMap::from([(replica.0, ReplicaNode { node: own })]);
        let membership = Membership::new(vec![BTreeSet::from([replica.0])], nodes).ok()?;
        let (term, index) = (self.term + 1, self.last.1 + 1);
        let body = Bytes::from(wire::encode_membership(&membership));
        let head = entry::header(term, index, EntryKind::Membership, &body);
        let mut set = WriteSet::default();
        set.push(Write::Put(Family::Log, log::encode(self.group, index), Value::Framed { head, body }));
        let vote = wire::encode_vote(&Vote::new(term, replica.0));
        set.put(Family::Meta, meta::encode(self.group, meta::Fact::Vote), vote);
        Some(set)
    }
}

/// What a stopped node holds of every group that has a copy there.
pub fn remains(engine: &Arc<dyn Engine>) -> io::Result<Vec<Remains>> {
    let (mut all, mut range) = (Vec::new(), meta::everything());
    loop {
        let rows = engine.scan(Family::Meta, &range, ROWS, BYTES)?;
        let Some((last, _)) = rows.last() else { return Ok(all) };
        range.from = [&last[..], &[0]].concat();
        for (key, _) in rows {
            let (group, tag) = meta::decode(&key).map_err(invalid)?;
            if tag == meta::Fact::Replica as u8 {
                all.extend(look_at(engine, group)?);
            }
        }
    }
}

/// `None` where the copy has never taken part in anything.
fn look_at(engine: &Arc<dyn Engine>, group: GroupId) -> io::Result<Option<Remains>> {
    let fact = |fact| engine.get(Family::Meta, &meta::encode(group, fact));
    let (applied, mut membership) = match boundary_of(fact(meta::Fact::Applied)?)? {
        Some((at, stored)) => (at.index, stored.membership().clone()),
        None => (0, Membership::default()),
    };
    let position = |bytes: Bytes| meta::decode_position(&bytes).map_err(invalid);
    let mut last = fact(meta::Fact::Purged)?.map(position).transpose()?.unwrap_or_default();
    let (mut range, from) = (log::range(group, applied, u64::MAX), applied);
    loop {
        let rows = engine.scan(Family::Log, &range, ROWS, BYTES)?;
        let Some((key, _)) = rows.last() else { break };
        range.from = [&key[..], &[0]].concat();
        for (_, value) in rows {
            let stored = entry::decode(value).map_err(invalid)?;
            last = last.max((stored.term, stored.index));
            if stored.kind == EntryKind::Membership && stored.index > from {
                membership = wire::decode_membership(&stored.payload)?;
            }
        }
    }
    let vote = fact(meta::Fact::Vote)?.map(|bytes| wire::decode_vote(&bytes)).transpose()?;
    let majorities_of: Vec<BTreeSet<ReplicaId>> = membership
        .get_joint_config()
        .iter()
        .map(|voters| voters.iter().copied().map(ReplicaId).collect())
        .collect();
    if majorities_of.iter().all(BTreeSet::is_empty) {
        return Ok(None);
    }
    let node_of = |id: u64| membership.get_node(&id).map(|node| (ReplicaId(id), node.node));
    Ok(Some(Remains {
        group,
        voters: membership.voter_ids().filter_map(node_of).collect(),
        majorities_of,
        last,
        term: vote.map_or(0, |vote| vote.leader_id().term).max(last.0),
        incomplete: fact(meta::Fact::TablesAt)?.is_some() || fact(meta::Fact::Installing)?.is_some(),
        condemned: fact(meta::Fact::Condemned)?.is_some(),
    }))
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The control state as far as this node had applied it. `None` before anything was.
pub fn control_state(engine: &Arc<dyn Engine>) -> io::Result<Option<ControlMachine>> {
    let rows = stored_rows(engine, GroupId::CONTROL)?;
    Ok(if rows.is_empty() { None } else { Some(ControlMachine::restore(rows).map_err(invalid)?) })
}

/// The lives of nodes that were given up: this node neither hears them nor speaks to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The life that each node had. With an empty disk, and so another life, it is let in again.
    pub lives: BTreeMap<NodeId, Incarnation>,
}

impl Fence {
    /// What is stored on this node.
    pub async fn load(disk: &Disk) -> io::Result<Self> {
        Self::decode(disk.read(|engine| engine.get(Family::Meta, &Self::key())).await?)
    }

    /// The same, of a node that does not run.
    pub fn of_stopped(engine: &dyn Engine) -> io::Result<Self> {
        Self::decode(engine.get(Family::Meta, &Self::key())?)
    }

    fn key() -> Vec<u8> {
        meta::encode(GroupId::CONTROL, meta::Fact::Fence)
    }

    fn decode(stored: Option<Bytes>) -> io::Result<Self> {
        stored.map_or(Ok(Self::default()), |bytes| postcard::from_bytes(&bytes).map_err(invalid))
    }

    /// Adds what is to be stored.
    pub fn store(&self, set: &mut WriteSet) -> io::Result<()> {
        let value = postcard::to_stdvec(self).map_err(invalid)?;
        set.put(Family::Meta, Self::key(), value);
        Ok(())
    }
}
