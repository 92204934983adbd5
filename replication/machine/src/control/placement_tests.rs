//! Placement is even, and never puts two copies on one node.

use proptest::prelude::*;

use super::*;

fn nodes(zones: &[usize]) -> Vec<Candidate> {
    let zoned = zones.iter().enumerate().flat_map(|(zone, size)| std::iter::repeat_n(zone, *size));
    let candidate = |(zone, node)| Candidate {
        node: NodeId(node),
        zone: format!("zone-{zone}"),
        replicas: 0,
        leaders: 0,
    };
    zoned.zip(1..).map(candidate).collect()
}

/// Adds what was assigned to what the nodes carry.
fn carry(candidates: &mut [Candidate], assignments: &[Assignment]) {
    for candidate in candidates {
        let node = candidate.node;
        candidate.replicas += assignments.iter().filter(|a| a.replicas.contains(&node)).count() as u64;
        candidate.leaders += assignments.iter().filter(|a| a.leader == node).count() as u64;
    }
}

fn spread(loads: impl Iterator<Item = u64> + Clone) -> u64 {
    loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0)
}

#[test]
fn three_copies_on_three_zones_take_one_node_of_each() {
    let assigned = assign(&nodes(&[2, 2, 2]), 6, 3).expect("enough nodes");
    for a in &assigned {
        let zones: BTreeSet<u64> = a.replicas.iter().map(|n| (n.0 - 1) / 2).collect();
        assert_eq!(zones.len(), 3, "{a:?}");
    }
}

#[test]
fn too_few_nodes_place_nothing() {
    assert_eq!(assign(&nodes(&[1, 1]), 1, 3), None);
    assert_eq!(assign(&nodes(&[1, 1]), 1, 0), None);
    assert_eq!(assign(&[], 1, 1), None);
}

#[test]
fn the_largest_topic_on_the_largest_cluster_is_placed_evenly() {
    let mut nodes = nodes(&[16, 16, 16, 16]);
    let assigned = assign(&nodes, 1024, 3).expect("enough nodes");
    carry(&mut nodes, &assigned);
    assert!(spread(nodes.iter().map(|n| n.replicas)) <= 1);
    assert!(spread(nodes.iter().map(|n| n.leaders)) <= 1);
}

#[test]
fn a_new_node_gets_its_share_of_what_comes_next() {
    let mut nodes = nodes(&[3]);
    let assigned = assign(&nodes, 9, 2).expect("enough nodes");
    carry(&mut nodes, &assigned);
    nodes.push(Candidate { node: NodeId(4), zone: "zone-0".into(), replicas: 0, leaders: 0 });
    let assigned = assign(&nodes, 3, 2).expect("enough nodes");
    assert!(
        assigned.iter().all(|a| a.replicas.contains(&NodeId(4)) && a.leader == NodeId(4)),
        "{assigned:?}"
    );
}

proptest! {
    #[test]
    fn no_node_has_two_copies_and_zones_are_as_even_as_their_nodes_allow(
        zones in prop::collection::vec(1usize..5, 1..5), replication in 1u32..6, partitions in 1u32..40
    ) {
        let nodes = nodes(&zones);
        let assigned = assign(&nodes, partitions, replication);
        prop_assert_eq!(assigned.is_some(), nodes.len() >= replication as usize);
        for a in assigned.unwrap_or_default() {
            let chosen: BTreeSet<NodeId> = a.replicas.iter().copied().collect();
            prop_assert_eq!(chosen.len(), replication as usize);
            prop_assert!(chosen.contains(&a.leader));
            let copies = |zone: usize| {
                let here = format!("zone-{zone}");
                nodes.iter().filter(|n| n.zone == here && chosen.contains(&n.node)).count()
            };
            let most = (0..zones.len()).map(copies).max().unwrap_or(0);
            for (zone, size) in zones.iter().enumerate() {
                prop_assert!(copies(zone) == *size || copies(zone) + 1 >= most, "{a:?}");
            }
        }
    }

    #[test]
    fn uniform_topics_are_led_and_carried_evenly(
        zones in 1usize..5, size in 1usize..4, topics in prop::collection::vec(1u32..20, 1..6),
        replication in 1u32..5
    ) {
        let mut nodes = nodes(&vec![size; zones]);
        let replication = replication.min(nodes.len() as u32);
        for (partitions, earlier) in topics.into_iter().zip(0..) {
            let assigned = assign(&nodes, partitions, replication).expect("enough nodes");
            carry(&mut nodes, &assigned);
            // What an earlier topic decided stays, and may leave a later one no better choice.
            let leaders = spread(nodes.iter().map(|n| n.leaders));
            prop_assert!(leaders <= 1 + earlier, "{nodes:?}");
            prop_assert!(spread(nodes.iter().map(|n| n.replicas)) <= 1, "{nodes:?}");
        }
    }

    #[test]
    fn the_order_of_the_nodes_does_not_matter(
        zones in prop::collection::vec(1usize..4, 1..4), partitions in 1u32..20
    ) {
        let nodes = nodes(&zones);
        let reversed: Vec<Candidate> = nodes.iter().rev().cloned().collect();
        prop_assert_eq!(assign(&nodes, partitions, 2), assign(&reversed, partitions, 2));
    }
}
