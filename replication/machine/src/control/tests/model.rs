//! What must hold after every command, and what reply a command must get, said plainly.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::topology::Topic;
use meridian_model::{GroupId, LogId, ProducerId, ReplicaId, TopicName};

use super::Cluster;
use crate::Table;
use crate::control::{ControlChange, ControlDone, ControlReply};

/// Existence of everything, and the ids ever seen.
#[derive(Default)]
pub(super) struct Model {
    tenants: BTreeSet<String>,
    namespaces: BTreeSet<(String, String)>,
    /// Whether it is being deleted, and how many partitions it has.
    topics: BTreeMap<TopicName, (bool, u32)>,
    nodes: BTreeSet<u64>,
    groups: BTreeMap<GroupId, LogId>,
    founders: BTreeMap<GroupId, Vec<ReplicaId>>,
    replicas: BTreeSet<ReplicaId>,
    epochs: BTreeMap<ProducerId, u32>,
    requests: BTreeMap<(String, String), ((u8, String), ControlReply)>,
}

impl Model {
    pub(super) fn formed() -> Self {
        let default = || "default".to_owned();
        Self {
            tenants: BTreeSet::from([default()]),
            namespaces: BTreeSet::from([(default(), default())]),
            nodes: BTreeSet::from([1, 2, 3]),
            replicas: (1..=3).map(ReplicaId).collect(),
            ..Self::default()
        }
    }

