//! The shapes a partition can have, as lists of cut directions.

use crate::net::{Cut, Peer};

/// One node apart from all others, both ways; clients still reach everybody.
pub fn isolate(node: u64, all: &[u64]) -> Vec<Cut> {
    between(&[node], &others(node, all))
}

/// One node apart from all others and from the clients.
pub fn isolate_from_all(node: u64, all: &[u64]) -> Vec<Cut> {
    let mut cuts = isolate(node, all);
    cuts.push((Peer::Clients, node));
    cuts
}

/// One direction only: `deaf` hears nobody, or (`mute`) is heard by nobody.
pub fn one_way(node: u64, all: &[u64], mute: bool) -> Vec<Cut> {
    let others = others(node, all);
    match mute {
        true => others.iter().map(|other| (Peer::Node(node), *other)).collect(),
        false => others.iter().map(|other| (Peer::Node(*other), node)).collect(),
    }
}

/// These nodes on one side, all others on the other.
pub fn majority_apart(minority: &[u64], all: &[u64]) -> Vec<Cut> {
    let rest: Vec<u64> = all.iter().copied().filter(|node| !minority.contains(node)).collect();
    between(minority, &rest)
}

/// Two sides that do not hear each other, joined by one node that hears both.
pub fn bridge(node: u64, all: &[u64]) -> Vec<Cut> {
    let others = others(node, all);
    let (left, right) = others.split_at(others.len() / 2);
    between(left, right)
}

fn others(node: u64, all: &[u64]) -> Vec<u64> {
    all.iter().copied().filter(|other| *other != node).collect()
}

fn between(left: &[u64], right: &[u64]) -> Vec<Cut> {
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (*l, *r)));
    pairs.flat_map(|(l, r)| [(Peer::Node(l), r), (Peer::Node(r), l)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_apart_is_cut_both_ways_from_each_other_node() {
        let cuts = isolate(2, &[1, 2, 3]);
        assert_eq!(cuts.len(), 4);
        assert!(cuts.contains(&(Peer::Node(2), 1)) && cuts.contains(&(Peer::Node(3), 2)));
    }

    #[test]
    fn a_mute_node_still_hears() {
        assert_eq!(one_way(1, &[1, 2, 3], true), [(Peer::Node(1), 2), (Peer::Node(1), 3)]);
        assert_eq!(one_way(1, &[1, 2, 3], false), [(Peer::Node(2), 1), (Peer::Node(3), 1)]);
    }

    #[test]
    fn a_bridge_keeps_its_own_links() {
        assert_eq!(bridge(2, &[1, 2, 3]), [(Peer::Node(1), 3), (Peer::Node(3), 1)]);
    }
}
