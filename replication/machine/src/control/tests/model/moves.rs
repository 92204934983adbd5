//! Copies that move, and leaders that are named anew; and what holds wherever copies are.

use std::collections::BTreeSet;

use meridian_model::topology::{Placement, Replica};
use meridian_model::{NodeId, TopicName};

use super::{Model, Refused, Verdict, refuse};
use crate::control::tests::coverage::{Coverage, Met};
use crate::control::{ControlDone, Duty};

/// A copy that has been placed elsewhere.
pub(in crate::control::tests) struct Moving {
    /// The copy that goes.
    pub(in crate::control::tests) old: Replica,
    /// The node that got the new one.
    pub(in crate::control::tests) to: u64,
}

fn unknown(group: u64) -> Refused {
    Refused::NotFound(format!("groups/{group}"))
}

impl Model {
    /// The topic that a group is of, the number of its partition, and whether it is being deleted.
    pub(in crate::control::tests) fn home(&self, group: u64) -> Option<(&TopicName, usize, bool)> {
        self.topics.values().find_map(|topic| {
            let number = topic.partitions.iter().position(|placement| placement.group.0 == group)?;
            Some((&topic.name, number, topic.deleting))
        })
    }

    /// The copies of a group that are on their way out.
    pub(in crate::control::tests) fn moving_of(&self, group: u64) -> impl Iterator<Item = &Moving> {
        self.moving.range((group, 0)..=(group, u64::MAX)).map(|(_, moving)| moving)
    }

    fn change(&mut self, (name, number): (TopicName, usize), change: impl FnOnce(&mut Placement)) {
        let index = self.at.index;
        if let Some(topic) = self.topics.get_mut(&name) {
            change(&mut topic.partitions[number]);
            topic.version = index;
        }
    }

    pub(super) fn move_copy(&mut self, group: u64, from: u64, to: u64, met: &mut Coverage) -> Verdict {
        let Some(target) = self.nodes.get(&to) else {
            let gone = self.gone.contains_key(&to);
            let refused = Refused::NotFound(format!("nodes/{to}"));
            return refuse(met, if gone { Met::MoveToGone } else { Met::MoveToUnknown }, refused);
        };
        let incarnation = target.incarnation;
        let conflict = |met: &mut Coverage, what| refuse(met, what, Refused::Conflict);
        let renewed = from == to;
        if !renewed && self.draining.contains(&to) {
            return conflict(met, Met::MoveToDrained);
        }
        if !renewed && self.leaving.contains(&to) {
            return conflict(met, Met::MoveToLeaving);
        }
        let nodes: Vec<NodeId> = self.moving_of(group).map(|moving| moving.old.node).collect();
        if nodes.len() > 1 {
            return conflict(met, Met::MoveThird);
        }
        if !renewed && nodes.contains(&NodeId(to)) {
            return conflict(met, Met::MoveBackTooEarly);
        }
        let (name, number) = match self.home(group) {
            None => return refuse(met, Met::MoveUnknownGroup, unknown(group)),
            Some((_, _, true)) => return conflict(met, Met::MoveOfDeleting),
            Some((name, number, false)) => (name.clone(), number),
        };
        let placement = &self.topics[&name].partitions[number];
        let on = |node: u64| placement.replicas.iter().position(|copy| copy.node.0 == node);
        if !renewed && on(to).is_some() {
            return conflict(met, Met::MoveOntoCopy);
        }
        let Some(place) = on(from) else { return conflict(met, Met::MoveOfNoCopy) };
        let (old, led) = (placement.replicas[place], placement.preferred_leader.0 == from);
        met.met(match (renewed, led) {
            (true, _) if self.duty(to) != Duty::Serving => Met::CopyRenewedOffDuty,
            (true, _) => Met::CopyRenewed,
            (false, true) => Met::MovedWithLeadership,
            (false, false) => Met::MovedFollower,
        });
        if self.leaving.contains(&from) && !renewed {
            met.met(Met::MovedOffLeaving);
        }
        if !nodes.is_empty() {
            met.met(Met::MovedSecond);
        }
        if self.moved.contains(&group) {
            met.met(Met::MovedOnceMore);
        }
        let replica = self.mint_replica();
        self.change((name, number), |placement| {
            placement.replicas[place] = Replica { replica, node: NodeId(to), incarnation };
            if led {
                placement.preferred_leader = NodeId(to);
            }
        });
        self.moving.insert((group, old.replica.0), Moving { old, to });
        Ok(ControlDone::Changed)
    }

