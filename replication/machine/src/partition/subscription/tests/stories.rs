//! One promise a story, with the bounds of production.

use meridian_model::limits::{SETTLE_ITEMS_MAX, SETTLED_RANGES_MAX};
use meridian_model::subscription::{
    DeadLetter, DelayedRange, DelayedSettlement, Nack, Settlement, SubscriptionKind, SubscriptionRules,
};
use meridian_model::{ConsumerId, LogId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};
use proptest::prelude::*;

use super::check::{Disk, LOG};
use super::operation::built;
use crate::command::{
    AppendItem, LiveDelayed, PartitionCommand, PartitionPolicy, SettlePart, StartAt, SubscriptionCommand,
};
use crate::partition::{
    HeldBy, PartitionMachine, PartitionReply, SettleOutcome, SubscriptionBound, SubscriptionRefusal,
};
use crate::{At, Command, CorruptState, Effect, Row, Table};

const NOW: UnixMs = UnixMs(1_800_000_000_000);
const ORDERS: SubscriptionId = SubscriptionId(5);
const ELSEWHERE: LogId = LogId::from_u128(77);

/// A partition with its disk, restored after each command.
struct Partition {
    machine: PartitionMachine,
    disk: Disk,
    effects: Vec<Effect>,
    now: UnixMs,
}

impl Partition {
    /// With a subscription that begins at the first message.
    fn subscribed(rules: SubscriptionRules) -> Self {
        let machine = PartitionMachine::new(LOG);
        let mut partition = Self { machine, disk: Disk::default(), effects: Vec::new(), now: NOW };
        let policy = PartitionPolicy { segment_entries: 4, ..PartitionPolicy::default() };
        partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
        let start = StartAt::Earliest;
        let set =
            SubscriptionCommand::SetSubscription { stamp: NOW, control_index: 5, id: ORDERS, rules, start };
        assert_eq!(partition.apply(set), PartitionReply::SubscriptionSet { created: true });
        partition
    }

    fn apply(&mut self, command: impl Into<PartitionCommand>) -> PartitionReply {
        let reply = self.apply_unchecked(command);
        assert_eq!(PartitionMachine::restore(LOG, self.disk.rows()).as_ref(), Ok(&self.machine));
        reply
    }

    fn apply_unchecked(&mut self, command: impl Into<PartitionCommand>) -> PartitionReply {
        let at = At { term: 1, index: self.machine.last_applied().index + 1 };
        let command = command.into();
        let entry = Command::Partition(command.clone()).encode();
        self.effects = Vec::new();
        let reply = self.machine.apply(at, entry.len() as u64, &command, &mut self.effects);
        self.disk.write(&self.effects).expect("sound effects");
        reply
    }

    fn send(&mut self, count: u64, deliver_at: u64) {
        let item = AppendItem::new(built(count, deliver_at), self.now);
        self.apply_unchecked(PartitionCommand::Append { stamp: self.now, items: vec![item] });
    }

    fn settle(&mut self, settlement: Settlement) -> SettleOutcome {
        self.settle_as(0, None, settlement)
    }

