//! Where topics and partitions are, by the control state applied here and the groups that run here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_machine::control::ControlMachine;
use meridian_model::topology::{Placement, Replica};
use meridian_model::{NodeId, TopicName};
use meridian_publish::{Leader, Route, RouteError, Routes};
use meridian_raft::{ClockBook, Registry, Signs};

use crate::control_plane::ControlPlane;

/// The routing table of a node.
pub(crate) struct Routing {
    pub(crate) own: NodeId,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clocks: Arc<ClockBook>,
    pub(crate) signs: Arc<Signs>,
    /// Whose turn it is to be asked for a partition without a copy here.
    pub(crate) turn: AtomicUsize,
}

/// A node that joins with an empty disk knows no topic because it knows nothing yet.
fn missing(machine: &ControlMachine, topic: &TopicName) -> RouteError {
    match machine.cluster_id() {
        Some(_) => RouteError::NoTopic(topic.clone()),
        None => RouteError::NotReady,
    }
}

impl Routing {
    /// Who leads a placed partition, as far as this node knows.
    pub(crate) fn leader_of(&self, placement: &Placement) -> Leader {
        match self.registry.get(placement.group) {
            Some(group) if group.is_leader() => Leader::Here,
            // A leader that is lost leads as long as nobody else does, but nothing sent there is answered.
            Some(group) => match group.leader() {
                Some(node) if node != self.own && !self.signs.is_lost(node) => Leader::Elsewhere(node),
                _ => Leader::Unknown,
            },
            // No copy here: one of the nodes that have one knows better. A different one each time, because
            // the one that should lead may not know, or not be there.
            None => {
                let elsewhere = |replica: &&Replica| replica.node != self.own;
                let heard =
                    |replica: &&Replica| elsewhere(replica) && self.clocks.clock_of(replica.node).is_some();
                let mut candidates: Vec<NodeId> =
                    placement.replicas.iter().filter(heard).map(|replica| replica.node).collect();
                if candidates.is_empty() {
                    candidates =
                        placement.replicas.iter().filter(elsewhere).map(|replica| replica.node).collect();
                }
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                match candidates.get(turn % candidates.len().max(1)) {
                    Some(node) => Leader::Elsewhere(*node),
                    None => Leader::Unknown,
                }
            }
        }
    }

    /// The placement of a partition.
    pub(crate) fn placement(&self, topic: &TopicName, partition: u32) -> Result<Placement, RouteError> {
        let found = self.control.look(|machine| {
            let found = machine.topic(topic).ok_or_else(|| missing(machine, topic))?;
            if found.deleting {
                return Err(RouteError::Deleting(topic.clone()));
            }
            let partitions = found.partitions.len() as u32;
            let placement = found.partitions.get(partition as usize).cloned();
            placement.ok_or(RouteError::NoPartition { topic: topic.clone(), partition, partitions })
        });
        found.unwrap_or(Err(RouteError::NotReady))
    }

    /// The address of a node's client listener.
    pub(crate) fn client_address(&self, node: NodeId) -> Option<String> {
        self.control
            .look(|machine| machine.node(node).map(|record| record.addresses.client.clone()))
            .flatten()
    }
}

impl Routes for Routing {
    fn route(&self, topic: &TopicName, partition: u32) -> Result<Route, RouteError> {
        let placement = self.placement(topic, partition)?;
        let disk_full = placement.replicas.iter().any(|replica| self.clocks.disk_full(replica.node));
        let leader = self.leader_of(&placement);
        Ok(Route { group: placement.group, log: placement.log, leader, disk_full })
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, RouteError> {
        let found = self.control.look(|machine| {
            let found = machine.topic(topic).ok_or_else(|| missing(machine, topic))?;
            Ok(found.partitions.len() as u32)
        });
        found.unwrap_or(Err(RouteError::NotReady))
    }
}
