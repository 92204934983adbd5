//! How long a consumer held a message for certain: from when it came until the first moment it may have ended.
//!
//! It may end with an ack or a nack, with the lease, with the consumer's stream, with a seek, or with the
//! message's own expiry. Of an operation only its invocation is certain to come before its effect, so the
//! first of all invocations that can have had their effect in time ends what is certain.

use std::collections::HashMap;

use meridian_history::Op;

use crate::{
    sub_acks::Acks,
    sub_spans::Moments,
    sub_view::{Handed, Lane, Subscription, effect_end_ns, end_ns},
};

/// One message in the hands of one consumer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Possession<'a> {
    pub(crate) handed: Handed<'a>,
    /// It was held for certain until just before this; maybe for longer.
    pub(crate) until_ns: u64,
}

impl Possession<'_> {
    /// Held for certain from here on.
    pub(crate) fn came_ns(&self) -> u64 {
        self.handed.came_ns()
    }

    /// Whether it may have ended before that delivery was sent.
    pub(crate) fn may_precede(&self, other: &Self) -> bool {
        self.until_ns <= other.handed.came_ns()
    }
}

/// A confirmed extension: when it was known, when it was asked for, under which dispatch epoch.
type Extended = (u64, u64, u64);

/// Everything that can end possessions of one partition.
struct Endings<'s, 'a> {
    lane: &'s Lane<'a>,
    acks: Acks<'a>,
    single: HashMap<u64, Moments>,
    nacks: HashMap<(&'a str, u64), Moments>,
    told: HashMap<(&'a str, u64), Moments>,
    streams: HashMap<&'a str, Moments>,
    extends: HashMap<(&'a str, u64), Vec<Extended>>,
    seeks: Moments,
    lease_ns: u64,
    tolerance_ns: u64,
}

/// The possessions of one partition, in the order of its deliveries.
pub(crate) fn possessions<'a>(
    subscription: &Subscription<'a>,
    lane: &Lane<'a>,
    tolerance_ns: u64,
) -> Vec<Possession<'a>> {
    let Some(rules) = subscription.rules() else { return Vec::new() };
    let lease_ns = rules.lease_ms.saturating_mul(1_000_000);
    let acks = Acks::of(lane);
    let offsets = lane.handed.iter().map(|handed| handed.what.offset);
    let single = offsets.map(|offset| (offset, Moments::of(acks.of_one(offset)))).collect();
    let joins = subscription.joins.iter().map(|(op, call)| (call.consumer.as_str(), *op));
    let parts = subscription.parts.iter().map(|(op, call)| (call.consumer.as_str(), *op));
    let nacks = lane.nacks.iter().map(|(op, call)| ((call.by.consumer.as_str(), call.offset), *op));
    // What a consumer is told has ended before: when, is the server's secret.
    let told = lane.ends.iter().map(|(op, call)| ((call.by.consumer.as_str(), call.offset), (0, end_ns(op))));
    let mut extends: HashMap<_, Vec<Extended>> = HashMap::new();
    for (op, call) in lane.extends.iter().filter(|(op, _)| op.is_ok()) {
        let span = (end_ns(op), op.invoke_ns, call.by.epochs.dispatch);
        extends.entry((call.by.consumer.as_str(), call.offset)).or_default().push(span);
    }
    extends.values_mut().for_each(|list| list.sort_unstable());
    let endings = Endings {
        lane,
        acks,
        single,
        nacks: gathered(nacks.map(|(who, op)| (who, span(op)))),
        told: gathered(told),
        streams: gathered(joins.chain(parts).map(|(who, op)| (who, span(op)))),
        extends,
        seeks: Moments::of(lane.seeks.iter().map(|(op, _)| *op)),
        lease_ns,
        tolerance_ns,
    };
    let each = lane.handed.iter();
    each.map(|handed| Possession { handed: *handed, until_ns: endings.first(handed) }).collect()
}

fn span(op: &Op) -> (u64, u64) {
    (op.invoke_ns, effect_end_ns(op))
}

fn gathered<K: Eq + std::hash::Hash>(pairs: impl Iterator<Item = (K, (u64, u64))>) -> HashMap<K, Moments> {
    let mut by_key: HashMap<K, Vec<(u64, u64)>> = HashMap::new();
    pairs.for_each(|(key, span)| by_key.entry(key).or_default().push(span));
    by_key.into_iter().map(|(key, spans)| (key, Moments::between(spans))).collect()
}

impl Endings<'_, '_> {
    /// The first moment at which this possession may have ended.
    fn first(&self, handed: &Handed<'_>) -> u64 {
        let (offset, who) = (handed.what.offset, handed.consumer);
        let since = self.lane.sent_after_ns(handed);
        let of = |moments: Option<&Moments>| moments.and_then(|moments| moments.first_since(since));
        let ends = [
            of(self.single.get(&offset)),
            self.acks.cumulative_from_ns(offset),
            of(self.nacks.get(&(who, offset))),
            of(self.told.get(&(who, offset))),
            of(self.streams.get(who)),
            self.seeks.first_since(since),
            self.expiry(handed),
            Some(self.lease_end(handed, since)),
        ];
        ends.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    fn expiry(&self, handed: &Handed<'_>) -> Option<u64> {
        let at_ms = self.lane.times(handed.what.offset).expire_at_ms?;
        Some(clamped(handed.wall_ns(at_ms) - i128::from(self.tolerance_ns)))
    }

    /// The lease runs from when the message was sent, or until when the server said, whichever is later; and
    /// anew from each extension that took effect while it certainly still ran.
    fn lease_end(&self, handed: &Handed<'_>, since: u64) -> u64 {
        let shorter = self.lease_ns.saturating_sub(self.tolerance_ns);
        let said =
            handed.what.lease_until_ms.map(|at_ms| handed.wall_ns(at_ms) - i128::from(self.tolerance_ns));
        let mut end = since.saturating_add(shorter).max(said.map_or(0, clamped));
        let extends = self.extends.get(&(handed.consumer, handed.what.offset));
        for (done, begun, dispatch) in extends.into_iter().flatten() {
            if *begun >= handed.came_ns() && *done < end && *dispatch == handed.what.epochs.dispatch {
                end = end.max(begun.saturating_add(shorter));
            }
        }
        end
    }
}

fn clamped(ns: i128) -> u64 {
    u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
}