    fn settle_as(
        &mut self,
        seek_epoch: u64,
        owner_epoch: Option<u64>,
        settlement: Settlement,
    ) -> SettleOutcome {
        let part = SettlePart { id: ORDERS, seek_epoch, owner_epoch, settlement };
        match self.apply(SubscriptionCommand::Settle { stamp: self.now, parts: vec![part] }) {
            PartitionReply::Settled(outcomes) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    fn written(&self, table: Table) -> usize {
        let of = |effect: &&Effect| match effect {
            Effect::Put(row) => row.table == table,
            Effect::Delete { table: deleted, .. } => *deleted == table,
            _ => false,
        };
        self.effects.iter().filter(of).count()
    }

    fn trim(&mut self, live_delayed: Option<LiveDelayed>, drop_backlog: bool) -> PartitionReply {
        let (before, keep_bytes, forget_producers_before) = (None, Some(0), None);
        let stamp = self.now;
        self.apply(SubscriptionCommand::TrimBacklog {
            stamp,
            before,
            keep_bytes,
            forget_producers_before,
            live_delayed,
            drop_backlog,
        })
    }

    fn floor(&self) -> Offset {
        self.machine.subscription(ORDERS).expect("it is there").floor()
    }
}

fn range(from: u64, to: u64) -> OffsetRange {
    OffsetRange::new(Offset(from), Offset(to))
}

fn acks(ranges: impl IntoIterator<Item = OffsetRange>) -> Settlement {
    Settlement { acked: ranges.into_iter().collect(), ..Settlement::default() }
}

fn refused(refusal: SubscriptionRefusal) -> SettleOutcome {
    SettleOutcome::Refused(refusal)
}

/// SUB-2: the rows that a settlement writes grow with what it names, not with the holes there are.
#[test]
fn one_ack_among_ten_thousand_holes_writes_one_row() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    partition.send(30_000, 0);
    for from in (0..20_000).step_by(2 * SETTLE_ITEMS_MAX) {
        let holes = (from..(from + 2 * SETTLE_ITEMS_MAX).min(20_000)).step_by(2);
        let settled = partition.settle(acks(holes.map(|offset| range(offset as u64 + 1, offset as u64 + 2))));
        assert_eq!(settled, SettleOutcome::Applied);
    }
    partition.settle(acks([range(25_000, 25_001)]));
    assert_eq!((partition.written(Table::Settled), partition.written(Table::Subscription)), (1, 1));
    partition.settle(acks([range(4, 5)]));
    assert_eq!(partition.written(Table::Settled), 2, "two ranges become one");
    let view = partition.machine.subscription(ORDERS).expect("it is there");
    assert_eq!((view.settled().ranges(), view.backlog().main), (10_000, 30_000 - 10_002));
}

/// SUB-1: a bound stops settling, and forgets nothing.
#[test]
fn a_settlement_at_the_bound_is_refused_as_a_whole_unless_it_closes_holes() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    partition.send(60_000, 0);
    for from in (0..2 * SETTLED_RANGES_MAX).step_by(2 * SETTLE_ITEMS_MAX) {
        let holes = (from..from + 2 * SETTLE_ITEMS_MAX).step_by(2);
        partition.settle(acks(holes.map(|offset| range(offset as u64 + 1, offset as u64 + 2))));
    }
    let before = partition.machine.clone();
    let bound = refused(SubscriptionRefusal::Bound(SubscriptionBound::SettledRanges));
    assert_eq!(partition.settle(acks([range(0, 1), range(50_000, 50_001), range(50_002, 50_003)])), bound);
    assert_eq!(partition.floor(), before.subscription(ORDERS).expect("it is there").floor());
    assert_eq!(partition.settle(acks([range(0, 1), range(50_000, 50_001)])), SettleOutcome::Applied);
    assert_eq!(partition.floor(), Offset(2));
}

/// SUB-2, SUB-1: an ack ends delivery until a seek, and an ack from before a seek ends nothing after it.
#[test]
fn a_late_ack_is_valid_until_a_seek() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    partition.send(10, 0);
    assert_eq!(partition.settle(acks([range(3, 5)])), SettleOutcome::Applied);
    let to = StartAt::Offset { offset: Offset(2), delayed_before: 0 };
    let sought = partition.apply(SubscriptionCommand::Seek { stamp: NOW, id: ORDERS, to });
    assert_eq!(sought, PartitionReply::Sought { seek_epoch: 1, floor: Offset(2) });
    assert_eq!(partition.settle(acks([range(2, 3)])), refused(SubscriptionRefusal::StaleSeek { current: 1 }));
    assert_eq!(partition.settle_as(1, None, acks([range(2, 3)])), SettleOutcome::Applied);
    assert_eq!(partition.floor(), Offset(3), "what was acked before the seek is to be delivered again");
}

