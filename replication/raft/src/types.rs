//! openraft's vocabulary, filled in with ours.

use std::fmt;

use bytes::Bytes;
use meridian_machine::control::ControlReply;
use meridian_machine::partition::PartitionReply;
use meridian_model::NodeId;
use openraft::impls::leader_id_std;
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};

use crate::runtime::SeedableRuntime;

/// An encoded command of the state machine, as it lies in the log.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandBytes(pub Bytes);

impl fmt::Debug for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for CommandBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// The entry was no command.
    #[default]
    Nothing,
    /// By a partition.
    Partition(PartitionReply),
    /// By the control group.
    Control(ControlReply),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The node a replica lives on, as membership entries carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaNode {
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for ReplicaNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.node)
    }
}

/// The types of every group of this house.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = CommandBytes;
    type R = Reply;
    type NodeId = u64;
    type Node = ReplicaNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<CommandBytes, u64, ReplicaNode>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type Responder<T>
        = openraft::impls::OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type AsyncRuntime = SeedableRuntime;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// A log entry.
pub type Entry = alias::EntryOf<TypeConfig>;
/// What an entry carries.
pub type Payload = alias::PayloadOf<TypeConfig>;
/// A position in a log.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = alias::VoteOf<TypeConfig>;
/// Voters, learners and the nodes they live on.
pub type Membership = openraft::Membership<u64, ReplicaNode>;
/// A membership and the entry that set it.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// A snapshot's description.
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
/// One replica of one group.
pub type Raft = openraft::Raft<TypeConfig, crate::machine_store::MachineStore>;

/// Entries on their way to a follower.
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;

/// A log position from its two numbers.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

/// The term of a log position.
pub fn term_of(id: &LogId) -> u64 {
    **id.committed_leader_id()
}
