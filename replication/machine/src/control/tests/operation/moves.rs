//! Dice for what nodes are there for, and for copies that move.

use meridian_model::topology::{NodeRecord, Placement};
use meridian_model::{GroupId, Incarnation, NodeId, ReplicaId};

use super::super::model::{Model, Moving};
use super::super::node;
use super::Dice;
use crate::control::{ControlChange, Duty};

/// Of 32 operations. Where nothing can move yet, mostly something that changes this.
pub(super) fn change(operation: u64, dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    if operation > 11 && dice.below(32) > 0 && !model.topics.values().any(|topic| !topic.deleting) {
        return super::create(dice, model, String::new());
    }
    if let Some(change) = directed(dice, model) {
        return change;
    }
    match operation {
        0..=6 => set_duty(dice, model),
        7..=11 => forget(dice, model),
        12..=20 => move_copy(dice, model),
        21..=27 if model.moving.is_empty() && dice.below(8) > 0 => move_copy(dice, model),
        21..=27 => finish_move(dice, model),
        _ => prefer_leader(dice, model),
    }
}

/// What is seldom possible, where it is possible.
fn directed(dice: &mut Dice<'_>, model: &Model) -> Option<ControlChange> {
    let on_its_way = |of: &dyn Fn(&u64, &Moving) -> bool| {
        let found = model.moving.iter().find(|((group, _), moving)| of(group, moving))?;
        Some(ControlChange::FinishMove { group: GroupId(found.0.0), replica: found.1.old.replica })
    };
    let deleting = || model.topics.values().find(|topic| topic.deleting)?.partitions.first();
    let forget = |node: u64| ControlChange::ForgetNode { node: NodeId(node) };
    let move_to = |group, to| ControlChange::MoveCopy { group, from: NodeId(1), to: NodeId(to) };
    match dice.below(16) {
        0 => dice.pick(model.gone.keys()).map(|gone| forget(*gone)),
        1..=2 => dice.pick(model.gone.keys()).map(|gone| move_to(GroupId(model.next_group - 1), *gone)),
        3..=7 => on_its_way(&|_, moving| {
            let node = model.nodes.get(&moving.old.node.0);
            node.is_some_and(|node| node.incarnation != moving.old.incarnation)
        }),
        8 => on_its_way(&|group, _| model.home(*group).is_some_and(|(_, _, deleting)| deleting)),
        9..=10 => {
            let leaves = |n: &&u64| model.copies_leaving(**n) > 0 && model.copies_on(**n) == 0;
            model.leaving.iter().find(leaves).map(|n| forget(*n))
        }
        11 => model.draining.iter().next().map(|n| match dice.below(3) {
            0 => forget(*n),
            _ => move_to(GroupId(model.next_group - 1), *n),
        }),
        12 => {
            let placed = deleting()?;
            Some(ControlChange::PreferLeader { group: placed.group, node: placed.preferred_leader })
        }
        13 => {
            Some(move_to(deleting()?.group, *model.nodes.keys().find(|n| model.duty(**n) == Duty::Serving)?))
        }
        14 => {
            let ((group, _), moving) = model.moving.iter().next()?;
            Some(ControlChange::PreferLeader { group: GroupId(*group), node: moving.old.node })
        }
        15 => {
            let two = |group: &&(u64, u64)| model.moving_of(group.0).count() > 1;
            let (group, _) = model.moving.keys().find(two)?;
            let to = *model.nodes.keys().find(|n| model.duty(**n) == Duty::Serving)?;
            Some(move_to(GroupId(*group), to))
        }
        _ => None,
    }
}

/// A node that registers: one that left, in its old life or a new one; or one that lost its disk meanwhile.
pub(super) fn returning(dice: &mut Dice<'_>, model: &Model) -> Option<NodeRecord> {
    let which = dice.below(16);
    let full = model.nodes.len() == model.bounds.nodes_max;
    if let Some((number, life)) = dice.pick(model.gone.iter()).filter(|_| which < 8 || (full && which < 10)) {
        return Some(match dice.below(8) {
            0..=3 if !full => NodeRecord { incarnation: *life, ..node(*number, 0) },
            _ => node(*number, new_life(dice)),
        });
    }
    let wiped = match which {
        0..=2 => dice.pick(model.moving.values()).map(|moving| moving.old.node.0),
        3..=4 => dice.pick(model.moving.values()).map(|moving| moving.to),
        5 => dice.pick(model.leaving.iter()).copied(),
        6..=8 => dice.pick(model.draining.iter()).copied(),
        _ => None,
    };
    wiped.map(|number| node(number, new_life(dice)))
}

fn new_life(dice: &mut Dice<'_>) -> u128 {
    1_000 + u128::from(dice.roll())
}

