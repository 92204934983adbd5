//! Nodes: the founders, those that join, and those that return with a wiped disk.

use std::collections::BTreeSet;

use meridian_model::name::{self, DEFAULT};
use meridian_model::topology::{NodeRecord, Placement, Replica};
use meridian_model::{ClusterId, limits};

use super::core::Cluster;
use super::row::Stored;
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{Effect, Table};

impl Stored for NodeRecord {
    const TABLE: Table = Table::Node;

    fn key(&self) -> Vec<u8> {
        self.node.0.to_be_bytes().to_vec()
    }
}

impl ControlMachine {
    pub(super) fn form(
        &mut self,
        cluster: ClusterId,
        name: &str,
        nodes: &[NodeRecord],
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        match &self.core.cluster {
            Some(formed) if formed.id == cluster => return Ok(ControlDone::Formed),
            Some(_) => return Err(ControlRefusal::conflict("the cluster has been formed under another id")),
            None => {}
        }
        name::check("name", name)?;
        check_founders(nodes, self.bounds.nodes_max)?;
        self.core.cluster = Some(Cluster { id: cluster, name: name.into(), formed_at: self.core.last_stamp });
        let highest = nodes.iter().map(|n| n.control_replica.0).max().unwrap_or(0);
        self.core.next_replica = highest + 1;
        for record in nodes {
            effects.push(record.put());
            self.nodes.insert(record.node, record.clone());
        }
        self.create_tenant(DEFAULT, effects)?;
        self.create_namespace(DEFAULT, DEFAULT, effects)?;
        Ok(ControlDone::Formed)
    }

    pub(super) fn register_node(
        &mut self,
        record: &NodeRecord,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        check_record(record)?;
        self.admit_life(record.node, record.incarnation)?;
        if planted!(RefusedNodeBegins) {
            self.begin_life(record.node, effects);
        }
        let known = self.nodes.get(&record.node);
        let (control_replica, wiped) = match known {
            Some(known) if known.incarnation == record.incarnation => (known.control_replica, false),
            Some(known) if planted!(WipedKeepsReplica) => (known.control_replica, true),
            Some(_) => (self.core.mint_replica(), true),
            None => {
                ControlRefusal::at_limit("nodes", self.nodes.len(), self.bounds.nodes_max)?;
                (self.core.mint_replica(), false)
            }
        };
        let record = NodeRecord { control_replica, ..record.clone() };
        if known != Some(&record) {
            effects.push(record.put());
        }
        let replaced =
            if wiped && !planted!(WipedKeepsCopies) { self.replace_copies(&record, effects) } else { 0 };
        self.begin_life(record.node, effects);
        self.nodes.insert(record.node, record);
        Ok(ControlDone::NodeRegistered { control_replica, replaced })
    }

    /// Mints anew each copy that was on the disk that is gone. The new ones are no founders: a group that
    /// they could initialize might forget what the old ones had promised.
    fn replace_copies(&mut self, record: &NodeRecord, effects: &mut Vec<Effect>) -> u32 {
        let mut replaced = 0;
        for topic in self.topics.values_mut() {
            let mut changed = false;
            for Placement { replicas, founders, .. } in &mut topic.partitions {
                let gone = |r: &&mut Replica| r.node == record.node && r.incarnation != record.incarnation;
                for copy in replicas.iter_mut().filter(gone) {
                    copy.replica = self.core.mint_replica();
                    copy.incarnation = record.incarnation;
                    (changed, replaced) = (true, replaced + 1);
                    if planted!(ReplacedFounds) {
                        founders.push(copy.replica);
                    }
                }
            }
            if changed {
                topic.version = self.core.applied_index;
                effects.push(topic.put());
            }
        }
        replaced
    }
}

fn check_founders(nodes: &[NodeRecord], nodes_max: usize) -> Result<(), ControlRefusal> {
    if nodes.is_empty() {
        return Err(ControlRefusal::invalid("nodes", "a cluster needs at least one node"));
    }
    if nodes.len() > nodes_max {
        return Err(ControlRefusal::Limit { what: "nodes".into(), max: nodes_max as u64 });
    }
    nodes.iter().try_for_each(check_record)?;
    let numbers: BTreeSet<_> = nodes.iter().map(|n| n.node).collect();
    let replicas: BTreeSet<_> = nodes.iter().map(|n| n.control_replica).collect();
    if numbers.len() < nodes.len() || replicas.len() < nodes.len() {
        return Err(ControlRefusal::invalid("nodes", "two nodes have the same number or replica id"));
    }
    if replicas.iter().any(|r| r.0 >= u64::MAX / 2) {
        return Err(ControlRefusal::invalid("nodes", "a replica id leaves no room for others"));
    }
    Ok(())
}

fn check_record(record: &NodeRecord) -> Result<(), ControlRefusal> {
    if record.zone.len() > limits::NAME_BYTES_MAX {
        return Err(ControlRefusal::invalid("zone", "the name is too long"));
    }
    let addresses = [&record.addresses.client, &record.addresses.raft];
    if addresses.iter().any(|a| a.len() > limits::ADDRESS_BYTES_MAX) {
        return Err(ControlRefusal::invalid("addresses", "an address is too long"));
    }
    Ok(())
}
