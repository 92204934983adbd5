//! What each node is there for: serving, drained of leadership, or on its way out.

use meridian_model::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use super::row::Stored;
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

/// The duty of a node. A node without a row serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Duty {
    /// It carries copies and leads.
    #[default]
    Serving,
    /// It keeps its copies, leads nothing where another can, and gets no new copies.
    Draining,
    /// Its copies move to other nodes; then it is forgotten.
    Leaving,
    /// It has left. The life of its disk that left may not come back.
    Gone {
        /// That life.
        incarnation: Incarnation,
    },
}

/// A duty other than serving, as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DutyRow {
    pub(super) node: NodeId,
    pub(super) duty: Duty,
}

impl Stored for DutyRow {
    const TABLE: Table = Table::NodeDuty;

    fn key(&self) -> Vec<u8> {
        self.node.0.to_be_bytes().to_vec()
    }
}

fn name_of(node: NodeId) -> String {
    format!("nodes/{}", node.0)
}

impl ControlMachine {
    /// What a node is there for.
    pub fn duty(&self, node: NodeId) -> Duty {
        self.duties.get(&node).copied().unwrap_or_default()
    }

    pub(super) fn set_duty(
        &mut self,
        node: NodeId,
        duty: Duty,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        if !self.nodes.contains_key(&node) {
            return Err(ControlRefusal::not_found(name_of(node)));
        }
        match duty {
            Duty::Gone { .. } => return Err(ControlRefusal::invalid("duty", "a node leaves by moving out")),
            Duty::Leaving => self.can_do_without(node)?,
            Duty::Draining if self.duty(node) != Duty::Draining => self.others_can_lead(node)?,
            Duty::Serving | Duty::Draining => {}
        }
        self.note_duty(node, duty, effects);
        Ok(ControlDone::Changed)
    }

    /// Every copy needs a node of its own, also when this one is gone.
    fn can_do_without(&self, node: NodeId) -> Result<(), ControlRefusal> {
        let stays = |other: &&NodeId| {
            **other != node && (self.duty(**other) != Duty::Leaving || planted!(LeavesTooFew))
        };
        let have = self.nodes.keys().filter(stays).count() as u32;
        let need = self.topics.values().map(|topic| topic.replication).max().unwrap_or(1).max(1);
        if have < need { Err(ControlRefusal::NotEnoughNodes { need, have }) } else { Ok(()) }
    }

    /// Whoever leads nothing needs others that do: of each of its partitions, and in the region.
    fn others_can_lead(&self, node: NodeId) -> Result<(), ControlRefusal> {
        let serves = |other: NodeId| {
            other != node && self.nodes.contains_key(&other) && self.duty(other) == Duty::Serving
        };
        if !self.nodes.keys().any(|other| serves(*other)) && !planted!(DrainsTheLast) {
            return Err(ControlRefusal::LastToLead { what: "the region".into() });
        }
        let live = self.topics.values().filter(|topic| !topic.deleting);
        for (topic, placement) in live.flat_map(|topic| topic.partitions.iter().map(move |of| (topic, of))) {
            let copies = || placement.replicas.iter().map(|copy| copy.node);
            if copies().any(|copy| copy == node) && !copies().any(serves) && !planted!(DrainsLastCopy) {
                let partition = self.groups.get(&placement.group).map_or(0, |(_, partition)| *partition);
                let what = format!("partition {partition} of {}", topic.name.resource());
                return Err(ControlRefusal::LastToLead { what });
            }
        }
        Ok(())
    }

    /// Forgets a node that has moved out. Its number may come back with an empty disk.
    pub(super) fn forget_node(
        &mut self,
        node: NodeId,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let record = self.nodes.get(&node).ok_or_else(|| ControlRefusal::not_found(name_of(node)))?;
        if self.duty(node) != Duty::Leaving {
            return Err(ControlRefusal::conflict("the node is not leaving"));
        }
        if self.carries(node) > 0 {
            return Err(ControlRefusal::conflict("copies of partitions are on the node still"));
        }
        let incarnation = record.incarnation;
        effects.push(record.delete());
        self.nodes.remove(&node);
        self.note_duty(node, Duty::Gone { incarnation }, effects);
        Ok(ControlDone::Changed)
    }

    /// Copies on a node, those on their way out included.
    pub fn carries(&self, node: NodeId) -> usize {
        let placed = self.topics.values().flat_map(|topic| &topic.partitions);
        let copies = placed.flat_map(|placement| &placement.replicas).filter(|copy| copy.node == node);
        let leaving = self.moves.values().filter(|leaving| leaving.node == node);
        copies.count() + if planted!(ForgetsCopyOnItsWay) { 0 } else { leaving.count() }
    }

    /// Refuses a life that has left.
    pub(super) fn admit_life(&self, node: NodeId, incarnation: Incarnation) -> Result<(), ControlRefusal> {
        match self.duty(node) {
            Duty::Gone { incarnation: gone } if gone == incarnation && !planted!(GoneLifeReturns) => {
                Err(ControlRefusal::conflict(
                    "this node was decommissioned: give it an empty data folder to let it join again",
                ))
            }
            _ => Ok(()),
        }
    }

    /// A new life of a number that had left begins by serving.
    pub(super) fn begin_life(&mut self, node: NodeId, effects: &mut Vec<Effect>) {
        if matches!(self.duty(node), Duty::Gone { .. }) {
            self.note_duty(node, Duty::Serving, effects);
        }
    }

    fn note_duty(&mut self, node: NodeId, duty: Duty, effects: &mut Vec<Effect>) {
        let row = DutyRow { node, duty };
        match duty {
            Duty::Serving if self.duties.remove(&node).is_some() => effects.push(row.delete()),
            Duty::Serving => {}
            _ if self.duties.insert(node, duty) == Some(duty) => {}
            _ => effects.push(row.put()),
        }
    }
}
