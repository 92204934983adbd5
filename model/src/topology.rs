//! The desired state of a region: nodes, topics, and where the copies of each partition live.

use serde::{Deserialize, Serialize};

use crate::{GroupId, Incarnation, LogId, NodeId, ReplicaId, TopicName};

/// Where a node can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// For clients: `host:port` of the gRPC client listener.
    pub client: String,
    /// For other nodes: `host:port` of the raft listener.
    pub raft: String,
}

/// A node as the control group knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its number.
    pub node: NodeId,
    /// The life of its data folder. Another one means: the disk was wiped.
    pub incarnation: Incarnation,
    /// Where it listens.
    pub addresses: NodeAddresses,
    /// The failure zone: copies of a partition are spread over zones.
    pub zone: String,
    /// Its copy of the control group.
    pub control_replica: ReplicaId,
}

/// One copy of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replica {
    /// Its Raft node id.
    pub replica: ReplicaId,
    /// The node it lives on.
    pub node: NodeId,
    /// The life of that node's disk for which this copy was minted.
    pub incarnation: Incarnation,
}

/// Where a partition lives, and which of its copies may found the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The Raft group.
    pub group: GroupId,
    /// The history, minted with the group.
    pub log: LogId,
    /// The copies that should exist.
    pub replicas: Vec<Replica>,
    /// The copies named when the group was created: only these may initialize it.
    pub founders: Vec<ReplicaId>,
    /// The node that should lead when it can.
    pub preferred_leader: NodeId,
}

/// What is removed from a partition, and when. `None` keeps for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Messages older than this may be removed, in milliseconds.
    pub age_ms: Option<u64>,
    /// The oldest messages beyond this size of a partition may be removed, in bytes of stored batches.
    pub bytes: Option<u64>,
}

/// A topic: its settings and its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its full name.
    pub name: TopicName,
    /// How many copies each partition has.
    pub replication: u32,
    /// What is kept.
    pub retention: Retention,
    /// In order of the partition number.
    pub partitions: Vec<Placement>,
    /// The control index of its last change: the etag.
    pub version: u64,
    /// Being deleted: its partitions are sealed.
    pub deleting: bool,
}
