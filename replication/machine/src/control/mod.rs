//! The control group: the desired state of a region, and the only place where identities are minted.

pub mod balance;
mod bounds;
pub(crate) mod change;
mod core;
mod duty;
mod log;
mod moves;
mod node;
mod placement;
mod producer;
mod refusal;
mod request;
mod restore;
mod row;
mod subscription;
mod tenant;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;

use meridian_model::topology::{NodeRecord, Replica, Topic};
use meridian_model::{ClusterId, GroupId, NodeId, ProducerId, ReplicaId, SubscriptionId, TopicName, UnixMs};
use serde::{Deserialize, Serialize};

pub(crate) use self::bounds::Bounds;
pub use self::change::{ControlChange, ControlCommand};
use self::core::Core;
pub use self::core::{Cluster, FEATURE_LEVEL};
pub use self::duty::Duty;
use self::log::ControlLog;
pub use self::placement::{Assignment, Candidate, assign};
pub use self::producer::{NamedProducer, producer_id};
pub use self::refusal::ControlRefusal;
use self::request::Requests;
use self::row::Stored;
pub use self::subscription::{BeginAt, Subscription, SubscriptionSettings};
pub use self::tenant::{Namespace, Tenant};
use crate::{At, Effect};

/// What a command came to, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlReply {
    /// The Raft index at which it took effect (or was refused).
    pub index: u64,
    /// What was done.
    pub result: Result<ControlDone, ControlRefusal>,
}

/// What was done. Small on purpose: replies are remembered; the state itself is read at the reply's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlDone {
    /// The cluster exists.
    Formed,
    /// The node is known.
    NodeRegistered {
        /// Its copy of the control group.
        control_replica: ReplicaId,
        /// How many copies of partitions were minted anew because its disk was wiped.
        replaced: u32,
    },
    /// The tenant, namespace or topic is as asked.
    Changed,
    /// The topic exists.
    TopicCreated {
        /// The group of partition 0; the others follow densely.
        first_group: GroupId,
    },
    /// The topic has as many partitions as asked.
    PartitionsAdded {
        /// The group of the first added partition; the others follow densely.
        first_group: GroupId,
    },
    /// The producer may write once the fence of its epoch stands in each partition.
    ProducerOpened {
        /// Who it is.
        producer: ProducerId,
        /// Its epoch: above every earlier one of this name.
        epoch: u32,
    },
    /// A segment of the log was closed at this entry.
    LogTrimmed {
        /// The Raft index after which the log now begins; 0 while it still begins at its first entry.
        start: u64,
    },
    /// The subscription exists; its partitions are told.
    SubscriptionCreated {
        /// This life of its name.
        id: SubscriptionId,
    },
}

/// The replicated state of the control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlMachine {
    bounds: Bounds,
    core: Core,
    nodes: BTreeMap<NodeId, NodeRecord>,
    tenants: BTreeMap<String, Tenant>,
    namespaces: BTreeMap<(String, String), Namespace>,
    topics: BTreeMap<TopicName, Topic>,
    /// Which partition of which topic a group is. Follows from `topics`.
    groups: BTreeMap<GroupId, (TopicName, u32)>,
    producers: BTreeMap<(TopicName, String), NamedProducer>,
    requests: Requests,
    log: ControlLog,
    /// Of every node that does not simply serve.
    duties: BTreeMap<NodeId, Duty>,
    /// The copy of each group that is on its way out.
    moves: BTreeMap<(GroupId, ReplicaId), Replica>,
    subscriptions: BTreeMap<(TopicName, String), Subscription>,
}

impl Default for ControlMachine {
    fn default() -> Self {
        Self::new()
    }
}

