//! What nodes are there for: three plain sets, and the lives that have left.

use std::collections::BTreeSet;

use meridian_model::topology::NodeRecord;
use meridian_model::{Incarnation, NodeId};

use super::{Model, Refused, Verdict, refuse};
use crate::control::tests::coverage::{Coverage, Met};
use crate::control::{ControlDone, Duty};

fn unknown(node: u64) -> Refused {
    Refused::NotFound(format!("nodes/{node}"))
}

impl Model {
    pub(super) fn set_duty(&mut self, node: u64, duty: Duty, met: &mut Coverage) -> Verdict {
        if !self.nodes.contains_key(&node) {
            return refuse(met, Met::DutyOfUnknownNode, unknown(node));
        }
        let (draining, leaving) = (self.draining.contains(&node), self.leaving.contains(&node));
        let what = match duty {
            Duty::Gone { .. } => return refuse(met, Met::DutyGoneAsked, Refused::Invalid("duty")),
            Duty::Leaving => {
                let have = self.staying().filter(|other| *other != node).count() as u32;
                let need = self.topics.values().map(|topic| topic.replication).max().unwrap_or(1);
                if have < need {
                    let refused = Refused::NotEnoughNodes(need, have);
                    return refuse(met, Met::LeavesTooFewNodes, refused);
                }
                match self.copies_on(node) + self.copies_leaving(node) {
                    _ if leaving => Met::DutyAsItIs,
                    0 => Met::NodeLeavesIdle,
                    _ => Met::NodeLeavesWithCopies,
                }
            }
            Duty::Draining if draining => Met::DutyAsItIs,
            Duty::Draining if self.others_serving(node).is_empty() => {
                return refuse(met, Met::DrainOfLastServing, Refused::LastToLead);
            }
            Duty::Draining if self.has_last_serving_copy(node) => {
                return refuse(met, Met::DrainOfLastCopy, Refused::LastToLead);
            }
            Duty::Draining if leaving => Met::NodeStaysDrained,
            Duty::Draining => Met::NodeDrained,
            Duty::Serving if draining => Met::NodeServesAgain,
            Duty::Serving if leaving => Met::NodeStays,
            Duty::Serving => Met::DutyAsItIs,
        };
        met.met(what);
        self.draining.remove(&node);
        self.leaving.remove(&node);
        match duty {
            Duty::Draining => drop(self.draining.insert(node)),
            Duty::Leaving => drop(self.leaving.insert(node)),
            _ => {}
        }
        Ok(ControlDone::Changed)
    }

    pub(super) fn forget(&mut self, node: u64, met: &mut Coverage) -> Verdict {
        let Some(record) = self.nodes.get(&node) else {
            let again = self.gone.contains_key(&node);
            return refuse(met, if again { Met::ForgetGone } else { Met::ForgetUnknown }, unknown(node));
        };
        let in_the_way = match () {
            () if self.draining.contains(&node) => Met::ForgetDraining,
            () if !self.leaving.contains(&node) => Met::ForgetServing,
            () if self.copies_on(node) > 0 => Met::ForgetWithCopies,
            () if self.copies_leaving(node) > 0 => Met::ForgetWithCopyOnItsWay,
            () => {
                met.met(Met::NodeForgotten);
                self.gone.insert(node, record.incarnation);
                self.leaving.remove(&node);
                self.nodes.remove(&node);
                return Ok(ControlDone::Changed);
            }
        };
        refuse(met, in_the_way, Refused::Conflict)
    }

    /// Whether a life that wants in has left for good.
    pub(super) fn has_left(&self, said: &NodeRecord) -> bool {
        self.gone.get(&said.node.0) == Some(&said.incarnation)
    }

    /// Says what was going on with a node whose disk was found wiped.
    pub(super) fn meet_wiped(&self, node: u64, met: &mut Coverage) {
        if self.draining.contains(&node) {
            met.met(Met::WipedWhileDrained);
        }
        if self.leaving.contains(&node) {
            met.met(Met::WipedWhileLeaving);
        }
        if self.copies_leaving(node) > 0 {
            met.met(Met::WipedWhileCopyMovesOut);
        }
        if self.moving.values().any(|moving| moving.to == node) {
            met.met(Met::WipedWhileCopyMovesIn);
        }
    }

    fn others_serving(&self, node: u64) -> BTreeSet<u64> {
        let serve = self.staying().filter(|other| !self.draining.contains(other) && *other != node);
        serve.collect()
    }

    fn has_last_serving_copy(&self, node: u64) -> bool {
        let others = self.others_serving(node);
        let live = self.topics.values().filter(|topic| !topic.deleting);
        let mut homes = live
            .flat_map(|topic| &topic.partitions)
            .map(|placed| placed.replicas.iter().map(|copy| copy.node.0).collect::<BTreeSet<u64>>());
        homes.any(|homes| homes.contains(&node) && homes.is_disjoint(&others))
    }

    /// Nodes that are not about to leave.
    pub(super) fn staying(&self) -> impl Iterator<Item = u64> {
        self.nodes.keys().copied().filter(|node| !self.leaving.contains(node))
    }

    pub(in crate::control::tests) fn duty(&self, node: u64) -> Duty {
        let gone = self.gone.get(&node).map(|life: &Incarnation| Duty::Gone { incarnation: *life });
        match () {
            () if self.draining.contains(&node) => Duty::Draining,
            () if self.leaving.contains(&node) => Duty::Leaving,
            () => gone.unwrap_or(Duty::Serving),
        }
    }

    pub(in crate::control::tests) fn copies_on(&self, node: u64) -> usize {
        let placed = self.topics.values().flat_map(|topic| &topic.partitions);
        placed.filter(|p| p.replicas.iter().any(|copy| copy.node == NodeId(node))).count()
    }

    pub(in crate::control::tests) fn copies_leaving(&self, node: u64) -> usize {
        self.moving.values().filter(|moving| moving.old.node == NodeId(node)).count()
    }
}
