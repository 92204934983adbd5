//! Where copies go: spread over zones first, then over nodes; leaders as even as the copies allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meridian_model::NodeId;
use meridian_model::topology::NodeRecord;

/// A node that may carry copies, and what it carries already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its failure zone.
    pub zone: String,
    /// Copies of partitions on it.
    pub replicas: u64,
    /// Partitions it should lead.
    pub leaders: u64,
}

impl Candidate {
    /// A node that carries nothing.
    pub fn idle(record: &NodeRecord) -> Self {
        Self { node: record.node, zone: record.zone.clone(), replicas: 0, leaders: 0 }
    }
}

/// Where one partition goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The nodes of its copies, all different.
    pub replicas: Vec<NodeId>,
    /// The one that should lead.
    pub leader: NodeId,
}

/// Places `partitions` new partitions of `replication` copies each. `None` where there are too few nodes.
/// Ties go to the lower node number, so every replica of the control group decides the same.
pub fn assign(candidates: &[Candidate], partitions: u32, replication: u32) -> Option<Vec<Assignment>> {
    if replication == 0 || (candidates.len() as u64) < u64::from(replication) {
        return None;
    }
    let mut copies: BTreeMap<NodeId, u64> = candidates.iter().map(|c| (c.node, c.replicas)).collect();
    let mut leaders: BTreeMap<NodeId, u64> = candidates.iter().map(|c| (c.node, c.leaders)).collect();
    let mut assignments = Vec::with_capacity(partitions as usize);
    for _ in 0..partitions {
        let replicas = choose_replicas(candidates, &mut copies, &leaders, replication)?;
        let leader = *replicas.iter().min_by_key(|node| (leaders[*node], **node))?;
        *leaders.entry(leader).or_default() += 1;
        assignments.push(Assignment { replicas, leader });
    }
    while shift_one_leader(&mut assignments, &mut leaders) {}
    Some(assignments)
}

/// Chooses one node after another: from the zones with the fewest copies of this partition, the node with
/// the fewest copies of all, in the zone that carries the least for its size, and of those the node that leads the fewest.
fn choose_replicas(
    candidates: &[Candidate],
    copies: &mut BTreeMap<NodeId, u64>,
    leaders: &BTreeMap<NodeId, u64>,
    replication: u32,
) -> Option<Vec<NodeId>> {
    let mut chosen = Vec::with_capacity(replication as usize);
    let mut taken: BTreeMap<&str, u32> = BTreeMap::new();
    let carried = carried_per_node(candidates, copies);
    for _ in 0..replication {
        let free = candidates.iter().filter(|c| !chosen.contains(&c.node));
        let cost = |c: &&Candidate| {
            let zone = c.zone.as_str();
            let taken = taken.get(zone).copied().unwrap_or(0);
            (taken, copies[&c.node], carried[zone], leaders[&c.node], c.node)
        };
        let next = free.min_by_key(cost)?;
        *taken.entry(&next.zone).or_default() += 1;
        *copies.entry(next.node).or_default() += 1;
        chosen.push(next.node);
    }
    Some(chosen)
}

/// What each zone carries, in thousandths of a copy per node.
fn carried_per_node<'a>(
    candidates: &'a [Candidate],
    copies: &BTreeMap<NodeId, u64>,
) -> BTreeMap<&'a str, u64> {
    let mut zones: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for candidate in candidates {
        let (carried, nodes) = zones.entry(&candidate.zone).or_default();
        *carried += copies[&candidate.node];
        *nodes += 1;
    }
    zones.into_iter().map(|(zone, (carried, nodes))| (zone, carried * 1000 / nodes)).collect()
}

/// Moves leadership along a chain of partitions, from a node that leads the most to one that leads at least
/// two fewer. Repeated until there is no such chain, leaders are as even as the copies allow.
fn shift_one_leader(assignments: &mut [Assignment], leaders: &mut BTreeMap<NodeId, u64>) -> bool {
    let mut led: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
    for (partition, assignment) in assignments.iter().enumerate() {
        led.entry(assignment.leader).or_default().push(partition);
    }
    let mut sources: Vec<NodeId> = led.keys().copied().collect();
    sources.sort_by_key(|node| (std::cmp::Reverse(leaders[node]), *node));
    for source in sources {
        let Some((target, path)) = shortest_chain(assignments, &led, leaders, source) else { continue };
        for (partition, to) in path {
            assignments[partition].leader = to;
        }
        for (node, change) in [(source, -1), (target, 1)] {
            leaders.entry(node).and_modify(|n| *n = n.saturating_add_signed(change));
        }
        return true;
    }
    false
}

/// Breadth first from `source` over "leads a partition that also lives on".
fn shortest_chain(
    assignments: &[Assignment],
    led: &BTreeMap<NodeId, Vec<usize>>,
    leaders: &BTreeMap<NodeId, u64>,
    source: NodeId,
) -> Option<(NodeId, Vec<(usize, NodeId)>)> {
    let mut came_by: BTreeMap<NodeId, (NodeId, usize)> = BTreeMap::new();
    let mut seen = BTreeSet::from([source]);
    let mut queue = VecDeque::from([source]);
    while let Some(node) = queue.pop_front() {
        if leaders[&node] + 2 <= leaders[&source] {
            let mut path = Vec::new();
            let mut at = node;
            while let Some((from, partition)) = came_by.get(&at) {
                path.push((*partition, at));
                at = *from;
            }
            return Some((node, path));
        }
        for partition in led.get(&node).into_iter().flatten() {
            for next in assignments[*partition].replicas.iter().filter(|next| seen.insert(**next)) {
                came_by.insert(*next, (node, *partition));
                queue.push_back(*next);
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
