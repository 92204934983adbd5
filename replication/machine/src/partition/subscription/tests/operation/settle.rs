//! Settlements: mostly what a dispatcher that reads well would say, and now and then what none should.

use meridian_model::subscription::{DeadLetter, DelayedRange, Nack, Settlement};
use meridian_model::{Offset, OffsetRange, OffsetRanges, Place, UnixMs};

use super::super::model::{Model, Sub};
use super::{Dice, destination, id};
use crate::command::{SettlePart, SubscriptionCommand};

pub(super) fn command(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let now = stamp.0.max(model.stamp);
    let count = match dice.below(12) {
        0..=6 => 1,
        7..=9 => 2,
        10 => 3,
        _ => 4,
    };
    SubscriptionCommand::Settle { stamp, parts: (0..count).map(|_| part(now, dice, model)).collect() }
}

fn part(now: u64, dice: &mut Dice<'_>, model: &Model) -> SettlePart {
    let id = id(dice, model);
    let sub = model.subs.get(&id.0);
    let (seek_epoch, owner_epoch) = sub.map_or((0, 0), |sub| (sub.seek_epoch, sub.owner_epoch));
    let epochs = dice.roll();
    let mut settlement = Settlement::default();
    if let Some(sub) = sub {
        match dice.below(6) {
            0 => settlement.delayed.floor = Some(floor(now, dice, sub, model)),
            _ => (0..=dice.below(3)).for_each(|_| decide(&mut settlement, now, dice, sub, model)),
        }
    }
    SettlePart {
        id,
        seek_epoch: if epochs.is_multiple_of(16) {
            (seek_epoch + 1).saturating_sub(epochs / 128 * 2)
        } else {
            seek_epoch
        },
        owner_epoch: match epochs / 16 {
            0 => None,
            1 => owner_epoch.checked_sub(1),
            _ => Some(owner_epoch),
        },
        settlement,
    }
}

fn decide(s: &mut Settlement, now: u64, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    match dice.below(32) {
        0 => ack(s, dice, sub, model),
        1 => join(s, sub, model),
        2..=3 => scatter(s, dice, sub, model),
        4 => join(s, sub, model),
        5 => cumulative(s, dice, sub, model),
        6 => s.delayed.passed.push(ahead(dice, sub, model)),
        7 => s.acked.push(anywhere(dice, model)),
        8 => s.expired.push(ahead(dice, sub, model)),
        9..=11 => fail(s, now, dice, sub, model),
        12..=17 => bury(s, dice, sub, model),
        18..=26 => (0..=dice.below(3)).for_each(|_| delayed(s, now, dice, sub, model)),
        27..=29 => s.delayed.floor = Some(floor(now, dice, sub, model)),
        30 => s.delayed.passed.push(ahead(dice, sub, model)),
        _ => {
            let beyond = OffsetRange::one(Offset(model.end + dice.below(2)));
            match dice.below(3) {
                0 => s.cumulative = Some(beyond.to),
                1 => s.nacked.push(Nack { offset: beyond.from, not_before: UnixMs(0) }),
                _ => s.acked.push(beyond),
            }
        }
    }
}

/// Close to the floor.
fn ahead(dice: &mut Dice<'_>, sub: &Sub, model: &Model) -> OffsetRange {
    let from = (sub.floor + dice.below(10)).min(model.end);
    OffsetRange::new(Offset(from), Offset((from + 1 + dice.below(4)).min(model.end)))
}

fn anywhere(dice: &mut Dice<'_>, model: &Model) -> OffsetRange {
    let from = dice.roll() * model.end / 256;
    OffsetRange::new(Offset(from), Offset((from + dice.below(6)).min(model.end)))
}

/// The delayed messages among these that nobody has passed.
fn pass(s: &mut Settlement, range: OffsetRange, sub: &Sub, model: &Model) {
    let delayed = model.due.range(range.from.0..range.to.0).map(|(offset, _)| *offset);
    let unpassed: OffsetRanges =
        delayed.filter(|o| !sub.is_settled((0, *o))).map(|o| OffsetRange::one(Offset(o))).collect();
    s.delayed.passed.extend(unpassed.iter());
}

fn ack(s: &mut Settlement, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let range = ahead(dice, sub, model);
    pass(s, range, sub, model);
    s.acked.push(range);
}

/// Every other message, so that holes stay.
fn scatter(s: &mut Settlement, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let from = sub.floor + 1 + dice.below(4);
    for offset in [from, from + 2, from + 4].into_iter().filter(|offset| *offset < model.end) {
        let range = OffsetRange::one(Offset(offset));
        pass(s, range, sub, model);
        s.acked.push(range);
    }
}

/// What lies between the first two ranges.
fn join(s: &mut Settlement, sub: &Sub, model: &Model) {
    if let [(_, from), (to, _), ..] = sub.main_ranges()[..] {
        let range = OffsetRange::new(Offset(from), Offset(to));
        pass(s, range, sub, model);
        s.acked.push(range);
    }
}

