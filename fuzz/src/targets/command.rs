//! Commands of the state machines: a partition's have one spelling; all of them mean the same when they are written
//! and read again, name nothing that could not be a name, and each batch of an append is found by its position.

use bytes::Bytes;
use meridian_machine::Command;
use meridian_machine::command::{
    AppendItem, CommandError, LiveDelayed, PartitionCommand, PartitionPolicy, SettlePart, StartAt,
    SubscriptionCommand, append_batch_at, append_batches,
};
use meridian_machine::control::ControlChange;
use meridian_model::subscription::{DelayedRange, DelayedSettlement, Nack, Settlement, SubscriptionRules};
use meridian_model::topology::Retention;
use meridian_model::{
    ConsumerId, Offset, OffsetRange, Place, ProducerId, SubscriptionId, TopicName, UnixMs, name,
};

use super::{Met, room};
use crate::memory;

/// More than the longest list of nodes a command may begin with is set aside before it is read.
const AHEAD_BYTES: usize = 1024 * 1024;

/// The input is an entry's payload.
pub(super) fn check(input: &[u8]) -> Met {
    let entry = Bytes::copy_from_slice(input);
    let decoded = memory::within(AHEAD_BYTES + room(input, 64), || Command::decode(entry.clone()));
    let Ok(command) = decoded else {
        assert!(append_batches(&entry).is_err(), "what is no command holds no batches");
        return Met::Refused;
    };
    let again = command.encode();
    match &command {
        Command::Partition(_) => assert_eq!(again, entry, "a partition's command has one spelling"),
        Command::Control(control) => assert_names(&control.change),
    }
    assert_eq!(Command::decode(again).as_ref(), Ok(&command));
    assert_batches(&command, &entry);
    Met::Understood
}

fn assert_batches(command: &Command, entry: &Bytes) {
    let Command::Partition(PartitionCommand::Append { items, .. }) = command else {
        assert_eq!(append_batch_at(entry, 0), Err(CommandError::NotAppend));
        return;
    };
    for (item, position) in items.iter().zip(0..) {
        assert_eq!(append_batch_at(entry, position).as_ref(), Ok(&item.batch));
    }
    let count = items.len() as u32;
    assert_eq!(append_batch_at(entry, count), Err(CommandError::Position { position: count, count }));
    let held: usize = items.iter().map(|item| item.batch.len()).sum();
    assert!(held <= entry.len(), "batches lie within the entry, once");
}

/// A topic's name is trusted wherever it is met: whoever decodes one has checked it.
fn assert_names(change: &ControlChange) {
    let named = match change {
        ControlChange::CreateTopic { name, .. }
        | ControlChange::UpdateTopic { name, .. }
        | ControlChange::AddPartitions { name, .. }
        | ControlChange::DeleteTopic { name, .. }
        | ControlChange::FinishDelete { name, .. }
        | ControlChange::OpenProducer { topic: name, .. } => name,
        _ => return,
    };
    for part in [named.tenant(), named.namespace(), named.topic()] {
        assert_eq!(name::check("a part", part), Ok(()), "{part:?} passes for a name");
    }
    assert_eq!(TopicName::parse(&named.resource()).as_ref(), Ok(named));
}

/// A command of each kind: a partition's, and the control group's.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let control = super::control::commands().into_iter().map(|command| command.encode().to_vec());
    let partition = partition_commands().into_iter().map(|command| command.encode().to_vec());
    let subscriptions = subscription_commands().map(|command| command.encode().to_vec());
    partition.chain(control).chain(subscriptions).collect()
}

fn partition_commands() -> Vec<Command> {
    let stamp = UnixMs(1_700_000_000_000);
    let item = |batch: &'static [u8]| AppendItem::new(Bytes::from_static(batch), stamp);
    let policy = PartitionPolicy {
        retention: Retention { age_ms: Some(60_000), bytes: None },
        ..PartitionPolicy::default()
    };
    let commands = [
        PartitionCommand::Append { stamp, items: vec![item(b"one"), item(b""), item(b"three")] },
        PartitionCommand::Append { stamp, items: vec![] },
        PartitionCommand::Fence { stamp, producer: ProducerId::from_u128(9), epoch: 2 },
        PartitionCommand::SetPolicy { stamp, control_index: 4, policy },
        PartitionCommand::Trim {
            stamp,
            before: Some(stamp),
            keep_bytes: None,
            forget_producers_before: Some(UnixMs(1)),
        },
        PartitionCommand::Seal { stamp, control_index: 5 },
    ];
    commands.into_iter().map(Command::Partition).collect()
}

fn subscription_commands() -> impl Iterator<Item = Command> {
    let (stamp, id) = (UnixMs(1_700_000_000_000), SubscriptionId(3));
    let range = OffsetRange::one(Offset(4));
    let delayed = DelayedSettlement {
        acked: vec![DelayedRange { deliver_at: stamp, range }],
        floor: Some(Place { deliver_at: stamp, offset: Offset(2) }),
        ..DelayedSettlement::default()
    };
    let nacked = vec![Nack { offset: Offset(5), not_before: stamp }];
    let settlement = Settlement { acked: vec![range], nacked, delayed, ..Settlement::default() };
    let commands = [
        SubscriptionCommand::SetSubscription {
            stamp,
            control_index: 3,
            id,
            rules: SubscriptionRules::default(),
            start: StartAt::Earliest,
        },
        SubscriptionCommand::Own { stamp, id, owner: Some(ConsumerId::from_u128(1)) },
        SubscriptionCommand::Settle {
            stamp,
            parts: vec![SettlePart { id, seek_epoch: 0, owner_epoch: Some(1), settlement }],
        },
        SubscriptionCommand::Seek { stamp, id, to: StartAt::Latest },
        SubscriptionCommand::SweepDelayed {
            stamp,
            batches: vec![Place { deliver_at: stamp, offset: Offset(0) }],
        },
        SubscriptionCommand::TrimBacklog {
            stamp,
            before: Some(stamp),
            keep_bytes: None,
            forget_producers_before: None,
            live_delayed: Some(LiveDelayed { as_of: 1, from: Offset(1) }),
            drop_backlog: true,
        },
    ];
    commands.into_iter().map(Command::from)
}
