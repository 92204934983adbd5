//! Writes histories of one subscription by hand: times are in milliseconds, and the wall clock shows the same.

#![allow(dead_code)]

use meridian_checker::{AnomalyKind, Options, Promise, Report, check};
use meridian_history::*;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const NAME: &str = "billing";
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SUBS: [Promise; 6] =
    [Promise::Sub1, Promise::Sub2, Promise::Sub3, Promise::Sub4, Promise::Sub5, Promise::Sub6];

/// A lease of 1 s, three attempts, dead letters.
pub(crate) fn rules(kind: SubscriptionKind) -> Subscribe {
    Subscribe {
        topic: TOPIC.into(),
        subscription: NAME.into(),
        kind,
        lease_ms: 1_000,
        attempts_max: Some(3),
        dead_letter: Some("dead".into()),
        start: Place::Earliest,
        unacked_consumer_max: None,
        unacked_max: None,
        made: Some(Done {}),
    }
}

/// Judges the promises about subscriptions only.
pub(crate) fn judge(ops: Vec<Op>) -> Report {
    let options = Options { demanded: [Promise::Run].into(), ..Options::default() };
    check(&History::of(ops), &options)
}

/// The names of everything that was found.
pub(crate) fn found(ops: Vec<Op>) -> Vec<AnomalyKind> {
    judge(ops).totals().into_keys().collect()
}

/// A history in the making.
pub(crate) struct Scene {
    pub(crate) ops: Vec<Op>,
    epochs: Epochs,
}

impl Scene {
    pub(crate) fn of(rules: Subscribe) -> Self {
        let owner = rules.kind.is_owned().then_some(1);
        let mut scene = Self { ops: Vec::new(), epochs: Epochs { dispatch: 10, seek: 0, owner } };
        scene.add(0, 1, rules);
        scene
    }

    pub(crate) fn add(&mut self, from: u64, to: u64, kind: impl Into<Kind>) -> &mut Op {
        let (id, kind) = (self.ops.len() as u64, kind.into());
        let (invoke_ns, complete_ns) = (from * MS, Some(to * MS));
        let op = Op { id, process: id, invoke_ns, complete_ns, outcome: Outcome::Ok, why: None, kind };
        self.ops.push(op);
        self.ops.last_mut().expect("it was just put there")
    }

    pub(crate) fn under(&mut self, change: impl FnOnce(&mut Epochs)) {
        change(&mut self.epochs);
    }

    /// Messages from offset zero, one for each key given, sent at 2 to 4.
    pub(crate) fn publish(&mut self, keys: &[&str]) {
        let times = vec![Times::default(); keys.len()];
        self.publish_at(keys, &times);
    }

    pub(crate) fn publish_at(&mut self, keys: &[&str], times: &[Times]) {
        let each = keys.iter().zip(times).zip(0u64..);
        let messages = each.map(|((key, times), n)| Sent {
            id: MessageId::new("p", 1, n),
            key: Some((*key).into()),
            crc: n as u32,
            times: *times,
        });
        let publish = Publish {
            topic: TOPIC.into(),
            partition: 0,
            producer: "p".into(),
            epoch: 1,
            first_sequence: 0,
            sequenced: true,
            messages: messages.collect(),
            appended: Some(Appended::at(0)),
        };
        self.add(2, 4, publish);
    }

    pub(crate) fn deliver(&mut self, from: u64, to: u64, consumer: &str, offset: u64, attempt: u32) {
        let key = self.ops.iter().find_map(|op| match &op.kind {
            Kind::Publish(call) => call.messages.get(offset as usize)?.key.clone(),
            _ => None,
        });
        let delivery = Delivery {
            partition: 0,
            log: "log".into(),
            offset,
            id: MessageId::new("p", 1, offset),
            key,
            attempt,
            epochs: self.epochs,
            times: Times::default(),
            lease_until_ms: None,
            at_ms: to,
        };
        let deliveries = Some(vec![delivery]);
        let (topic, subscription) = (TOPIC.into(), NAME.into());
        self.add(from, to, Deliver { topic, subscription, consumer: consumer.into(), deliveries });
    }

    fn holder(&self, consumer: &str) -> Holder {
        Holder {
            topic: TOPIC.into(),
            partition: 0,
            subscription: NAME.into(),
            consumer: consumer.into(),
            epochs: self.epochs,
        }
    }

    pub(crate) fn ack(&mut self, from: u64, to: u64, consumer: &str, of: AckOf) -> &mut Op {
        let by = self.holder(consumer);
        self.add(from, to, Ack { by, of, settled: Some(Settled::default()) })
    }

    /// The same, without an answer.
    pub(crate) fn ack_unknown(&mut self, from: u64, to: u64, consumer: &str, of: AckOf) {
        let op = self.ack(from, to, consumer, of);
        op.outcome = Outcome::Info;
        if let Kind::Ack(call) = &mut op.kind {
            call.settled = None;
        }
    }

    pub(crate) fn nack(&mut self, from: u64, to: u64, consumer: &str, offset: u64, attempt: u32) -> &mut Op {
        let by = self.holder(consumer);
        self.add(from, to, Nack { by, offset, attempt, settled: Some(Settled::default()) })
    }

    pub(crate) fn join(&mut self, at: u64, consumer: &str) {
        let kind = SubscriptionKind::Shared;
        let (topic, subscription, consumer) = (TOPIC.into(), NAME.into(), consumer.into());
        self.add(at, at, Join { topic, subscription, consumer, kind, joined: Some(Done {}) });
    }

    pub(crate) fn part(&mut self, from: u64, to: u64, consumer: &str, how: Parting) {
        let (topic, subscription, consumer) = (TOPIC.into(), NAME.into(), consumer.into());
        self.add(from, to, Part { topic, subscription, consumer, how, gone: Some(Done {}) });
    }

    pub(crate) fn seek(&mut self, from: u64, to: u64, position: u64) {
        self.epochs.seek += 1;
        let sought = Some(Sought { position, epoch: self.epochs.seek });
        let (topic, subscription, to_place) = (TOPIC.into(), NAME.into(), Place::Offset(position));
        self.add(from, to, Seek { topic, partition: 0, subscription, to: to_place, sought });
    }

    /// Drained, then read what is dead (offset in the dead-letter topic, source), then what is settled.
    pub(crate) fn end(&mut self, at: u64, through: u64, dead: &[(u64, u64)], floor: u64) {
        let (topic, subscription): (String, String) = (TOPIC.into(), NAME.into());
        let drained = Some(Drained { through, at_ms: at });
        let (of, named) = (topic.clone(), subscription.clone());
        self.add(at, at + 1, Drain { topic: of, partition: 0, subscription: named, drained });
        let letter = |(offset, source): &(u64, u64)| DeadLetter {
            partition: 0,
            offset: *offset,
            id: MessageId::new("p", 1, *source),
            source: Source { partition: 0, log: "log".into(), offset: *source },
        };
        let letters = Some(dead.iter().map(letter).collect());
        let (of, named) = (topic.clone(), subscription.clone());
        self.add(
            at + 2,
            at + 3,
            DeadLetters { topic: of, subscription: named, dead_letter: "dead".into(), letters },
        );
        let state = Some(SettledState { floor, at_ms: at + 4, ..SettledState::default() });
        self.add(at + 4, at + 5, FinalState { topic, partition: 0, subscription, state });
    }
}
