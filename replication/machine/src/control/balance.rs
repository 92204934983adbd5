//! What should move next: copies away from nodes that must be left, then apart over zones, then even over
//! nodes; leaders even over the copies. Pure: from what is placed to a bounded list of moves, the same for
//! everybody who looks.
//!
//! Each step makes a measure smaller that no other step makes larger again, so planning ends: see the tests.

use std::collections::BTreeMap;

use meridian_model::{GroupId, NodeId};

/// A node, as far as placing is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// Its failure zone.
    pub zone: String,
    /// Whether it may get copies.
    pub receives: bool,
    /// Whether its copies must go elsewhere.
    pub must_be_left: bool,
    /// Whether it may lead.
    pub leads: bool,
}

/// Where a partition's copies are placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The partition.
    pub group: GroupId,
    /// The nodes of its copies, all different.
    pub nodes: Vec<NodeId>,
    /// The node that should lead.
    pub leader: NodeId,
    /// The nodes of copies on their way out. Where there is one, only what must be left moves besides.
    pub leaving: Vec<NodeId>,
}

/// One step toward balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A copy moves.
    Copy {
        /// Of which partition.
        group: GroupId,
        /// From where.
        from: NodeId,
        /// To where, which has none.
        to: NodeId,
    },
    /// Another copy should lead.
    Leader {
        /// Which partition.
        group: GroupId,
        /// The node that should lead.
        to: NodeId,
    },
}

/// Nodes differ by at most this many copies before one moves for balance alone: moving costs bandwidth.
const SLACK_COPIES: u64 = 1;

/// The next steps, at most `copies_max` copies and `leaders_max` leaders, the most urgent first. Copies whose move
/// is under way to a node that must be left get another one whatever `copies_max` says: their moves are counted.
pub fn next_steps(nodes: &[Standing], placed: &[Placed], copies_max: usize, leaders_max: usize) -> Vec<Step> {
    let mut board = Board::of(nodes, placed);
    let mut steps = Vec::new();
    while let Some(step) = board.elsewhere() {
        board.carry_out(step);
        steps.push(step);
    }
    let copies_max = steps.len() + copies_max;
    while steps.len() < copies_max {
        let found = board.away().or_else(|| board.apart()).or_else(|| board.even());
        let Some(step) = found else { break };
        board.carry_out(step);
        steps.push(step);
    }
    let copies = steps.len();
    while steps.len() - copies < leaders_max {
        let Some(step) = board.lead() else { break };
        board.carry_out(step);
        steps.push(step);
    }
    steps
}

struct Board<'a> {
    nodes: BTreeMap<NodeId, &'a Standing>,
    placed: Vec<Placed>,
    copies: BTreeMap<NodeId, u64>,
}

impl<'a> Board<'a> {
    fn of(nodes: &'a [Standing], placed: &[Placed]) -> Self {
        let nodes: BTreeMap<NodeId, &Standing> = nodes.iter().map(|node| (node.node, node)).collect();
        let mut copies: BTreeMap<NodeId, u64> = nodes.keys().map(|node| (*node, 0)).collect();
        for node in placed.iter().flat_map(|placed| &placed.nodes) {
            *copies.entry(*node).or_default() += 1;
        }
        Self { nodes, placed: placed.to_vec(), copies }
    }

    /// From a node that must be left, while another copy is on its way out: mostly it has just moved there.
    fn elsewhere(&self) -> Option<Step> {
        self.placed.iter().filter(|placed| placed.leaving.len() == 1).find_map(|placed| self.out_of(placed))
    }

    /// From a node that must be left, or that nobody knows.
    fn away(&self) -> Option<Step> {
        self.still().find_map(|placed| self.out_of(placed))
    }

    fn out_of(&self, placed: &Placed) -> Option<Step> {
        let left = |node: &&NodeId| self.nodes.get(*node).is_none_or(|standing| standing.must_be_left);
        let from = *placed.nodes.iter().find(left)?;
        let to = self.best_for(placed, from)?;
        Some(Step::Copy { group: placed.group, from, to })
    }

    /// Out of a zone that has another copy, into one that has none.
    fn apart(&self) -> Option<Step> {
        self.still().find_map(|placed| {
            let crowded = |node: &&NodeId| self.in_zone_of(placed, **node) > 1;
            let from = *placed.nodes.iter().filter(crowded).max_by_key(|node| self.copies[*node])?;
            let to = self.best_for(placed, from)?;
            let alone = self.in_zone_of(placed, to) == 0;
            alone.then_some(Step::Copy { group: placed.group, from, to })
        })
    }

