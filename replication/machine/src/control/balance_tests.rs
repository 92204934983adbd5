//! Balance is reached from anywhere, in bounded steps, and nothing moves once it is.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ROUNDS_MAX: usize = 2_000;

fn standing(node: u64, zone: u8) -> Standing {
    Standing {
        node: NodeId(node),
        zone: format!("zone-{zone}"),
        receives: true,
        must_be_left: false,
        leads: true,
    }
}

/// Carries steps out as the region would: what was moving has arrived by the next look.
fn settle(nodes: &[Standing], placed: &mut Vec<Placed>) -> (usize, usize) {
    let (mut copies, mut leaders) = (0, 0);
    for _ in 0..ROUNDS_MAX {
        let steps = next_steps(nodes, placed, 3, 3);
        if steps.is_empty() {
            return (copies, leaders);
        }
        for step in steps {
            let mut board = Board::of(nodes, placed);
            board.carry_out(step);
            *placed = board.placed;
            match step {
                Step::Copy { .. } => copies += 1,
                Step::Leader { .. } => leaders += 1,
            }
        }
        placed.iter_mut().for_each(|placed| placed.leaving.clear());
    }
    panic!("still moving after {ROUNDS_MAX} rounds: {placed:?}");
}

fn region() -> impl Strategy<Value = (Vec<Standing>, Vec<Placed>)> {
    let nodes = vec((0u8..4, any::<bool>(), prop::bool::weighted(0.2)), 1..9);
    nodes.prop_flat_map(|drawn| {
        let nodes: Vec<Standing> = (1u64..)
            .zip(drawn)
            .map(|(id, (zone, leads, left))| Standing {
                receives: !left,
                must_be_left: left,
                leads: leads && !left,
                ..standing(id, zone)
            })
            .collect();
        let ids: Vec<NodeId> = nodes.iter().map(|node| node.node).collect();
        let most = ids.len().min(5);
        let partition = prop::sample::subsequence(ids, 1..=most);
        let placed = vec(partition, 0..40).prop_map(|partitions| {
            let place = |(group, nodes): (u64, Vec<NodeId>)| Placed {
                group: GroupId(group),
                leader: nodes[0],
                nodes,
                leaving: Vec::new(),
            };
            (1u64..).zip(partitions).map(place).collect::<Vec<_>>()
        });
        (Just(nodes), placed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn from_anywhere_balance_is_reached_and_stays((nodes, placed) in region()) {
        let mut now = placed.clone();
        let (copies, _) = settle(&nodes, &mut now);
        prop_assert!(copies <= 3 * placed.iter().map(|p| p.nodes.len()).sum::<usize>(), "{copies} moves");
        for (before, after) in placed.iter().zip(&now) {
            let different: BTreeSet<_> = after.nodes.iter().collect();
            prop_assert_eq!(before.nodes.len(), after.nodes.len());
            prop_assert_eq!(different.len(), after.nodes.len());
            prop_assert!(after.nodes.contains(&after.leader));
        }
        let receivers = nodes.iter().filter(|n| n.receives).count();
        for placed in &now {
            let stuck = placed.nodes.iter().filter(|n| nodes.iter().any(|s| s.node == **n && s.must_be_left));
            // A copy stays on a node that must be left only where every other node has one already.
            if stuck.count() > 0 {
                let on_receivers = placed.nodes.iter()
                    .filter(|n| nodes.iter().any(|s| s.node == **n && s.receives)).count();
                prop_assert_eq!(on_receivers, receivers);
            }
        }
        prop_assert_eq!(next_steps(&nodes, &now, 10, 10), vec![]);
    }
}

/// A group on nodes 1, 2 and 3.
fn on_three(group: u64, leader: u64) -> Placed {
    let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
    Placed { group: GroupId(group), nodes, leader: NodeId(leader), leaving: Vec::new() }
}

#[test]
fn a_node_that_must_be_left_is_left_first_and_zones_stay_apart() {
    let mut nodes: Vec<Standing> = (1..=4).map(|id| standing(id, (id % 3) as u8)).collect();
    nodes[0] = Standing { receives: false, must_be_left: true, leads: false, ..nodes[0].clone() };
    let steps = next_steps(&nodes, &[on_three(1, 1), on_three(2, 1)], 10, 10);
    let copy = |group| Step::Copy { group: GroupId(group), from: NodeId(1), to: NodeId(4) };
    assert_eq!(steps[..2], [copy(1), copy(2)]);
}

#[test]
fn a_copy_that_moves_to_a_node_that_is_lost_goes_elsewhere_though_nothing_else_may_move() {
    let mut nodes: Vec<Standing> = (1..=6).map(|id| standing(id, id as u8)).collect();
    nodes[3] = Standing { receives: false, must_be_left: true, leads: false, ..nodes[3].clone() };
    let moved = |leaving: &[u64]| {
        let nodes = vec![NodeId(4), NodeId(2), NodeId(3)];
        let leaving = leaving.iter().map(|node| NodeId(*node)).collect();
        Placed { group: GroupId(1), nodes, leader: NodeId(2), leaving }
    };
    let to = |to| Step::Copy { group: GroupId(1), from: NodeId(4), to: NodeId(to) };
    assert_eq!(
        next_steps(&nodes, &[moved(&[1])], 0, 0),
        [to(5)],
        "not where it leaves, and not where it is lost"
    );
    assert_eq!(next_steps(&nodes, &[moved(&[1, 5])], 10, 0), [], "two are on their way out already");
    assert_eq!(next_steps(&nodes, &[moved(&[])], 0, 0), [], "a move of its own is counted");
}

#[test]
fn a_new_node_gets_its_share_and_no_more() {
    let nodes: Vec<Standing> = (1..=4).map(|id| standing(id, id as u8)).collect();
    let mut placed: Vec<Placed> = (0..12).map(|group| on_three(group, 1 + group % 3)).collect();
    let (copies, _) = settle(&nodes, &mut placed);
    assert_eq!(copies, 9, "36 copies over 4 nodes");
    for node in 1..=4 {
        let led = placed.iter().filter(|placed| placed.leader == NodeId(node)).count();
        assert!((2..=4).contains(&led), "node {node} leads {led}");
    }
}

#[test]
fn a_node_that_may_not_lead_keeps_its_copies_and_leads_nothing() {
    let mut nodes: Vec<Standing> = (1..=3).map(|id| standing(id, id as u8)).collect();
    nodes[1] = Standing { receives: false, leads: false, ..nodes[1].clone() };
    let mut placed: Vec<Placed> = (0..9).map(|group| on_three(group, 1 + group % 3)).collect();
    let (copies, leaders) = settle(&nodes, &mut placed);
    assert_eq!((copies, leaders), (0, 3));
    assert!(placed.iter().all(|placed| placed.leader != NodeId(2)));
}
