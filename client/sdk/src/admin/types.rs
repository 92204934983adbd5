//! What admin calls take and return.

use meridian_model::topology::Retention;
use meridian_model::{ClusterId, GroupId, LogId, NodeId, Offset, TopicName};
use meridian_proto::admin as wire;

use crate::Error;
use crate::metadata::log_id;

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// TOPIC, NAMESPACE/TOPIC, TENANT/NAMESPACE/TOPIC or the full resource name.
    pub name: String,
    /// 0: one.
    pub partitions: u32,
    /// Copies of each partition. 0: three, or as many as there are nodes.
    pub replication: u32,
    /// What is kept. Default: everything, for ever.
    pub retention: Retention,
}

impl NewTopic {
    /// A topic with this many partitions, otherwise the defaults.
    pub fn new(name: impl Into<String>, partitions: u32) -> Self {
        Self { name: name.into(), partitions, ..Self::default() }
    }
}

/// A topic as the control group has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its full name.
    pub name: TopicName,
    /// Copies of each partition.
    pub replication: u32,
    /// What is kept.
    pub retention: Retention,
    /// In order of the partition number.
    pub partitions: Vec<PartitionInfo>,
    /// Its version, for [`super::Admin::update_topic`].
    pub etag: String,
    /// Being deleted: refuses publishes.
    pub deleting: bool,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number within the topic.
    pub partition: u32,
    /// Its Raft group.
    pub group: GroupId,
    /// The identity of its history.
    pub log: LogId,
    /// The nodes that hold a copy.
    pub replicas: Vec<NodeId>,
    /// The node believed to lead.
    pub leader: Option<NodeId>,
}

/// A created topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The topic.
    pub topic: TopicInfo,
    /// The control index at which it took effect.
    pub control_index: u64,
    /// Partitions without a leader yet.
    pub pending_partitions: Vec<u32>,
}

/// A changed topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The topic after the change.
    pub topic: TopicInfo,
    /// The control index at which it took effect.
    pub control_index: u64,
    /// Partitions where the change is not active yet.
    pub pending_partitions: Vec<u32>,
}

/// A topic with more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionsAdded {
    /// The topic after the change.
    pub topic: TopicInfo,
    /// The control index at which it took effect.
    pub control_index: u64,
    /// What the caller should know: keys re-route.
    pub warning: String,
}

/// A deleted topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The control index at which it took effect.
    pub control_index: u64,
    /// Sealed, but not every partition has confirmed yet.
    pub pending: bool,
}

/// The cluster as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// `None`: not formed yet.
    pub cluster: Option<ClusterId>,
    /// The region's name.
    pub name: String,
    /// The node that answered.
    pub answering_node: NodeId,
    /// All nodes.
    pub nodes: Vec<NodeInfo>,
    /// Every group on the answering node, where asked for.
    pub groups: Vec<GroupInfo>,
    /// The version the answering node runs.
    pub version: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its number.
    pub node: NodeId,
    /// `host:port` for clients.
    pub client_address: String,
    /// `host:port` for other nodes.
    pub raft_address: String,
    /// Its failure zone.
    pub zone: String,
    /// Whether the answering node has heard from it lately.
    pub reachable: bool,
    /// How far its clock is from the answering node's, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// What it is there for.
    pub duty: NodeDuty,
    /// Copies of partitions placed on it, those on their way out included.
    pub copies: u64,
    /// Partitions it leads, as far as the answering node knows.
    pub leads: u64,
    /// Copies on their way to it or from it.
    pub moving: u64,
}

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeDuty {
    /// It carries copies and leads.
    Serving,
    /// It leads nothing where another can, and gets no new copies.
    Draining,
    /// Its copies move to other nodes; then it is forgotten.
    Leaving,
}

impl NodeDuty {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            NodeDuty::Serving => "serving",
            NodeDuty::Draining => "draining",
            NodeDuty::Leaving => "leaving",
        }
    }
}

