//! Plants in times and dead letters.

use std::collections::BTreeSet;

use meridian_history::*;

use super::Broken;
use crate::queue::{Chance, LEASE_MS, TOLERANCE_MS, WALL_MS};

pub(crate) fn early(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some(one) = chance.pick(&history.handed()) else { return false };
    let Some(sent) = history.sent(one.what.offset) else { return false };
    sent.times.deliver_at_ms = Some(one.what.at_ms + TOLERANCE_MS + 1);
    true
}

pub(crate) fn late(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some(one) = chance.pick(&history.handed()) else { return false };
    let Some(sent) = history.sent(one.what.offset) else { return false };
    sent.times.expire_at_ms = Some(WALL_MS + one.asked / 1_000_000 - TOLERANCE_MS - 2);
    true
}

pub(crate) fn beyond(history: &mut Broken, chance: &mut Chance) -> bool {
    let Some(max) = history.rules().attempts_max else { return false };
    let Some(one) = chance.pick(&history.handed()) else { return false };
    history.hand(one.came + 1, one.came + 1_000, &one.consumer, Delivery { attempt: max + 1, ..one.what });
    true
}

pub(crate) fn missing(history: &mut Broken, chance: &mut Chance) -> bool {
    let (max, sought) = (history.rules().attempts_max, history.was_sought());
    let Some(max) = max.filter(|_| !sought) else { return false };
    let refused = history.ops.iter().filter_map(|op| match &op.kind {
        Kind::Nack(call) if op.is_ok() && call.attempt == max => Some(call.offset),
        _ => None,
    });
    let refused: Vec<u64> = refused.collect();
    let Some(offset) = chance.pick(&refused) else { return false };
    let plain = history.sent(offset).is_some_and(|sent| sent.times.is_empty());
    let acked = history.ops.iter().any(|op| match &op.kind {
        Kind::Ack(call) if op.outcome != Outcome::Fail => match &call.of {
            AckOf::Single(acked) => *acked == offset,
            AckOf::Batch(acked) => acked.contains(&offset),
            AckOf::Cumulative(end) => *end > offset,
        },
        _ => false,
    });
    history.letters().retain(|letter| letter.source.offset != offset);
    plain && !acked
}

/// A dead letter of a message whose first attempt was acked well before another can have failed.
pub(crate) fn acked(history: &mut Broken, chance: &mut Chance) -> bool {
    if history.rules().attempts_max.is_none() || history.was_sought() {
        return false;
    }
    let mut names = BTreeSet::new();
    let unseen = history.ops.iter().any(|op| match &op.kind {
        Kind::Join(call) if op.is_ok() => !names.insert(call.consumer.clone()),
        Kind::Part(call) => call.how != Parting::Left,
        _ => false,
    });
    if unseen {
        return false;
    }
    let mut acks = history.acks();
    let first = (chance.below(acks.len() as u64) as usize).min(acks.len());
    acks.rotate_left(first);
    let Some((offset, id)) =
        acks.iter().find_map(|(by, offset, .., known, _)| untroubled(history, by, *offset, *known))
    else {
        return false;
    };
    let source = Source { partition: 0, log: "log".into(), offset };
    history.letters().push(DeadLetter { partition: 0, offset: 900, id, source });
    true
}

/// Which message it is, if it was given once, to a consumer that stayed, and acked before its lease can have ended.
fn untroubled(history: &mut Broken, by: &Holder, offset: u64, known: u64) -> Option<(u64, MessageId)> {
    let touched = history.ops.iter().any(|op| match &op.kind {
        Kind::Nack(call) => call.offset == offset,
        Kind::Part(call) => call.consumer == by.consumer,
        _ => false,
    });
    let came: Vec<_> = history.handed().into_iter().filter(|handed| handed.what.offset == offset).collect();
    let lasts = (LEASE_MS - TOLERANCE_MS) * 1_000_000;
    let [one] = came.as_slice() else { return None };
    let fits = !touched && !history.is_dead(offset) && known < one.asked + lasts;
    fits.then(|| (offset, one.what.id.clone()))
}

pub(crate) fn twice(history: &mut Broken, chance: &mut Chance) -> bool {
    if history.was_sought() {
        return false;
    }
    let Some(letter) = chance.pick(history.letters()) else { return false };
    history.letters().push(DeadLetter { offset: 900, ..letter });
    true
}
