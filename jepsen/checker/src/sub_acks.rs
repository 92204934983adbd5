//! Which acks cover a message: those that were confirmed, and those that may have happened.
//!
//! A cumulative ack that was confirmed covers for certain only what its consumer had been given before it, and
//! had not refused; what else it means depends on who else was given what, so there it only may have happened.

use std::collections::{BTreeMap, HashMap};

use meridian_history::{AckOf, Op};

use crate::{
    sub_spans::Moments,
    sub_view::{Lane, end_ns},
};

/// The acks of one partition of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Acks<'a> {
    /// By offset: confirmed acks.
    pub(crate) confirmed: BTreeMap<u64, Vec<Confirmed<'a>>>,
    /// By offset: what may have acked it alone.
    single: HashMap<u64, Vec<(&'a Op, u64)>>,
    /// Cumulative acks by where they end: (end, highest seek epoch and earliest invocation of this and all beyond).
    cumulative: Vec<(u64, u64, u64)>,
}

/// A confirmed ack of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmed<'a> {
    pub(crate) op: &'a Op,
    pub(crate) seek: u64,
    pub(crate) index: Option<u64>,
}

impl<'a> Acks<'a> {
    pub(crate) fn of(lane: &Lane<'a>) -> Self {
        let mut acks = Self::default();
        for &(op, call) in &lane.acks {
            let offsets: &[u64] = match &call.of {
                AckOf::Single(offset) => std::slice::from_ref(offset),
                AckOf::Batch(offsets) => offsets,
                AckOf::Cumulative(end) => {
                    acks.cumulative.push((*end, call.by.epochs.seek, op.invoke_ns));
                    &[]
                }
            };
            for &offset in offsets {
                acks.single.entry(offset).or_default().push((op, call.by.epochs.seek));
                if let Some(settled) = call.settled.filter(|_| op.is_ok()) {
                    let one = Confirmed { op, seek: call.by.epochs.seek, index: settled.index };
                    acks.confirmed.entry(offset).or_default().push(one);
                }
            }
        }
        acks.cumulative.sort_unstable();
        for at in (1..acks.cumulative.len()).rev() {
            let (_, seek, invoke) = acks.cumulative[at];
            let lower = &mut acks.cumulative[at - 1];
            (lower.1, lower.2) = (lower.1.max(seek), lower.2.min(invoke));
        }
        acks.resolve_cumulative(lane);
        acks
    }

    /// The highest seek epoch of any ack that may have covered a message.
    pub(crate) fn may_be_acked_in(&self, offset: u64) -> Option<u64> {
        let alone = self.single.get(&offset).into_iter().flatten().map(|(_, seek)| *seek).max();
        alone.max(self.beyond(offset).map(|(_, seek, _)| seek))
    }

    /// Acks that may have covered just this message.
    pub(crate) fn of_one(&self, offset: u64) -> impl Iterator<Item = &'a Op> + '_ {
        self.single.get(&offset).into_iter().flatten().map(|(op, _)| *op)
    }

    /// When the first cumulative ack was sent that may have covered a message.
    pub(crate) fn cumulative_from_ns(&self, offset: u64) -> Option<u64> {
        self.beyond(offset).map(|(.., invoke)| invoke)
    }

    fn beyond(&self, offset: u64) -> Option<(u64, u64, u64)> {
        let at = self.cumulative.partition_point(|(end, ..)| *end <= offset);
        self.cumulative.get(at).copied()
    }

    /// Goes through what each consumer was given, refused and acked, in the order in which it did so.
    fn resolve_cumulative(&mut self, lane: &Lane<'a>) {
        if self.cumulative.is_empty() {
            return;
        }
        let given = lane.handed.iter().map(|handed| {
            let what = handed.what;
            ((handed.consumer, what.epochs.seek), handed.came_ns(), Step::Given(what.offset))
        });
        let mut refused: HashMap<(&str, u64), Vec<&Op>> = HashMap::new();
        for (op, call) in &lane.nacks {
            refused.entry((&call.by.consumer, call.offset)).or_default().push(op);
        }
        let refused: HashMap<_, _> =
            refused.into_iter().map(|(what, ops)| (what, Moments::of(ops))).collect();
        let acked = lane.acks.iter().filter_map(|&(op, call)| {
            let AckOf::Cumulative(end) = call.of else { return None };
            let index = call.settled.filter(|_| op.is_ok())?.index;
            let one = Confirmed { op, seek: call.by.epochs.seek, index };
            Some(((call.by.consumer.as_str(), call.by.epochs.seek), op.invoke_ns, Step::Acked(end, one)))
        });
        let mut steps: Vec<_> = given.chain(acked).collect();
        // At equal times the ack comes first, and so covers less.
        steps.sort_by_key(|(who, at, step)| (*who, *at, step.rank()));
        // What a consumer was given, and when.
        let mut holds: BTreeMap<u64, u64> = BTreeMap::new();
        let mut of = None;
        for (who, at, step) in steps {
            if of != Some(who) {
                (of, holds) = (Some(who), BTreeMap::new());
            }
            match step {
                Step::Given(offset) => {
                    holds.insert(offset, at);
                }
                Step::Acked(end, one) => {
                    let above = holds.split_off(&end);
                    let below = std::mem::replace(&mut holds, above);
                    for (offset, given) in below {
                        // A refusal under way may come first: then the ack does not mean the message.
                        let nack = refused.get(&(who.0, offset)).and_then(|nacks| nacks.first_since(given));
                        if nack.is_none_or(|nack| nack > one.known_ns()) {
                            self.confirmed.entry(offset).or_default().push(one);
                        }
                    }
                }
            }
        }
    }
}

/// What a consumer met with.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Acked(u64, Confirmed<'a>),
    Given(u64),
}

impl Step<'_> {
    fn rank(&self) -> u8 {
        match self {
            Self::Acked(..) => 0,
            Self::Given(_) => 1,
        }
    }
}

impl Confirmed<'_> {
    /// When its consumer knew.
    pub(crate) fn known_ns(&self) -> u64 {
        end_ns(self.op)
    }
}
