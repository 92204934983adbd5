//! SUB-2: a durable ack ends redelivery, until a seek.
//!
//! A delivery is wrong if its message's ack was confirmed before the consumer asked for it, or if the ack's
//! entry comes before the one with which its dispatch began: that leader had applied the ack. The second
//! needs no clock, and holds across leaders however long a message was on its way.
//!
//! An ack of unknown outcome forbids nothing. A message that was under way when its ack was confirmed is no
//! redelivery; so one that is wrongly sent on credit granted before the ack is seen only by its epoch. And
//! a redelivery to a consumer that crashed before it recorded it is in no history.

use std::collections::BTreeMap;

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    sub_acks::{Acks, Confirmed},
    sub_view::{Handed, Lane},
};

pub(crate) fn check(index: &Index<'_>) -> Findings {
    let mut findings = Findings::of("confirmed acks");
    for subscription in index.subscriptions.all.values() {
        for lane in subscription.lanes.values() {
            let acks = Acks::of(lane);
            let ends = ends(&acks, &mut findings);
            for handed in &lane.handed {
                if let Some(ends) = ends.get(&handed.what.offset) {
                    findings.count("deliveries of messages that were acked", 1);
                    judge(lane, handed, ends, &mut findings);
                }
            }
        }
    }
    findings
}

/// What ends the redelivery of one message: the hardest to explain away comes last.
struct Ends<'a> {
    /// By when they were known: when, and the ack of the highest seek epoch until then.
    known: Vec<(u64, Confirmed<'a>)>,
    /// By index: likewise.
    applied: Vec<(u64, Confirmed<'a>)>,
}

fn ends<'a>(acks: &Acks<'a>, findings: &mut Findings) -> BTreeMap<u64, Ends<'a>> {
    let each = acks.confirmed.iter().map(|(&offset, acks)| {
        findings.count("confirmed acks", acks.len() as u64);
        let known = rising(acks.iter().map(|ack| (ack.known_ns(), *ack)).collect());
        let applied = rising(acks.iter().filter_map(|ack| Some((ack.index?, *ack))).collect());
        (offset, Ends { known, applied })
    });
    each.collect()
}

fn rising(mut acks: Vec<(u64, Confirmed<'_>)>) -> Vec<(u64, Confirmed<'_>)> {
    acks.sort_by_key(|(at, ack)| (*at, ack.seek));
    for at in 1..acks.len() {
        if acks[at - 1].1.seek > acks[at].1.seek {
            acks[at].1 = acks[at - 1].1;
        }
    }
    acks
}

fn last_before<'a>(acks: &[(u64, Confirmed<'a>)], at: u64) -> Option<Confirmed<'a>> {
    let count = acks.partition_point(|(known, _)| *known < at);
    count.checked_sub(1).map(|last| acks[last].1)
}

fn judge(lane: &Lane<'_>, handed: &Handed<'_>, ends: &Ends<'_>, findings: &mut Findings) {
    let (what, asked) = (handed.what, handed.op);
    let by_time = last_before(&ends.known, asked.invoke_ns).map(|ack| (ack, "before it was asked for"));
    let by_entry = last_before(&ends.applied, what.epochs.dispatch);
    let by_entry = by_entry.map(|ack| (ack, "before its dispatch began"));
    for (ack, how) in [by_time, by_entry].into_iter().flatten() {
        let sought = what.epochs.seek > ack.seek && lane.may_unsettle(what.offset, ack.seek, asked);
        if !sought {
            let ops = [ack.op.id, asked.id];
            findings.flag(AnomalyKind::RedeliveredAfterAck, &lane.name, &ops, || {
                format!("{} came to {} again: its ack was confirmed {how}", what.offset, handed.consumer)
            });
            return;
        }
    }
}