/// SUB-3.
#[test]
fn an_owner_that_was_replaced_settles_nothing() {
    let rules = SubscriptionRules { kind: SubscriptionKind::Failover, ..SubscriptionRules::default() };
    let mut partition = Partition::subscribed(rules);
    partition.send(3, 0);
    let own = |owner| SubscriptionCommand::Own { stamp: NOW, id: ORDERS, owner };
    let (first, second) = (ConsumerId::from_u128(1), ConsumerId::from_u128(2));
    assert_eq!(
        partition.settle_as(0, Some(0), acks([])),
        refused(SubscriptionRefusal::StaleOwner { current: 0 })
    );
    assert_eq!(partition.apply(own(Some(first))), PartitionReply::Owned { epoch: 1 });
    assert_eq!(partition.apply(own(Some(second))), PartitionReply::Owned { epoch: 2 });
    let zombie = partition.settle_as(0, Some(1), acks([range(0, 1)]));
    assert_eq!(zombie, refused(SubscriptionRefusal::StaleOwner { current: 2 }));
    assert_eq!(partition.settle_as(0, None, acks([range(0, 1)])), zombie);
    assert_eq!(partition.settle_as(0, Some(2), acks([range(0, 1)])), SettleOutcome::Applied);
}

/// SUB-6: a repeated settlement buries once, sequences are dense, and the payload stays until it arrived.
#[test]
fn a_dead_letter_leaves_once_after_its_last_attempt_and_is_kept_until_it_arrived() {
    let rules = SubscriptionRules { attempts_max: Some(2), ..SubscriptionRules::default() };
    let mut partition = Partition::subscribed(rules);
    (0..4).for_each(|_| partition.send(1, 0));
    let nack =
        Settlement { nacked: vec![Nack { offset: Offset(0), not_before: NOW }], ..Settlement::default() };
    let letter = DeadLetter { offset: Offset(0), destination: ELSEWHERE };
    let bury = Settlement { dead: vec![letter], cumulative: None, ..Settlement::default() };
    assert_eq!(partition.settle(bury.clone()), refused(SubscriptionRefusal::NotLastAttempt { count: 0 }));
    partition.settle(nack);
    assert_eq!(partition.settle(bury.clone()), SettleOutcome::Applied);
    assert_eq!(partition.settle(bury), SettleOutcome::Applied);
    partition.settle(Settlement { cumulative: Some(Offset(4)), ..Settlement::default() });
    let held = match partition.trim(None, true) {
        PartitionReply::BacklogTrimmed { held, .. } => held.map(|held| (held.offset, held.by)),
        other => panic!("{other:?}"),
    };
    assert_eq!(held, Some((Offset(0), HeldBy::DeadLetter(ORDERS))));
    let moved = |through_sequence| SubscriptionCommand::Moved {
        stamp: NOW,
        id: ORDERS,
        destination: ELSEWHERE,
        through_sequence,
    };
    let never = PartitionReply::SubscriptionRefused(SubscriptionRefusal::NeverSent);
    assert_eq!(partition.apply(moved(1)), never, "one letter was sent, not two");
    assert_eq!(partition.apply(moved(0)), PartitionReply::DeadLettersMoved { left: 0 });
    assert!(matches!(partition.trim(None, false), PartitionReply::Trimmed { .. }));
}