/// A number that no node ever had, or the highest.
pub(super) fn unused(model: &Model) -> u64 {
    (1..8).find(|n| !model.nodes.contains_key(n) && !model.gone.contains_key(n)).unwrap_or(7)
}

fn set_duty(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let known = |dice: &mut Dice<'_>| dice.pick(model.nodes.keys()).copied().unwrap_or(1);
    let special: Vec<u64> = model.draining.iter().chain(&model.leaving).copied().collect();
    let serving: Vec<u64> =
        model.nodes.keys().filter(|n| model.duty(**n) == Duty::Serving).copied().collect();
    // Toward the last that serves, and then that one, too.
    if serving.len() == 1 && dice.below(8) > 0 || serving.len() == 2 && dice.below(4) == 0 {
        return ControlChange::SetDuty { node: NodeId(serving[0]), duty: Duty::Draining };
    }
    let which = dice.below(16);
    let (number, duty) = match which {
        0 => (unknown(dice, model), Duty::Serving),
        1 => (known(dice), Duty::Gone { incarnation: Incarnation::from_u128(5) }),
        2..=4 if !special.is_empty() => (dice.pick(special.into_iter()).unwrap_or(1), Duty::Serving),
        5 if !model.leaving.is_empty() => {
            (dice.pick(model.leaving.iter()).copied().unwrap_or(1), Duty::Draining)
        }
        3..=7 => (known(dice), Duty::Draining),
        8 => {
            let number = known(dice);
            (number, model.duty(number))
        }
        _ => return leave(dice, model),
    };
    ControlChange::SetDuty { node: NodeId(number), duty }
}

/// A node should leave: often one that carries nothing.
fn leave(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let stay: Vec<u64> = model.nodes.keys().filter(|n| !model.leaving.contains(n)).copied().collect();
    let idle = stay.iter().find(|n| model.copies_on(**n) == 0).copied().filter(|_| dice.below(3) == 0);
    let number = idle.or_else(|| dice.pick(stay.iter()).copied()).unwrap_or(1);
    ControlChange::SetDuty { node: NodeId(number), duty: Duty::Leaving }
}

/// A number that no node has: one that has left where there is one, or one that never was.
fn unknown(dice: &mut Dice<'_>, model: &Model) -> u64 {
    match dice.below(8) {
        0 => 9,
        _ => dice.pick(model.gone.keys()).copied().unwrap_or(9),
    }
}

fn forget(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let busy = |n: &&u64| model.copies_on(**n) > 0;
    let which = dice.below(16);
    let of: Vec<u64> = match which {
        0..=2 => vec![unknown(dice, model)],
        3..=5 => model.draining.iter().copied().collect(),
        6..=7 => model.nodes.keys().copied().collect(),
        8..=10 => {
            let on_its_way = |n: &&u64| model.copies_leaving(**n) > 0 && !busy(n);
            model.leaving.iter().filter(on_its_way).copied().collect()
        }
        _ => model.leaving.iter().copied().collect(),
    };
    let idle = || model.leaving.iter().find(|n| !busy(n)).copied();
    match dice.pick(of.into_iter()).or_else(idle) {
        Some(number) => ControlChange::ForgetNode { node: NodeId(number) },
        None if model.leaving.iter().any(|n| busy(&n)) => move_copy(dice, model),
        None => leave(dice, model),
    }
}

/// A partition that is not being deleted (or, where it is asked for, that is), and of which a copy moves, or
/// none. Another one where there is none such.
fn placement<'a>(
    dice: &mut Dice<'_>,
    model: &'a Model,
    deleting: bool,
    moving: bool,
) -> Option<&'a Placement> {
    let all = || model.topics.values().flat_map(|topic| topic.partitions.iter().map(|p| (topic.deleting, p)));
    let moves = |placed: &Placement| model.moving_of(placed.group.0).next().is_some();
    let fit = all().filter(|(of, placed)| *of == deleting && moves(placed) == moving);
    let mut fit: Vec<_> = fit.map(|(_, placed)| placed).collect();
    if moving && dice.below(3) > 0 && fit.iter().any(|placed| model.moving_of(placed.group.0).count() > 1) {
        fit.retain(|placed| model.moving_of(placed.group.0).count() > 1);
    }
    dice.pick(fit.into_iter())
        .or_else(|| all().min_by_key(|(of, _)| *of != deleting).map(|(_, placed)| placed))
}

