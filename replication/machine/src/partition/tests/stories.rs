//! One promise a story, with the bounds of production.

use bytes::Bytes;
use meridian_model::batch::FLAG_NAMED_PRODUCER;
use meridian_model::limits::{DEDUP_HORIZON_MS, DEDUP_WINDOW_BATCHES, PRODUCERS_FORGOTTEN_PER_TRIM_MAX};
use meridian_model::refusal::{AppendOutcome, Refusal};
use meridian_model::{BatchBuilder, Codec, LogId, Message, Offset, ProducerId, UnixMs};
use proptest::prelude::*;

use super::check::{Disk, LOG};
use crate::command::{AppendItem, PartitionCommand, PartitionPolicy};
use crate::partition::{PartitionMachine, PartitionReply};
use crate::{At, Command, CorruptState, Effect, Row, Table};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

/// A partition with its disk, restored after each command.
struct Partition {
    machine: PartitionMachine,
    disk: Disk,
    effects: Vec<Effect>,
    now: UnixMs,
}

impl Partition {
    fn new() -> Self {
        Self { machine: PartitionMachine::new(LOG), disk: Disk::default(), effects: Vec::new(), now: NOW }
    }

    fn apply(&mut self, command: PartitionCommand) -> PartitionReply {
        let at = At { term: 1, index: self.machine.last_applied().index + 1 };
        let entry = Command::Partition(command.clone()).encode();
        let mut effects = Vec::new();
        let reply = self.machine.apply(at, entry.len() as u64, &command, &mut effects);
        self.effects = effects.clone();
        self.disk.write(at, effects).expect("sound effects");
        assert_eq!(PartitionMachine::restore(LOG, self.disk.rows()).as_ref(), Ok(&self.machine));
        reply
    }

