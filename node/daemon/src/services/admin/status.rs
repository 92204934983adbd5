//! The state of the cluster as this node sees it. Never waits for anybody.

use meridian_machine::control::Duty;
use meridian_model::{GroupId, NodeId};
use meridian_proto::admin as pb;
use meridian_raft::Group;

use super::Admin;

impl Admin {
    pub(super) fn status(&self, groups: bool) -> pb::GetClusterResponse {
        let clocks = &self.routing.clocks;
        let own = self.routing.own;
        let known = self.control.look(|machine| {
            let board = machine.board();
            let leads = |node| {
                let led = board.iter().filter(|placed| self.leads(placed.group) == Some(node));
                led.count() as u64
            };
            let nodes = machine.nodes().map(|record| pb::NodeStatus {
                duty: duty_to_wire(machine.duty(record.node)).into(),
                copies: machine.carries(record.node) as u64,
                leads: leads(record.node),
                moving: machine.moving_at(record.node) as u64,
                node: record.node.0,
                client_address: record.addresses.client.clone(),
                raft_address: record.addresses.raft.clone(),
                zone: record.zone.clone(),
                reachable: clocks.clock_of(record.node).is_some(),
                clock_offset_ms: clocks
                    .clock_of(record.node)
                    .map(|clock| clock.0 as i64 - clocks.now().0 as i64),
            });
            (machine.cluster_id(), nodes.collect::<Vec<_>>())
        });
        let (cluster, nodes) = known.unwrap_or_default();
        let states = match groups {
            true => self.routing.registry.all().iter().map(|group| self.group(group)).collect(),
            false => Vec::new(),
        };
        pb::GetClusterResponse {
            cluster_id: cluster.map(|id| id.0.to_vec().into()).unwrap_or_default(),
            name: self.cluster_name.clone(),
            answering_node: own.0,
            nodes,
            groups: states,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The node that leads a group, as far as this node knows: it knows only of groups it has a copy of.
    fn leads(&self, group: GroupId) -> Option<NodeId> {
        self.routing.registry.get(group)?.leader()
    }

    fn group(&self, group: &Group) -> pb::GroupStatus {
        let named = self.control.look(|machine| {
            machine.group(group.id()).map(|(topic, partition)| (topic.name.resource(), partition))
        });
        let (topic, partition) = named.flatten().unwrap_or_default();
        let (term, last_index, purged_index) = group.positions();
        let (voters, learners) = group.members();
        let applied = group.view().applied();
        let GroupId(id) = group.id();
        pb::GroupStatus {
            group: id,
            topic,
            partition,
            leader_node: group.leader().map(|node| node.0),
            term,
            last_index,
            applied_index: applied.index.unwrap_or(0),
            purged_index,
            log_start: applied.start.0,
            log_end: applied.end.0,
            log_bytes: applied.log_bytes,
            voter_nodes: voters.values().map(|node| node.0).collect(),
            learner_nodes: learners.values().map(|node| node.0).collect(),
        }
    }
}

fn duty_to_wire(duty: Duty) -> pb::NodeDuty {
    match duty {
        Duty::Serving => pb::NodeDuty::Serving,
        Duty::Draining => pb::NodeDuty::Draining,
        Duty::Leaving | Duty::Gone { .. } => pb::NodeDuty::Leaving,
    }
}
