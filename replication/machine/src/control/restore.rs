//! Making the control machine of its rows.

use std::collections::BTreeSet;

use meridian_model::NodeId;
use meridian_model::topology::{NodeRecord, Topic};

use super::core::Core;
use super::duty::DutyRow;
use super::log::ControlLog;
use super::moves::Leaving;
use super::producer::NamedProducer;
use super::request::Remembered;
use super::row::Stored;
use super::subscription::Subscription;
use super::tenant::{Namespace, Tenant};
use super::{Bounds, ControlMachine};
use crate::{CorruptState, Row, Table};

impl ControlMachine {
    /// The machine whose effects left these rows, in any order. No rows: a new machine.
    pub fn restore(rows: impl IntoIterator<Item = Row>) -> Result<Self, CorruptState> {
        Self::restore_with_bounds(rows, Bounds::default())
    }

    pub(crate) fn restore_with_bounds(
        rows: impl IntoIterator<Item = Row>,
        bounds: Bounds,
    ) -> Result<Self, CorruptState> {
        let mut machine = Self::with_bounds(bounds);
        let (mut any, mut core) = (false, None);
        for row in rows {
            match row.table {
                Table::Core => core = Some(Core::decode(&row)?),
                Table::BoundaryMembership => continue,
                _ => machine.take_up(&row)?,
            }
            any = true;
        }
        match core {
            Some(core) => machine.core = core,
            None if any => return Err(CorruptState::NoCore),
            None => {}
        }
        machine.agree()?;
        Ok(machine)
    }

    /// Ids are given once, and rows that stand for something stand for something that is there.
    fn agree(&self) -> Result<(), CorruptState> {
        let Core { applied_index, next_group, next_replica, next_request, .. } = self.core;
        CorruptState::countable(Table::Core, [applied_index, next_group, next_replica, next_request])?;
        let placements = self.topics.values().map(|topic| topic.partitions.len()).sum::<usize>();
        if placements != self.groups.len() || !self.groups.keys().all(|group| group.0 < next_group) {
            return Err(CorruptState::row(Table::Topic, "a group that was not given, or was given twice"));
        }
        if self.core.cluster.is_none() && !(self.nodes.is_empty() && self.topics.is_empty()) {
            return Err(CorruptState::row(Table::Core, "nodes or topics of a cluster that was not formed"));
        }
        if !self.moves.keys().all(|(group, _)| self.groups.contains_key(group)) {
            return Err(CorruptState::row(Table::Move, "a copy of a group that is gone"));
        }
        self.copies_agree()?;
        self.subscriptions_agree()?;
        if !self.requests.agree(next_request) {
            return Err(CorruptState::row(Table::Request, "a number or an id that was given twice"));
        }
        Ok(())
    }

    /// Each subscription has a topic that is there, and an id that was given to it alone.
    fn subscriptions_agree(&self) -> Result<(), CorruptState> {
        let mut given = BTreeSet::new();
        let sound = self.subscriptions.values().all(|subscription| {
            self.topics.contains_key(&subscription.topic)
                && (1..=self.core.applied_index).contains(&subscription.id.0)
                && given.insert(subscription.id)
        });
        let why = "a subscription of a topic that is gone, or whose id was not given, or was given twice";
        if sound { Ok(()) } else { Err(CorruptState::row(Table::TopicSubscription, why)) }
    }

    /// Each copy has an id that was given to it alone, and each of a partition a node; one of these should lead.
    fn copies_agree(&self) -> Result<(), CorruptState> {
        let placements = || self.topics.values().flat_map(|topic| &topic.partitions);
        let sound = placements().all(|placement| {
            let nodes: BTreeSet<NodeId> = placement.replicas.iter().map(|copy| copy.node).collect();
            nodes.len() == placement.replicas.len() && nodes.contains(&placement.preferred_leader)
        });
        if !sound {
            return Err(CorruptState::row(Table::Topic, "copies that are not each on a node of its own"));
        }
        let copies = placements().flat_map(|placement| &placement.replicas).chain(self.moves.values());
        let control = self.nodes.values().map(|record| record.control_replica);
        let mut given = BTreeSet::new();
        let unique = copies
            .map(|copy| copy.replica)
            .chain(control)
            .all(|id| id.0 < self.core.next_replica && given.insert(id));
        match unique {
            true => Ok(()),
            false => {
                Err(CorruptState::row(Table::Topic, "a copy whose id was not given, or was given twice"))
            }
        }
    }

    fn take_up(&mut self, row: &Row) -> Result<(), CorruptState> {
        match row.table {
            Table::Node => {
                let node = NodeRecord::decode(row)?;
                self.nodes.insert(node.node, node);
            }
            Table::Tenant => {
                let tenant = Tenant::decode(row)?;
                self.tenants.insert(tenant.name.clone(), tenant);
            }
            Table::Namespace => {
                let namespace = Namespace::decode(row)?;
                self.namespaces.insert((namespace.tenant.clone(), namespace.name.clone()), namespace);
            }
            Table::Topic => {
                let topic = Topic::decode(row)?;
                self.note_groups(&topic, 0);
                self.topics.insert(topic.name.clone(), topic);
            }
            Table::NamedProducer => {
                let producer = NamedProducer::decode(row)?;
                self.producers.insert((producer.topic.clone(), producer.name.clone()), producer);
            }
            Table::NodeDuty => {
                let DutyRow { node, duty } = DutyRow::decode(row)?;
                self.duties.insert(node, duty);
            }
            Table::Move => {
                let Leaving { group, copy } = Leaving::decode(row)?;
                self.moves.insert((group, copy.replica), copy);
            }
            Table::TopicSubscription => {
                let subscription = Subscription::decode(row)?;
                let key = (subscription.topic.clone(), subscription.name.clone());
                self.subscriptions.insert(key, subscription);
            }
            Table::ControlLog => self.log = ControlLog::decode(row)?,
            Table::Request => self.requests.insert(Remembered::decode(row)?),
            other => return Err(CorruptState::row(other, "not a table of the control group")),
        }
        Ok(())
    }
}
