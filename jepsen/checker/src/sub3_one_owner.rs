//! SUB-3: an exclusive or failover subscription has one owner in each partition.
//!
//! Owners are numbered by their epoch. `split-ownership`: two consumers under one epoch; an owner that asks
//! for a message and gets it after a later owner has got one; an owner's epoch that goes back although the
//! dispatch epoch goes on (owners are named in the log, so a later dispatch knows all earlier ones).
//! `zombie-ack`: an owner's ack was confirmed although it was sent after a later owner had got a message, or
//! although its entry comes behind an entry of a later owner's ack.
//!
//! Not seen here: an owner whose successor got nothing; messages under way when the owner changed; and a
//! second consumer that is let into an exclusive subscription, as long as it gets nothing: from outside, one
//! that has just gone cannot be told from one that is still there.

use std::collections::BTreeMap;

use meridian_history::Ack;

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    sub_view::{Handed, Lane},
};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("deliveries to owners");
    for subscription in index.subscriptions.all.values() {
        if !subscription.rules().is_some_and(|rules| rules.kind.is_owned()) {
            continue;
        }
        for lane in subscription.lanes.values() {
            let mut owned: Vec<(u64, &Handed<'_>)> = Vec::new();
            for handed in &lane.handed {
                match handed.what.epochs.owner {
                    Some(owner) => owned.push((owner, handed)),
                    None => findings.doubt(format!("{}: deliveries without an owner's epoch", lane.name)),
                }
            }
            findings.count("deliveries to owners", owned.len() as u64);
            find_twins(lane, &owned, &mut findings);
            find_split(lane, &owned, &mut findings);
            find_regress(lane, &owned, &mut findings);
            find_zombies(lane, &owned, &mut findings);
        }
    }
    findings
}

/// Two consumers under one epoch.
fn find_twins(lane: &Lane<'_>, owned: &[(u64, &Handed<'_>)], findings: &mut Findings) {
    let mut of_epoch: BTreeMap<u64, &Handed<'_>> = BTreeMap::new();
    for (owner, handed) in owned {
        let first = of_epoch.entry(*owner).or_insert(handed);
        if first.consumer != handed.consumer {
            findings.flag(AnomalyKind::SplitOwnership, &lane.name, &[first.op.id, handed.op.id], || {
                format!("{} and {} both own it under epoch {owner}", first.consumer, handed.consumer)
            });
        }
    }
}

/// The highest owner's epoch that had certainly begun, over time.
fn begun<'h, 'a>(owned: &[(u64, &'h Handed<'a>)]) -> Vec<(u64, u64, &'h Handed<'a>)> {
    let mut begun: Vec<_> = owned.iter().map(|(owner, handed)| (handed.came_ns(), *owner, *handed)).collect();
    begun.sort_by_key(|(at, owner, _)| (*at, *owner));
    for at in 1..begun.len() {
        if begun[at - 1].1 > begun[at].1 {
            (begun[at].1, begun[at].2) = (begun[at - 1].1, begun[at - 1].2);
        }
    }
    begun
}

/// The owner that had certainly begun before this moment.
fn before<'h, 'a>(begun: &[(u64, u64, &'h Handed<'a>)], at: u64) -> Option<(u64, &'h Handed<'a>)> {
    let count = begun.partition_point(|(came, ..)| *came < at);
    count.checked_sub(1).map(|last| (begun[last].1, begun[last].2))
}

fn find_split(lane: &Lane<'_>, owned: &[(u64, &Handed<'_>)], findings: &mut Findings) {
    let begun = begun(owned);
    for (owner, handed) in owned {
        let Some((later, by)) = before(&begun, handed.op.invoke_ns).filter(|(later, _)| later > owner) else {
            continue;
        };
        findings.flag(AnomalyKind::SplitOwnership, &lane.name, &[by.op.id, handed.op.id], || {
            let (who, offset) = (handed.consumer, handed.what.offset);
            format!("{who} got {offset} under owner epoch {owner}, when {} was owner as {later}", by.consumer)
        });
    }
}

fn find_regress(lane: &Lane<'_>, owned: &[(u64, &Handed<'_>)], findings: &mut Findings) {
    let mut by_dispatch = owned.to_vec();
    by_dispatch.sort_by_key(|(owner, handed)| (handed.what.epochs.dispatch, *owner));
    let mut highest: Option<(u64, &Handed<'_>)> = None;
    for group in by_dispatch.chunk_by(|(_, a), (_, b)| a.what.epochs.dispatch == b.what.epochs.dispatch) {
        let Some((lowest, handed)) = group.first() else { continue };
        if let Some((earlier, by)) = highest.filter(|(earlier, _)| earlier > lowest) {
            findings.flag(AnomalyKind::SplitOwnership, &lane.name, &[by.op.id, handed.op.id], || {
                let epoch = handed.what.epochs.dispatch;
                format!("dispatch {epoch} delivers for owner {lowest}, an earlier one did for {earlier}")
            });
        }
        highest = highest.max_by_owner(group.last().copied());
    }
}

/// The higher of two owners.
trait MaxByOwner {
    fn max_by_owner(self, other: Self) -> Self;
}

impl MaxByOwner for Option<(u64, &Handed<'_>)> {
    fn max_by_owner(self, other: Self) -> Self {
        if other.map(|(owner, _)| owner) > self.map(|(owner, _)| owner) { other } else { self }
    }
}

fn find_zombies(lane: &Lane<'_>, owned: &[(u64, &Handed<'_>)], findings: &mut Findings) {
    let begun = begun(owned);
    let owner_of = |call: &Ack| call.by.epochs.owner;
    let mut by_index: Vec<(u64, u64, u64)> = Vec::new();
    for (op, call) in lane.acks.iter().filter(|(op, _)| op.is_ok()) {
        let Some(owner) = owner_of(call) else {
            findings.doubt(format!("{}: acks without an owner's epoch", lane.name));
            continue;
        };
        findings.count("confirmed acks of owners", 1);
        by_index.extend(call.settled.and_then(|settled| settled.index).map(|index| (index, owner, op.id)));
        if let Some((later, by)) = before(&begun, op.invoke_ns).filter(|(later, _)| *later > owner) {
            findings.flag(AnomalyKind::ZombieAck, &lane.name, &[by.op.id, op.id], || {
                let who = &call.by.consumer;
                format!(
                    "an ack of {who}, owner {owner}, was confirmed when {} was owner {later}",
                    by.consumer
                )
            });
        }
    }
    by_index.sort_unstable();
    let mut highest = (0, 0);
    for (index, owner, op) in by_index {
        if owner < highest.0 {
            findings.flag(AnomalyKind::ZombieAck, &lane.name, &[highest.1, op], || {
                format!("entry {index} is an ack of owner {owner}, and one of {} comes before it", highest.0)
            });
        }
        highest = highest.max((owner, op));
    }
}