    pub(super) fn finish_move(&mut self, group: u64, replica: u64, met: &mut Coverage) -> Verdict {
        let Some(Moving { old, .. }) = self.moving.get(&(group, replica)) else {
            let what = match (self.home(group), self.moving_of(group).count()) {
                (None, _) => Met::FinishMoveUnknownGroup,
                (Some(_), 0) => Met::FinishMoveOfNone,
                (Some(_), _) => Met::FinishMoveOfOther,
            };
            return refuse(met, what, unknown(group));
        };
        let node = self.nodes.get(&old.node.0);
        met.met(match self.home(group) {
            Some((_, _, true)) => Met::MoveFinishedWhileDeleting,
            _ if node.is_some_and(|node| node.incarnation != old.incarnation) => Met::MoveFinishedOnceWiped,
            _ => Met::MoveFinished,
        });
        self.moving.remove(&(group, replica));
        self.moved.insert(group);
        Ok(ControlDone::Changed)
    }

    pub(super) fn prefer_leader(&mut self, group: u64, node: u64, met: &mut Coverage) -> Verdict {
        let (name, number) = match self.home(group) {
            None => return refuse(met, Met::PreferUnknownGroup, unknown(group)),
            Some((_, _, true)) => return refuse(met, Met::PreferOfDeleting, Refused::Conflict),
            Some((name, number, false)) => (name.clone(), number),
        };
        let placement = &self.topics[&name].partitions[number];
        if !placement.replicas.iter().any(|copy| copy.node.0 == node) {
            let goes = self.moving_of(group).any(|moving| moving.old.node.0 == node);
            return refuse(
                met,
                if goes { Met::PreferCopyOnItsWay } else { Met::PreferNoCopy },
                Refused::Conflict,
            );
        }
        let same = placement.preferred_leader.0 == node;
        met.met(if same { Met::LeaderPreferredAgain } else { Met::LeaderPreferred });
        self.change((name, number), |placement| placement.preferred_leader = NodeId(node));
        Ok(ControlDone::Changed)
    }

    /// The moves of a topic that is gone end with it.
    pub(super) fn end_moves_of(&mut self, placements: &[Placement], met: &mut Coverage) {
        for placement in placements {
            let before = self.moving.len();
            self.moving.retain(|(group, _), _| *group != placement.group.0);
            if self.moving.len() < before {
                met.met(Met::TopicFinishedWithMove);
            }
        }
    }

    /// What is wrong with where copies are: each partition has as many as its topic asks for, each on a node
    /// of its own that is known and in its present life; no two copies share an id; enough nodes stay.
    pub(in crate::control::tests) fn misplaced(&self) -> Option<String> {
        let mut ids = BTreeSet::new();
        let mut need = 0;
        for topic in self.topics.values() {
            need = need.max(topic.replication as usize);
            for placement in &topic.partitions {
                let nodes: BTreeSet<u64> = placement.replicas.iter().map(|copy| copy.node.0).collect();
                let present = placement.replicas.iter().all(|copy| {
                    let node = self.nodes.get(&copy.node.0);
                    node.is_some_and(|node| node.incarnation == copy.incarnation)
                });
                let fresh = placement.replicas.iter().all(|copy| ids.insert(copy.replica));
                let led = nodes.contains(&placement.preferred_leader.0);
                if nodes.len() != topic.replication as usize || !present || !fresh || !led {
                    return Some(format!("{placement:?}"));
                }
            }
        }
        let lost = self.moving.iter().find(|((group, replica), moving)| {
            !ids.insert(moving.old.replica)
                || moving.old.replica.0 != *replica
                || self.home(*group).is_none()
                || !self.nodes.contains_key(&moving.old.node.0)
        });
        if let Some(((group, _), moving)) = lost {
            return Some(format!("{:?} leaves group {group}", moving.old));
        }
        let stay = self.staying().count();
        (stay < need).then(|| format!("{stay} nodes stay, {need} are needed"))
    }
}
