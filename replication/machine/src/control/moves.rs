//! Copies that move: the new one is placed at once, the old one stays until the group has voted it out.

use meridian_model::topology::{Placement, Replica, Topic};
use meridian_model::{GroupId, NodeId, ReplicaId};
use serde::{Deserialize, Serialize};

use super::balance::Placed;
use super::duty::Duty;
use super::row::Stored;
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

/// Copies of one partition that may be on their way out at a time: one, and its successor, where that is lost
/// before the group could do without the first.
const LEAVING_MAX: usize = 2;

/// A copy that is no longer placed, and that may still be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub(super) group: GroupId,
    pub(super) copy: Replica,
}

impl Stored for Leaving {
    const TABLE: Table = Table::Move;

    fn key(&self) -> Vec<u8> {
        [self.group.0.to_be_bytes(), self.copy.replica.0.to_be_bytes()].concat()
    }
}

fn name_of(group: GroupId) -> String {
    format!("groups/{}", group.0)
}

impl ControlMachine {
    /// The copies of a group that are on their way out.
    pub fn leaving(&self, group: GroupId) -> impl Iterator<Item = &Replica> {
        self.moves.range((group, ReplicaId(0))..=(group, ReplicaId(u64::MAX))).map(|(_, copy)| copy)
    }

    /// Every copy that is on its way out, with its group.
    pub fn all_leaving(&self) -> impl Iterator<Item = (GroupId, &Replica)> {
        self.moves.iter().map(|((group, _), copy)| (*group, copy))
    }

    /// The groups of which a node should hold a copy, the control group included where it is a member.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = GroupId> {
        let control = self.nodes.contains_key(&node).then_some(GroupId::CONTROL);
        let placed = self.topics.values().flat_map(|topic| &topic.partitions);
        let held = placed.filter(move |placement| placement.replicas.iter().any(|copy| copy.node == node));
        control.into_iter().chain(held.map(|placement| placement.group))
    }

    /// Copies that a node gives up, and copies that it gets: the newest of each partition of which one is given up.
    pub fn moving_at(&self, node: NodeId) -> usize {
        let given_up = self.moves.values().filter(|copy| copy.node == node).count();
        let placed = self.topics.values().flat_map(|topic| &topic.partitions);
        let moving = placed.filter(|placement| self.leaving(placement.group).next().is_some());
        let newest = moving.filter_map(|placement| placement.replicas.iter().max_by_key(|copy| copy.replica));
        given_up + newest.filter(|copy| copy.node == node).count()
    }

    /// Where everything is placed, for planning.
    pub fn board(&self) -> Vec<Placed> {
        let live = self.topics.values().filter(|topic| !topic.deleting);
        let placed = live.flat_map(|topic| &topic.partitions).map(|placement| Placed {
            group: placement.group,
            nodes: placement.replicas.iter().map(|copy| copy.node).collect(),
            leader: placement.preferred_leader,
            leaving: self.leaving(placement.group).map(|copy| copy.node).collect(),
        });
        placed.collect()
    }

    pub(super) fn move_copy(
        &mut self,
        group: GroupId,
        from: NodeId,
        to: NodeId,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let target =
            self.nodes.get(&to).ok_or_else(|| ControlRefusal::not_found(format!("nodes/{}", to.0)))?;
        let incarnation = target.incarnation;
        let renewed = from == to;
        if !renewed && self.duty(to) != Duty::Serving {
            return Err(ControlRefusal::conflict("the node that should get the copy is not serving"));
        }
        if self.leaving(group).count() >= LEAVING_MAX && !planted!(MovesTooMany) {
            return Err(ControlRefusal::conflict("other copies of the partition are moving"));
        }
        if !renewed && self.leaving(group).any(|copy| copy.node == to) && !planted!(MovesBack) {
            return Err(ControlRefusal::conflict("the node has a copy that is on its way out"));
        }
        let placement = self.placement(group)?;
        if !renewed && placement.replicas.iter().any(|copy| copy.node == to) {
            return Err(ControlRefusal::conflict("the node has a copy already"));
        }
        if placement.replicas.iter().all(|copy| copy.node != from) {
            return Err(ControlRefusal::conflict("the node that should give the copy up has none"));
        }
        let minted = Replica { replica: self.core.mint_replica(), node: to, incarnation };
        let mut left = None;
        self.change_placement(group, effects, |placement| {
            for copy in placement.replicas.iter_mut().filter(|copy| copy.node == from) {
                left = Some(std::mem::replace(copy, minted));
            }
            if planted!(MovedFounds) {
                placement.founders.push(minted.replica);
            }
            if placement.preferred_leader == from {
                placement.preferred_leader = to;
            }
        });
        if let Some(copy) = left {
            if !planted!(LosesMoveRow) {
                effects.push(Leaving { group, copy }.put());
            }
            self.moves.insert((group, copy.replica), copy);
        }
        Ok(ControlDone::Changed)
    }

    /// The group has voted the old copy out: its node may remove it.
    pub(super) fn finish_move(
        &mut self,
        group: GroupId,
        replica: ReplicaId,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let any = self.leaving(group).next().filter(|_| planted!(FinishesOtherMove));
        let replica = any.map_or(replica, |copy| copy.replica);
        let copy =
            self.moves.remove(&(group, replica)).ok_or_else(|| ControlRefusal::not_found(name_of(group)))?;
        effects.push(Leaving { group, copy }.delete());
        Ok(ControlDone::Changed)
    }

    pub(super) fn prefer_leader(
        &mut self,
        group: GroupId,
        node: NodeId,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        if self.placement(group)?.replicas.iter().all(|copy| copy.node != node) {
            return Err(ControlRefusal::conflict("the node has no copy of the partition"));
        }
        self.change_placement(group, effects, |placement| placement.preferred_leader = node);
        Ok(ControlDone::Changed)
    }

    /// The moves of a topic that is gone.
    pub(super) fn forget_moves_of(&mut self, topic: &Topic, effects: &mut Vec<Effect>) {
        for Placement { group, .. } in &topic.partitions {
            let leaving: Vec<Replica> = self.leaving(*group).copied().collect();
            for copy in leaving.into_iter().filter(|_| !planted!(KeepsMoveOfDeleted)) {
                self.moves.remove(&(*group, copy.replica));
                effects.push(Leaving { group: *group, copy }.delete());
            }
        }
    }

    /// The placement of a partition that may be changed.
    fn placement(&self, group: GroupId) -> Result<&Placement, ControlRefusal> {
        let (topic, partition) =
            self.group(group).ok_or_else(|| ControlRefusal::not_found(name_of(group)))?;
        if topic.deleting {
            return Err(ControlRefusal::conflict("the topic is being deleted"));
        }
        topic.partitions.get(partition as usize).ok_or_else(|| ControlRefusal::not_found(name_of(group)))
    }

    fn change_placement(
        &mut self,
        group: GroupId,
        effects: &mut Vec<Effect>,
        change: impl FnOnce(&mut Placement),
    ) {
        let version = self.core.applied_index;
        let Some((name, partition)) = self.groups.get(&group) else { return };
        let Some(topic) = self.topics.get_mut(name) else { return };
        let Some(placement) = topic.partitions.get_mut(*partition as usize) else { return };
        change(placement);
        topic.version = version;
        effects.push(topic.put());
    }
}
