//! Whom to ask about the groups without a copy here: the node that was asked last, until it fails or names another.

use std::collections::BTreeMap;

use meridian_model::limits::GROUPS_MAX;
use meridian_model::{GroupId, NodeId};
use parking_lot::Mutex;

/// Where requests go. At most one for each group that can be.
#[derive(Default)]
pub(super) struct Pointers(Mutex<BTreeMap<GroupId, Pointer>>);

#[derive(Clone, Copy)]
enum Pointer {
    Ask(NodeId),
    /// It failed: the one after it, in the order of their numbers.
    AskAfter(NodeId),
}

impl Pointers {
    /// One of the candidates, and the same one from now on: `first`, where nothing is known.
    pub(super) fn ask(&self, group: GroupId, first: NodeId, candidates: &[NodeId]) -> Option<NodeId> {
        let mut pointers = self.0.lock();
        match pointers.get(&group).copied().unwrap_or(Pointer::Ask(first)) {
            Pointer::Ask(node) if candidates.contains(&node) => Some(node),
            Pointer::Ask(node) | Pointer::AskAfter(node) => {
                let later = candidates.iter().filter(|candidate| **candidate > node).min();
                let chosen = later.or(candidates.iter().min()).copied()?;
                point(&mut pointers, group, Pointer::Ask(chosen));
                Some(chosen)
            }
        }
    }

    pub(super) fn told(&self, group: GroupId, leader: NodeId) {
        point(&mut self.0.lock(), group, Pointer::Ask(leader));
    }

    /// Nothing, where another node is to be asked by now.
    pub(super) fn failed(&self, group: GroupId, node: NodeId) {
        let mut pointers = self.0.lock();
        let known = pointers.get(&group).copied();
        if known.is_none_or(|known| matches!(known, Pointer::Ask(asked) if asked == node)) {
            point(&mut pointers, group, Pointer::AskAfter(node));
        }
    }
}

fn point(pointers: &mut BTreeMap<GroupId, Pointer>, group: GroupId, pointer: Pointer) {
    // Groups that are gone leave theirs behind. What is forgotten is asked anew.
    if pointers.len() as u64 >= GROUPS_MAX && !pointers.contains_key(&group) {
        pointers.clear();
    }
    pointers.insert(group, pointer);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);
    const NODES: [NodeId; 3] = [NodeId(2), NodeId(5), NodeId(7)];

    #[test]
    fn the_same_node_is_asked_until_it_fails_or_names_another() {
        let pointers = Pointers::default();
        let ask = || pointers.ask(GROUP, NodeId(5), &NODES);
        assert_eq!([ask(), ask(), ask()], [Some(NodeId(5)); 3], "the one that should lead");
        pointers.told(GROUP, NodeId(2));
        assert_eq!([ask(), ask()], [Some(NodeId(2)); 2]);
        for next in [5, 7, 2] {
            let asked = ask().expect("somebody");
            pointers.failed(GROUP, asked);
            pointers.failed(GROUP, asked);
            assert_eq!(ask(), Some(NodeId(next)), "after {asked}, of which two requests said so");
            pointers.failed(GROUP, asked);
            assert_eq!(ask(), Some(NodeId(next)), "a third one that {asked} kept waiting says nothing new");
        }
    }

    #[test]
    fn only_those_who_have_a_copy_are_asked() {
        let pointers = Pointers::default();
        pointers.told(GROUP, NodeId(6));
        assert_eq!(pointers.ask(GROUP, NodeId(5), &NODES), Some(NodeId(7)));
        assert_eq!(pointers.ask(GROUP, NodeId(5), &[]), None);
    }
}