    /// The reason that the reply must have, or `OK`.
    fn expected(&self, change: &ControlChange) -> &'static str {
        let live = |name: &TopicName| match self.topics.get(name) {
            None => "NOT_FOUND",
            Some((true, _)) => "CONFLICT",
            Some((false, _)) => "OK",
        };
        match change {
            ControlChange::Form { cluster, .. } if cluster.as_u128() == 1 => "OK",
            ControlChange::Form { .. } => "CONFLICT",
            ControlChange::RegisterNode { .. } => "OK",
            ControlChange::CreateTenant { name, .. } if self.tenants.contains(name) => "ALREADY_EXISTS",
            ControlChange::CreateTenant { .. } => "OK",
            ControlChange::DeleteTenant { name, .. } if !self.tenants.contains(name) => "NOT_FOUND",
            ControlChange::DeleteTenant { name, .. } => {
                match name == "default" || self.namespaces.iter().any(|(t, _)| t == name) {
                    true => "CONFLICT",
                    false => "OK",
                }
            }
            ControlChange::CreateNamespace { tenant, .. } if !self.tenants.contains(tenant) => "NOT_FOUND",
            ControlChange::CreateNamespace { tenant, name, .. } => {
                match self.namespaces.contains(&(tenant.clone(), name.clone())) {
                    true => "ALREADY_EXISTS",
                    false => "OK",
                }
            }
            ControlChange::DeleteNamespace { tenant, name, .. } => {
                let used = self.topics.keys().any(|t| (t.tenant(), t.namespace()) == (tenant, name));
                match self.namespaces.contains(&(tenant.clone(), name.clone())) {
                    false => "NOT_FOUND",
                    true if used || (tenant == "default" && name == "default") => "CONFLICT",
                    true => "OK",
                }
            }
            ControlChange::CreateTopic { name, replication, .. } => {
                let home = (name.tenant().to_owned(), name.namespace().to_owned());
                match live(name) {
                    _ if !self.namespaces.contains(&home) => "NOT_FOUND",
                    "OK" => "ALREADY_EXISTS",
                    "CONFLICT" => "CONFLICT",
                    _ if *replication == 0 => "INVALID_ARGUMENT",
                    _ if *replication as usize > self.nodes.len() => "NOT_ENOUGH_NODES",
                    _ => "OK",
                }
            }
            ControlChange::AddPartitions { name, total, .. } => match (live(name), self.topics.get(name)) {
                ("OK", Some((_, present))) if total < present => "INVALID_ARGUMENT",
                (reason, _) => reason,
            },
            ControlChange::UpdateTopic { name, .. } | ControlChange::DeleteTopic { name, .. } => live(name),
            ControlChange::OpenProducer { topic, .. } => live(topic),
            ControlChange::FinishDelete { name, .. } => match live(name) {
                "NOT_FOUND" => "NOT_FOUND",
                "CONFLICT" => "OK",
                _ => "CONFLICT",
            },
        }
    }

    /// Applies to both and compares. Returns the reason for the count.
    pub(super) fn step(
        &mut self,
        cluster: &mut Cluster,
        change: &ControlChange,
    ) -> Result<&'static str, String> {
        let request = request(change);
        let known = request.as_ref().and_then(|(key, asked)| {
            self.requests.get(key).map(|(first, reply)| (first == asked, reply.clone()))
        });
        let reply = cluster.apply(change.clone());
        let got = reply.result.as_ref().map_or_else(|refusal| refusal.reason(), |_| "OK");
        match known {
            Some((true, first)) if first != reply => return Err(format!("{reply:?}, first {first:?}")),
            Some((false, _)) if got != "CONFLICT" => return Err(format!("another request: {reply:?}")),
            Some((same, _)) => {
                only_touched(cluster, &[Table::Core])?;
                return Ok(if same { "REPEATED" } else { "REUSED_ID" });
            }
            None => {}
        }
        if let Some((key, asked)) = request {
            self.requests.insert(key, (asked, reply.clone()));
        }
        let expected = self.expected(change);
        if got != expected {
            return Err(format!("{change:?}: {got}, the model says {expected}"));
        }
        match &reply.result {
            Ok(done) => self.remember(change, done)?,
            Err(_) => only_touched(cluster, &[Table::Core, Table::Request])?,
        }
        self.check(cluster, change, &reply)?;
        Ok(got)
    }

    fn remember(&mut self, change: &ControlChange, done: &ControlDone) -> Result<(), String> {
        match change {
            ControlChange::RegisterNode { record } => {
                self.nodes.insert(record.node.0);
            }
            ControlChange::CreateTenant { name, .. } => {
                self.tenants.insert(name.clone());
            }
            ControlChange::DeleteTenant { name, .. } => {
                self.tenants.remove(name);
            }
            ControlChange::CreateNamespace { tenant, name, .. } => {
                self.namespaces.insert((tenant.clone(), name.clone()));
            }
            ControlChange::DeleteNamespace { tenant, name, .. } => {
                self.namespaces.remove(&(tenant.clone(), name.clone()));
            }
            ControlChange::CreateTopic { name, partitions, .. } => {
                self.topics.insert(name.clone(), (false, *partitions));
            }
            ControlChange::AddPartitions { name, total, .. } => {
                self.topics.insert(name.clone(), (false, *total));
            }
            ControlChange::DeleteTopic { name, .. } => {
                self.topics.entry(name.clone()).and_modify(|t| t.0 = true);
            }
            ControlChange::FinishDelete { name, .. } => {
                self.topics.remove(name);
            }
            ControlChange::Form { .. }
            | ControlChange::UpdateTopic { .. }
            | ControlChange::OpenProducer { .. } => {}
        }
        if let ControlDone::ProducerOpened { producer, epoch } = done {
            let last = self.epochs.insert(*producer, *epoch).unwrap_or(0);
            if *epoch <= last {
                return Err(format!("epoch {epoch} after {last}"));
            }
        }
        Ok(())
    }

    /// What must hold of the whole state, whatever was done.
    fn check(
        &mut self,
        cluster: &Cluster,
        change: &ControlChange,
        reply: &ControlReply,
    ) -> Result<(), String> {
        let machine = &cluster.machine;
        let topics: BTreeMap<TopicName, (bool, u32)> =
            machine.topics().map(|t| (t.name.clone(), (t.deleting, t.partitions.len() as u32))).collect();
        let changed = match change {
            ControlChange::CreateTopic { name, .. }
            | ControlChange::UpdateTopic { name, .. }
            | ControlChange::DeleteTopic { name, .. } => machine.topic(name).filter(|_| reply.result.is_ok()),
            _ => None,
        };
        if changed.is_some_and(|t| t.version != reply.index) {
            return Err(format!("{changed:?} changed at {}", reply.index));
        }
        let partitions: usize = topics.values().map(|t| t.1 as usize).sum();
        if topics != self.topics || machine.groups_count() != partitions {
            return Err(format!("topics {topics:?}, the model says {:?}", self.topics));
        }
        machine.topics().try_for_each(|topic| self.check_topic(cluster, topic))
    }

    fn check_topic(&mut self, cluster: &Cluster, topic: &Topic) -> Result<(), String> {
        for (p, number) in topic.partitions.iter().zip(0..) {
            let named = cluster.machine.group(p.group).map(|(t, n)| (&t.name, n));
            let nodes: BTreeSet<_> = p.replicas.iter().map(|r| r.node).collect();
            let current = |r: &meridian_model::topology::Replica| {
                cluster.machine.node(r.node).is_some_and(|n| n.incarnation == r.incarnation)
            };
            let sound = named == Some((&topic.name, number))
                && nodes.len() == topic.replication as usize
                && nodes.contains(&p.preferred_leader)
                && !p.log.is_nil()
                && p.replicas.iter().all(current);
            if !sound {
                return Err(format!("{p:?} of {topic:?}"));
            }
            self.check_identity(p)?;
        }
        Ok(())
    }

    /// Ids are minted once: a group keeps its log and its founders, and a copy is a founder from the
    /// beginning or never.
    fn check_identity(&mut self, p: &meridian_model::topology::Placement) -> Result<(), String> {
        let highest = self.groups.last_key_value().map_or(GroupId(0), |(g, _)| *g);
        let fresh = !self.groups.contains_key(&p.group);
        if fresh && (p.group <= highest || self.groups.values().any(|log| *log == p.log)) {
            return Err(format!("{p:?} is not new"));
        }
        let log = *self.groups.entry(p.group).or_insert(p.log);
        let founders = self.founders.entry(p.group).or_insert_with(|| p.founders.clone());
        if log != p.log || *founders != p.founders {
            return Err(format!("{p:?} had {log} and {founders:?}"));
        }
        for r in &p.replicas {
            if self.replicas.insert(r.replica) && p.founders.contains(&r.replica) != fresh {
                return Err(format!("{r:?} as a founder of {p:?}"));
            }
        }
        Ok(())
    }
}