    fn append(&mut self, items: Vec<AppendItem>) -> Vec<AppendOutcome> {
        match self.apply(PartitionCommand::Append { stamp: self.now, items }) {
            PartitionReply::Appended(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, batch: Bytes) -> AppendOutcome {
        self.append(vec![AppendItem::new(batch, self.now)]).remove(0)
    }

    fn trim(&mut self, before: Option<UnixMs>, keep_bytes: Option<u64>, forget: bool) -> PartitionReply {
        let forget_producers_before = forget.then_some(self.now);
        self.apply(PartitionCommand::Trim { stamp: self.now, before, keep_bytes, forget_producers_before })
    }

    fn fence(&mut self, producer: u128, epoch: u32) -> PartitionReply {
        let producer = ProducerId::from_u128(producer);
        self.apply(PartitionCommand::Fence { stamp: self.now, producer, epoch })
    }

    fn sequence_rows(&self) -> usize {
        self.effects.iter().filter(|e| matches!(e, Effect::Put(row) if row.table == Table::Sequence)).count()
    }
}

fn batch(producer: u128, epoch: u32, first: u64, count: u32, flags: u32) -> Bytes {
    let producer = ProducerId::from_u128(producer);
    let mut builder = BatchBuilder::new(Codec::None).producer(producer, epoch, first).flags(flags);
    (0..count).for_each(|_| builder.push(&Message::new("hello")));
    builder.build().expect("a batch").into_bytes()
}

fn stored(base: u64) -> AppendOutcome {
    AppendOutcome::Stored { base: Offset(base) }
}

/// LOG-5.
#[test]
fn a_resend_within_the_window_of_64_batches_is_answered_with_its_first_offset() {
    let mut partition = Partition::new();
    for n in 0..=DEDUP_WINDOW_BATCHES as u64 {
        assert_eq!(partition.send(batch(7, 0, 2 * n, 2, 0)), stored(2 * n));
    }
    assert_eq!(partition.send(batch(7, 0, 2, 2, 0)), AppendOutcome::Duplicate { base: Offset(2) });
    let beyond = AppendOutcome::Refused(Refusal::DuplicateBeyondWindow);
    assert_eq!(partition.send(batch(7, 0, 0, 2, 0)), beyond);
    assert_eq!(partition.machine.end(), Offset(130));
}

/// LOG-5: the rows that an entry writes grow with its batches, not with the window.
#[test]
fn one_batch_writes_one_row_of_the_window_and_many_write_each_once() {
    let mut partition = Partition::new();
    partition.send(batch(7, 0, 0, 1, 0));
    assert_eq!(partition.sequence_rows(), 1);
    let items = (1..=200).map(|n| AppendItem::new(batch(7, 0, n, 1, 0), NOW)).collect();
    assert!(partition.append(items).iter().all(|o| matches!(o, AppendOutcome::Stored { .. })));
    assert_eq!(partition.sequence_rows(), DEDUP_WINDOW_BATCHES);
}

/// LOG-6.
#[test]
fn a_fenced_producer_writes_nothing_after_its_successor() {
    let mut partition = Partition::new();
    partition.fence(7, 1);
    assert_eq!(partition.send(batch(7, 1, 0, 1, FLAG_NAMED_PRODUCER)), stored(0));
    assert_eq!(partition.fence(7, 2), PartitionReply::Fenced { epoch: 2 });
    let stale = AppendOutcome::Refused(Refusal::StaleEpoch { current: 2, got: 1 });
    assert_eq!(partition.send(batch(7, 1, 1, 1, FLAG_NAMED_PRODUCER)), stale);
    assert_eq!(partition.send(batch(7, 2, 0, 1, FLAG_NAMED_PRODUCER)), stored(1));
    assert_eq!(partition.fence(7, 1), PartitionReply::FenceStale { current: 2 });
}

/// LOG-6: an identity is owned by the control group, whoever used its bytes before.
#[test]
fn nobody_can_lock_a_name_by_writing_under_its_id() {
    let mut partition = Partition::new();
    assert_eq!(partition.send(batch(7, u32::MAX, 0, 1, 0)), stored(0));
    assert_eq!(partition.fence(7, 1), PartitionReply::Fenced { epoch: 1 });
    assert_eq!(partition.send(batch(7, 1, 0, 1, FLAG_NAMED_PRODUCER)), stored(1));
    let unknown = AppendOutcome::Refused(Refusal::UnknownProducer);
    assert_eq!(partition.send(batch(7, u32::MAX, 1, 1, 0)), unknown);
    assert_eq!(partition.send(batch(7, 1, 1, 1, 0)), unknown);
}

/// LOG-5: forgetting a producer and refusing its token never leave a gap between them.
#[test]
fn a_delayed_copy_is_never_stored_again_however_early_forgetting_is_asked() {
    let mut partition = Partition::new();
    let copy = batch(7, 0, 0, 1, 0);
    // Opened by a node whose clock was ahead: the token lives longer than the batch is old.
    let opened_at = NOW.plus_ms(4_000);
    let delayed = || vec![AppendItem::new(copy.clone(), opened_at)];
    partition.append(delayed());
    for wait_ms in [0, 1, DEDUP_HORIZON_MS, DEDUP_HORIZON_MS + 3_999, DEDUP_HORIZON_MS + 4_000] {
        partition.now = NOW.plus_ms(wait_ms);
        partition.trim(None, None, true);
        assert_eq!(partition.append(delayed()), [AppendOutcome::Duplicate { base: Offset(0) }], "{wait_ms}");
    }
    partition.now = opened_at.plus_ms(DEDUP_HORIZON_MS + 1);
    partition.trim(None, None, true);
    assert_eq!(partition.machine.producers_count(), 0);
    assert_eq!(partition.append(delayed()), [AppendOutcome::Refused(Refusal::TokenExpired)]);
}

/// LOG-6: epoch floors of named producers never expire.
#[test]
fn a_named_producer_is_never_forgotten() {
    let mut partition = Partition::new();
    partition.fence(7, 3);
    partition.now = NOW.plus_ms(100 * DEDUP_HORIZON_MS);
    partition.trim(None, None, true);
    assert_eq!(partition.fence(7, 2), PartitionReply::FenceStale { current: 3 });
}

#[test]
fn one_trim_forgets_a_bounded_number_of_producers_and_the_next_goes_on() {
    let mut partition = Partition::new();
    let many = PRODUCERS_FORGOTTEN_PER_TRIM_MAX + 10;
    let items = (1..=many).map(|id| AppendItem::new(batch(id as u128, 0, 0, 1, 0), NOW)).collect();
    partition.append(items);
    partition.now = NOW.plus_ms(2 * DEDUP_HORIZON_MS);
    partition.trim(None, None, true);
    assert_eq!(partition.machine.producers_count(), 10);
    partition.trim(None, None, true);
    assert_eq!(partition.machine.producers_count(), 0);
    let left = partition.disk.rows.keys().filter(|(t, _)| matches!(t, Table::Producer | Table::Sequence));
    assert_eq!(left.count(), 0);
}

/// LOG-3: a definite refusal must not be told of what is stored.
#[test]
fn a_sealed_partition_stores_nothing_but_still_knows_what_it_stored() {
    let mut partition = Partition::new();
    partition.send(batch(7, 0, 0, 1, 0));
    partition.apply(PartitionCommand::Seal { stamp: NOW, control_index: 9 });
    assert_eq!(partition.send(batch(7, 0, 0, 1, 0)), AppendOutcome::Duplicate { base: Offset(0) });
    assert_eq!(partition.send(batch(7, 0, 1, 1, 0)), AppendOutcome::Refused(Refusal::Sealed));
    assert_eq!(partition.send(batch(0, 0, 0, 1, 0)), AppendOutcome::Refused(Refusal::Sealed));
    assert_eq!(partition.machine.end(), Offset(1));
}

/// LOG-9: what was trimmed stays below the start, and the chain at the start is still known.
#[test]
fn a_trim_of_everything_closes_the_open_segment_at_its_own_entry() {
    let mut partition = Partition::new();
    partition.send(batch(0, 0, 0, 3, 0));
    let head = partition.machine.head();
    let reply = partition.trim(Some(NOW), None, false);
    assert_eq!(reply, PartitionReply::NothingToTrim, "not older than itself");
    partition.now = NOW.plus_ms(1);
    let PartitionReply::Trimmed { start, .. } = partition.trim(Some(NOW.plus_ms(1)), None, false) else {
        panic!("nothing trimmed");
    };
    let machine = &partition.machine;
    assert_eq!((start, machine.start(), machine.end()), (Offset(3), Offset(3), Offset(3)));
    assert_eq!((machine.log_bytes(), machine.message_count()), (0, 0));
    let boundary = machine.start_boundary().expect("a boundary");
    assert_eq!((boundary.at.index, boundary.end, boundary.head), (3, Offset(3), head));
    assert_eq!(partition.send(batch(0, 0, 0, 1, 0)), stored(3));
    assert_eq!(partition.trim(Some(NOW), None, false), PartitionReply::NothingToTrim);
}

/// LOG-9: retention by size keeps at least what it promises to keep.
#[test]
fn a_trim_by_size_never_leaves_less_than_it_was_told_to_keep() {
    let mut partition = Partition::new();
    let policy = PartitionPolicy { segment_entries: 1, ..PartitionPolicy::default() };
    partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
    let size = batch(0, 0, 0, 1, 0).len() as u64;
    for _ in 0..10 {
        partition.send(batch(0, 0, 0, 1, 0));
    }
    partition.trim(None, Some(3 * size + 1), false);
    assert_eq!(partition.machine.log_bytes(), 4 * size);
    assert_eq!(partition.machine.start(), Offset(6));
}

/// LOG-4.
#[test]
fn the_chain_is_the_published_one() {
    let mut partition = Partition::new();
    let mut head: [u8; 32] = blake3::hash(&LOG.0).into();
    assert_eq!(partition.machine.head(), head);
    for base in [0u64, 2] {
        let batch = batch(0, 0, 0, 2, 0);
        let leaf = blake3::hash(&batch);
        head = blake3::hash(&[&head[..], &base.to_le_bytes(), leaf.as_bytes()].concat()).into();
        assert_eq!(partition.send(batch), stored(base));
        assert_eq!(partition.machine.head(), head);
    }
}

/// Replicas of one feature level hold the same rows, byte for byte: a change here needs a new version.
#[test]
fn the_rows_on_disk_are_those_of_version_1() {
    let mut partition = Partition::new();
    let policy = PartitionPolicy { segment_entries: 2, ..PartitionPolicy::default() };
    partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
    partition.fence(8, 1);
    for n in 0..5 {
        partition.send(batch(7, 0, n, 1, 0));
    }
    partition.trim(None, Some(500), false);
    let mut hasher = blake3::Hasher::new();
    for row in partition.disk.rows() {
        hasher.update(&[row.table as u8, row.key.len() as u8, row.value.len() as u8]);
        hasher.update(&row.key).update(&row.value);
    }
    assert_eq!(hasher.finalize().to_hex()[..16], *"500b12d52d6656fc");
}

#[test]
fn rows_of_another_log_or_a_newer_build_are_refused() {
    let mut partition = Partition::new();
    partition.send(batch(7, 0, 0, 1, 0));
    let other = PartitionMachine::restore(LogId::from_u128(1), partition.disk.rows());
    assert_eq!(other, Err(CorruptState::OtherLog));
    let newer = partition.disk.rows().map(|mut row| {
        row.value[0] += 2 * u8::from(row.table == Table::Core);
        row
    });
    assert_eq!(PartitionMachine::restore(LOG, newer), Err(CorruptState::Version(3)));
    let headless = partition.disk.rows().filter(|row| row.table != Table::Core);
    assert_eq!(PartitionMachine::restore(LOG, headless), Err(CorruptState::NoCore));
    assert_eq!(PartitionMachine::restore(LOG, []), Ok(PartitionMachine::new(LOG)));
}

#[test]
fn rows_from_which_counting_cannot_go_on_are_refused() {
    let mut partition = Partition::new();
    let policy = PartitionPolicy { segment_entries: 2, ..PartitionPolicy::default() };
    partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
    for n in 0..4 {
        partition.send(batch(7, 0, n, 1, 0));
    }
    // The applied index, the open segment's entries and bytes; a closed segment's bytes.
    for (table, at) in [(Table::Core, 25), (Table::Core, 148), (Table::Core, 164), (Table::Segment, 16)] {
        let mut rows: Vec<Row> = partition.disk.rows().collect();
        let row = rows.iter_mut().find(|row| row.table == table).expect("a row");
        row.value[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let refused = PartitionMachine::restore(LOG, rows);
        assert!(matches!(refused, Err(CorruptState::Uncountable { .. })), "{table:?} {at}: {refused:?}");
    }
}

#[test]
fn a_segment_ahead_of_the_log_and_a_second_core_row_are_refused() {
    let mut partition = Partition::new();
    let policy = PartitionPolicy { segment_entries: 2, ..PartitionPolicy::default() };
    partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
    partition.send(batch(7, 0, 0, 1, 0));
    let ahead = partition.disk.rows().map(|mut row| {
        if row.table == Table::Segment {
            row.key = 1_000u64.to_be_bytes().to_vec();
        }
        row
    });
    let why = "ends at an entry that was not applied";
    assert_eq!(PartitionMachine::restore(LOG, ahead), Err(CorruptState::Row { table: Table::Segment, why }));
    let core = partition.disk.rows().find(|row| row.table == Table::Core).expect("a core row");
    let rows = partition.disk.rows().chain([Row { key: vec![1], ..core }]);
    let why = "stands under another key";
    assert_eq!(PartitionMachine::restore(LOG, rows), Err(CorruptState::Row { table: Table::Core, why }));
}

#[test]
fn memberships_at_boundaries_are_not_the_machines_business() {
    let mut partition = Partition::new();
    partition.send(batch(7, 0, 0, 1, 0));
    let foreign = Row { table: Table::BoundaryMembership, key: vec![1], value: vec![2] };
    let rows = partition.disk.rows().chain([foreign]);
    assert_eq!(PartitionMachine::restore(LOG, rows), Ok(partition.machine));
}

proptest! {
    #[test]
    fn a_missing_or_damaged_row_never_panics(row: prop::sample::Index, at: prop::sample::Index, value: u8) {
        let mut partition = Partition::new();
        let policy = PartitionPolicy { segment_entries: 2, ..PartitionPolicy::default() };
        partition.apply(PartitionCommand::SetPolicy { stamp: NOW, control_index: 1, policy });
        for n in 0..5 {
            partition.send(batch(7, 0, n, 1, 0));
        }
        partition.trim(None, Some(300), false);
        let mut rows: Vec<Row> = partition.disk.rows().collect();
        let row = row.index(rows.len());
        let at = at.index(rows[row].value.len());
        rows[row].value[at] = value;
        let _ = PartitionMachine::restore(LOG, rows.clone());
        rows[row].value.truncate(at);
        prop_assert!(PartitionMachine::restore(LOG, rows.clone()).is_err());
        rows.remove(row);
        prop_assert!(PartitionMachine::restore(LOG, rows).is_err());
    }
}
