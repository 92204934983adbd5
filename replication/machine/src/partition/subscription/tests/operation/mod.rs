//! Turns random bytes into commands that are interesting in the model's present state.

mod settle;

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_model::subscription::{SubscriptionKind, SubscriptionRules};
use meridian_model::{
    BatchBuilder, Codec, ConsumerId, LogId, Message, Offset, Place, SubscriptionId, UnixMs,
};

use super::coverage::{Coverage, Met};
use super::model::{Model, Sub};
use crate::command::{AppendItem, LiveDelayed, PartitionCommand, StartAt, SubscriptionCommand};

thread_local! {
    /// Batches are built once: equal count and time, equal bytes.
    static BUILT: RefCell<BTreeMap<(u64, u64), Bytes>> = const { RefCell::new(BTreeMap::new()) };
}

/// Random bytes, read one after another.
pub(super) struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    pub(super) fn roll(&mut self) -> u64 {
        self.0.next().copied().map_or(0, u64::from)
    }

    /// Below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    /// One of those, if there is any.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let roll = self.roll() as usize;
        (!from.is_empty()).then(|| from[roll % from.len()].clone())
    }
}

/// What a leader may have read earlier, true at its time.
#[derive(Default)]
pub(super) struct Past {
    live: Vec<LiveDelayed>,
}

/// The command that these bytes mean now. `None`: an entry that is no command.
pub(super) fn command(
    bytes: &[u8],
    model: &Model,
    past: &mut Past,
    met: &mut Coverage,
) -> Option<PartitionCommand> {
    let mut dice = Dice(bytes.iter());
    past.live.push(LiveDelayed { as_of: model.index, from: Offset(model.live_delayed()) });
    let (operation, stamp) = (dice.roll(), stamp(&mut dice, model, met));
    let dice = &mut dice;
    let (name, command) = match operation {
        0..=31 => (Met::OpAppend, append(stamp, dice, model)),
        32..=52 => (Met::OpSet, set(stamp, dice, model).into()),
        53..=63 => (Met::OpDrop, drop_subscription(stamp, dice, model).into()),
        64 => (Met::OpBeginDispatch, SubscriptionCommand::BeginDispatch { stamp }.into()),
        65..=72 => (Met::OpOwn, own(stamp, dice, model).into()),
        73..=81 => (Met::OpSeek, seek(stamp, dice, model).into()),
        82..=98 => (Met::OpMoved, moved(stamp, dice, model).into()),
        99..=104 => (Met::OpSweep, sweep(stamp, dice, model).into()),
        105..=111 => (Met::OpTrim, trim(stamp, dice, model)),
        112..=150 => (Met::OpTrimBacklog, trim_backlog(stamp, dice, model, past).into()),
        151..=152 if dice.below(2) == 0 => (Met::OpSeal, PartitionCommand::Seal { stamp, control_index: 9 }),
        151..=153 => {
            met.met(Met::OpSkip);
            return None;
        }
        // Nobody to settle for, or nobody who may: mostly that is changed first.
        _ if model.subs.is_empty() && !model.sealed && dice.below(16) > 0 => {
            (Met::OpSet, set(stamp, dice, model).into())
        }
        _ if model.subs.values().any(is_orphan) && dice.below(4) > 0 => {
            (Met::OpOwn, adopt(stamp, model).into())
        }
        _ => (Met::OpSettle, settle::command(stamp, dice, model).into()),
    };
    met.met(name);
    Some(command)
}

impl From<SubscriptionCommand> for PartitionCommand {
    fn from(command: SubscriptionCommand) -> Self {
        PartitionCommand::Subscription(command)
    }
}

fn stamp(dice: &mut Dice<'_>, model: &Model, met: &mut Coverage) -> UnixMs {
    let now = model.stamp.max(1_000);
    UnixMs(match dice.below(8) {
        0..=3 => {
            met.met(Met::StampStalls);
            now
        }
        4 => {
            met.met(Met::StampGoesBack);
            now - 1 - dice.below(40)
        }
        _ => now + 1 + dice.below(6),
    })
}

