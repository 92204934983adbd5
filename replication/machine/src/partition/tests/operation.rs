//! Turns random bytes into commands that are interesting in the model's present state.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_model::batch::FLAG_NAMED_PRODUCER;
use meridian_model::topology::Retention;
use meridian_model::{BatchBuilder, Codec, Message, ProducerId, UnixMs};

use super::coverage::{Coverage, Met};
use super::model::Model;
use crate::command::{AppendItem, PartitionCommand, PartitionPolicy};

/// Producers with these ids choose their name; the others make it up; 0 has none.
const NAMED: std::ops::Range<u128> = 1..4;
const UNNAMED: std::ops::Range<u128> = 4..9;

type Identity = (u128, bool, u32, u64, u32);

thread_local! {
    /// Batches are built once: equal identity, equal bytes.
    static BUILT: RefCell<BTreeMap<Identity, (Bytes, [u8; 32])>> = const { RefCell::new(BTreeMap::new()) };
}

/// Random bytes, read one after another.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn roll(&mut self) -> u64 {
        self.0.next().copied().map_or(0, u64::from)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

/// The command that these bytes mean now. `None`: an entry that is no command.
pub(super) fn command(bytes: &[u8; 12], model: &Model, met: &mut Coverage) -> Option<PartitionCommand> {
    let mut dice = Dice(bytes.iter());
    let operation = dice.roll();
    let stamp = stamp(&mut dice, model, met);
    let command = match operation {
        0..=8 if model.sealed || operation == 0 => {
            PartitionCommand::Seal { stamp, control_index: model.control_index + dice.below(2) }
        }
        0..=40 => PartitionCommand::Fence {
            stamp,
            producer: ProducerId::from_u128(1 + u128::from(dice.below(NAMED.end as u64 + 1))),
            epoch: fence_epoch(&mut dice, model),
        },
        41..=62 => set_policy(stamp, &mut dice, model),
        63..=98 => trim(stamp, &mut dice, model),
        99..=107 => {
            met.met(Met::OpSkip);
            return None;
        }
        _ => append(stamp, &mut dice, model, met),
    };
    met.met(match command {
        PartitionCommand::Append { .. } => Met::OpAppend,
        PartitionCommand::Fence { .. } => Met::OpFence,
        PartitionCommand::SetPolicy { .. } => Met::OpSetPolicy,
        PartitionCommand::Trim { .. } => Met::OpTrim,
        PartitionCommand::Seal { .. } => Met::OpSeal,
        PartitionCommand::Subscription(_) => unreachable!("none is drawn here"),
    });
    Some(command)
}

fn stamp(dice: &mut Dice<'_>, model: &Model, met: &mut Coverage) -> UnixMs {
    let start = model.stamp().0.max(1_000);
    UnixMs(match dice.below(16) {
        0..=5 => {
            met.met(Met::StampStalls);
            start
        }
        6 => {
            met.met(Met::StampGoesBack);
            start - 1 - dice.below(40)
        }
        7..=13 => start + 1 + dice.below(9),
        _ => start + 20 + dice.below(70),
    })
}

fn fence_epoch(dice: &mut Dice<'_>, model: &Model) -> u32 {
    // The producer is not known here, so go by the highest epoch of any named one.
    let highest = model.producers.values().filter(|k| k.named).map(|k| k.epoch).max().unwrap_or(0);
    (highest + 1).saturating_sub(dice.below(4) as u32)
}

