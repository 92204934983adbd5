//! SUB-5: a key-shared subscription delivers each key in order, and moves a key only after its earlier
//! messages are settled.
//!
//! `key-reorder` is a message that was asked for and came as a first attempt, after a later message of its key
//! had come; or one that came to a consumer while another certainly held an earlier one of its key, under the
//! same dispatch epoch. Judged for each seek epoch by itself: a seek delivers again.
//!
//! Redeliveries may come in any order, so an attempt above the first shows no disorder: an attempt that failed
//! may have been on its way to a consumer that crashed. Delayed messages have an order of their own and are
//! left out. Not seen here: a key that moves while its earlier message waits to be tried again, or across
//! dispatch epochs, when the earlier consumer may have let go.

use std::collections::{BTreeMap, HashMap};

use meridian_history::{OpId, SubscriptionKind};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    options::Options,
    sub_keys::Holders,
    sub_possession::{Possession, possessions},
    sub_view::Lane,
};

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("messages with keys");
    for subscription in index.subscriptions.all.values() {
        if subscription.rules().is_none_or(|rules| rules.kind != SubscriptionKind::KeyShared) {
            continue;
        }
        for lane in subscription.lanes.values() {
            let all = possessions(subscription, lane, options.tolerance_ns());
            let mut by_key: BTreeMap<(&str, u64), Vec<&Possession<'_>>> = BTreeMap::new();
            for possession in &all {
                let what = possession.handed.what;
                let sent = lane.stored.get(&what.offset).and_then(|stored| stored.key);
                let delayed = lane.times(what.offset).deliver_at_ms.is_some();
                if let Some(key) = sent.or(what.key.as_deref()).filter(|_| !delayed) {
                    by_key.entry((key, what.epochs.seek)).or_default().push(possession);
                }
            }
            for ((key, _), group) in by_key {
                let firsts = firsts(&group);
                findings.count("messages with keys", firsts.len() as u64);
                find_disorder(lane, key, &firsts, &mut findings);
                find_moves(lane, key, &group, &firsts, &mut findings);
            }
        }
    }
    findings
}

/// All deliveries of one message under one seek epoch.
#[derive(Debug, Clone, Copy)]
struct First {
    /// When the earliest of them was asked for.
    asked_ns: u64,
    /// When, and by which operation, the earliest of them came.
    came: (u64, OpId),
    /// The lowest attempt.
    attempt: u32,
}

fn firsts(group: &[&Possession<'_>]) -> BTreeMap<u64, First> {
    let mut firsts: BTreeMap<u64, First> = BTreeMap::new();
    for possession in group {
        let (handed, attempt) = (&possession.handed, possession.handed.what.attempt);
        let came = (handed.came_ns(), handed.op.id);
        let fresh = First { asked_ns: handed.op.invoke_ns, came, attempt };
        let first = firsts.entry(handed.what.offset).or_insert(fresh);
        first.asked_ns = first.asked_ns.min(fresh.asked_ns);
        first.came = first.came.min(came);
        first.attempt = first.attempt.min(attempt);
    }
    firsts
}

fn find_disorder(lane: &Lane<'_>, key: &str, firsts: &BTreeMap<u64, First>, findings: &mut Findings) {
    let mut later: Option<(u64, OpId, u64)> = None;
    for (&offset, first) in firsts.iter().rev() {
        if let Some((came, op, higher)) = later.filter(|(came, ..)| *came < first.asked_ns)
            && first.attempt == 1
        {
            findings.flag(AnomalyKind::KeyReorder, &lane.name, &[op, first.came.1], || {
                format!("key {key:?}: {higher} had come at {came}, before {offset} was asked for")
            });
        }
        let this = (first.came.0, first.came.1, offset);
        later = Some(later.map_or(this, |known| known.min(this)));
    }
}

fn find_moves(
    lane: &Lane<'_>,
    key: &str,
    group: &[&Possession<'_>],
    firsts: &BTreeMap<u64, First>,
    findings: &mut Findings,
) {
    let mut by_dispatch: BTreeMap<u64, Vec<&Possession<'_>>> = BTreeMap::new();
    for possession in group {
        by_dispatch.entry(possession.handed.what.epochs.dispatch).or_default().push(possession);
    }
    let ranks: HashMap<u64, usize> = firsts.keys().zip(0..).map(|(offset, rank)| (*offset, rank)).collect();
    for in_dispatch in by_dispatch.into_values() {
        let mut holders = Holders::of(firsts.len());
        let mut held: Vec<(u64, &Possession<'_>)> =
            in_dispatch.iter().map(|possession| (held_before(possession, firsts), *possession)).collect();
        held.sort_by_key(|(from, possession)| (*from, possession.handed.op.id));
        let mut asked = in_dispatch;
        asked.sort_by_key(|possession| (possession.handed.op.invoke_ns, possession.handed.op.id));
        let mut held = held.into_iter().peekable();
        for possession in asked {
            let (handed, offset) = (&possession.handed, possession.handed.what.offset);
            while let Some((_, earlier)) = held.next_if(|(from, _)| *from <= handed.op.invoke_ns) {
                let by = (earlier.until_ns, earlier.handed.consumer, earlier.handed.op.id);
                holders.add(ranks[&earlier.handed.what.offset], by);
            }
            let other = holders.other_below(ranks[&offset], handed.consumer);
            if let Some((_, who, op)) = other.filter(|(until, ..)| *until > handed.came_ns()) {
                findings.flag(AnomalyKind::KeyReorder, &lane.name, &[op, handed.op.id], || {
                    let to = handed.consumer;
                    format!("key {key:?}: {offset} went to {to} while {who} held an earlier one")
                });
            }
        }
    }
}

/// From when on nobody else may be given a later message of the key. The first delivery of a message comes
/// before that of a later one anyway: so there, it does not matter when it came.
fn held_before(possession: &Possession<'_>, firsts: &BTreeMap<u64, First>) -> u64 {
    let handed = &possession.handed;
    let first = firsts.get(&handed.what.offset);
    let is_first = first.is_some_and(|first| first.came == (handed.came_ns(), handed.op.id));
    if is_first && handed.what.attempt == 1 { 0 } else { handed.came_ns() }
}
