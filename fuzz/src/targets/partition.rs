//! A partition's checkpoint: rows that no machine left are refused, in memory that they account for. What is
//! restored takes commands without harm, gives offsets without gaps, and leaves rows of which the same machine is
//! restored again.

use bytes::Bytes;
use meridian_machine::command::{
    AppendItem, PartitionCommand, PartitionPolicy, SettlePart, StartAt, SubscriptionCommand,
};
use meridian_machine::{At, Command, Effect, PartitionMachine, PartitionReply};
use meridian_model::batch::FLAG_NAMED_PRODUCER;
use meridian_model::subscription::{DeadLetter, Nack, Settlement, SubscriptionRules};
use meridian_model::{
    BatchBuilder, Codec, LogId, Message, Offset, OffsetRange, ProducerId, SubscriptionId, UnixMs,
};

use super::{Met, room};
use crate::heal;
use crate::story::{self, Disk, Story};

const LOG: LogId = LogId::from_u128(0xfeed);

/// The input is rows, then entries.
pub(super) fn check(input: &[u8]) -> Met {
    story::check_halves(
        input,
        room(input, 64),
        |disk: &Disk| PartitionMachine::restore(LOG, disk.rows()),
        apply,
    )
}

/// Applies one entry, and compares what can be seen with what was there before and what was done.
fn apply(machine: &mut PartitionMachine, entry: Option<&Bytes>) -> Vec<Effect> {
    let applied = machine.last_applied();
    let at = At { term: applied.term, index: applied.index + 1 };
    let (start, end, held) = (machine.start(), machine.end(), machine.log_bytes());
    let mut effects = Vec::new();
    let reply = match entry.map(|entry| (entry.len() as u64, Command::decode(entry.clone()))) {
        Some((bytes, Ok(Command::Partition(command)))) => {
            Some(machine.apply(at, bytes, &healed(command), &mut effects))
        }
        _ => {
            machine.skip(at, &mut effects);
            None
        }
    };
    let (end, stored) = stored(at, end, &effects);
    assert_eq!(machine.end(), end, "an offset for each message that was stored");
    let removed = match reply {
        Some(
            PartitionReply::Trimmed { removed_bytes, .. }
            | PartitionReply::BacklogTrimmed { removed_bytes, .. },
        ) => removed_bytes,
        _ => 0,
    };
    assert_eq!(machine.log_bytes() + removed, held + stored, "bytes come with batches and go with segments");
    assert!(start <= machine.start(), "the log's start never goes back");
    assert_segments(machine);
    effects
}

/// What the effects of an entry store: the offset after it, where `end` was the one before, and the bytes.
fn stored(at: At, mut end: Offset, effects: &[Effect]) -> (Offset, u64) {
    let mut bytes = 0;
    for effect in effects {
        if let Effect::Index { base, row } = effect {
            assert_eq!((row.index, *base), (at.index, end), "a batch begins where the one before it ended");
            end = base.plus(u64::from(row.count));
            bytes += u64::from(row.bytes);
        }
    }
    (end, bytes)
}

/// Segments follow each other from the log's start on, in entries that were applied and offsets that were given.
fn assert_segments(machine: &PartitionMachine) {
    let mut index = machine.start_boundary().map_or(0, |boundary| boundary.at.index);
    let mut end = machine.start();
    for segment in machine.segments() {
        assert!(index < segment.at.index && end <= segment.end, "{segment:?} follows {index} and {end}");
        (index, end) = (segment.at.index, segment.end);
    }
    assert!(index <= machine.last_applied().index && end <= machine.end(), "{index} and {end} are beyond it");
}

/// Batches get past the machine's look at their header: whoever can propose can compute a checksum.
fn healed(command: PartitionCommand) -> PartitionCommand {
    match command {
        PartitionCommand::Append { stamp, items } => {
            let heal =
                |item: AppendItem| AppendItem::new(heal::batch_length(&item.batch).into(), item.opened_at);
            PartitionCommand::Append { stamp, items: items.into_iter().map(heal).collect() }
        }
        other => other,
    }
}

fn batch(producer: u128, flags: u32, epoch: u32, first: u64, messages: usize) -> Bytes {
    let mut builder =
        BatchBuilder::new(Codec::None).producer(ProducerId::from_u128(producer), epoch, first).flags(flags);
    (0..messages).for_each(|_| builder.push(&Message::new("m").with_key("k")));
    builder.build().expect("a batch").into_bytes()
}

fn subscribe(stamp: UnixMs) -> SubscriptionCommand {
    let rules = SubscriptionRules { attempts_max: Some(1), ..SubscriptionRules::default() };
    let (id, start) = (SubscriptionId(2), StartAt::Earliest);
    SubscriptionCommand::SetSubscription { stamp, control_index: 2, id, rules, start }
}

/// The last message is acked, and the one before it has failed for good.
fn settle(stamp: UnixMs) -> SubscriptionCommand {
    let settlement = Settlement {
        acked: vec![OffsetRange::one(Offset(11))],
        nacked: vec![Nack { offset: Offset(8), not_before: stamp }],
        dead: vec![DeadLetter { offset: Offset(10), destination: LogId::from_u128(0xdead) }],
        ..Settlement::default()
    };
    let part = SettlePart { id: SubscriptionId(2), seek_epoch: 0, owner_epoch: None, settlement };
    SubscriptionCommand::Settle { stamp, parts: vec![part] }
}

fn history() -> Vec<Option<Bytes>> {
    let policy = PartitionPolicy { segment_bytes: 500, segment_entries: 3, ..PartitionPolicy::default() };
    let stamp = |second: u64| UnixMs(1_700_000_000_000 + second * 1_000);
    let append = |second: u64, batches: Vec<Bytes>| {
        let items = batches.into_iter().map(|batch| AppendItem::new(batch, stamp(0))).collect();
        PartitionCommand::Append { stamp: stamp(second), items }
    };
    let (named, someone) = (FLAG_NAMED_PRODUCER, 0);
    let commands = [
        PartitionCommand::SetPolicy { stamp: stamp(0), control_index: 1, policy },
        PartitionCommand::Fence { stamp: stamp(1), producer: ProducerId::from_u128(9), epoch: 1 },
        append(2, vec![batch(7, someone, 1, 0, 3), batch(9, named, 1, 0, 2), batch(0, someone, 0, 0, 1)]),
        append(3, vec![batch(7, someone, 1, 3, 1), batch(7, someone, 1, 0, 3)]),
        append(90, vec![batch(9, named, 1, 2, 4)]),
        PartitionCommand::Trim {
            stamp: stamp(91),
            before: Some(stamp(60)),
            keep_bytes: Some(10_000),
            forget_producers_before: Some(stamp(1)),
        },
        append(92, vec![batch(9, named, 1, 6, 1)]),
        PartitionCommand::Subscription(subscribe(stamp(92))),
        PartitionCommand::Subscription(settle(stamp(92))),
        PartitionCommand::Seal { stamp: stamp(93), control_index: 3 },
    ];
    let mut entries: Vec<Option<Bytes>> =
        commands.into_iter().map(|command| Some(Command::Partition(command).encode())).collect();
    entries.insert(4, None);
    entries
}

/// A partition's life: all of it as entries, then as a checkpoint at each of its steps with the rest as entries.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let history = history();
    let (mut machine, mut disk) = (PartitionMachine::new(LOG), Disk::default());
    let mut seeds = vec![Story::write(&disk, &history)];
    for (entry, done) in history.iter().zip(1..) {
        disk.write(&apply(&mut machine, entry.as_ref()));
        seeds.push(Story::write(&disk, &history[done..]));
    }
    seeds
}
