//! Topics: created, shown, changed, grown, deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_machine::control::ControlChange;
use meridian_model::topology::Topic;
use meridian_model::{NodeId, TopicName};
use meridian_proto::admin as pb;
use meridian_proto::requests::{self, topic_name};
use meridian_proto::v1::{ErrorReason, Failure};
use meridian_publish::Leader;
use tokio::time::Instant;

use super::{Admin, or_default, page};

/// How long a created topic's partitions may take to get their leaders before the call says "pending".
const LEADERS_MAX: Duration = Duration::from_secs(10);
/// How long nodes of a cluster that was just founded may take to be known to it.
const NODES_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const REPLICATION_DEFAULT: u32 = 3;

pub(super) fn missing(name: &TopicName) -> Failure {
    Failure::new(ErrorReason::NotFound, format!("topic {name} does not exist")).with("field", "topic")
}

fn seed() -> u128 {
    let draw = || u128::from(meridian_raft::runtime::next_random());
    draw() << 64 | draw()
}

impl Admin {
    pub(super) async fn create(
        &self,
        request: pb::CreateTopicRequest,
    ) -> Result<pb::CreateTopicResponse, Failure> {
        let name = topic_name(&request.topic)?;
        let replication = match request.replication {
            0 => self.default_replication().await?,
            given => given,
        };
        let change = ControlChange::CreateTopic {
            name: name.clone(),
            partitions: request.partitions.max(1),
            replication,
            retention: requests::retention(request.retention),
            seed: seed(),
            request_id: request.request_id,
        };
        let changed = self.change(change).await?;
        let pending_partitions = self.await_leaders(&name).await;
        let topic = self.changed_topic(&name)?;
        Ok(pb::CreateTopicResponse { topic: Some(topic), control_index: changed.index, pending_partitions })
    }