/// A Raft group on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its number; the control group is [`GroupId::CONTROL`].
    pub group: GroupId,
    /// Its topic; empty for the control group.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// The node believed to lead.
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: u64,
    /// The last Raft index in the log.
    pub last_index: u64,
    /// The last Raft index applied.
    pub applied_index: u64,
    /// The last Raft index purged.
    pub purged_index: u64,
    /// The oldest offset kept.
    pub log_start: Offset,
    /// The offset the next message gets.
    pub log_end: Offset,
    /// Bytes of stored batches.
    pub log_bytes: u64,
    /// The nodes that vote.
    pub voters: Vec<NodeId>,
    /// The nodes that learn.
    pub learners: Vec<NodeId>,
}

pub(super) fn retention_to_wire(retention: Retention) -> wire::Retention {
    wire::Retention { age_ms: retention.age_ms, bytes: retention.bytes }
}

pub(super) fn topic_from_wire(topic: Option<wire::Topic>) -> Result<TopicInfo, Error> {
    let topic = topic.ok_or_else(|| Error::nonsense("an answer lacks its topic"))?;
    let partitions = topic.partitions.into_iter().map(|partition| {
        Ok(PartitionInfo {
            partition: partition.partition,
            group: GroupId(partition.group),
            log: log_id(&partition.log_id)?,
            replicas: nodes(partition.replica_nodes),
            leader: partition.leader_node.map(NodeId),
        })
    });
    let retention = topic.retention.unwrap_or_default();
    Ok(TopicInfo {
        name: TopicName::parse(&topic.topic).map_err(|error| Error::nonsense(error.to_string()))?,
        replication: topic.replication,
        retention: Retention { age_ms: retention.age_ms, bytes: retention.bytes },
        partitions: partitions.collect::<Result<_, Error>>()?,
        etag: topic.etag,
        deleting: topic.deleting,
    })
}

pub(super) fn cluster_from_wire(response: wire::GetClusterResponse) -> Result<ClusterInfo, Error> {
    let cluster = match response.cluster_id.is_empty() {
        true => None,
        false => Some(ClusterId(log_id(&response.cluster_id)?.0)),
    };
    Ok(ClusterInfo {
        cluster,
        name: response.name,
        answering_node: NodeId(response.answering_node),
        nodes: response.nodes.into_iter().map(node_from_wire).collect(),
        groups: response.groups.into_iter().map(group_from_wire).collect(),
        version: response.version,
    })
}

fn node_from_wire(node: wire::NodeStatus) -> NodeInfo {
    let duty = match node.duty() {
        wire::NodeDuty::Draining => NodeDuty::Draining,
        wire::NodeDuty::Leaving => NodeDuty::Leaving,
        // Nodes of an earlier version know of no duties.
        wire::NodeDuty::Serving | wire::NodeDuty::Unspecified => NodeDuty::Serving,
    };
    NodeInfo {
        node: NodeId(node.node),
        client_address: node.client_address,
        raft_address: node.raft_address,
        zone: node.zone,
        reachable: node.reachable,
        clock_offset_ms: node.clock_offset_ms,
        duty,
        copies: node.copies,
        leads: node.leads,
        moving: node.moving,
    }
}

fn group_from_wire(group: wire::GroupStatus) -> GroupInfo {
    GroupInfo {
        group: GroupId(group.group),
        topic: group.topic,
        partition: group.partition,
        leader: group.leader_node.map(NodeId),
        term: group.term,
        last_index: group.last_index,
        applied_index: group.applied_index,
        purged_index: group.purged_index,
        log_start: Offset(group.log_start),
        log_end: Offset(group.log_end),
        log_bytes: group.log_bytes,
        voters: nodes(group.voter_nodes),
        learners: nodes(group.learner_nodes),
    }
}

fn nodes(numbers: Vec<u64>) -> Vec<NodeId> {
    numbers.into_iter().map(NodeId).collect()
}