impl ControlMachine {
    /// A region that has not been formed.
    pub fn new() -> Self {
        Self::with_bounds(Bounds::default())
    }

    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        Self {
            bounds,
            core: Core::new(),
            nodes: BTreeMap::new(),
            tenants: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            producers: BTreeMap::new(),
            requests: Requests::default(),
            log: ControlLog::default(),
            duties: BTreeMap::new(),
            moves: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
        }
    }

    /// Applies a command. `at` must be past [`Self::last_applied`]. The effects are to be written in one
    /// atomic step. A refused command changes nothing but the remembered requests.
    pub fn apply(&mut self, at: At, command: &ControlCommand, effects: &mut Vec<Effect>) -> ControlReply {
        self.begin_entry(at, command.stamp);
        let reply = match self.requests.recall(&command.change).filter(|_| !planted!(RepeatActsAgain)) {
            Some(reply) => {
                reply.unwrap_or_else(|refusal| ControlReply { index: at.index, result: Err(refusal) })
            }
            None => {
                let result = self.change(&command.change, effects);
                let reply = ControlReply { index: at.index, result };
                let number = self.core.next_request;
                // "Not formed" means "try again": a retry that got it for ever would never be heard.
                let told_to_retry =
                    reply.result == Err(ControlRefusal::NotFormed) && !planted!(RemembersNotFormed);
                let requests_max = self.bounds.requests_max - usize::from(planted!(ForgetsRequestEarly));
                if !told_to_retry
                    && self.requests.remember(number, &command.change, &reply, requests_max, effects)
                {
                    self.core.next_request += 1;
                }
                reply
            }
        };
        effects.push(self.core.put());
        reply
    }

    /// Notes an entry that is no command: blank, or a change of membership.
    pub fn skip(&mut self, at: At, effects: &mut Vec<Effect>) {
        self.begin_entry(at, self.core.last_stamp);
        effects.push(self.core.put());
    }

    fn begin_entry(&mut self, at: At, stamp: UnixMs) {
        debug_assert!(at.index > self.core.applied_index || at.index == 0, "entry {at:?} applied twice");
        (self.core.applied_term, self.core.applied_index) = (at.term, at.index);
        self.core.last_stamp =
            if planted!(ControlStampGoesBack) { stamp } else { self.core.last_stamp.max(stamp) };
    }

    fn change(
        &mut self,
        change: &ControlChange,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        if let ControlChange::Form { cluster, name, nodes } = change {
            return self.form(*cluster, name, nodes, effects);
        }
        if self.core.cluster.is_none() {
            return Err(ControlRefusal::NotFormed);
        }
        match change {
            ControlChange::Form { .. } => Err(ControlRefusal::NotFormed),
            ControlChange::RegisterNode { record } => self.register_node(record, effects),
            ControlChange::CreateTenant { name, .. } => self.create_tenant(name, effects),
            ControlChange::DeleteTenant { name, .. } => self.delete_tenant(name, effects),
            ControlChange::CreateNamespace { tenant, name, .. } => {
                self.create_namespace(tenant, name, effects)
            }
            ControlChange::DeleteNamespace { tenant, name, .. } => {
                self.delete_namespace(tenant, name, effects)
            }
            ControlChange::CreateTopic { name, partitions, replication, retention, seed, .. } => {
                self.create_topic(name, *partitions, *replication, *retention, *seed, effects)
            }
            ControlChange::UpdateTopic { name, retention, expected_version, .. } => {
                self.update_topic(name, *retention, *expected_version, effects)
            }
            ControlChange::AddPartitions { name, total, seed, .. } => {
                self.add_partitions(name, *total, *seed, effects)
            }
            ControlChange::DeleteTopic { name, .. } => self.delete_topic(name, effects),
            ControlChange::FinishDelete { name, expected_version } => {
                self.finish_delete(name, *expected_version, effects)
            }
            ControlChange::OpenProducer { topic, name, .. } => self.open_producer(topic, name, effects),
            ControlChange::TrimLog { closed } => self.trim_log(*closed, effects),
            ControlChange::SetDuty { node, duty } => self.set_duty(*node, *duty, effects),
            ControlChange::ForgetNode { node } => self.forget_node(*node, effects),
            ControlChange::MoveCopy { group, from, to } => self.move_copy(*group, *from, *to, effects),
            ControlChange::FinishMove { group, replica } => self.finish_move(*group, *replica, effects),
            ControlChange::PreferLeader { group, node } => self.prefer_leader(*group, *node, effects),
            ControlChange::CreateSubscription { topic, name, begin, settings, .. } => {
                self.create_subscription(topic, name, *begin, settings, effects)
            }
            ControlChange::UpdateSubscription { topic, name, settings, expected_version, .. } => {
                self.update_subscription(topic, name, settings, *expected_version, effects)
            }
            ControlChange::DeleteSubscription { topic, name, expected_version, .. } => {
                self.delete_subscription(topic, name, *expected_version, effects)
            }
        }
    }

    /// The cluster, once formed.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.core.cluster.as_ref()
    }

    /// The id of the cluster, once formed.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster().map(|c| c.id)
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRecord> {
        self.nodes.values()
    }

    /// A node.
    pub fn node(&self, node: NodeId) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// Every tenant, by name.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// Every namespace of a tenant, by name.
    pub fn namespaces<'a>(&'a self, tenant: &'a str) -> impl Iterator<Item = &'a Namespace> {
        let from = (tenant.to_owned(), String::new());
        self.namespaces.range(from..).map(|(_, n)| n).take_while(move |n| n.tenant == tenant)
    }

    /// Every topic, by name; those being deleted too.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    /// A topic; also one that is being deleted.
    pub fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// The topic and partition number that a group is. `None` once its deletion is finished.
    pub fn group(&self, group: GroupId) -> Option<(&Topic, u32)> {
        let (name, partition) = self.groups.get(&group)?;
        self.topics.get(name).map(|topic| (topic, *partition))
    }

    /// Partitions of all topics.
    pub fn groups_count(&self) -> usize {
        self.groups.len()
    }

    /// The named producers of a topic: what must be fenced in a partition that is added.
    pub fn producers_of<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a NamedProducer> {
        let from = (topic.clone(), String::new());
        self.producers.range(from..).map(|(_, p)| p).take_while(move |p| p.topic == *topic)
    }

    /// The feature level in force: what every replica must understand.
    pub fn feature_level(&self) -> u32 {
        self.core.feature_level
    }

    /// The entry after which this group's own log begins. `None` until the second trim.
    pub fn log_start(&self) -> Option<At> {
        self.log.start()
    }

    /// The end of the last closed segment of this group's own log: what the next trim drops.
    pub fn log_closed(&self) -> Option<At> {
        self.log.closed()
    }

    /// The last entry applied or skipped.
    pub fn last_applied(&self) -> At {
        At { term: self.core.applied_term, index: self.core.applied_index }
    }

    /// The latest stamp of any command.
    pub fn last_stamp(&self) -> UnixMs {
        self.core.last_stamp
    }
}
