//! What can be asked of the control group.

use bytes::Bytes;
use meridian_model::topology::{NodeRecord, Retention};
use meridian_model::{ClusterId, GroupId, NodeId, ReplicaId, TopicName, UnixMs};
use serde::{Deserialize, Serialize};

use super::duty::Duty;
use super::subscription::{BeginAt, SubscriptionSettings};
use crate::command::{CommandError, control_prefix};

/// A change, and the leader's stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlCommand {
    /// The leader's stamp.
    pub stamp: UnixMs,
    /// What is asked.
    pub change: ControlChange,
}

/// A change of the region's desired state. A `request_id` that is not empty makes a retry safe: the same
/// request gets the first reply again. New variants go to the end: the number of a variant is its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlChange {
    /// Form the cluster, with the tenant and namespace `default`.
    Form {
        /// Drawn by the node that forms it.
        cluster: ClusterId,
        /// What the operator calls it.
        name: String,
        /// The first nodes, with the copies of the control group that founded it.
        nodes: Vec<NodeRecord>,
    },
    /// A node is there: for the first time, again, or with a new disk. Its control replica is minted here.
    RegisterNode {
        /// What it says of itself. `control_replica` is ignored.
        record: NodeRecord,
    },
    /// Create a tenant.
    CreateTenant {
        /// Its name.
        name: String,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Delete a tenant without namespaces.
    DeleteTenant {
        /// Its name.
        name: String,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Create a namespace.
    CreateNamespace {
        /// Whose it is.
        tenant: String,
        /// Its name.
        name: String,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Delete a namespace without topics.
    DeleteNamespace {
        /// Whose it is.
        tenant: String,
        /// Its name.
        name: String,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Create a topic and place its partitions.
    CreateTopic {
        /// Its full name.
        name: TopicName,
        /// How many partitions.
        partitions: u32,
        /// Copies of each.
        replication: u32,
        /// What is kept.
        retention: Retention,
        /// Randomness for the log ids, drawn by the proposer.
        seed: u128,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Change a topic's settings.
    UpdateTopic {
        /// Its full name.
        name: TopicName,
        /// What is kept from now on.
        retention: Retention,
        /// Refuse if the topic has another version.
        expected_version: Option<u64>,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Let a topic grow.
    AddPartitions {
        /// Its full name.
        name: TopicName,
        /// How many partitions it is to have: at least as many as now.
        total: u32,
        /// Randomness for the log ids, drawn by the proposer.
        seed: u128,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Mark a topic as being deleted. Its partitions are to be sealed.
    DeleteTopic {
        /// Its full name.
        name: TopicName,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Remove a topic whose partitions are sealed. Its groups are gone for ever.
    FinishDelete {
        /// Its full name.
        name: TopicName,
        /// Refuse if the topic has another version: guards a topic of the same name created since.
        expected_version: Option<u64>,
    },
    /// Give a producer that chose its name its next epoch.
    OpenProducer {
        /// Where it will write.
        topic: TopicName,
        /// The name it chose.
        name: String,
        /// Makes a retry safe: the same epoch again.
        request_id: String,
    },
    /// Close a segment of the control group's own log at this entry, and drop what lies before the last one's end.
    TrimLog {
        /// The Raft index of the last segment's end, 0 where there is none: refused if it is another by now.
        closed: u64,
    },
    /// Say what a node is there for.
    SetDuty {
        /// Which node.
        node: NodeId,
        /// Any but `Gone`.
        duty: Duty,
    },
    /// Forget a node that was leaving and carries nothing any more.
    ForgetNode {
        /// Which node.
        node: NodeId,
    },
    /// Place a copy elsewhere, or anew where it is: its data is damaged then. The old one stays until `FinishMove`.
    MoveCopy {
        /// Of which partition.
        group: GroupId,
        /// The node that gives its copy up.
        from: NodeId,
        /// The node that gets one, under a new id.
        to: NodeId,
    },
    /// The group has voted the old copy out.
    FinishMove {
        /// Of which partition.
        group: GroupId,
        /// The old copy.
        replica: ReplicaId,
    },
    /// Say which node should lead a partition.
    PreferLeader {
        /// Which partition.
        group: GroupId,
        /// A node with a copy of it.
        node: NodeId,
    },
    /// Create a subscription of a topic.
    CreateSubscription {
        /// Of which topic.
        topic: TopicName,
        /// Its name within the topic.
        name: String,
        /// Where it begins.
        begin: BeginAt,
        /// Its settings.
        settings: Box<SubscriptionSettings>,
        /// Makes a retry safe: the same id again.
        request_id: String,
    },
    /// Change the settings of a subscription. Its kind stays.
    UpdateSubscription {
        /// Of which topic.
        topic: TopicName,
        /// Its name within the topic.
        name: String,
        /// From now on.
        settings: Box<SubscriptionSettings>,
        /// Refuse if the subscription has another version.
        expected_version: Option<u64>,
        /// Makes a retry safe.
        request_id: String,
    },
    /// Delete a subscription. A later one of the same name is another one.
    DeleteSubscription {
        /// Of which topic.
        topic: TopicName,
        /// Its name within the topic.
        name: String,
        /// Refuse if the subscription has another version.
        expected_version: Option<u64>,
        /// Makes a retry safe.
        request_id: String,
    },
}

impl ControlChange {
    /// The kind byte of the entry, and part of what tells one request from another.
    pub(super) fn kind(&self) -> u8 {
        match self {
            ControlChange::Form { .. } => 0,
            ControlChange::RegisterNode { .. } => 1,
            ControlChange::CreateTenant { .. } => 2,
            ControlChange::DeleteTenant { .. } => 3,
            ControlChange::CreateNamespace { .. } => 4,
            ControlChange::DeleteNamespace { .. } => 5,
            ControlChange::CreateTopic { .. } => 6,
            ControlChange::UpdateTopic { .. } => 7,
            ControlChange::AddPartitions { .. } => 8,
            ControlChange::DeleteTopic { .. } => 9,
            ControlChange::FinishDelete { .. } => 10,
            ControlChange::OpenProducer { .. } => 11,
            ControlChange::TrimLog { .. } => 12,
            ControlChange::SetDuty { .. } => 13,
            ControlChange::ForgetNode { .. } => 14,
            ControlChange::MoveCopy { .. } => 15,
            ControlChange::FinishMove { .. } => 16,
            ControlChange::PreferLeader { .. } => 17,
            ControlChange::CreateSubscription { .. } => 18,
            ControlChange::UpdateSubscription { .. } => 19,
            ControlChange::DeleteSubscription { .. } => 20,
        }
    }
}

/// The newest kind that this build knows.
pub(crate) const KIND_LAST: u8 = 20;

impl ControlCommand {
    pub(crate) fn encode(&self) -> Bytes {
        let prefix = control_prefix(self.change.kind()).to_vec();
        // Writing plain data to a vector cannot fail; an entry cut short would be refused when decoded.
        Bytes::from(postcard::to_extend(self, prefix).unwrap_or_default())
    }

    pub(crate) fn decode(kind: u8, bytes: &[u8]) -> Result<Self, CommandError> {
        if kind > KIND_LAST {
            return Err(CommandError::Kind { kind });
        }
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((command, [])) if command.change.kind() == kind => Ok(command),
            Ok((_, [])) => Err(CommandError::Malformed("the kind byte differs from the command")),
            Ok(_) => Err(CommandError::Truncated),
            Err(_) => Err(CommandError::Malformed("control command")),
        }
    }
}
