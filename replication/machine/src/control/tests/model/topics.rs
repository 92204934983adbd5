//! Topics, and what must hold of the places that the machine chose for their partitions.

use std::collections::BTreeSet;

use meridian_model::topology::{Placement, Retention, Topic};
use meridian_model::{GroupId, TopicName};

use super::{Model, Refused, Verdict, refuse};
use crate::control::tests::coverage::{Coverage, Met};
use crate::control::{ControlChange, ControlDone, ControlMachine};

/// Where a topic stands: nowhere, being deleted, or alive.
enum Standing<'a> {
    Unknown,
    Deleting,
    Live(&'a mut Topic),
}

fn keeps_nothing(retention: Retention) -> bool {
    retention.age_ms == Some(0) || retention.bytes == Some(0)
}

impl Model {
    fn standing(&mut self, name: &TopicName) -> Standing<'_> {
        match self.topics.get_mut(name) {
            None => Standing::Unknown,
            Some(topic) if topic.deleting => Standing::Deleting,
            Some(topic) => Standing::Live(topic),
        }
    }

    pub(super) fn create_topic(&mut self, change: &ControlChange, met: &mut Coverage) -> Verdict {
        let ControlChange::CreateTopic { name, partitions, replication, retention, .. } = change else {
            return Err(Refused::NotFormed);
        };
        let (partitions, replication, retention) = (*partitions, *replication, *retention);
        let home = (name.tenant().to_owned(), name.namespace().to_owned());
        if !self.namespaces.contains_key(&home) {
            let refused = Refused::NotFound(format!("tenants/{}/namespaces/{}", home.0, home.1));
            return refuse(met, Met::TopicOfUnknownNamespace, refused);
        }
        match self.standing(name) {
            Standing::Live(_) => return refuse(met, Met::TopicExists, Refused::Exists(name.resource())),
            Standing::Deleting => return refuse(met, Met::TopicOfNameDeleting, Refused::Conflict),
            Standing::Unknown => {}
        }
        let bounds = self.bounds;
        let have = self.staying().count() as u32;
        let (what, refused) = match () {
            () if partitions == 0 => (Met::TopicNoPartitions, Refused::Invalid("partitions")),
            () if partitions > bounds.topic_partitions_max => {
                let max = u64::from(bounds.topic_partitions_max);
                (Met::TopicTooManyPartitions, Refused::Limit("partitions of a topic", max))
            }
            () if keeps_nothing(retention) => (Met::TopicBadRetention, Refused::Invalid("retention")),
            () if replication == 0 => (Met::TopicNoCopies, Refused::Invalid("replication")),
            () if self.topics.len() == bounds.topics_max => {
                (Met::TopicsAtLimit, Refused::Limit("topics", bounds.topics_max as u64))
            }
            () if self.partitions() + u64::from(partitions) > bounds.groups_max => {
                (Met::TopicGroupsAtLimit, Refused::Limit("partitions", bounds.groups_max))
            }
            () if replication > have => {
                let enough = replication as usize <= self.nodes.len();
                let what = if enough { Met::TopicTooManyLeave } else { Met::TopicNotEnoughNodes };
                (what, Refused::NotEnoughNodes(replication, have))
            }
            () => {
                let again = self.finished.contains(name);
                met.met(if again { Met::TopicCreatedAgain } else { Met::TopicCreated });
                let (name, version) = (name.clone(), self.at.index);
                let topic = Topic {
                    name: name.clone(),
                    replication,
                    retention,
                    partitions: vec![],
                    version,
                    deleting: false,
                };
                self.topics.insert(name.clone(), topic);
                return Ok(ControlDone::TopicCreated { first_group: self.grow(&name, partitions) });
            }
        };
        refuse(met, what, refused)
    }

    /// Asks for placements of so many new partitions.
    fn grow(&mut self, name: &TopicName, partitions: u32) -> GroupId {
        let present = self.topics.get(name).map_or(0, |topic| topic.partitions.len());
        self.placing = Some((name.clone(), present));
        let first = GroupId(self.next_group);
        self.next_group += u64::from(partitions);
        first
    }

    pub(super) fn update_topic(
        &mut self,
        name: &TopicName,
        retention: Retention,
        expected: Option<u64>,
        met: &mut Coverage,
    ) -> Verdict {
        let index = self.at.index;
        if keeps_nothing(retention) {
            return refuse(met, Met::UpdateBadRetention, Refused::Invalid("retention"));
        }
        match self.standing(name) {
            Standing::Unknown => refuse(met, Met::UpdateUnknown, Refused::NotFound(name.resource())),
            Standing::Deleting => refuse(met, Met::UpdateDeleting, Refused::Conflict),
            Standing::Live(topic) if expected.is_some_and(|expected| expected != topic.version) => {
                refuse(met, Met::UpdateOtherVersion, Refused::Conflict)
            }
            Standing::Live(topic) => {
                met.met(if expected.is_some() { Met::TopicUpdatedAsExpected } else { Met::TopicUpdated });
                (topic.retention, topic.version) = (retention, index);
                Ok(ControlDone::Changed)
            }
        }
    }

    pub(super) fn add_partitions(&mut self, name: &TopicName, total: u32, met: &mut Coverage) -> Verdict {
        let (max, index) = (self.bounds.topic_partitions_max, self.at.index);
        let (groups, groups_max) = (self.partitions(), self.bounds.groups_max);
        if total == 0 {
            return refuse(met, Met::AddToNone, Refused::Invalid("total"));
        }
        if total > max {
            let refused = Refused::Limit("partitions of a topic", u64::from(max));
            return refuse(met, Met::AddTooMany, refused);
        }
        let next = GroupId(self.next_group);
        let topic = match self.standing(name) {
            Standing::Unknown => return refuse(met, Met::AddUnknown, Refused::NotFound(name.resource())),
            Standing::Deleting => return refuse(met, Met::AddDeleting, Refused::Conflict),
            Standing::Live(topic) => topic,
        };
        let present = topic.partitions.len() as u32;
        if total < present {
            return refuse(met, Met::AddToFewer, Refused::Invalid("total"));
        }
        if total == present {
            met.met(Met::PartitionsAsTheyAre);
            return Ok(ControlDone::PartitionsAdded { first_group: next });
        }
        if groups + u64::from(total - present) > groups_max {
            return refuse(met, Met::AddGroupsAtLimit, Refused::Limit("partitions", groups_max));
        }
        met.met(Met::PartitionsAdded);
        topic.version = index;
        Ok(ControlDone::PartitionsAdded { first_group: self.grow(name, total - present) })
    }

    pub(super) fn delete_topic(&mut self, name: &TopicName, met: &mut Coverage) -> Verdict {
        let index = self.at.index;
        match self.standing(name) {
            Standing::Unknown => refuse(met, Met::DeleteUnknown, Refused::NotFound(name.resource())),
            Standing::Deleting => refuse(met, Met::DeleteDeleting, Refused::Conflict),
            Standing::Live(topic) => {
                met.met(Met::TopicDeleted);
                (topic.deleting, topic.version) = (true, index);
                Ok(ControlDone::Changed)
            }
        }
    }

    pub(super) fn finish_delete(
        &mut self,
        name: &TopicName,
        expected: Option<u64>,
        met: &mut Coverage,
    ) -> Verdict {
        let Some(topic) = self.topics.get(name) else {
            return refuse(met, Met::FinishUnknown, Refused::NotFound(name.resource()));
        };
        if expected.is_some_and(|expected| expected != topic.version) {
            return refuse(met, Met::FinishOtherVersion, Refused::Conflict);
        }
        if !topic.deleting {
            return refuse(met, Met::FinishLive, Refused::Conflict);
        }
        met.met(if expected.is_some() { Met::TopicFinishedAsExpected } else { Met::TopicFinished });
        if let Some(topic) = self.topics.remove(name) {
            self.end_moves_of(&topic.partitions, met);
        }
        self.finished.insert(name.clone());
        let epochs = self.producers.iter().filter(|((topic, _), _)| topic == name).map(|(_, epoch)| *epoch);
        if let Some(highest) = epochs.max() {
            met.met(Met::FinishForgetsProducers);
            self.floor = self.floor.max(highest);
        }
        self.producers.retain(|(topic, _), _| topic != name);
        self.end_subscriptions_of(name, met);
        Ok(ControlDone::Changed)
    }

    /// Takes the places that the machine chose for new partitions, if they are sound.
    pub(super) fn adopt_placements(
        &mut self,
        machine: &ControlMachine,
        met: &mut Coverage,
    ) -> Result<(), String> {
        let Some((name, from)) = self.placing.take() else { return Ok(()) };
        let Some(topic) = machine.topic(&name) else { return Err(format!("{name} is not there")) };
        let added = topic.partitions.get(from..).unwrap_or_default().to_vec();
        for (placement, group) in added.iter().zip((0..added.len() as u64).rev()) {
            let group = GroupId(self.next_group - 1 - group);
            if placement.group != group || !self.is_sound(placement, topic.replication as usize, met) {
                return Err(format!("{placement:?} instead of a sound {group}"));
            }
        }
        let Some(known) = self.topics.get_mut(&name) else { return Err(format!("{name} was not created")) };
        known.partitions.extend(added);
        let least = known.partitions.last().map_or(0, |p| p.group.0);
        match least == self.next_group - 1 {
            true => Ok(()),
            false => Err(format!("{name} ends at group {least}, the last one is {}", self.next_group - 1)),
        }
    }

    /// The nodes that new copies may go to: those that serve, with those that are drained where they are few.
    fn open_to_copies(&self, replication: usize, met: &mut Coverage) -> BTreeSet<u64> {
        let staying: BTreeSet<u64> = self.staying().collect();
        let serving: BTreeSet<u64> = staying.difference(&self.draining).copied().collect();
        if !self.leaving.is_empty() {
            met.met(Met::PlacedWhileOneLeaves);
        }
        match serving.len() {
            n if n == staying.len() => serving,
            n if n < replication => {
                met.met(Met::PlacedOnDrained);
                staying
            }
            _ => {
                met.met(Met::PlacedBesideDrained);
                serving
            }
        }
    }

    /// New ids, one copy a node, all of its present life, over as many zones as can be.
    fn is_sound(&mut self, placement: &Placement, replication: usize, met: &mut Coverage) -> bool {
        let open = self.open_to_copies(replication, met);
        let first = self.next_replica;
        let ids: Vec<u64> = placement.replicas.iter().map(|r| r.replica.0).collect();
        self.next_replica += ids.len() as u64;
        let fresh = ids.len() == replication && ids.iter().copied().eq(first..self.next_replica);
        let nodes: BTreeSet<u64> = placement.replicas.iter().map(|r| r.node.0).collect();
        let lives = placement.replicas.iter().all(|copy| {
            self.nodes.get(&copy.node.0).is_some_and(|node| node.incarnation == copy.incarnation)
        });
        let zones = |nodes: &mut dyn Iterator<Item = &u64>| {
            nodes.filter_map(|n| self.nodes.get(n)).map(|n| n.zone.clone()).collect::<BTreeSet<_>>().len()
        };
        let spread = zones(&mut nodes.iter()) == zones(&mut open.iter()).min(replication);
        let founders = placement.founders.iter().map(|f| f.0).eq(ids);
        let sound =
            fresh && lives && spread && founders && nodes.len() == replication && nodes.is_subset(&open);
        let new_log = !placement.log.is_nil() && self.logs.insert(placement.log);
        sound && new_log && nodes.contains(&placement.preferred_leader.0)
    }
}
