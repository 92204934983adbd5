//! Plants in what is delivered, acked and settled.

use meridian_history::*;

use super::{Broken, GHOST};
use crate::queue::Chance;

/// Takes back every ack of a message; false if that cannot be done without touching others.
fn unack(history: &mut Broken, offset: u64) -> bool {
    let cumulative = history.ops.iter().any(|op| match &op.kind {
        Kind::Ack(call) => matches!(call.of, AckOf::Cumulative(end) if end > offset),
        _ => false,
    });
    history.ops.retain(|op| match &op.kind {
        Kind::Ack(call) => call.of != AckOf::Single(offset) && call.of != AckOf::Batch(vec![offset]),
        _ => true,
    });
    !cumulative
}

/// A message that only its ack settled: an ack may be confirmed of one that had died before.
fn lasting(history: &mut Broken, chance: &mut Chance) -> Option<u64> {
    let acks = history.acks();
    let (_, offset, ..) = chance.pick(&acks)?;
    let sought = history.was_sought();
    let plain = history.sent(offset).is_some_and(|sent| sent.times.is_empty());
    (plain && !sought && !history.is_dead(offset)).then_some(offset)
}

pub(crate) fn lose(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some(offset) = lasting(history, chance) else { return false };
    for op in &mut history.ops {
        if let Kind::Deliver(Deliver { deliveries: Some(deliveries), .. }) = &mut op.kind {
            deliveries.retain(|delivery| delivery.offset != offset);
        }
    }
    unack(history, offset)
}

pub(crate) fn forget_ack(history: &mut Broken, chance: &mut Chance) -> bool {
    lasting(history, chance).is_some_and(|offset| unack(history, offset))
}

pub(crate) fn unsettle(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((_, offset, ..)) = chance.pick(&history.acks()).filter(|_| !history.was_sought()) else {
        return false;
    };
    for op in &mut history.ops {
        if let Kind::FinalState(FinalState { state: Some(state), .. }) = &mut op.kind {
            state.ranges = vec![Span { from: offset + 1, to: state.floor }];
            state.floor = offset;
        }
    }
    true
}

pub(crate) fn redeliver(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((by, offset, _, known, _)) = chance.pick(&history.acks()) else { return false };
    let given = history.handed().into_iter().find(|handed| handed.what.offset == offset);
    let Some(mut given) = given else { return false };
    given.what.epochs = by.epochs;
    history.hand(known + 1, known + 1_000, GHOST, given.what);
    true
}

pub(crate) fn redeliver_by_entry(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some((by, offset, sent, _, Some(index))) = chance.pick(&history.acks()) else { return false };
    let given = history.handed().into_iter().find(|handed| handed.what.offset == offset);
    let Some(mut given) = given else { return false };
    given.what.epochs = Epochs { dispatch: index + 1, ..by.epochs };
    // By its times it may have been under way.
    history.hand(sent, sent + 1_000, GHOST, given.what);
    true
}