fn only_touched(cluster: &Cluster, tables: &[Table]) -> Result<(), String> {
    match cluster.touched.iter().all(|t| tables.contains(t)) {
        true => Ok(()),
        false => Err(format!("nothing was to change, but {:?} did", cluster.touched)),
    }
}

/// What names a request: its scope and id, and what is asked.
fn request(change: &ControlChange) -> Option<((String, String), (u8, String))> {
    let (tenant, id, resource) = match change {
        ControlChange::CreateTenant { name, request_id }
        | ControlChange::DeleteTenant { name, request_id } => (name.clone(), request_id, name.clone()),
        ControlChange::CreateNamespace { tenant, name, request_id }
        | ControlChange::DeleteNamespace { tenant, name, request_id } => {
            (tenant.clone(), request_id, name.clone())
        }
        ControlChange::CreateTopic { name, request_id, .. }
        | ControlChange::UpdateTopic { name, request_id, .. }
        | ControlChange::AddPartitions { name, request_id, .. }
        | ControlChange::DeleteTopic { name, request_id } => {
            (name.tenant().to_owned(), request_id, name.resource())
        }
        ControlChange::OpenProducer { topic, name, request_id } => {
            (topic.tenant().to_owned(), request_id, format!("{}/{name}", topic.resource()))
        }
        ControlChange::Form { .. }
        | ControlChange::RegisterNode { .. }
        | ControlChange::FinishDelete { .. } => return None,
    };
    (!id.is_empty()).then(|| ((tenant, id.clone()), (change.kind(), resource)))
}