/// SUB-6: never early. SUB-1: a million delayed messages make no hole and take no memory.
#[test]
fn delayed_messages_wait_on_disk_and_are_acked_only_when_they_are_due() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    let due = NOW.plus_ms(50);
    (0..20).for_each(|_| partition.send(50_000, due.0));
    partition.send(1, 0);
    let view = partition.machine.subscription(ORDERS).expect("it is there");
    assert_eq!((view.backlog().main, view.backlog().delayed), (1, 1_000_000));
    let delayed = DelayedSettlement { passed: vec![range(0, 1_000_000)], ..DelayedSettlement::default() };
    let read = Settlement { acked: vec![range(1_000_000, 1_000_001)], delayed, ..Settlement::default() };
    assert_eq!(partition.settle(read), SettleOutcome::Applied);
    assert_eq!(partition.floor(), Offset(1_000_001));
    let acked = vec![DelayedRange { deliver_at: due, range: range(7, 9) }];
    let ack = || {
        let delayed = DelayedSettlement { acked: acked.clone(), ..DelayedSettlement::default() };
        Settlement { delayed, ..Settlement::default() }
    };
    assert_eq!(partition.settle(ack()), refused(SubscriptionRefusal::NotDue { deliver_at: due }));
    partition.now = due;
    assert_eq!(partition.settle(ack()), SettleOutcome::Applied);
    let view = partition.machine.subscription(ORDERS).expect("it is there");
    assert!(view.is_settled(Place { deliver_at: due, offset: Offset(8) }));
    assert_eq!((view.backlog().main, view.backlog().delayed), (0, 999_998));
}

/// SUB-1: a bound that was read before a seek back would let live messages be trimmed.
#[test]
fn a_trim_does_not_believe_what_was_read_before_a_seek() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    let due = NOW.plus_ms(5);
    (0..4).for_each(|_| partition.send(1, due.0));
    let seek = |to| SubscriptionCommand::Seek { stamp: NOW, id: ORDERS, to };
    partition.apply(seek(StartAt::Latest));
    let read = LiveDelayed { as_of: partition.machine.last_applied().index, from: Offset(4) };
    partition.apply(seek(StartAt::Earliest));
    partition.settle_as(
        2,
        None,
        Settlement {
            delayed: DelayedSettlement { passed: vec![range(0, 4)], ..DelayedSettlement::default() },
            ..Settlement::default()
        },
    );
    let held = |reply| match reply {
        PartitionReply::BacklogTrimmed { held: Some(held), .. } => (held.offset, held.by),
        other => panic!("{other:?}"),
    };
    assert_eq!(held(partition.trim(Some(read), false)), (Offset(0), HeldBy::Delayed));
    let read = LiveDelayed { as_of: partition.machine.last_applied().index, from: Offset(2) };
    assert_eq!(held(partition.trim(Some(read), false)), (Offset(2), HeldBy::Delayed));
    assert_eq!(partition.machine.start(), Offset(2));
}

