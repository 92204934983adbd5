//! One run: machine and model side by side, compared and restored after every command.

use std::collections::BTreeMap;

use meridian_model::{LogId, Offset};

use super::SMALL;
use super::coverage::{Coverage, Met};
use super::model::{Closed, Model};
use super::operation;
use crate::command::{PartitionCommand, PartitionPolicy};
use crate::partition::{PartitionMachine, Segment};
use crate::{At, Command, Effect, IndexRow, Row, Table};

pub(super) const LOG: LogId = LogId::from_u128(0xfeed);

/// What the effects leave on disk.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(super) index: BTreeMap<Offset, IndexRow>,
}

impl Disk {
    /// Writes the effects of one entry, and refuses what no entry should do.
    pub(super) fn write(&mut self, at: At, effects: Vec<Effect>) -> Result<(), String> {
        let mut touched = std::collections::BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Put(row) => {
                    ensure(touched.insert((row.table, row.key.clone())), || format!("{row:?} put twice"))?;
                    self.rows.insert((row.table, row.key), row.value);
                }
                Effect::Delete { table, key } => {
                    ensure(self.rows.remove(&(table, key)).is_some(), || format!("nothing in {table:?}"))?;
                }
                Effect::Index { base, row } => {
                    ensure(row.index == at.index, || format!("{row:?} at {at:?}"))?;
                    ensure(self.index.insert(base, row).is_none(), || format!("offset {base} again"))?;
                }
                Effect::SegmentClosed { at: closed } => ensure(closed == at, || "closed elsewhere".into())?,
                Effect::Trimmed { at: through, start } => {
                    ensure(through <= at, || format!("trimmed ahead, through {through:?}"))?;
                    self.index = self.index.split_off(&start);
                }
            }
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.rows.iter().map(|((table, key), value)| Row {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        })
    }
}

/// Runs a tape, one command for each of its cells.
pub(super) fn run(tape: &[[u8; 12]], met: &mut Coverage) -> Result<(), String> {
    let mut model = Model::new(LOG, SMALL);
    let mut machine = PartitionMachine::with_bounds(LOG, SMALL);
    let mut disk = Disk::default();
    let small = PartitionPolicy { segment_bytes: 1_500, segment_entries: 9, ..PartitionPolicy::default() };
    let first = PartitionCommand::SetPolicy { stamp: model.stamp(), control_index: 0, policy: small };
    step(1, Some(first), &mut model, &mut machine, &mut disk, met)?;
    for (cell, index) in tape.iter().zip(2..) {
        let command = operation::command(cell, &model, met);
        step(index, command, &mut model, &mut machine, &mut disk, met)?;
    }
    Ok(())
}

fn step(
    index: u64,
    command: Option<PartitionCommand>,
    model: &mut Model,
    machine: &mut PartitionMachine,
    disk: &mut Disk,
    met: &mut Coverage,
) -> Result<(), String> {
    let at = At { term: 1 + index / 50, index };
    let mut effects = Vec::new();
    let said = format!("at {index}: {command:?}");
    match command {
        None => {
            model.skip(index, met);
            machine.skip(at, &mut effects);
        }
        Some(command) => {
            let entry = Command::Partition(command).encode();
            let bytes = entry.len() as u64;
            let Ok(Command::Partition(command)) = Command::decode(entry) else {
                return Err(format!("{said}: does not decode"));
            };
            let expected = model.apply(index, bytes, &command, met);
            let got = machine.apply(at, bytes, &command, &mut effects);
            ensure(got == expected, || format!("{said}: {got:?}, the model says {expected:?}"))?;
        }
    }
    disk.write(at, effects).map_err(|why| format!("{said}: {why}"))?;
    compare(machine, model, disk).map_err(|why| format!("{said}: {why}"))?;
    let restored = PartitionMachine::restore_with_bounds(LOG, disk.rows(), SMALL);
    let restored = restored.map_err(|why| format!("{said}: {why}"))?;
    ensure(restored == *machine, || format!("{said}: restored {restored:?}, live {machine:?}"))
}

fn compare(machine: &PartitionMachine, model: &Model, disk: &Disk) -> Result<(), String> {
    let same = |what: &str, same: bool| ensure(same, || format!("{what} differs: {machine:?}"));
    same("start", machine.start() == Offset(model.start))?;
    same("end", machine.end() == Offset(model.end))?;
    same("head", machine.head() == model.head)?;
    same("stamp", machine.last_stamp() == model.stamp())?;
    same("messages", machine.message_count() == model.end - model.start)?;
    same("bytes", machine.log_bytes() == retained(model).map(|b| b.bytes).sum::<u64>())?;
    same("producers", machine.producers_count() == model.producers.len())?;
    same("policy", *machine.policy() == model.policy)?;
    same("control index", machine.control_index() == model.control_index)?;
    same("sealed", machine.sealed() == model.sealed)?;
    let segments: Vec<Closed> = machine.segments().map(closed).collect();
    same("segments", segments == model.closed)?;
    same("index rows", disk.index.len() == retained(model).count())?;
    for (batch, (base, row)) in retained(model).rev().zip(disk.index.iter().rev()).take(8) {
        let expected = (batch.base, batch.index, batch.count, batch.bytes, batch.stamp, batch.head);
        let got = (base.0, row.index, row.count, u64::from(row.bytes), row.stamp.0, row.head);
        ensure(got == expected, || format!("index row {got:?}, the model says {expected:?}"))?;
    }
    for (id, known) in &model.producers {
        let view = machine.producer(*id).map(|v| (v.epoch, v.named, v.next_sequence, v.last_stamp.0));
        let expected = Some((known.epoch, known.named, model.expected(*id), known.heard));
        ensure(view == expected, || format!("{id} is {view:?}, the model says {expected:?}"))?;
    }
    Ok(())
}

fn retained(model: &Model) -> impl DoubleEndedIterator<Item = &super::model::Stored> {
    model.batches.iter().filter(|b| b.base >= model.start)
}

fn closed(s: &Segment) -> Closed {
    Closed {
        index: s.at.index,
        end: s.end.0,
        bytes: s.bytes,
        first_stamp: s.first_stamp.0,
        last_stamp: s.last_stamp.0,
        head: s.head,
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

/// The seal and the skip are counted where they are drawn; this keeps the list honest.
#[test]
fn a_run_without_commands_meets_only_its_first_policy() {
    let mut met = Coverage::default();
    run(&[], &mut met).expect("an empty run");
    met.met(Met::PolicySet);
    assert!(!met.rarer_than(2).iter().any(|line| line.starts_with("PolicySet")));
}
