//! One run: machine and model side by side, compared and restored after every command.

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::{LogId, Offset, Place, SubscriptionId, UnixMs};

use super::coverage::{Coverage, Met};
use super::model::{Model, Sub};
use super::{CELL, ROOMS, operation};
use crate::command::{PartitionCommand, PartitionPolicy};
use crate::partition::PartitionMachine;
use crate::partition::subscription::{DelayedBatch, SubscriptionView};
use crate::{At, Command, Effect, Row, Table};

pub(super) const LOG: LogId = LogId::from_u128(0xfeed);
const SEGMENT_ENTRIES: u64 = 5;

/// What the effects leave on disk.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) rows: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Disk {
    /// Writes the effects of one entry, and refuses what no entry should do.
    pub(super) fn write(&mut self, effects: &[Effect]) -> Result<(), String> {
        let mut touched = BTreeSet::new();
        for effect in effects {
            match effect {
                Effect::Put(row) => {
                    ensure(touched.insert((row.table, row.key.clone())), || format!("{row:?} put twice"))?;
                    self.rows.insert((row.table, row.key.clone()), row.value.clone());
                }
                Effect::Delete { table, key } => {
                    ensure(touched.insert((*table, key.clone())), || format!("{table:?} deleted too"))?;
                    let known = self.rows.remove(&(*table, key.clone())).is_some();
                    // A sweep is told by somebody who reads rows, and may be told wrongly.
                    let swept = matches!(table, Table::DelayedByTime | Table::DelayedByOffset);
                    ensure(known || swept, || format!("nothing in {table:?}"))?;
                }
                Effect::Index { .. } | Effect::SegmentClosed { .. } | Effect::Trimmed { .. } => {}
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

    /// Delayed batches whose rows are there, by time.
    pub(super) fn delayed(&self) -> BTreeSet<(u64, u64)> {
        let first = |(key, value): (&(Table, Vec<u8>), &Vec<u8>)| match key.0 {
            Table::DelayedByTime => DelayedBatch::by_time(&key.1, value).ok(),
            _ => None,
        };
        let batches = self.rows.iter().filter_map(first);
        batches.map(|batch| (batch.first.deliver_at.0, batch.first.offset.0)).collect()
    }
}

struct Run {
    model: Model,
    machine: PartitionMachine,
    disk: Disk,
}

/// Runs a tape, one command for each of its cells.
pub(super) fn run(tape: &[[u8; CELL]], met: &mut Coverage) -> Result<(), String> {
    let bounds = ROOMS[tape.first().map_or(0, |cell| usize::from(cell[CELL - 1]) % ROOMS.len())];
    let mut run = Run {
        model: Model::new(bounds, SEGMENT_ENTRIES),
        machine: PartitionMachine::with_bounds(LOG, bounds),
        disk: Disk::default(),
    };
    let policy = PartitionPolicy {
        segment_bytes: u64::MAX,
        segment_entries: SEGMENT_ENTRIES,
        ..PartitionPolicy::default()
    };
    run.step(Some(PartitionCommand::SetPolicy { stamp: UnixMs(0), control_index: 0, policy }), met)?;
    let mut past = operation::Past::default();
    for cell in tape {
        let command = operation::command(cell, &run.model, &mut past, met);
        run.step(command, met)?;
    }
    run.compare_messages()
}

impl Run {
    fn step(&mut self, command: Option<PartitionCommand>, met: &mut Coverage) -> Result<(), String> {
        let index = self.model.index + 1;
        let at = At { term: 1 + index / 50, index };
        let mut effects = Vec::new();
        let said = format!("at {index}: {command:?}");
        match command {
            None => {
                self.model.skip(index);
                self.machine.skip(at, &mut effects);
            }
            Some(command) => {
                let entry = Command::Partition(command).encode();
                let bytes = entry.len() as u64;
                let Ok(Command::Partition(command)) = Command::decode(entry) else {
                    return Err(format!("{said}: does not decode"));
                };
                let expected = self.model.apply(index, &command, met);
                let got = self.machine.apply(at, bytes, &command, &mut effects);
                ensure(got == expected, || format!("{said}: {got:?}, the model says {expected:?}"))?;
            }
        }
        self.disk.write(&effects).map_err(|why| format!("{said}: {why}"))?;
        self.compare(met).map_err(|why| format!("{said}: {why}"))?;
        let restored = PartitionMachine::restore_with_bounds(LOG, self.disk.rows(), self.model.bounds);
        let restored = restored.map_err(|why| format!("{said}: {why}"))?;
        ensure(restored == self.machine, || format!("{said}: restored {restored:?}, live {:?}", self.machine))
    }

    fn compare(&self, met: &mut Coverage) -> Result<(), String> {
        let (machine, model) = (&self.machine, &self.model);
        let same = |what: &str, same: bool| ensure(same, || format!("{what} differs: {machine:?}"));
        same("start", machine.start() == Offset(model.start))?;
        same("end", machine.end() == Offset(model.end))?;
        same("segments", machine.segments().map(|s| s.end.0).eq(model.closed.iter().map(|c| c.end)))?;
        same("dispatch epoch", machine.dispatch_epoch() == model.dispatch_epoch)?;
        same("delayed messages", machine.delayed_messages() == model.due.len() as u64)?;
        let ids: Vec<u64> = machine.subscriptions().map(|view| view.id().0).collect();
        same("subscriptions", ids.iter().eq(model.subs.keys()))?;
        if model.index.is_multiple_of(8) {
            same("rows of delayed batches", self.disk.delayed() == model.rows)?;
        }
        for (id, sub) in &model.subs {
            let view = machine.subscription(SubscriptionId(*id)).ok_or("is not there")?;
            compare_subscription(&view, sub, model)?;
            if model.index.is_multiple_of(4) {
                compare_backlog(&view, sub, model, met)?;
            }
            // SUB-1: nobody waits for what was trimmed.
            let mut trimmed = model.due.range(..model.start).map(|(offset, due)| (*due, *offset));
            ensure(trimmed.all(|at| sub.is_settled(at)), || format!("{id} waits for what is gone: {sub:?}"))?;
            // SUB-6: what is on its way can still be read.
            let kept = sub.letters().all(|(_, _, at)| at.1 >= model.start);
            ensure(kept, || format!("a dead letter of {id} was trimmed: {sub:?}"))?;
        }
        Ok(())
    }

    /// SUB-1, SUB-2: each message by itself, as whoever delivers it would ask.
    fn compare_messages(&self) -> Result<(), String> {
        for (id, sub) in &self.model.subs {
            let view = self.machine.subscription(SubscriptionId(*id)).ok_or("is not there")?;
            for offset in 0..self.model.end {
                let due = self.model.due.get(&offset).copied();
                for due in [Some(0), due].into_iter().flatten() {
                    let place = Place { deliver_at: UnixMs(due), offset: Offset(offset) };
                    let expected = sub.is_settled((due, offset));
                    ensure(view.is_settled(place) == expected, || format!("{place:?} of {id}: {sub:?}"))?;
                }
            }
        }
        Ok(())
    }
}

fn compare_subscription(view: &SubscriptionView<'_>, sub: &Sub, model: &Model) -> Result<(), String> {
    let same = |what: &str, same: bool| ensure(same, || format!("{what} differs: {view:?}, model {sub:?}"));
    same("control index", view.control_index() == sub.control_index)?;
    same("rules", *view.rules() == sub.rules)?;
    same("seek epoch", view.seek_epoch() == sub.seek_epoch)?;
    same("owner", (view.owner(), view.owner_epoch()) == (sub.owner, sub.owner_epoch))?;
    same("floor", view.floor() == Offset(sub.floor))?;
    same("floor and start", sub.floor >= model.start)?;
    same("settled", view.settled().iter().map(|r| (r.from.0, r.to.0)).eq(sub.main_ranges()))?;
    same("delayed from", view.delayed_from() == Offset(sub.from))?;
    let floor = view.delayed_floor();
    same("delayed floor", (floor.deliver_at.0, floor.offset.0) == sub.delayed_floor)?;
    let delayed = view
        .delayed_settled()
        .flat_map(|(due, set)| set.iter().map(move |range| (due.0, range.from.0, range.to.0)));
    same("delayed settled", delayed.eq(sub.delayed_ranges()))?;
    let attempts =
        view.attempts().map(|(place, a)| ((place.deliver_at.0, place.offset.0), (a.count, a.not_before.0)));
    same("attempts", attempts.eq(sub.attempts.iter().map(|(at, attempts)| (*at, *attempts))))?;
    let letters = view.outbox().flat_map(|(to, destination)| {
        let letters = destination.letters.iter();
        letters.map(move |(sequence, place)| (to, *sequence, (place.deliver_at.0, place.offset.0)))
    });
    same("dead letters", letters.eq(sub.letters()))?;
    let next = view.outbox().map(|(to, destination)| (to, destination.next_sequence));
    same("next sequences", next.eq(sub.sent.iter().map(|(to, (sent, _))| (*to, sent.len() as u64))))?;
    same("expired", view.expired() == sub.expired)?;
    let dropped = view.dropped().map(|d| ((d.range.from.0, d.range.to.0), d.messages));
    same("dropped", dropped == sub.dropped.map(|hull| (hull, sub.dropped_messages)))
}

/// The numbers are those of the messages, while what the leader said was true.
fn compare_backlog(
    view: &SubscriptionView<'_>,
    sub: &Sub,
    model: &Model,
    met: &mut Coverage,
) -> Result<(), String> {
    let backlog = view.backlog();
    ensure(backlog.is_exact == sub.is_exact, || format!("exactness: {backlog:?}, {sub:?}"))?;
    if sub.passed == sub.passed_truly {
        let waits = |offset: &u64| !model.due.contains_key(offset) && !sub.is_settled((0, *offset));
        let main = (sub.floor..model.end).filter(waits).count() as u64;
        ensure(backlog.main == main, || format!("{backlog:?}, the model counts {main}: {sub:?}"))?;
    }
    let pending = model.due.iter().filter(|(offset, due)| !sub.is_settled((**due, **offset))).count() as u64;
    if sub.honest && sub.is_exact {
        met.met(Met::BacklogExact);
        ensure(backlog.delayed == pending, || format!("{backlog:?}, {pending} are delayed: {sub:?}"))?;
    }
    Ok(())
}

pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
