//! One run: machine and model side by side, compared after every command, and restored at random ones.

use std::collections::BTreeMap;

use meridian_model::{GroupId, NodeId, UnixMs};

use super::SMALL;
use super::coverage::{Coverage, Met};
use super::model::Model;
use super::operation::{self, Dice};
use crate::control::balance::Placed;
use crate::control::{ControlCommand, ControlMachine};
use crate::{At, Command, Effect, Row, Table};

type Disk = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Runs a tape, one command for each of its cells.
pub(super) fn run(tape: &[u128], met: &mut Coverage) -> Result<(), String> {
    let mut run = Run {
        model: Model::new(SMALL),
        machine: ControlMachine::with_bounds(SMALL),
        disk: Disk::new(),
        log_from: 0,
    };
    for (cell, index) in tape.iter().zip(1..) {
        let at = At { term: 1 + index / 20, index };
        let bytes = cell.to_le_bytes();
        let mut dice = Dice::of(&bytes);
        let command = operation::command(&mut dice, &run.model, met);
        let restart = match dice.below(16) {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        let stepped = run.step(at, command.clone(), met);
        let restarted = stepped.and_then(|()| restart.map_or(Ok(()), |reverse| run.restart(reverse, met)));
        restarted.map_err(|why| format!("at {index}: {command:?}: {why}"))?;
    }
    run.restart(false, met)
}

struct Run {
    model: Model,
    machine: ControlMachine,
    disk: Disk,
    /// Entries through this one are gone from the log.
    log_from: u64,
}

impl Run {
    fn step(&mut self, at: At, command: Option<ControlCommand>, met: &mut Coverage) -> Result<(), String> {
        let mut effects = Vec::new();
        let Some(command) = command else {
            self.model.skip(at);
            self.machine.skip(at, &mut effects);
            self.write(at, effects, true)?;
            return self.compare_scalars();
        };
        let entry = Command::Control(command).encode();
        let Ok(Command::Control(command)) = Command::decode(entry) else {
            return Err("does not decode".into());
        };
        let reply = self.machine.apply(at, &command, &mut effects);
        self.write(at, effects, reply.result.is_err() || reply.index != at.index)?;
        let got = (&reply, &self.machine);
        self.model.apply(at, command.stamp.0, &command.change, got, met)?;
        self.compare_scalars()?;
        // A refused command wrote nothing else; had it changed memory, the next restart would show it.
        if reply.result.is_ok() { self.compare_tables() } else { Ok(()) }
    }

    /// Writes the effects of one entry, and refuses what no entry, or no refused one, should do.
    fn write(&mut self, at: At, effects: Vec<Effect>, refused: bool) -> Result<(), String> {
        let scalars = |table: Table| matches!(table, Table::Core | Table::Request);
        for effect in effects {
            match effect {
                Effect::Put(row) => {
                    ensure(!refused || scalars(row.table), || format!("a refused command wrote {row:?}"))?;
                    self.disk.insert((row.table, row.key), row.value);
                }
                Effect::Delete { table, key } => {
                    ensure(!refused || scalars(table), || format!("a refused command removed of {table:?}"))?;
                    ensure(self.disk.remove(&(table, key)).is_some(), || format!("nothing in {table:?}"))?;
                }
                Effect::SegmentClosed { at: closed } => ensure(closed == at, || "closed elsewhere".into())?,
                Effect::Trimmed { at: through, .. } => {
                    ensure(self.log_from < through.index && through < at, || format!("trims {through:?}"))?;
                    self.log_from = through.index;
                }
                Effect::Index { .. } => return Err("an index row from the control group".into()),
            }
        }
        Ok(())
    }

    /// The machine of the rows goes on in place of the machine: rows in key order, or in another order.
    fn restart(&mut self, reverse: bool, met: &mut Coverage) -> Result<(), String> {
        let row = |((table, key), value): (&(Table, Vec<u8>), &Vec<u8>)| Row {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        };
        met.met(if reverse { Met::RestoredInReverse } else { Met::RestoredInOrder });
        let restored = match reverse {
            true => ControlMachine::restore_with_bounds(self.disk.iter().rev().map(row), SMALL),
            false => ControlMachine::restore_with_bounds(self.disk.iter().map(row), SMALL),
        };
        let restored = restored.map_err(|why| why.to_string())?;
        ensure(restored == self.machine, || format!("restored {restored:?}, live {:?}", self.machine))?;
        self.machine = restored;
        self.compare_board()?;
        self.compare_tables()
    }

    fn compare_scalars(&self) -> Result<(), String> {
        let (machine, model) = (&self.machine, &self.model);
        let same = |what: &str, same: bool| ensure(same, || format!("{what} differs: {machine:?}"));
        let formed = machine.cluster().map(|c| (c.id.as_u128(), c.name.clone(), c.formed_at.0));
        same("cluster", formed == model.cluster)?;
        same("stamp", machine.last_stamp() == UnixMs(model.stamp))?;
        same("position", machine.last_applied() == model.at)?;
        let log = (machine.log_start(), machine.log_closed());
        same("log", log == (model.log_start, model.log_closed))?;
        same("purged", self.log_from == model.log_start.map_or(0, |at| at.index))
    }

    /// What planning is told, and what tables keep of nodes and moves.
    fn compare_board(&self) -> Result<(), String> {
        let (machine, model) = (&self.machine, &self.model);
        let live = model.topics.values().filter(|topic| !topic.deleting);
        let board = live.flat_map(|topic| &topic.partitions).map(|placement| Placed {
            group: placement.group,
            nodes: placement.replicas.iter().map(|copy| copy.node).collect(),
            leader: placement.preferred_leader,
            leaving: model.moving_of(placement.group.0).map(|moving| moving.old.node).collect(),
        });
        ensure(board.eq(machine.board()), || format!("board differs: {machine:?}"))?;
        let carried = |n| machine.carries(NodeId(n)) == model.copies_on(n) + model.copies_leaving(n);
        ensure((0..=NODES_ASKED).all(carried), || format!("copies differ: {machine:?}"))?;
        let known = |n| machine.leaving(GroupId(n)).eq(model.moving_of(n).map(|moving| &moving.old));
        ensure((0..=model.next_group).all(known), || format!("moves differ: {machine:?}"))?;
        if let Some(misplaced) = model.misplaced() {
            return Err(format!("misplaced: {misplaced}"));
        }
        let rows = |table| self.disk.keys().filter(|(of, _)| *of == table).count();
        let duties = model.draining.len() + model.leaving.len() + model.gone.len();
        let kept = (rows(Table::NodeDuty), rows(Table::Move)) == (duties, model.moving.len());
        ensure(kept, || format!("rows of nodes or moves differ: {machine:?}"))
    }

    fn compare_tables(&self) -> Result<(), String> {
        let (machine, model) = (&self.machine, &self.model);
        let same = |what: &str, same: bool| ensure(same, || format!("{what} differs: {machine:?}"));
        same("nodes", machine.nodes().eq(model.nodes.values()))?;
        let tenants = machine.tenants().map(|t| (&t.name, (t.created_at.0, t.version)));
        same("tenants", tenants.eq(model.tenants.iter().map(|(name, made)| (name, *made))))?;
        let namespaces = model.tenants.keys().flat_map(|tenant| machine.namespaces(tenant));
        let namespaces = namespaces.map(|n| (&n.tenant, &n.name, (n.created_at.0, n.version)));
        same(
            "namespaces",
            namespaces.eq(model.namespaces.iter().map(|((tenant, name), made)| (tenant, name, *made))),
        )?;
        same("topics", machine.topics().eq(model.topics.values()))?;
        same("partitions", machine.groups_count() as u64 == model.partitions())?;
        for topic in model.topics.values() {
            for (placement, number) in topic.partitions.iter().zip(0..) {
                let named = machine.group(placement.group).map(|(t, n)| (&t.name, n));
                same("a group", named == Some((&topic.name, number)))?;
            }
        }
        same("duties", (0..=NODES_ASKED).all(|n| machine.duty(NodeId(n)) == model.duty(n)))?;
        let leaving = machine.all_leaving().map(|(group, copy)| (group.0, *copy));
        same("moves", leaving.eq(model.moving.iter().map(|((group, _), moving)| (*group, moving.old))))?;
        let producers = model.topics.keys().flat_map(|topic| machine.producers_of(topic));
        let producers = producers.map(|p| (&p.topic, &p.name, p.epoch));
        same(
            "producers",
            producers.eq(model.producers.iter().map(|((topic, name), epoch)| (topic, name, *epoch))),
        )?;
        same("subscriptions", machine.subscriptions().eq(model.subscriptions.values()))?;
        let by_topic = model.topics.keys().flat_map(|topic| machine.subscriptions_of(topic));
        same("subscriptions by topic", by_topic.eq(model.subscriptions.values()))?;
        let requests = self.disk.range((Table::Request, vec![])..(Table::ControlLog, vec![])).count();
        same("requests", requests == model.requests.len())
    }
}

/// The highest node number that the dice know.
const NODES_ASKED: u64 = 9;

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
