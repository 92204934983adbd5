//! SUB-4: within a dispatch epoch a message is in one possession at a time, and possessions are bounded.
//!
//! `double-possession`: two deliveries of a message under one dispatch epoch of which neither can have ended
//! before the other was sent. `bound-exceeded`: at some moment a consumer, or all of them together, held more
//! messages of a dispatch epoch for certain than the subscription allows.
//!
//! Judged for shared and key-shared subscriptions; the others have one owner (SUB-3). Not seen here: across
//! dispatch epochs anything, since leases end with theirs; possessions that may have ended, for instance
//! because an ack or a nack of unknown outcome was sent; and consumers that crashed before they recorded what
//! they got. What is asked for long before it comes has a lease that may have begun long before: unless the
//! server says when it ends, nothing is certain after one lease from the asking.

use std::collections::BTreeMap;

use meridian_history::{OpId, Subscribe};

use crate::{
    anomaly::AnomalyKind,
    findings::Findings,
    index::Index,
    options::Options,
    sub_possession::{Possession, possessions},
    sub_view::Lane,
};

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("possessions");
    for subscription in index.subscriptions.all.values() {
        let Some(rules) = subscription.rules().filter(|rules| !rules.kind.is_owned()) else { continue };
        for lane in subscription.lanes.values() {
            let all = possessions(subscription, lane, options.tolerance_ns());
            findings.count("possessions", all.len() as u64);
            find_doubles(lane, &all, &mut findings);
            find_excess(lane, &all, rules, &mut findings);
        }
    }
    findings
}

fn find_doubles(lane: &Lane<'_>, all: &[Possession<'_>], findings: &mut Findings) {
    let mut sorted: Vec<&Possession<'_>> = all.iter().collect();
    let of = |possession: &Possession<'_>| {
        let what = possession.handed.what;
        (what.offset, what.epochs.dispatch, what.epochs.seek)
    };
    let when = |possession: &Possession<'_>| {
        (possession.handed.what.attempt, possession.came_ns(), possession.handed.op.id)
    };
    sorted.sort_by_key(|possession| (of(possession), when(possession)));
    for pair in sorted.windows(2) {
        let [one, other] = pair else { continue };
        if of(one) != of(other) {
            continue;
        }
        findings.count("pairs of possessions compared", 1);
        // Attempts are committed one after the other; within one, the order of sending is not known.
        let same_attempt = one.handed.what.attempt == other.handed.what.attempt;
        if !(one.may_precede(other) || same_attempt && other.may_precede(one)) {
            let ops = [one.handed.op.id, other.handed.op.id];
            findings.flag(AnomalyKind::DoublePossession, &lane.name, &ops, || {
                let (offset, epoch) = (one.handed.what.offset, one.handed.what.epochs.dispatch);
                let (first, second) = (one.handed.consumer, other.handed.consumer);
                format!("{first} holds {offset} in dispatch {epoch}, and it was given to {second}")
            });
        }
    }
}

/// Of whom there may be so many, and what is held over time: when, one more or one less, by which operation.
type Held<'a> = BTreeMap<(u64, Option<&'a str>), Vec<(u64, bool, OpId)>>;

fn find_excess(lane: &Lane<'_>, all: &[Possession<'_>], rules: &Subscribe, findings: &mut Findings) {
    let mut held: Held<'_> = BTreeMap::new();
    for possession in all.iter().filter(|possession| possession.came_ns() < possession.until_ns) {
        let (dispatch, op) = (possession.handed.what.epochs.dispatch, possession.handed.op.id);
        for who in [None, Some(possession.handed.consumer)] {
            let steps = held.entry((dispatch, who)).or_default();
            // What ends at a moment ends before what begins at it.
            steps.extend([(possession.came_ns(), true, op), (possession.until_ns, false, op)]);
        }
    }
    for ((dispatch, who), mut steps) in held {
        let max = if who.is_some() { rules.unacked_consumer_max } else { rules.unacked_max };
        let Some(max) = max else { continue };
        steps.sort_unstable();
        let mut count = 0u64;
        for (_, more, op) in steps {
            count = if more { count + 1 } else { count.saturating_sub(1) };
            if more && count > max {
                findings.flag(AnomalyKind::BoundExceeded, &lane.name, &[op], || {
                    let who = who.unwrap_or("all consumers together");
                    format!("{count} messages of dispatch {dispatch} were held by {who}, {max} are allowed")
                });
                break;
            }
        }
    }
}
