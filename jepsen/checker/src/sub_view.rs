//! Subscriptions as the history shows them: their rules, their consumers, and what happened in each partition.

use std::collections::BTreeMap;

use meridian_history::{
    Ack, DeadLetter, DeadLetters, Delivery, Drain, Extend, FinalState, Holder, Join, Kind, LeaseEnd, Nack,
    Op, Outcome, Part, Seek, Subscribe,
};

use crate::{partition_view::PartitionView, sub_stored::Stored};

/// Every subscription, by topic and name.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions<'a> {
    pub(crate) all: BTreeMap<(&'a str, &'a str), Subscription<'a>>,
}

/// One subscription.
#[derive(Debug, Default)]
pub(crate) struct Subscription<'a> {
    /// The attempt to make it that did not fail, the earliest `ok` one if there is one.
    pub(crate) made: Option<(&'a Op, &'a Subscribe)>,
    pub(crate) joins: Vec<(&'a Op, &'a Join)>,
    pub(crate) parts: Vec<(&'a Op, &'a Part)>,
    pub(crate) dead: Vec<(&'a Op, &'a DeadLetters)>,
    pub(crate) lanes: BTreeMap<u32, Lane<'a>>,
}

/// One partition of a subscription. Nothing in it failed, in order of invocation.
#[derive(Debug, Default)]
pub(crate) struct Lane<'a> {
    /// `topic/subscription[partition]`.
    pub(crate) name: String,
    pub(crate) handed: Vec<Handed<'a>>,
    pub(crate) acks: Vec<(&'a Op, &'a Ack)>,
    pub(crate) nacks: Vec<(&'a Op, &'a Nack)>,
    pub(crate) extends: Vec<(&'a Op, &'a Extend)>,
    pub(crate) ends: Vec<(&'a Op, &'a LeaseEnd)>,
    pub(crate) seeks: Vec<(&'a Op, &'a Seek)>,
    pub(crate) drains: Vec<(&'a Op, &'a Drain)>,
    pub(crate) finals: Vec<(&'a Op, &'a FinalState)>,
    /// What the partition is known to hold.
    pub(crate) stored: BTreeMap<u64, Stored<'a>>,
    /// The highest log start anybody saw.
    pub(crate) trimmed: u64,
}

/// A message in a consumer's hands: sent between the invocation and the completion of `op`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handed<'a> {
    pub(crate) op: &'a Op,
    pub(crate) consumer: &'a str,
    pub(crate) what: &'a Delivery,
}

impl Handed<'_> {
    /// When it had come.
    pub(crate) fn came_ns(&self) -> u64 {
        end_ns(self.op)
    }

    /// A wall clock's time on the clock of the history, never below zero.
    pub(crate) fn wall_ns(&self, at_ms: u64) -> i128 {
        i128::from(self.came_ns()) + (i128::from(at_ms) - i128::from(self.what.at_ms)) * 1_000_000
    }
}

/// When an operation can have taken effect at the latest: never mind when the client gave up.
pub(crate) fn effect_end_ns(op: &Op) -> u64 {
    if op.is_ok() { end_ns(op) } else { u64::MAX }
}

/// When it ended for its client.
pub(crate) fn end_ns(op: &Op) -> u64 {
    op.complete_ns.unwrap_or(u64::MAX)
}

impl<'a> Subscriptions<'a> {
    /// Takes in an operation; operations come in order of invocation. What failed did not happen.
    pub(crate) fn place(&mut self, op: &'a Op) {
        if op.outcome == Outcome::Fail {
            return;
        }
        match &op.kind {
            Kind::Subscribe(call) => {
                let made = &mut self.of(&call.topic, &call.subscription).made;
                if made.is_none_or(|(known, _)| op.is_ok() && !known.is_ok()) {
                    *made = Some((op, call));
                }
            }
            Kind::Join(call) => self.of(&call.topic, &call.subscription).joins.push((op, call)),
            Kind::Part(call) => self.of(&call.topic, &call.subscription).parts.push((op, call)),
            Kind::DeadLetters(call) => self.of(&call.topic, &call.subscription).dead.push((op, call)),
            Kind::Deliver(call) => {
                let subscription = self.of(&call.topic, &call.subscription);
                for what in call.deliveries.iter().flatten() {
                    let handed = Handed { op, consumer: &call.consumer, what };
                    subscription.lane(what.partition).handed.push(handed);
                }
            }
            Kind::Ack(call) => self.lane(&call.by).acks.push((op, call)),
            Kind::Nack(call) => self.lane(&call.by).nacks.push((op, call)),
            Kind::Extend(call) => self.lane(&call.by).extends.push((op, call)),
            Kind::LeaseEnd(call) => self.lane(&call.by).ends.push((op, call)),
            Kind::Seek(call) => {
                self.of(&call.topic, &call.subscription).lane(call.partition).seeks.push((op, call));
            }
            Kind::Drain(call) => {
                self.of(&call.topic, &call.subscription).lane(call.partition).drains.push((op, call));
            }
            Kind::FinalState(call) => {
                self.of(&call.topic, &call.subscription).lane(call.partition).finals.push((op, call));
            }
            _ => {}
        }
    }

    /// Adds what is known of the partitions' logs, once every operation is in.
    pub(crate) fn settle(&mut self, partitions: &BTreeMap<(&'a str, u32), PartitionView<'a>>) {
        for (&(topic, name), subscription) in &mut self.all {
            // A partition nobody was given anything from is owed its messages all the same.
            for (_, partition) in partitions.keys().filter(|(of, _)| *of == topic) {
                subscription.lane(*partition);
            }
            for (&partition, lane) in &mut subscription.lanes {
                lane.name = format!("{topic}/{name}[{partition}]");
                lane.learn(partitions.get(&(topic, partition)));
            }
        }
    }

    fn of(&mut self, topic: &'a str, subscription: &'a str) -> &mut Subscription<'a> {
        self.all.entry((topic, subscription)).or_default()
    }

    fn lane(&mut self, by: &'a Holder) -> &mut Lane<'a> {
        self.of(&by.topic, &by.subscription).lane(by.partition)
    }
}

impl<'a> Subscription<'a> {
    fn lane(&mut self, partition: u32) -> &mut Lane<'a> {
        self.lanes.entry(partition).or_default()
    }

    /// What it was made with, if that is known.
    pub(crate) fn rules(&self) -> Option<&'a Subscribe> {
        self.made.map(|(_, rules)| rules)
    }

    /// Every dead letter that anybody saw, with who saw it.
    pub(crate) fn letters(&self) -> impl Iterator<Item = (&'a Op, &'a DeadLetter)> + use<'a, '_> {
        let each = |&(op, call): &(&'a Op, &'a DeadLetters)| {
            call.letters.iter().flatten().map(move |letter| (op, letter)).collect::<Vec<_>>()
        };
        self.dead.iter().flat_map(each)
    }
}
