//! Making a machine of its rows, and refusing rows that no machine wrote.

use std::collections::{BTreeMap, VecDeque};

use meridian_model::{LogId, Offset, ProducerId};

use super::core::{Core, Expected};
use super::dedup::Producers;
use super::producer::{Producer, StoredBatch, decode_slot};
use super::segment::Segment;
use super::subscription::{FoundSubscriptions, Log};
use super::{Bounds, PartitionMachine};
use crate::{CorruptState, Row, Table};

impl PartitionMachine {
    /// The machine whose effects left these rows, in any order. No rows: a new machine.
    pub fn restore(log: LogId, rows: impl IntoIterator<Item = Row>) -> Result<Self, CorruptState> {
        Self::restore_with_bounds(log, rows, Bounds::default())
    }

    pub(crate) fn restore_with_bounds(
        log: LogId,
        rows: impl IntoIterator<Item = Row>,
        bounds: Bounds,
    ) -> Result<Self, CorruptState> {
        let mut found = Found::default();
        for row in rows {
            found.add(log, row)?;
        }
        let Some((core, expected)) = found.core else {
            return match found.is_empty() {
                true => Ok(Self::with_bounds(log, bounds)),
                false => Err(CorruptState::NoCore),
            };
        };
        check_counts(&core, &found.segments, &found.producers)?;
        let (boundary, segments) = order_segments(&core, found.segments)?;
        if segments.len() as u64 != expected.segments {
            return Err(CorruptState::row(Table::Segment, "a closed segment is missing"));
        }
        if found.producers.len() as u64 != expected.producers {
            return Err(CorruptState::row(Table::Producer, "a producer is missing"));
        }
        let rows = fill_rings(found.producers, found.slots, bounds.window_batches)?;
        let producers = Producers::of(rows);
        let subscriptions = found.subscriptions.restore(
            expected.subscriptions,
            &Log {
                start: boundary.map_or(Offset(0), |b| b.end),
                end: core.end,
                applied: core.applied.index,
                is_segment: &|index| segments.binary_search_by_key(&index, |s| s.at.index).is_ok(),
            },
        )?;
        Ok(Self { log, bounds, core, boundary, segments, producers, subscriptions })
    }
}

/// Decoded rows by kind.
#[derive(Default)]
struct Found {
    core: Option<(Core, Expected)>,
    segments: BTreeMap<u64, Segment>,
    producers: BTreeMap<ProducerId, Producer>,
    slots: BTreeMap<(ProducerId, usize), StoredBatch>,
    subscriptions: FoundSubscriptions,
}

impl Found {
    fn add(&mut self, log: LogId, row: Row) -> Result<(), CorruptState> {
        match row.table {
            Table::Core if row.key.is_empty() => self.core = Some(Core::decode(log, &row.value)?),
            Table::Core => return Err(CorruptState::row(Table::Core, "stands under another key")),
            Table::Segment => {
                let segment = Segment::decode(&row.key, &row.value)?;
                self.segments.insert(segment.at.index, segment);
            }
            Table::Producer => {
                let (id, producer) = Producer::decode(&row.key, &row.value)?;
                self.producers.insert(id, producer);
            }
            Table::Sequence => {
                let (id, slot, batch) = decode_slot(&row.key, &row.value)?;
                self.slots.insert((id, slot), batch);
            }
            Table::BoundaryMembership => {}
            _ if self.subscriptions.add(&row)? => {}
            other => return Err(CorruptState::row(other, "not a table of a partition")),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let log = self.segments.is_empty() && self.producers.is_empty() && self.slots.is_empty();
        log && self.subscriptions.is_empty()
    }
}

/// Segments lie among the entries that were applied, and every number can be counted on from.
fn check_counts(
    core: &Core,
    segments: &BTreeMap<u64, Segment>,
    producers: &BTreeMap<ProducerId, Producer>,
) -> Result<(), CorruptState> {
    let open = &core.open;
    CorruptState::countable(Table::Core, [core.applied.index, core.end.0, open.entries])?;
    CorruptState::countable(Table::Producer, producers.values().map(|row| row.stored))?;
    let mut bytes = open.bytes;
    for segment in segments.values() {
        bytes = bytes.saturating_add(segment.bytes);
    }
    CorruptState::countable(Table::Segment, [bytes])?;
    match segments.keys().all(|index| (1..=core.applied.index).contains(index)) {
        true => Ok(()),
        false => Err(CorruptState::row(Table::Segment, "ends at an entry that was not applied")),
    }
}

fn order_segments(
    core: &Core,
    found: BTreeMap<u64, Segment>,
) -> Result<(Option<Segment>, VecDeque<Segment>), CorruptState> {
    let mut segments: VecDeque<Segment> = found.into_values().collect();
    let boundary = match core.start_index {
        0 => None,
        index => {
            let first = segments.pop_front().filter(|s| s.at.index == index);
            Some(first.ok_or(CorruptState::row(Table::Segment, "the log's start is missing"))?)
        }
    };
    let mut end = boundary.map_or(0, |b| b.end.0);
    for segment in &segments {
        if segment.end.0 < end {
            return Err(CorruptState::row(Table::Segment, "offsets go back"));
        }
        end = segment.end.0;
    }
    if core.end.0.checked_sub(end) != Some(core.open.messages) {
        return Err(CorruptState::row(Table::Core, "the open segment does not reach the end"));
    }
    Ok((boundary, segments))
}

fn fill_rings(
    mut producers: BTreeMap<ProducerId, Producer>,
    slots: BTreeMap<(ProducerId, usize), StoredBatch>,
    window: usize,
) -> Result<BTreeMap<ProducerId, Producer>, CorruptState> {
    for ((id, slot), batch) in slots {
        let row = producers.get_mut(&id).filter(|row| row.ring.len() == slot);
        row.ok_or(CorruptState::row(Table::Sequence, "a slot without its producer or predecessor"))?
            .ring
            .push(batch);
    }
    for row in producers.values() {
        if row.ring.len() as u64 != row.stored.min(window as u64) || row.live > row.ring.len() {
            return Err(CorruptState::row(Table::Sequence, "a slot of the window is missing"));
        }
    }
    Ok(producers)
}