/// SUB-1: what the policy takes is said exactly, and counts as settled.
#[test]
fn a_backlog_that_is_dropped_is_recorded() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    (0..8).for_each(|_| partition.send(2, 0));
    partition.settle(acks([range(3, 5)]));
    let start = match partition.trim(None, true) {
        PartitionReply::BacklogTrimmed { start, held: None, dropped, .. } => {
            assert_eq!(dropped[0].ranges, [range(0, 3), range(5, start.0)]);
            assert_eq!(dropped[0].messages, start.0 - 2);
            start
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(partition.floor(), start);
    let view = partition.machine.subscription(ORDERS).expect("it is there");
    assert_eq!(view.dropped().map(|dropped| dropped.range), Some(range(0, start.0)));
    assert_eq!(view.backlog().main, 16 - start.0);
}

/// A command that was on its way when the subscription was dropped does not bring it back to hold the log for ever.
#[test]
fn a_subscription_that_was_dropped_stays_dropped() {
    let mut partition = Partition::subscribed(SubscriptionRules::default());
    let drop =
        |control_index| SubscriptionCommand::DropSubscription { stamp: NOW, control_index, id: ORDERS };
    let stale = |current| PartitionReply::SubscriptionRefused(SubscriptionRefusal::StaleControl { current });
    assert_eq!(partition.apply(drop(4)), stale(5));
    assert_eq!(partition.apply(drop(9)), PartitionReply::SubscriptionDropped { dead_letters: 0 });
    let rules = SubscriptionRules::default();
    let start = StartAt::Latest;
    let late =
        SubscriptionCommand::SetSubscription { stamp: NOW, control_index: 6, id: ORDERS, rules, start };
    assert_eq!(partition.apply(late), stale(9));
    assert_eq!(partition.machine.subscriptions().count(), 0);
}

/// A partition with rows of every table.
fn everything() -> Partition {
    let rules = SubscriptionRules { attempts_max: Some(1), ..SubscriptionRules::default() };
    let mut partition = Partition::subscribed(rules.clone());
    partition.apply(SubscriptionCommand::DropSubscription {
        stamp: NOW,
        control_index: 2,
        id: SubscriptionId(2),
    });
    (0..6).for_each(|n| partition.send(3, if n % 2 > 0 { NOW.0 + 1 } else { 0 }));
    partition.now = NOW.plus_ms(2);
    let (deliver_at, not_before) = (NOW.plus_ms(1), NOW);
    let settlement = Settlement {
        acked: vec![range(1, 2), range(7, 8)],
        nacked: vec![Nack { offset: Offset(0), not_before }],
        dead: vec![DeadLetter { offset: Offset(12), destination: ELSEWHERE }],
        delayed: DelayedSettlement {
            acked: vec![DelayedRange { deliver_at, range: range(10, 11) }],
            nacked: vec![(deliver_at, Nack { offset: Offset(3), not_before })],
            ..DelayedSettlement::default()
        },
        ..Settlement::default()
    };
    assert_eq!(partition.settle(settlement), SettleOutcome::Applied);
    partition
}

/// Replicas of one feature level hold the same rows, byte for byte: a change here needs a new version.
#[test]
fn the_rows_of_subscriptions_are_those_of_version_2() {
    let partition = everything();
    let tables: std::collections::BTreeSet<Table> = partition.disk.rows().map(|row| row.table).collect();
    assert_eq!(tables.len(), 11, "a row of every table but producers, sequences and memberships: {tables:?}");
    let mut hasher = blake3::Hasher::new();
    for row in partition.disk.rows() {
        hasher.update(&[row.table as u8, row.key.len() as u8, row.value.len() as u8]);
        hasher.update(&row.key).update(&row.value);
    }
    assert_eq!(hasher.finalize().to_hex()[..16], *"cbfffbd2e2e69109");
}

#[test]
fn a_lost_row_of_any_table_is_noticed() {
    let partition = everything();
    let rows: Vec<Row> = partition.disk.rows().collect();
    for lost in 0..rows.len() {
        let mut rows = rows.clone();
        let row = rows.remove(lost);
        assert!(PartitionMachine::restore(LOG, rows).is_err(), "{row:?}");
    }
    let none = rows.iter().filter(|row| matches!(row.table, Table::Core | Table::Segment)).cloned();
    assert!(matches!(PartitionMachine::restore(LOG, none), Err(CorruptState::Row { .. })));
}

proptest! {
    #[test]
    fn a_damaged_row_never_panics_then_or_later(
        row: prop::sample::Index, at: prop::sample::Index, value: u8, in_key: bool
    ) {
        let partition = everything();
        let mut rows: Vec<Row> = partition.disk.rows().collect();
        let row = row.index(rows.len());
        let bytes = match in_key && !rows[row].key.is_empty() {
            true => &mut rows[row].key,
            false => &mut rows[row].value,
        };
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(machine) = PartitionMachine::restore(LOG, rows.clone()) {
            // Whatever was taken for a state goes on as one.
            let mut damaged = Partition { machine, disk: Disk::default(), effects: vec![], now: NOW.plus_ms(9) };
            rows.drain(..).for_each(|row| drop(damaged.disk.rows.insert((row.table, row.key), row.value)));
            damaged.settle(Settlement { cumulative: Some(Offset(9)), ..Settlement::default() });
            damaged.send(2, NOW.0 + 99);
            damaged.trim(None, true);
            damaged.apply(SubscriptionCommand::Seek { stamp: NOW, id: ORDERS, to: StartAt::Earliest });
            return Ok(());
        }
        let bytes = if in_key && !rows[row].key.is_empty() { &mut rows[row].key } else { &mut rows[row].value };
        bytes.truncate(at);
        prop_assert!(PartitionMachine::restore(LOG, rows).is_err());
    }
}
