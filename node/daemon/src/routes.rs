//! Where topics and partitions are, by the control state applied here and the groups that run here.

mod pointers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_machine::control::ControlMachine;
use meridian_model::topology::{Placement, Replica};
use meridian_model::{GroupId, NodeId, TopicName};
use meridian_publish::{Leader, Route, RouteError, Routes};
use meridian_raft::{ClockBook, Group, Registry, Signs};
use tokio::time::Instant;

use crate::control_plane::ControlPlane;
use pointers::Pointers;

/// The routing table of a node.
pub(crate) struct Routing {
    pub(crate) own: NodeId,
    pub(crate) control: Arc<ControlPlane>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clocks: Arc<ClockBook>,
    pub(crate) signs: Arc<Signs>,
    /// Whom to ask about partitions without a copy here.
    pointers: Pointers,
    /// Whose turn it is to be told to clients as the one to ask about such a partition.
    turn: AtomicUsize,
}

/// A node that joins with an empty disk knows no topic because it knows nothing yet.
fn missing(machine: &ControlMachine, topic: &TopicName) -> RouteError {
    match machine.cluster_id() {
        Some(_) => RouteError::NoTopic(topic.clone()),
        None => RouteError::NotReady,
    }
}

fn find<'a>(
    machine: &'a ControlMachine,
    topic: &TopicName,
    partition: u32,
) -> Result<&'a Placement, RouteError> {
    let found = machine.topic(topic).ok_or_else(|| missing(machine, topic))?;
    if found.deleting {
        return Err(RouteError::Deleting(topic.clone()));
    }
    let partitions = found.partitions.len() as u32;
    let placement = found.partitions.get(partition as usize);
    placement.ok_or_else(|| RouteError::NoPartition { topic: topic.clone(), partition, partitions })
}

impl Routing {
    /// The table of node `own`.
    pub(crate) fn new(
        own: NodeId,
        control: Arc<ControlPlane>,
        registry: Arc<Registry>,
        clocks: Arc<ClockBook>,
        signs: Arc<Signs>,
    ) -> Self {
        let (pointers, turn) = (Pointers::default(), AtomicUsize::new(0));
        Self { own, control, registry, clocks, signs, pointers, turn }
    }

    /// Who leads a placed partition, as far as this node knows: where a request for it goes.
    pub(crate) fn leader_of(&self, placement: &Placement) -> Leader {
        self.known_leader(placement).unwrap_or_else(|| {
            // One of the nodes that have a copy knows better, most likely the one that should lead.
            let candidates = self.elsewhere(placement);
            let asked = self.pointers.ask(placement.group, placement.preferred_leader, &candidates);
            asked.map_or(Leader::Unknown, Leader::Elsewhere)
        })
    }

    /// The same for a client that asks where to go. Without a copy here it is another node each time, because
    /// nobody tells this node whether the last one was there.
    pub(crate) fn leader_for_clients(&self, placement: &Placement) -> Leader {
        self.known_leader(placement).unwrap_or_else(|| {
            let candidates = self.elsewhere(placement);
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            match candidates.get(turn % candidates.len().max(1)) {
                Some(node) => Leader::Elsewhere(*node),
                None => Leader::Unknown,
            }
        })
    }

    /// By the copy here, if there is one.
    fn known_leader(&self, placement: &Placement) -> Option<Leader> {
        let group = self.registry.get(placement.group)?;
        Some(match group.is_leader() {
            true => Leader::Here,
            // A leader that is lost leads as long as nobody else does, but nothing sent there is answered. One that is
            // only busy is silent for a while too: it is an address as long as its lease lasts.
            false => match group.leader() {
                Some(node) if node != self.own && !self.is_given_up(node, &group) => Leader::Elsewhere(node),
                _ => Leader::Unknown,
            },
        })
    }

    fn is_given_up(&self, leader: NodeId, group: &Group) -> bool {
        self.signs.is_lost(leader) && group.lease_ends() <= Instant::now()
    }

    /// The other nodes with a copy; those that were heard from lately, if there are any.
    fn elsewhere(&self, placement: &Placement) -> Vec<NodeId> {
        let elsewhere = |replica: &&Replica| replica.node != self.own;
        let heard = |replica: &&Replica| elsewhere(replica) && self.clocks.clock_of(replica.node).is_some();
        let nodes: Vec<NodeId> =
            placement.replicas.iter().filter(heard).map(|replica| replica.node).collect();
        match nodes.is_empty() {
            true => placement.replicas.iter().filter(elsewhere).map(|replica| replica.node).collect(),
            false => nodes,
        }
    }

    /// A node that was asked about a group named its leader.
    pub(crate) fn told(&self, group: GroupId, leader: NodeId) {
        self.pointers.told(group, leader);
    }

    /// A node that was asked about a group was not there, or did not know.
    pub(crate) fn failed(&self, group: GroupId, node: NodeId) {
        self.pointers.failed(group, node);
    }

    /// The placement of a partition.
    pub(crate) fn placement(&self, topic: &TopicName, partition: u32) -> Result<Placement, RouteError> {
        let found = self.control.look(|machine| find(machine, topic, partition).cloned());
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
        let found = self.control.look(|machine| {
            let placement = find(machine, topic, partition)?;
            let disk_full = self.clocks.any_disk_full(placement.replicas.iter().map(|replica| replica.node));
            let leader = self.leader_of(placement);
            Ok(Route { group: placement.group, log: placement.log, leader, disk_full })
        });
        found.unwrap_or(Err(RouteError::NotReady))
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, RouteError> {
        let found = self.control.look(|machine| {
            let found = machine.topic(topic).ok_or_else(|| missing(machine, topic))?;
            Ok(found.partitions.len() as u32)
        });
        found.unwrap_or(Err(RouteError::NotReady))
    }
}
