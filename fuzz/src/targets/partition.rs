//! A partition's checkpoint: rows that no machine left are refused, in memory that they account for. What is
//! restored takes commands without harm, and leaves rows of which the same machine is restored again.

use bytes::Bytes;
use meridian_machine::command::{AppendItem, PartitionCommand, PartitionPolicy};
use meridian_machine::{At, Command, CorruptState, Effect, PartitionMachine};
use meridian_model::batch::FLAG_NAMED_PRODUCER;
use meridian_model::{BatchBuilder, Codec, LogId, Message, ProducerId, UnixMs};

use super::{Met, room};
use crate::story::{Disk, Story};
use crate::{heal, memory};

const LOG: LogId = LogId::from_u128(0xfeed);

/// The input is rows, then entries. Halfway through these a second machine is restored, and must go on like the first.
pub(super) fn check(input: &[u8]) -> Met {
    let Story { mut disk, entries } = Story::read(input);
    let restored = memory::within(room(input, 64), || PartitionMachine::restore(LOG, disk.rows()));
    let Ok(mut machine) = restored else { return Met::Refused };
    let half = entries.len() / 2;
    for entry in &entries[..half] {
        disk.write(&apply(&mut machine, entry.as_ref()));
    }
    let mut twin = match PartitionMachine::restore(LOG, disk.rows()) {
        // Rows may be taken that are a step before the end of counting, and the step be made.
        Err(CorruptState::Uncountable { .. }) => return Met::Refused,
        restored => restored.expect("a machine's own rows"),
    };
    assert_eq!(twin, machine, "the rows are the whole state");
    for entry in &entries[half..] {
        let effects = apply(&mut machine, entry.as_ref());
        assert_eq!(apply(&mut twin, entry.as_ref()), effects, "replicas write the same rows");
        disk.write(&effects);
    }
    match PartitionMachine::restore(LOG, disk.rows()) {
        Err(CorruptState::Uncountable { .. }) => return Met::Refused,
        restored => assert_eq!(restored.as_ref(), Ok(&machine)),
    }
    Met::Understood
}

/// Applies one entry, and looks at everything that can be seen.
fn apply(machine: &mut PartitionMachine, entry: Option<&Bytes>) -> Vec<Effect> {
    let applied = machine.last_applied();
    let at = At { term: applied.term, index: applied.index + 1 };
    let (end, mut effects) = (machine.end(), Vec::new());
    match entry.map(|entry| (entry.len() as u64, Command::decode(entry.clone()))) {
        Some((bytes, Ok(Command::Partition(command)))) => {
            machine.apply(at, bytes, &healed(command), &mut effects);
        }
        _ => machine.skip(at, &mut effects),
    }
    assert!(machine.start() <= machine.end() && machine.end() >= end, "offsets never go back");
    assert_eq!(machine.message_count(), machine.end().0 - machine.start().0);
    assert!(machine.segments().map(|segment| segment.bytes).sum::<u64>() <= machine.log_bytes());
    effects
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