    /// As many copies as are usual and the cluster has nodes. A cluster that was just founded is waited for: its first
    /// topic must not have fewer copies because a node was not heard of yet. What does not come is refused later.
    async fn default_replication(&self) -> Result<u32, Failure> {
        let deadline = Instant::now() + NODES_MAX;
        loop {
            let (registered, _) = self.look_now(|machine| machine.nodes().count()).await?;
            let usual = REPLICATION_DEFAULT.min(self.control.member_count().max(registered).max(1) as u32);
            if registered as u32 >= usual || Instant::now() >= deadline {
                return Ok(usual);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until each partition has a leader; returns those that have none yet.
    async fn await_leaders(&self, name: &TopicName) -> Vec<u32> {
        let deadline = Instant::now() + LEADERS_MAX;
        loop {
            let placements = self.look(|machine| machine.topic(name).map(|topic| topic.partitions.clone()));
            let placements = placements.ok().flatten().unwrap_or_default();
            let without = (0u32..).zip(&placements).filter(|(_, placement)| {
                self.routing.registry.get(placement.group).is_none_or(|group| group.leader().is_none())
                    && self.routing.leader_of(placement) == Leader::Unknown
                    || placement.replicas.iter().any(|replica| replica.node == self.routing.own)
                        && self.routing.registry.get(placement.group).is_none()
            });
            let pending: Vec<u32> = without.map(|(number, _)| number).collect();
            if pending.is_empty() && !placements.is_empty() || Instant::now() >= deadline {
                return pending;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn describe(&self, name: &str) -> Result<pb::GetTopicResponse, Failure> {
        let name = topic_name(name)?;
        let (found, control_index) = self.look_now(|machine| machine.topic(&name).cloned()).await?;
        let topic = found.ok_or_else(|| missing(&name).with("control_index", control_index))?;
        Ok(pb::GetTopicResponse { topic: Some(self.present(&topic)), control_index })
    }

    pub(super) async fn list(
        &self,
        request: pb::ListTopicsRequest,
    ) -> Result<pb::ListTopicsResponse, Failure> {
        let tenant = or_default(request.tenant);
        let looking = self.look_now(|machine| {
            let fits = |topic: &&Topic| {
                topic.name.tenant() == tenant
                    && (request.namespace.is_empty() || topic.name.namespace() == request.namespace)
            };
            let found = machine.topics().filter(fits).map(|topic| (topic.name.resource(), topic.clone()));
            found.collect::<BTreeMap<_, _>>()
        });
        let (found, control_index) = looking.await?;
        let names = found.keys().cloned().collect();
        let (names, next_page_token) = page(names, request.page_size, &request.page_token);
        let topics = names.iter().filter_map(|name| Some(self.present(found.get(name)?))).collect();
        Ok(pb::ListTopicsResponse { topics, next_page_token, control_index })
    }

    pub(super) async fn update(
        &self,
        request: pb::UpdateTopicRequest,
    ) -> Result<pb::UpdateTopicResponse, Failure> {
        let name = topic_name(&request.topic)?;
        let expected_version = requests::expected_version(&request.etag)?;
        let change = ControlChange::UpdateTopic {
            name: name.clone(),
            retention: requests::retention(request.retention),
            expected_version,
            request_id: request.request_id,
        };
        let changed = self.change(change).await?;
        let pending_partitions = self.await_policy(&name, changed.index).await;
        let topic = Some(self.changed_topic(&name)?);
        Ok(pb::UpdateTopicResponse { topic, control_index: changed.index, pending_partitions })
    }

    /// Waits until the partitions with a copy here follow the changed topic; returns those that do not yet.
    async fn await_policy(&self, name: &TopicName, index: u64) -> Vec<u32> {
        let deadline = Instant::now() + LEADERS_MAX;
        loop {
            let topic = self.look(|machine| machine.topic(name).cloned()).ok().flatten();
            let Some(topic) = topic else { return Vec::new() };
            let pending = (0u32..).zip(&topic.partitions).filter(|(_, placement)| {
                let group = self.routing.registry.get(placement.group);
                let follows = group.and_then(|group| {
                    group.view().partition(|machine| {
                        machine.control_index() >= index || machine.policy().retention == topic.retention
                    })
                });
                follows == Some(false)
            });
            let pending: Vec<u32> = pending.map(|(number, _)| number).collect();
            if pending.is_empty() || Instant::now() >= deadline {
                return pending;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(super) async fn grow(
        &self,
        request: pb::AddPartitionsRequest,
    ) -> Result<pb::AddPartitionsResponse, Failure> {
        let name = topic_name(&request.topic)?;
        let (total, request_id) = (request.total, request.request_id);
        let change = ControlChange::AddPartitions { name: name.clone(), total, seed: seed(), request_id };
        let changed = self.change(change).await?;
        self.await_leaders(&name).await;
        let warning = "keys re-route: from now on a key's messages may go to another partition than before, \
                       and their order holds within each partition only";
        let topic = Some(self.changed_topic(&name)?);
        Ok(pb::AddPartitionsResponse { topic, control_index: changed.index, warning: warning.into() })
    }

    pub(super) async fn delete(
        &self,
        request: pb::DeleteTopicRequest,
    ) -> Result<pb::DeleteTopicResponse, Failure> {
        let name = topic_name(&request.topic)?;
        let change = ControlChange::DeleteTopic { name: name.clone(), request_id: request.request_id };
        let changed = self.change(change).await?;
        let deadline = Instant::now() + LEADERS_MAX;
        loop {
            let pending = self.look(|machine| {
                machine.topic(&name).is_some_and(|topic| topic.deleting && topic.version == changed.index)
            })?;
            if !pending || Instant::now() >= deadline {
                return Ok(pb::DeleteTopicResponse { control_index: changed.index, pending });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A topic that was just changed. Somebody else may have deleted it since: the change was made all the same.
    fn changed_topic(&self, name: &TopicName) -> Result<pb::Topic, Failure> {
        let found = self.look(|machine| machine.topic(name).cloned())?;
        // Deleted since: the change was made all the same.
        let gone = || pb::Topic { topic: name.resource(), deleting: true, ..Default::default() };
        Ok(found.as_ref().map_or_else(gone, |topic| self.present(topic)))
    }

    fn present(&self, topic: &Topic) -> pb::Topic {
        let partitions = (0u32..).zip(&topic.partitions).map(|(partition, placement)| pb::Partition {
            partition,
            group: placement.group.0,
            log_id: placement.log.0.to_vec().into(),
            replica_nodes: placement.replicas.iter().map(|replica| replica.node.0).collect(),
            leader_node: match self.routing.leader_for_clients(placement) {
                Leader::Here => Some(self.routing.own.0),
                Leader::Elsewhere(NodeId(node)) => Some(node),
                Leader::Unknown => None,
            },
        });
        pb::Topic {
            topic: topic.name.resource(),
            replication: topic.replication,
            retention: Some(pb::Retention { age_ms: topic.retention.age_ms, bytes: topic.retention.bytes }),
            partitions: partitions.collect(),
            etag: topic.version.to_string(),
            deleting: topic.deleting,
        }
    }
}