fn move_copy(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let placed = match dice.below(16) {
        0 => None,
        1..=2 => placement(dice, model, true, false),
        3..=6 => placement(dice, model, false, true),
        _ => placement(dice, model, false, false),
    };
    let Some(placed) = placed else {
        let to = model.nodes.keys().find(|n| model.duty(**n) == Duty::Serving).copied().unwrap_or(1);
        return ControlChange::MoveCopy { group: GroupId(model.next_group), from: NodeId(1), to: NodeId(to) };
    };
    let on: Vec<u64> = placed.replicas.iter().map(|copy| copy.node.0).collect();
    let must_go = on.iter().find(|n| model.leaving.contains(*n)).copied();
    let some = dice.pick(on.iter()).copied().unwrap_or(1);
    let free = |duty: Duty| model.nodes.keys().filter(move |n| model.duty(**n) == duty).copied();
    let serving: Vec<u64> = free(Duty::Serving).filter(|n| !on.contains(n)).collect();
    if serving.is_empty() && dice.below(4) > 0 {
        return room(dice, model);
    }
    let came_from = model.moving_of(placed.group.0).map(|moving| moving.old.node.0);
    let old = came_from.filter(|n| model.duty(*n) == Duty::Serving && !on.contains(n)).last();
    let from = match dice.below(8) {
        0 => dice.pick(serving.iter()).copied().unwrap_or(9),
        1..=5 => must_go.unwrap_or(some),
        _ => some,
    };
    let special = |duty| free(duty).next().or(serving.first().copied()).unwrap_or(some);
    if dice.below(6) == 0
        && let Some(off) = on.iter().find(|n| model.duty(**n) != Duty::Serving)
    {
        return ControlChange::MoveCopy { group: placed.group, from: NodeId(*off), to: NodeId(*off) };
    }
    let to = match dice.below(40) {
        0 => 9,
        1 => unknown(dice, model),
        2..=6 => on.iter().copied().find(|n| *n != from).unwrap_or(from),
        7 | 32..=36 => from,
        8..=9 => special(Duty::Draining),
        10..=12 => special(Duty::Leaving),
        13..=18 => old.or_else(|| dice.pick(serving.iter()).copied()).unwrap_or(some),
        _ => dice.pick(serving.iter()).copied().unwrap_or(some),
    };
    ControlChange::MoveCopy { group: placed.group, from: NodeId(from), to: NodeId(to) }
}

/// Another node, or one that serves again: so that a copy has somewhere to go.
fn room(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    if model.nodes.len() < model.bounds.nodes_max {
        let number = unused(model);
        return ControlChange::RegisterNode { record: node(number, 100 + u128::from(number)) };
    }
    let special = model.draining.iter().chain(&model.leaving).next();
    let number = special.copied().unwrap_or_else(|| 1 + dice.below(5));
    ControlChange::SetDuty { node: NodeId(number), duty: Duty::Serving }
}

fn finish_move(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let which = dice.below(16);
    let still = placement(dice, model, false, false).map_or(GroupId(1), |placed| placed.group);
    let on_its_way = |group: &u64| match which {
        4..=6 => model.home(*group).is_some_and(|(_, _, deleting)| deleting),
        7..=10 => model.moving_of(*group).any(|moving| {
            model.nodes.get(&moving.old.node.0).is_some_and(|node| node.incarnation != moving.old.incarnation)
        }),
        _ => true,
    };
    let found: Vec<_> = model.moving.iter().filter(|((group, _), _)| on_its_way(group)).collect();
    let found = dice.pick(found.into_iter()).or(model.moving.iter().next());
    let found = found.map(|((group, _), moving)| (*group, moving));
    let (group, replica) = match (which, found) {
        (0..=2, _) => (GroupId(model.next_group), ReplicaId(1)),
        (3, _) | (_, None) => (still, ReplicaId(1)),
        (11..=13, Some((group, moving))) => (GroupId(group), ReplicaId(moving.old.replica.0 + 1)),
        (_, Some((group, moving))) => (GroupId(group), moving.old.replica),
    };
    ControlChange::FinishMove { group, replica }
}

fn prefer_leader(dice: &mut Dice<'_>, model: &Model) -> ControlChange {
    let which = dice.below(16);
    let placed = match which {
        0..=2 => None,
        3..=5 => placement(dice, model, false, true),
        _ => placement(dice, model, false, false),
    };
    let Some(placed) = placed else {
        return ControlChange::PreferLeader { group: GroupId(model.next_group), node: NodeId(1) };
    };
    let leaving = model.moving_of(placed.group.0).map(|moving| moving.old.node).next();
    let some = dice.pick(placed.replicas.iter()).map_or(NodeId(1), |copy| copy.node);
    let other = placed.replicas.iter().map(|copy| copy.node).find(|node| *node != placed.preferred_leader);
    let node = match which {
        3..=5 => leaving.unwrap_or(some),
        9..=11 => NodeId(9),
        12..=13 => other.unwrap_or(some),
        _ => some,
    };
    ControlChange::PreferLeader { group: placed.group, node }
}