fn append(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> PartitionCommand {
    let now = stamp.0.max(model.stamp);
    let items = (0..=dice.below(3)).map(|_| {
        let at = match dice.below(8) {
            0..=4 => 0,
            5 => now.saturating_sub(dice.below(3)),
            6 => now + 1 + dice.below(12),
            _ => now + 1 + dice.below(60),
        };
        let batch = built(1 + dice.below(4), at);
        AppendItem { batch, leaf: [7; 32], opened_at: stamp }
    });
    PartitionCommand::Append { stamp, items: items.collect() }
}

pub(super) fn built(count: u64, deliver_at: u64) -> Bytes {
    let build = || {
        let mut builder = BatchBuilder::new(Codec::None).deliver_at(UnixMs(deliver_at));
        (0..count).for_each(|_| builder.push(&Message::new("m")));
        builder.build().expect("a batch").into_bytes()
    };
    BUILT.with_borrow_mut(|built| built.entry((count, deliver_at)).or_insert_with(build).clone())
}

/// Mostly one that is there.
fn id(dice: &mut Dice<'_>, model: &Model) -> SubscriptionId {
    let known: Vec<u64> = model.subs.keys().copied().collect();
    SubscriptionId(match dice.below(16) {
        0 => 1 + dice.below(6),
        _ => dice.pick(&known).unwrap_or(1),
    })
}

fn set(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let known: Vec<u64> = model.subs.keys().copied().collect();
    let id = match dice.below(3) {
        0 => dice.pick(&known).unwrap_or(2),
        _ => 1 + dice.below(6),
    };
    let current = model.subs.get(&id).map_or(1, |sub| sub.control_index);
    let kind = match (dice.below(2), model.subs.get(&id)) {
        (1.., Some(sub)) => sub.rules.kind,
        _ => match dice.below(4) {
            0 => SubscriptionKind::Exclusive,
            1 => SubscriptionKind::Shared,
            2 => SubscriptionKind::KeyShared,
            _ => SubscriptionKind::Failover,
        },
    };
    let attempts_max = [None, Some(1), Some(1), Some(1), Some(2)][dice.below(5) as usize];
    SubscriptionCommand::SetSubscription {
        stamp,
        control_index: (current + 1).saturating_sub(dice.below(3)),
        id: SubscriptionId(id),
        rules: SubscriptionRules { kind, attempts_max, ..SubscriptionRules::default() },
        start: start(dice, model),
    }
}

fn start(dice: &mut Dice<'_>, model: &Model) -> StartAt {
    let span = model.end - model.start;
    let near = match dice.below(10) {
        0 => return StartAt::Latest,
        1 => return StartAt::Earliest,
        2 => model.end + dice.below(6),
        3..=4 => model.start.saturating_sub(1 + dice.below(3)),
        _ => model.start + dice.roll() % (span + 1),
    };
    let rank = model.rank(near);
    let delayed_before = match dice.below(4) {
        0 => rank + 1 + dice.below(3),
        1 => rank.saturating_sub(dice.below(4)),
        _ => rank,
    };
    StartAt::Offset { offset: Offset(near), delayed_before }
}

fn drop_subscription(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let gone: Vec<u64> = model.gone.keys().copied().collect();
    let id = match dice.below(3) {
        0 if dice.below(2) > 0 => SubscriptionId(10 + dice.below(4)),
        0 => SubscriptionId(dice.pick(&gone).unwrap_or(9)),
        _ => id(dice, model),
    };
    let current = model.subs.get(&id.0).map(|sub| sub.control_index).or(model.gone.get(&id.0).copied());
    let control_index = (current.unwrap_or(0) + 1).saturating_sub(dice.below(4));
    SubscriptionCommand::DropSubscription { stamp, control_index, id }
}

fn own(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let owned: Vec<u64> =
        model.subs.iter().filter(|(_, s)| s.rules.kind.is_owned()).map(|(id, _)| *id).collect();
    let id = match dice.below(3) {
        0 => id(dice, model),
        _ => SubscriptionId(dice.pick(&owned).unwrap_or(1)),
    };
    let owner = (dice.below(3) > 0).then(|| ConsumerId::from_u128(1 + u128::from(dice.below(3))));
    SubscriptionCommand::Own { stamp, id, owner }
}

fn is_orphan(sub: &Sub) -> bool {
    sub.rules.kind.is_owned() && sub.owner.is_none()
}

fn adopt(stamp: UnixMs, model: &Model) -> SubscriptionCommand {
    let orphan = model.subs.iter().find(|(_, sub)| is_orphan(sub)).map_or(1, |(id, _)| *id);
    SubscriptionCommand::Own { stamp, id: SubscriptionId(orphan), owner: Some(ConsumerId::from_u128(4)) }
}

fn seek(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    SubscriptionCommand::Seek { stamp, id: id(dice, model), to: start(dice, model) }
}

pub(super) fn destination(dice: &mut Dice<'_>) -> LogId {
    // The third is one too many.
    LogId::from_u128(match dice.below(8) {
        0..=2 => 1,
        3..=4 => 2,
        _ => 3,
    })
}

fn moved(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let least = [0, 1, 2, 2, 2][dice.below(5) as usize];
    let is_busy = |sub: &Sub| !sub.sent.is_empty() && sub.on_their_way() >= least;
    let busy: Vec<u64> = model.subs.iter().filter(|(_, sub)| is_busy(sub)).map(|(id, _)| *id).collect();
    let id = match dice.below(8) {
        0 => id(dice, model),
        _ => dice.pick(&busy).map_or_else(|| id(dice, model), SubscriptionId),
    };
    let known: Vec<(LogId, u64, u64)> = model.subs.get(&id.0).map_or(Vec::new(), |sub| {
        sub.sent.iter().map(|(to, (sent, arrived))| (*to, sent.len() as u64, *arrived)).collect()
    });
    let longest = known.iter().max_by_key(|(_, sent, arrived)| sent - arrived).copied();
    let picked = if dice.below(3) > 0 { longest } else { dice.pick(&known) };
    let (destination, through_sequence) = match (dice.below(8), picked) {
        (4, Some((to, sent, arrived))) => (to, arrived + dice.roll() % (sent - arrived).max(1)),
        (5.., Some((to, sent, arrived))) => (to, arrived + dice.roll() % (sent - arrived).max(2) / 2),
        (1..=3, Some((to, sent, arrived))) => {
            (to, dice.roll() % if arrived > 0 { arrived } else { sent + 1 })
        }
        _ => (destination(dice), dice.below(3)),
    };
    SubscriptionCommand::Moved { stamp, id, destination, through_sequence }
}

fn sweep(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> SubscriptionCommand {
    let below: Vec<(u64, u64)> = model.rows.iter().filter(|at| at.1 < model.start).copied().collect();
    let any: Vec<(u64, u64)> = model.rows.iter().copied().collect();
    let batches = (0..1 + dice.below(5)).map(|_| {
        let from = if dice.below(4) > 0 { &below } else { &any };
        let (due, offset) = dice.pick(from).unwrap_or((5, 0));
        Place { deliver_at: UnixMs(due), offset: Offset(offset) }
    });
    SubscriptionCommand::SweepDelayed { stamp, batches: batches.collect() }
}

fn trim(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> PartitionCommand {
    let (before, keep_bytes) = trim_bounds(stamp, dice, model);
    PartitionCommand::Trim { stamp, before, keep_bytes, forget_producers_before: None }
}

fn trim_bounds(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> (Option<UnixMs>, Option<u64>) {
    let now = stamp.0.max(model.stamp);
    let segment = dice.pick(&model.closed);
    let before = match dice.below(6) {
        0..=1 => None,
        2 => Some(now + dice.below(2)),
        3 => Some(now.saturating_sub(dice.below(40))),
        _ => segment.map(|s| s.last_stamp + dice.below(2)),
    };
    let keep = match dice.below(4) {
        0..=1 => None,
        _ => segment.map(|s| (model.bytes_after(s.index) + 1).saturating_sub(dice.below(3))),
    };
    (before.map(UnixMs), keep)
}

fn trim_backlog(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model, past: &Past) -> SubscriptionCommand {
    let (before, keep_bytes) = trim_bounds(stamp, dice, model);
    let live_delayed = match dice.below(8) {
        0 => None,
        1..=3 => dice.pick(&past.live[past.live.len().saturating_sub(12)..]),
        _ => past.live.last().copied(),
    };
    SubscriptionCommand::TrimBacklog {
        stamp,
        before,
        keep_bytes,
        forget_producers_before: None,
        live_delayed,
        drop_backlog: dice.below(3) == 0,
    }
}