fn cumulative(s: &mut Settlement, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let below = Offset((sub.floor + dice.below(16)).min(model.end));
    if dice.below(8) > 0 {
        pass(s, OffsetRange::new(Offset(sub.floor), below), sub, model);
    }
    s.cumulative = Some(below);
}

fn fail(s: &mut Settlement, now: u64, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let failed: Vec<u64> = sub.attempts.keys().filter(|at| at.0 == 0).map(|at| at.1).collect();
    let offset = match (dice.below(4), dice.pick(&failed)) {
        (0..=1, Some(failed)) => failed,
        (2, _) => dice.roll() * model.end / 256,
        _ => sub.floor + dice.below(8),
    };
    let offset = Offset(offset.min(model.end.saturating_sub(1)));
    s.nacked.push(Nack { offset, not_before: UnixMs(now + dice.below(9)) });
    if dice.below(3) == 0 && offset.0 + 1 < model.end {
        s.nacked.push(Nack { offset: offset.plus(1), not_before: UnixMs(now) });
    }
}

fn bury(s: &mut Settlement, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let Some(most) = sub.rules.attempts_max.or((dice.below(8) == 0).then_some(1)) else { return };
    let last =
        |(at, attempts): (&(u64, u64), &(u32, u64))| (at.0 == 0 && attempts.0 + 1 >= most).then_some(at.1);
    let due: Vec<u64> = sub.attempts.iter().filter_map(last).collect();
    let offset = match (dice.below(8), dice.pick(&due)) {
        (0, _) => dice.roll() * model.end / 256,
        (1..=3, Some(offset)) => offset,
        (1..=6, _) if most > 1 => return,
        _ => sub.floor + dice.below(6),
    };
    let offset = Offset(offset.min(model.end.saturating_sub(1)));
    s.dead.push(DeadLetter { offset, destination: destination(dice) });
    if most == 1 && dice.below(4) > 0 && offset.0 + 1 < model.end {
        s.dead.push(DeadLetter { offset: offset.plus(1), destination: destination(dice) });
    }
}

/// Something about a message of the delayed lane: mostly one that is due and pending.
fn delayed(s: &mut Settlement, now: u64, dice: &mut Dice<'_>, sub: &Sub, model: &Model) {
    let all: Vec<(u64, u64)> = model.due.range(model.start..).map(|(offset, due)| (*due, *offset)).collect();
    let pending: Vec<(u64, u64)> =
        all.iter().copied().filter(|at| at.0 <= now && !sub.is_settled(*at)).collect();
    let failed: Vec<(u64, u64)> = sub.attempts.keys().filter(|at| at.0 > 0).copied().collect();
    let roll = dice.below(16);
    let picked = match roll {
        0..=4 => dice.pick(&all),
        5..=9 => dice.pick(&failed).or_else(|| dice.pick(&pending)),
        _ => dice.pick(&pending),
    };
    let Some((due, offset)) = picked else { return };
    // Now and then a time that is not the message's own.
    let deliver_at = UnixMs(match dice.below(24) {
        0..=1 => due - 1 - dice.below(3),
        2 => 0,
        _ => due,
    });
    let to = (offset + 1 + dice.below(3)).min(model.end);
    let to = (offset + 1..to).take_while(|o| model.due.get(o) == Some(&due)).last().map_or(offset, |o| o) + 1;
    let range = DelayedRange { deliver_at, range: OffsetRange::new(Offset(offset), Offset(to)) };
    let (not_before, offset) = (UnixMs(now + dice.below(5)), Offset(offset));
    match dice.below(16) {
        0..=5 => s.delayed.acked.push(range),
        6..=7 => s.delayed.expired.push(range),
        8..=10 => s.delayed.nacked.push((deliver_at, Nack { offset, not_before })),
        _ => s.delayed.dead.push((deliver_at, DeadLetter { offset, destination: destination(dice) })),
    }
}

/// The first delayed message that is pending, or now.
fn floor(now: u64, dice: &mut Dice<'_>, sub: &Sub, model: &Model) -> Place {
    let pending = model.due.iter().map(|(offset, due)| (*due, *offset)).filter(|at| !sub.is_settled(*at));
    let truly = pending.min().unwrap_or((now, model.end)).min((now, model.end));
    let failed: Vec<(u64, u64)> = sub.attempts.keys().filter(|at| at.0 > 0).copied().collect();
    let (due, offset) = match (dice.below(12), dice.pick(&failed)) {
        (0..=2, _) => (now + dice.below(3), model.end),
        (11, _) => (truly.0 + dice.below(3), truly.1),
        (3.., Some((due, offset))) => (due, offset + 1),
        _ => truly,
    };
    Place { deliver_at: UnixMs(due), offset: Offset(offset) }
}