fn set_policy(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> PartitionCommand {
    let control_index = (model.control_index + 2).saturating_sub(dice.below(5));
    let policy = PartitionPolicy {
        retention: Retention { age_ms: (dice.below(2) > 0).then_some(dice.roll()), bytes: None },
        segment_bytes: 400 << dice.below(8),
        segment_entries: 2 << dice.below(6),
    };
    PartitionCommand::SetPolicy { stamp, control_index, policy }
}

fn trim(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> PartitionCommand {
    let effective = stamp.0.max(model.stamp);
    let pick = dice.roll() as usize;
    let segment = (!model.closed.is_empty()).then(|| &model.closed[pick % model.closed.len()]);
    let before = match dice.below(8) {
        0..=2 => None,
        3 => Some(effective - dice.below(4)),
        4 => Some(effective.saturating_sub(dice.below(64))),
        _ => segment.map(|s| s.last_stamp + dice.below(2)),
    };
    let keep_bytes = match dice.below(8) {
        0..=2 => None,
        3 => Some(dice.roll() * 16),
        _ => segment.map(|s| (model.bytes_after(s.index) + 1).saturating_sub(dice.below(3))),
    };
    let forget = match dice.below(6) {
        0..=2 => None,
        3..=4 => Some(effective),
        _ => Some(effective.saturating_sub(dice.below(128))),
    };
    let (before, forget_producers_before) = (before.map(UnixMs), forget.map(UnixMs));
    PartitionCommand::Trim { stamp, before, keep_bytes, forget_producers_before }
}

fn append(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model, met: &mut Coverage) -> PartitionCommand {
    let first = item(stamp, dice, model);
    let mut items = vec![first];
    let more = dice.below(6);
    if more >= 4 {
        met.met(Met::EntryOfSeveralBatches);
        items.push(item(stamp, dice, model));
    }
    if more == 5 {
        // What follows the first one in its sequence, within the same entry: twice or more often.
        met.met(Met::SameProducerTwiceInEntry);
        for _ in 0..=dice.below(6) {
            items.extend(following(&items[0], items.len() as u64 - 1));
        }
    }
    PartitionCommand::Append { stamp, items }
}

fn following(item: &AppendItem, nth: u64) -> Option<AppendItem> {
    let batch = meridian_model::Batch::trust(item.batch.clone()).ok()?;
    let h = batch.header();
    let first = h.next_sequence() + nth.saturating_sub(1);
    Some(built((h.producer.as_u128(), h.is_named(), h.epoch, first, 1), item.opened_at))
}

fn item(stamp: UnixMs, dice: &mut Dice<'_>, model: &Model) -> AppendItem {
    let id = sender(dice, model);
    let producer = ProducerId::from_u128(id);
    let known = model.producers.get(&producer);
    let named = known.map_or(NAMED.contains(&id), |k| k.named);
    let (epoch, next) = (known.map_or(1, |k| k.epoch), model.expected(producer));
    let (manner, detail) = (dice.below(24), dice.roll());
    let count = 1 + (detail % 3) as u32;
    let effective = stamp.0.max(model.stamp);
    let opened_at = UnixMs(match detail % 4 {
        0 => effective.saturating_sub(model.bounds.horizon_ms + 1),
        1 => effective.saturating_sub(model.bounds.horizon_ms),
        2 => effective + detail / 8,
        _ => effective,
    });
    match manner {
        0..=8 => built((id, named, epoch, next, count), opened_at),
        9..=13 => resend(detail, producer, model)
            .unwrap_or_else(|| built((id, named, epoch, next, count), opened_at)),
        14 => built((id, named, epoch, next + 1 + detail % 3, count), opened_at),
        15..=16 => built((id, named, epoch, next.saturating_sub(1 + detail % 5), count), opened_at),
        17 => built((id, named, epoch.saturating_sub(1), next, count), opened_at),
        18..=20 => built((id, named, epoch + 1, 0, count), opened_at),
        21 => built((id, named, epoch + 1, 1 + detail % 2, count), opened_at),
        22 => built((id, !named, epoch, next, count), opened_at),
        _ => AppendItem::new(Bytes::from(vec![detail as u8; 7 + detail as usize]), opened_at),
    }
}

/// Mostly one whom the partition remembers, so that long sequences come about.
fn sender(dice: &mut Dice<'_>, model: &Model) -> u128 {
    let roll = dice.roll();
    match model.producers.len() as u64 {
        known @ 1.. if roll < 200 => {
            model.producers.keys().nth((roll % known) as usize).map_or(0, ProducerId::as_u128)
        }
        _ => u128::from(roll) % UNNAMED.end,
    }
}

/// One of the latest batches of this producer, whatever its epoch.
fn resend(detail: u64, producer: ProducerId, model: &Model) -> Option<AppendItem> {
    let sent: Vec<_> = model.batches.iter().rev().filter(|b| b.producer == producer).take(8).collect();
    let again = sent.get(detail as usize % sent.len().max(1))?;
    let identity = (producer.as_u128(), again.named, again.epoch, again.first, again.count);
    Some(built(identity, UnixMs(again.stamp)))
}

fn built(identity: Identity, opened_at: UnixMs) -> AppendItem {
    let (batch, leaf) =
        BUILT.with_borrow_mut(|built| built.entry(identity).or_insert_with(|| build(identity)).clone());
    AppendItem { batch, leaf, opened_at }
}

fn build((producer, named, epoch, first, count): Identity) -> (Bytes, [u8; 32]) {
    let mut builder = BatchBuilder::new(Codec::None)
        .producer(ProducerId::from_u128(producer), epoch, first)
        .flags(if named { FLAG_NAMED_PRODUCER } else { 0 });
    (0..count).for_each(|n| builder.push(&Message::new(vec![n as u8; 1 + (first % 40) as usize])));
    let batch = builder.build().expect("a batch").into_bytes();
    let leaf = crate::command::leaf(&batch);
    (batch, leaf)
}
