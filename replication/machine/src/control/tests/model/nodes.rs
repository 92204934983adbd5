//! Forming the cluster, and nodes that come, return and lose their disks.

use std::collections::BTreeSet;

use meridian_model::ReplicaId;
use meridian_model::topology::NodeRecord;

use super::{Model, Refused, Verdict, is_name, refuse};
use crate::control::ControlDone;
use crate::control::tests::coverage::{Coverage, Met};

impl Model {
    pub(super) fn form(&mut self, id: u128, name: &str, nodes: &[NodeRecord], met: &mut Coverage) -> Verdict {
        if let Some((formed, ..)) = &self.cluster {
            if *formed != id {
                return refuse(met, Met::FormedElsewhere, Refused::Conflict);
            }
            met.met(Met::FormedAgain);
            return Ok(ControlDone::Formed);
        }
        if !is_name(name) {
            return refuse(met, Met::FormBadName, Refused::Invalid("name"));
        }
        if nodes.is_empty() {
            return refuse(met, Met::FormNoNodes, Refused::Invalid("nodes"));
        }
        if nodes.len() > self.bounds.nodes_max {
            let refused = Refused::Limit("nodes", self.bounds.nodes_max as u64);
            return refuse(met, Met::FormTooManyNodes, refused);
        }
        for record in nodes {
            if let Some(field) = too_long(record) {
                let what = if field == "zone" { Met::FormLongZone } else { Met::FormLongAddress };
                return refuse(met, what, Refused::Invalid(field));
            }
        }
        if nodes.iter().map(|n| n.node).collect::<BTreeSet<_>>().len() < nodes.len() {
            return refuse(met, Met::FormTwinNodes, Refused::Invalid("nodes"));
        }
        let replicas: BTreeSet<u64> = nodes.iter().map(|n| n.control_replica.0).collect();
        if replicas.len() < nodes.len() {
            return refuse(met, Met::FormTwinReplicas, Refused::Invalid("nodes"));
        }
        let highest = replicas.last().copied().unwrap_or(0);
        if highest >= u64::MAX / 2 {
            return refuse(met, Met::FormReplicaTooHigh, Refused::Invalid("nodes"));
        }
        met.met(Met::Formed);
        self.cluster = Some((id, name.into(), self.stamp));
        self.nodes = nodes.iter().map(|n| (n.node.0, n.clone())).collect();
        self.next_replica = highest + 1;
        let made = (self.stamp, self.at.index);
        self.tenants.insert("default".into(), made);
        self.namespaces.insert(("default".into(), "default".into()), made);
        Ok(ControlDone::Formed)
    }

    pub(super) fn register(&mut self, said: &NodeRecord, met: &mut Coverage) -> Verdict {
        if let Some(field) = too_long(said) {
            let what = if field == "zone" { Met::NodeLongZone } else { Met::NodeLongAddress };
            return refuse(met, what, Refused::Invalid(field));
        }
        if self.has_left(said) {
            return refuse(met, Met::NodeLeftForGood, Refused::Conflict);
        }
        let mut record = said.clone();
        let known = self.nodes.get(&said.node.0);
        if known.is_none() && self.nodes.len() == self.bounds.nodes_max {
            let refused = Refused::Limit("nodes", self.bounds.nodes_max as u64);
            let back = self.gone.contains_key(&said.node.0);
            return refuse(met, if back { Met::NodeBackAtLimit } else { Met::NodesAtLimit }, refused);
        }
        let wiped = known.is_some_and(|known| known.incarnation != said.incarnation);
        record.control_replica = match known {
            Some(known) if !wiped => known.control_replica,
            _ => self.mint_replica(),
        };
        if wiped {
            self.meet_wiped(said.node.0, met);
        }
        let replaced = if wiped { self.replace_copies(&record) } else { 0 };
        let back = self.gone.remove(&said.node.0).is_some();
        met.met(match self.nodes.get(&said.node.0) {
            None if back => Met::NodeBackInNewLife,
            None => Met::NodeNew,
            Some(_) if replaced > 0 => Met::NodeWipedWithCopies,
            Some(_) if wiped => Met::NodeWipedIdle,
            Some(known) if *known == record => Met::NodeAgain,
            Some(_) => Met::NodeMoved,
        });
        let control_replica = record.control_replica;
        self.nodes.insert(record.node.0, record);
        Ok(ControlDone::NodeRegistered { control_replica, replaced })
    }

    pub(super) fn mint_replica(&mut self) -> ReplicaId {
        self.next_replica += 1;
        ReplicaId(self.next_replica - 1)
    }

    /// In order of topic and partition: each copy on the disk that is gone gets the next number.
    fn replace_copies(&mut self, record: &NodeRecord) -> u32 {
        let mut next = self.next_replica;
        let first = next;
        for topic in self.topics.values_mut() {
            for copy in topic.partitions.iter_mut().flat_map(|p| &mut p.replicas) {
                if copy.node == record.node {
                    (copy.replica, copy.incarnation) = (ReplicaId(next), record.incarnation);
                    (topic.version, next) = (self.at.index, next + 1);
                }
            }
        }
        self.next_replica = next;
        (next - first) as u32
    }
}

/// The field that is longer than a record may have it.
fn too_long(record: &NodeRecord) -> Option<&'static str> {
    let address_max = record.addresses.client.len().max(record.addresses.raft.len());
    match () {
        () if record.zone.len() > 128 => Some("zone"),
        () if address_max > 512 => Some("addresses"),
        () => None,
    }
}
