//! Topics: created with their partitions placed, grown, and deleted in two steps.

use std::collections::BTreeMap;

use meridian_model::topology::{Placement, Replica, Retention, Topic};
use meridian_model::{GroupId, LogId, NodeId, TopicName};

use super::duty::Duty;
use super::placement::{Assignment, Candidate, assign};
use super::row::{Stored, join_key};
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

impl Stored for Topic {
    const TABLE: Table = Table::Topic;

    fn key(&self) -> Vec<u8> {
        join_key(&[self.name.tenant(), self.name.namespace(), self.name.topic()])
    }
}

impl ControlMachine {
    pub(super) fn create_topic(
        &mut self,
        name: &TopicName,
        partitions: u32,
        replication: u32,
        retention: Retention,
        seed: u128,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        self.require_namespace(name.tenant(), name.namespace())?;
        if let Some(topic) = self.topics.get(name) {
            return Err(match topic.deleting {
                true => ControlRefusal::conflict("a topic of this name is being deleted"),
                false => ControlRefusal::already_exists(name.resource()),
            });
        }
        check_partitions("partitions", partitions, self.bounds.topic_partitions_max)?;
        check_retention(retention)?;
        if replication == 0 {
            return Err(ControlRefusal::invalid("replication", "a partition needs at least one copy"));
        }
        ControlRefusal::at_limit("topics", self.topics.len(), self.bounds.topics_max)?;
        let first_group = GroupId(self.core.next_group);
        let placements = self.place(partitions, replication, seed)?;
        let version = self.core.applied_index;
        let topic = Topic {
            name: name.clone(),
            replication,
            retention,
            partitions: placements,
            version,
            deleting: false,
        };
        effects.push(topic.put());
        self.note_groups(&topic, 0);
        self.topics.insert(name.clone(), topic);
        Ok(ControlDone::TopicCreated { first_group })
    }

    pub(super) fn update_topic(
        &mut self,
        name: &TopicName,
        retention: Retention,
        expected_version: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        check_retention(retention)?;
        let version = self.core.applied_index;
        let topic = self.live_topic(name)?;
        check_version(topic, expected_version)?;
        topic.retention = retention;
        topic.version = version;
        if !planted!(LosesTopicRow) {
            effects.push(topic.put());
        }
        Ok(ControlDone::Changed)
    }

    pub(super) fn add_partitions(
        &mut self,
        name: &TopicName,
        total: u32,
        seed: u128,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        check_partitions("total", total, self.bounds.topic_partitions_max)?;
        let topic = self.live_topic(name)?;
        let (replication, present) = (topic.replication, topic.partitions.len() as u32);
        if total < present {
            let why = format!("the topic has {present} partitions; partitions are never removed");
            return Err(ControlRefusal::invalid("total", why));
        }
        let first_group = GroupId(self.core.next_group);
        if total == present {
            return Ok(ControlDone::PartitionsAdded { first_group });
        }
        let added = self.place(total - present, replication, seed)?;
        let version = self.core.applied_index;
        let topic = self.live_topic(name)?;
        topic.partitions.extend(added);
        topic.version = version;
        effects.push(topic.put());
        let topic = topic.clone();
        self.note_groups(&topic, present as usize);
        Ok(ControlDone::PartitionsAdded { first_group })
    }

    pub(super) fn delete_topic(
        &mut self,
        name: &TopicName,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let version = self.core.applied_index;
        let topic = self.live_topic(name)?;
        topic.deleting = true;
        topic.version = version;
        effects.push(topic.put());
        Ok(ControlDone::Changed)
    }

    pub(super) fn finish_delete(
        &mut self,
        name: &TopicName,
        expected_version: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        let topic = self.topics.get(name).ok_or_else(|| ControlRefusal::not_found(name.resource()))?;
        check_version(topic, expected_version)?;
        if !topic.deleting && !planted!(FinishesLive) {
            return Err(ControlRefusal::conflict("the topic is not being deleted"));
        }
        effects.push(topic.delete());
        for placement in &topic.partitions {
            self.groups.remove(&placement.group);
        }
        if let Some(topic) = self.topics.remove(name) {
            self.forget_moves_of(&topic, effects);
        }
        self.forget_producers_of(name, effects);
        self.forget_subscriptions_of(name, effects);
        Ok(ControlDone::Changed)
    }