    /// From a node that carries more to one that carries at least two fewer, without crowding a zone.
    fn even(&self) -> Option<Step> {
        let mut pairs: Vec<(NodeId, NodeId)> = Vec::new();
        for from in self.nodes.keys() {
            for to in self.nodes.values().filter(|standing| standing.receives && !standing.must_be_left) {
                if self.copies[from] > self.copies[&to.node] + SLACK_COPIES {
                    pairs.push((*from, to.node));
                }
            }
        }
        pairs.sort_by_key(|(from, to)| (std::cmp::Reverse(self.copies[from] - self.copies[to]), *from, *to));
        pairs.into_iter().find_map(|(from, to)| {
            let fits = |placed: &&Placed| {
                placed.nodes.contains(&from) && !placed.nodes.contains(&to) && {
                    let same_zone = self.zone(from) == self.zone(to);
                    same_zone || self.in_zone_of(placed, to) < self.in_zone_of(placed, from)
                }
            };
            let placed = self.still().find(fits)?;
            Some(Step::Copy { group: placed.group, from, to })
        })
    }

    /// Leadership to a copy on a node that leads at least two fewer, or away from one that may not lead.
    fn lead(&self) -> Option<Step> {
        let mut led: BTreeMap<NodeId, u64> = self.nodes.keys().map(|node| (*node, 0)).collect();
        for placed in &self.placed {
            *led.entry(placed.leader).or_default() += 1;
        }
        let may = |node: &NodeId| self.nodes.get(node).is_some_and(|standing| standing.leads);
        let best = |placed: &Placed| {
            let others = placed.nodes.iter().filter(|node| **node != placed.leader && may(node));
            others.min_by_key(|node| (led[*node], **node)).copied()
        };
        let must = self.placed.iter().filter(|placed| !may(&placed.leader));
        let forced = must.filter_map(|placed| Some(Step::Leader { group: placed.group, to: best(placed)? }));
        let even = self.placed.iter().filter_map(|placed| {
            let to = best(placed).filter(|to| led[&placed.leader] > led[to] + 1)?;
            Some((led[&placed.leader] - led[&to], Step::Leader { group: placed.group, to }))
        });
        forced.into_iter().next().or_else(|| even.max_by_key(|(gain, _)| *gain).map(|(_, step)| step))
    }

    /// Partitions of which no copy is on its way.
    fn still(&self) -> impl Iterator<Item = &Placed> {
        self.placed.iter().filter(|placed| placed.leaving.is_empty())
    }

    /// The best new home for the copy on `from`: the zone with the fewest other copies, then the emptiest node.
    fn best_for(&self, placed: &Placed, from: NodeId) -> Option<NodeId> {
        let free = self.nodes.values().filter(|standing| {
            let has_one = placed.nodes.contains(&standing.node) || placed.leaving.contains(&standing.node);
            standing.receives && !standing.must_be_left && !has_one
        });
        let cost = |standing: &&&Standing| {
            let others = placed.nodes.iter().filter(|node| **node != from);
            let crowd = others.filter(|node| self.zone(**node) == Some(standing.zone.as_str())).count();
            (crowd, self.copies[&standing.node], standing.node)
        };
        free.min_by_key(cost).map(|standing| standing.node)
    }

    fn zone(&self, node: NodeId) -> Option<&str> {
        self.nodes.get(&node).map(|standing| standing.zone.as_str())
    }

    /// Copies of the partition in the zone of a node.
    fn in_zone_of(&self, placed: &Placed, node: NodeId) -> usize {
        let zone = self.zone(node);
        placed.nodes.iter().filter(|other| self.zone(**other) == zone).count()
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Copy { group, from, to } => {
                for placed in self.placed.iter_mut().filter(|placed| placed.group == group) {
                    placed.nodes.iter_mut().filter(|node| **node == from).for_each(|node| *node = to);
                    placed.leaving.push(from);
                    if placed.leader == from {
                        placed.leader = to;
                    }
                }
                self.copies.entry(from).and_modify(|copies| *copies -= 1);
                *self.copies.entry(to).or_default() += 1;
            }
            Step::Leader { group, to } => {
                for placed in self.placed.iter_mut().filter(|placed| placed.group == group) {
                    placed.leader = to;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
