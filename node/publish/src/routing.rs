//! From a topic and a partition to the group that stores it and the node that leads it.

use meridian_model::{GroupId, LogId, NodeId, TopicName};

/// Who leads a partition, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    /// This node.
    Here,
    /// Another node.
    Elsewhere(NodeId),
    /// Nobody, or nobody said.
    Unknown,
}

/// Where a partition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its group.
    pub group: GroupId,
    /// Its history.
    pub log: LogId,
    /// Who leads it.
    pub leader: Leader,
    /// Whether a disk that must store it is at its watermark.
    pub disk_full: bool,
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The topic does not exist.
    #[error("topic {0} does not exist")]
    NoTopic(TopicName),
    /// It has fewer partitions.
    #[error("topic {topic} has {partitions} partitions; there is no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: TopicName,
        /// What was asked.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// It is being deleted.
    #[error("topic {0} is being deleted")]
    Deleting(TopicName),
    /// This node has not caught up with the control group.
    #[error("this node does not know the cluster yet")]
    NotReady,
}

/// Finds partitions.
pub trait Routes: Send + Sync + 'static {
    /// Where a partition of a topic is.
    fn route(&self, topic: &TopicName, partition: u32) -> Result<Route, RouteError>;

    /// How many partitions a topic has.
    fn partitions(&self, topic: &TopicName) -> Result<u32, RouteError>;
}
