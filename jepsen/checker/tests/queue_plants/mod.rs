//! Ways to break a legal history of a subscription, one or more for each anomaly.

mod dead;
mod settled;
mod shared;

use meridian_checker::AnomalyKind;
use meridian_history::*;

use crate::queue::{Chance, NAME, TOPIC, WALL_MS};

/// A consumer that is in no legal history.
pub(crate) const GHOST: &str = "ghost";

/// Breaks a history in one place; false if this history offers no such place.
pub(crate) type Plant = fn(&mut Broken, &mut Chance) -> bool;

/// Every plant, with the anomaly that it must be found as.
pub(crate) const PLANTS: &[(AnomalyKind, &str, Plant)] = &[
    (AnomalyKind::Undelivered, "a message that never came", settled::lose),
    (AnomalyKind::Undelivered, "an ack that never was", settled::forget_ack),
    (AnomalyKind::AckHole, "a confirmed ack that is not settled", settled::unsettle),
    (AnomalyKind::RedeliveredAfterAck, "asked for after the ack", settled::redeliver),
    (AnomalyKind::RedeliveredAfterAck, "from a leader that knew the ack", settled::redeliver_by_entry),
    (AnomalyKind::SplitOwnership, "an owner goes on beside its successor", shared::split),
    (AnomalyKind::SplitOwnership, "two consumers under one owner's epoch", shared::twin),
    (AnomalyKind::ZombieAck, "an ack of an owner that was succeeded", shared::zombie),
    (AnomalyKind::DoublePossession, "given to another while it is held", shared::double),
    (AnomalyKind::BoundExceeded, "one consumer holds too many", shared::exceed),
    (AnomalyKind::KeyReorder, "a later message first", shared::reorder),
    (AnomalyKind::KeyReorder, "a key moves too early", shared::move_key),
    (AnomalyKind::Early, "a message before its time", dead::early),
    (AnomalyKind::LateExpired, "a message after its time", dead::late),
    (AnomalyKind::DlqWrong, "delivered beyond the last attempt", dead::beyond),
    (AnomalyKind::DlqWrong, "refused for the last time and not dead", dead::missing),
    (AnomalyKind::DlqWrong, "dead although acked", dead::acked),
    (AnomalyKind::DlqDuplicate, "dead twice", dead::twice),
];

/// A history about to be broken.
pub(crate) struct Broken {
    pub(crate) ops: Vec<Op>,
}

/// A delivery, with who got it and between when.
#[derive(Clone)]
pub(crate) struct Handed {
    pub(crate) consumer: String,
    pub(crate) asked: u64,
    pub(crate) came: u64,
    pub(crate) what: Delivery,
}

impl Broken {
    pub(crate) fn rules(&mut self) -> &mut Subscribe {
        let made = self.ops.iter_mut().find_map(|op| match &mut op.kind {
            Kind::Subscribe(call) => Some(call),
            _ => None,
        });
        made.expect("every history makes its subscription")
    }

    pub(crate) fn handed(&self) -> Vec<Handed> {
        let each = self.ops.iter().filter_map(|op| match &op.kind {
            Kind::Deliver(call) => Some((op, call)),
            _ => None,
        });
        let each = each.flat_map(|(op, call)| {
            call.deliveries.iter().flatten().map(|what| Handed {
                consumer: call.consumer.clone(),
                asked: op.invoke_ns,
                came: op.complete_ns.expect("what came has come"),
                what: what.clone(),
            })
        });
        each.collect()
    }

    /// Acks of single messages that were confirmed: who, which, when sent, when known, its entry.
    pub(crate) fn acks(&self) -> Vec<(Holder, u64, u64, u64, Option<u64>)> {
        let each = self.ops.iter().filter_map(|op| match &op.kind {
            Kind::Ack(Ack { by, of: AckOf::Single(offset), settled: Some(settled) }) if op.is_ok() => {
                Some((by.clone(), *offset, op.invoke_ns, op.complete_ns?, settled.index))
            }
            _ => None,
        });
        each.collect()
    }

    /// Whether a seek was even tried.
    pub(crate) fn was_sought(&self) -> bool {
        self.ops.iter().any(|op| matches!(op.kind, Kind::Seek(_)))
    }

    /// When the drain began.
    pub(crate) fn drained(&self) -> u64 {
        let drain = self.ops.iter().find(|op| matches!(op.kind, Kind::Drain(_)));
        drain.expect("every history ends with a drain").invoke_ns
    }

    pub(crate) fn letters(&mut self) -> &mut Vec<DeadLetter> {
        let letters = self.ops.iter_mut().find_map(|op| match &mut op.kind {
            Kind::DeadLetters(call) => call.letters.as_mut(),
            _ => None,
        });
        letters.expect("every history reads its dead letters")
    }

    pub(crate) fn is_dead(&mut self, offset: u64) -> bool {
        self.letters().iter().any(|letter| letter.source.offset == offset)
    }

    /// The message at an offset, as it was sent.
    pub(crate) fn sent(&mut self, offset: u64) -> Option<&mut Sent> {
        self.ops.iter_mut().find_map(|op| match &mut op.kind {
            Kind::Publish(call) if op.outcome == Outcome::Ok => {
                let nth = offset.checked_sub(call.appended?.first_offset?)?;
                call.messages.get_mut(usize::try_from(nth).ok()?)
            }
            _ => None,
        })
    }

    pub(crate) fn add(&mut self, from: u64, to: u64, kind: impl Into<Kind>) {
        let id = self.ops.len() as u64;
        let (outcome, complete_ns, kind) = (Outcome::Ok, Some(to), kind.into());
        self.ops.push(Op { id, process: id, invoke_ns: from, complete_ns, outcome, why: None, kind });
    }

    /// Hands a message out once more.
    pub(crate) fn hand(&mut self, from: u64, to: u64, consumer: &str, what: Delivery) {
        let at_ms = WALL_MS + to / 1_000_000;
        let what = Delivery { at_ms, lease_until_ms: None, ..what };
        let (topic, subscription, deliveries) = (TOPIC.into(), NAME.into(), Some(vec![what]));
        self.add(from, to, Deliver { topic, subscription, consumer: consumer.into(), deliveries });
    }

    /// When something first happens that can end what a consumer holds.
    pub(crate) fn let_go(&self, handed: &Handed) -> u64 {
        let (offset, who) = (handed.what.offset, handed.consumer.as_str());
        let mut first = self.drained();
        for op in self.ops.iter().filter(|op| op.outcome != Outcome::Fail) {
            let ends = match &op.kind {
                Kind::Ack(call) => match &call.of {
                    AckOf::Single(acked) => *acked == offset,
                    AckOf::Batch(acked) => acked.contains(&offset),
                    AckOf::Cumulative(end) => *end > offset,
                },
                Kind::Nack(call) => call.offset == offset && call.by.consumer == who,
                Kind::LeaseEnd(call) if call.offset == offset && call.by.consumer == who => return 0,
                Kind::Part(call) => call.consumer == who,
                Kind::Join(call) => call.consumer == who,
                Kind::Seek(_) => true,
                _ => false,
            };
            let end = if op.is_ok() { op.complete_ns.unwrap_or(u64::MAX) } else { u64::MAX };
            if ends && end >= handed.asked {
                first = first.min(op.invoke_ns);
            }
        }
        first
    }
}