    /// A topic that may be changed.
    pub(super) fn live_topic(&mut self, name: &TopicName) -> Result<&mut Topic, ControlRefusal> {
        match self.topics.get_mut(name) {
            None => Err(ControlRefusal::not_found(name.resource())),
            Some(topic) if topic.deleting => Err(ControlRefusal::conflict("the topic is being deleted")),
            Some(topic) => Ok(topic),
        }
    }

    /// Places and mints new partitions. Nothing is minted when it is refused.
    fn place(
        &mut self,
        partitions: u32,
        replication: u32,
        seed: u128,
    ) -> Result<Vec<Placement>, ControlRefusal> {
        let groups = self.groups.len() as u64 + u64::from(partitions);
        if groups > self.bounds.groups_max {
            return Err(ControlRefusal::Limit { what: "partitions".into(), max: self.bounds.groups_max });
        }
        let candidates = self.candidates(replication);
        let assignments = assign(&candidates, partitions, replication)
            .ok_or(ControlRefusal::NotEnoughNodes { need: replication, have: candidates.len() as u32 })?;
        Ok(assignments.into_iter().map(|assignment| self.mint_placement(assignment, seed)).collect())
    }

    fn mint_placement(&mut self, assignment: Assignment, seed: u128) -> Placement {
        let group = self.core.mint_group();
        let mint = |node: &NodeId| Replica {
            replica: self.core.mint_replica(),
            node: *node,
            incarnation: self.nodes.get(node).map(|n| n.incarnation).unwrap_or_default(),
        };
        let replicas: Vec<Replica> = assignment.replicas.iter().map(mint).collect();
        let founders = replicas.iter().map(|r| r.replica).collect();
        Placement { group, log: log_id(seed, group), replicas, founders, preferred_leader: assignment.leader }
    }

    /// The nodes that may get copies, with what they carry already: those that serve, and where they are too
    /// few those that are drained for a while.
    fn candidates(&self, replication: u32) -> Vec<Candidate> {
        let with = |duties: &[Duty]| {
            let records = self.nodes.values().filter(|record| duties.contains(&self.duty(record.node)));
            records.map(|record| (record.node, Candidate::idle(record))).collect::<BTreeMap<_, _>>()
        };
        let mut loads = with(&[Duty::Serving]);
        if loads.len() < replication as usize || planted!(PlacesOnDrained) {
            loads = with(&[Duty::Serving, Duty::Draining]);
        }
        for placement in self.topics.values().flat_map(|t| &t.partitions) {
            for replica in &placement.replicas {
                loads.entry(replica.node).and_modify(|c| c.replicas += 1);
            }
            loads.entry(placement.preferred_leader).and_modify(|c| c.leaders += 1);
        }
        loads.into_values().collect()
    }

    /// Keeps `groups` in step with a topic's partitions from number `from` on.
    pub(super) fn note_groups(&mut self, topic: &Topic, from: usize) {
        for (placement, partition) in topic.partitions.iter().zip(0..).skip(from) {
            self.groups.insert(placement.group, (topic.name.clone(), partition));
        }
    }
}

/// The log id of a new group: a hash of the drawn seed and the group, which is never used again. Never nil.
fn log_id(seed: u128, group: GroupId) -> LogId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.update(&group.0.to_le_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    if id == [0; 16] { LogId::from_u128(1) } else { LogId(id) }
}

fn check_partitions(field: &str, partitions: u32, partitions_max: u32) -> Result<(), ControlRefusal> {
    match partitions {
        0 => Err(ControlRefusal::invalid(field, "a topic needs at least one partition")),
        _ if partitions <= partitions_max => Ok(()),
        _ => {
            let max = u64::from(partitions_max);
            Err(ControlRefusal::Limit { what: "partitions of a topic".into(), max })
        }
    }
}

fn check_retention(retention: Retention) -> Result<(), ControlRefusal> {
    if retention.age_ms == Some(0) || retention.bytes == Some(0) {
        return Err(ControlRefusal::invalid("retention", "0 keeps nothing; leave it out to keep for ever"));
    }
    Ok(())
}

fn check_version(topic: &Topic, expected: Option<u64>) -> Result<(), ControlRefusal> {
    match expected {
        Some(expected) if expected != topic.version && !planted!(VersionIgnored) => {
            let why = format!("the topic has version {}, expected was {expected}", topic.version);
            Err(ControlRefusal::conflict(why))
        }
        _ => Ok(()),
    }
}
