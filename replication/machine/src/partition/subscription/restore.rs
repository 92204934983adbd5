//! Making subscriptions of their rows, and refusing rows that no machine wrote.

use std::collections::BTreeMap;

use meridian_model::subscription::Attempts;
use meridian_model::{LogId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};

use super::delayed_log::{DelayedBatch, DelayedLog, SegmentDelayed};
use super::state::{RowCounts, Subscription};
use super::{Destination, Journal, SCALARS, Subscriptions, keys};
use crate::wire::Reader;
use crate::{CorruptState, Row, Table};

/// What the other rows of the partition say.
pub(in crate::partition) struct Log<'a> {
    pub(in crate::partition) start: Offset,
    pub(in crate::partition) end: Offset,
    pub(in crate::partition) applied: u64,
    /// Whether a closed segment ends at this entry.
    pub(in crate::partition) is_segment: &'a dyn Fn(u64) -> bool,
}

/// Decoded rows by kind.
#[derive(Default)]
pub(in crate::partition) struct FoundSubscriptions {
    rows: BTreeMap<SubscriptionId, (Subscription, RowCounts)>,
    settled: BTreeMap<(SubscriptionId, Place), Offset>,
    attempts: BTreeMap<(SubscriptionId, Place), Attempts>,
    destinations: BTreeMap<(SubscriptionId, LogId), (u64, u32)>,
    letters: BTreeMap<(SubscriptionId, LogId, u64), Place>,
    gone: BTreeMap<SubscriptionId, u64>,
    segments: BTreeMap<u64, SegmentDelayed>,
    /// Kept only until they are counted.
    by_time: Vec<DelayedBatch>,
    by_offset: Vec<(DelayedBatch, u64)>,
}

impl FoundSubscriptions {
    /// Takes up a row, if it is one of ours.
    pub(in crate::partition) fn add(&mut self, row: &Row) -> Result<bool, CorruptState> {
        let malformed = CorruptState::length(row.table);
        let mut value = Reader::new(&row.value);
        match row.table {
            Table::Subscription => {
                let (sub, counts) = Subscription::decode(&row.key, &row.value)?;
                self.rows.insert(sub.id, (sub, counts));
                return Ok(true);
            }
            Table::SegmentDelayed => {
                let (index, segment) = DelayedLog::decode_segment(&row.key, &row.value)?;
                self.segments.insert(index, segment);
                return Ok(true);
            }
            Table::DelayedByTime => {
                self.by_time.push(DelayedBatch::by_time(&row.key, &row.value)?);
                return Ok(true);
            }
            Table::DelayedByOffset => {
                self.by_offset.push(DelayedBatch::by_offset(&row.key, &row.value)?);
                return Ok(true);
            }
            Table::Settled => {
                let key = keys::read_place(&row.key).map_err(&malformed)?;
                self.settled.insert(key, Offset(value.u64().map_err(&malformed)?));
            }
            Table::Attempts => {
                let key = keys::read_place(&row.key).map_err(&malformed)?;
                let count = value.u32().map_err(&malformed)?;
                let not_before = UnixMs(value.u64().map_err(&malformed)?);
                self.attempts.insert(key, Attempts { count, not_before });
            }
            Table::Destination => {
                let key = keys::read_destination(&row.key).map_err(&malformed)?;
                let next_sequence = value.u64().map_err(&malformed)?;
                self.destinations.insert(key, (next_sequence, value.u32().map_err(&malformed)?));
            }
            Table::DeadLetter => {
                let key = keys::read_letter(&row.key).map_err(&malformed)?;
                let deliver_at = UnixMs(value.u64().map_err(&malformed)?);
                let offset = Offset(value.u64().map_err(&malformed)?);
                self.letters.insert(key, Place { deliver_at, offset });
            }
            Table::DroppedSubscription => {
                let id = keys::read_subscription(&row.key).map_err(&malformed)?;
                self.gone.insert(id, value.u64().map_err(&malformed)?);
            }
            _ => return Ok(false),
        }
        value.end().map_err(malformed).map(|()| true)
    }

    pub(in crate::partition) fn is_empty(&self) -> bool {
        let subs = self.rows.is_empty() && self.settled.is_empty() && self.attempts.is_empty();
        let letters = self.destinations.is_empty() && self.letters.is_empty() && self.gone.is_empty();
        subs && letters && self.segments.is_empty() && self.by_time.is_empty() && self.by_offset.is_empty()
    }

    /// What these rows and the scalars of the core row make.
    pub(in crate::partition) fn restore(
        self,
        scalars: [u64; SCALARS],
        log: &Log<'_>,
    ) -> Result<Subscriptions, CorruptState> {
        let [dispatch_epoch, revived_at, messages, trimmed, batches, in_open, segments, subs, gone] = scalars;
        CorruptState::countable(Table::Core, [messages, batches, in_open])?;
        if dispatch_epoch.max(revived_at) > log.applied {
            return Err(CorruptState::row(Table::Core, "an epoch began at an entry that was not applied"));
        }
        if self.rows.len() as u64 != subs || self.gone.len() as u64 != gone {
            return Err(CorruptState::row(Table::Subscription, "a subscription is missing"));
        }
        if self.segments.len() as u64 != segments
            || !self.segments.keys().all(|index| (log.is_segment)(*index))
        {
            return Err(CorruptState::row(Table::SegmentDelayed, "not those of the closed segments"));
        }
        let open = SegmentDelayed { batches, messages: in_open };
        let delayed = DelayedLog { messages, trimmed, open, segments: self.segments };
        check_delayed(&delayed, self.by_time, self.by_offset, log)?;
        let mut rows = self.rows;
        fill_settled(&mut rows, self.settled, log)?;
        fill_attempts(&mut rows, self.attempts, log)?;
        fill_outboxes(&mut rows, self.destinations, self.letters, log)?;
        for (sub, counts) in rows.values() {
            check_subscription(sub, *counts, &delayed, log)?;
        }
        let rows = rows.into_iter().map(|(id, (sub, _))| (id, sub)).collect();
        let journal = Journal::default();
        Ok(Subscriptions { rows, gone: self.gone, dispatch_epoch, revived_at, delayed, journal })
    }
}

/// Both tables name the same batches from the log's start on, as many as were counted.
fn check_delayed(
    delayed: &DelayedLog,
    mut by_time: Vec<DelayedBatch>,
    mut by_offset: Vec<(DelayedBatch, u64)>,
    log: &Log<'_>,
) -> Result<(), CorruptState> {
    let wrong = |table, why| Err(CorruptState::row(table, why));
    by_time.retain(|batch| batch.first.offset >= log.start);
    by_offset.retain(|(batch, _)| batch.first.offset >= log.start);
    by_time.sort_unstable_by_key(|batch| batch.first.offset);
    by_offset.sort_unstable_by_key(|(batch, _)| batch.first.offset);
    if !by_time.iter().eq(by_offset.iter().map(|(batch, _)| batch)) {
        return wrong(Table::DelayedByTime, "not the same batches as by offset");
    }
    let (mut rank, mut end) = (delayed.trimmed, log.start);
    for (batch, before) in &by_offset {
        if *before != rank || batch.first.offset < end {
            return wrong(Table::DelayedByOffset, "a batch is missing or stands twice");
        }
        rank = rank.saturating_add(u64::from(batch.count));
        end = Offset(batch.first.offset.0.saturating_add(u64::from(batch.count)));
    }
    let mut counted = delayed.open;
    for segment in delayed.segments.values() {
        counted.batches = counted.batches.saturating_add(segment.batches);
        counted.messages = counted.messages.saturating_add(segment.messages);
    }
    let messages = delayed.trimmed.saturating_add(counted.messages);
    match (rank, by_offset.len() as u64) == (delayed.messages, counted.batches)
        && messages == delayed.messages
        && end <= log.end.max(log.start)
    {
        true => Ok(()),
        false => wrong(Table::DelayedByOffset, "not as many delayed messages as were counted"),
    }
}

type Rows = BTreeMap<SubscriptionId, (Subscription, RowCounts)>;

fn fill_settled(
    rows: &mut Rows,
    settled: BTreeMap<(SubscriptionId, Place), Offset>,
    log: &Log<'_>,
) -> Result<(), CorruptState> {
    let wrong = |why| CorruptState::row(Table::Settled, why);
    for ((id, place), to) in settled {
        let (sub, _) = rows.get_mut(&id).ok_or(wrong("of no subscription"))?;
        let range = OffsetRange { from: place.offset, to };
        if to <= range.from || to > log.end {
            return Err(wrong("a range that holds no message of the log"));
        }
        let lane = &mut sub.delayed;
        let (set, is_above) = match place.is_delayed() {
            true => {
                lane.ranges += 1;
                let is_above = place >= lane.floor && range.from >= lane.from;
                (lane.settled.entry(place.deliver_at).or_default(), is_above)
            }
            false => {
                sub.main.above = sub.main.above.saturating_add(range.len());
                (&mut sub.main.settled, range.from > sub.main.floor)
            }
        };
        if !is_above || set.touching(range).next().is_some() {
            return Err(wrong("below the floor, or not apart from another range"));
        }
        set.insert(range);
    }
    Ok(())
}

fn fill_attempts(
    rows: &mut Rows,
    attempts: BTreeMap<(SubscriptionId, Place), Attempts>,
    log: &Log<'_>,
) -> Result<(), CorruptState> {
    let wrong = |why| CorruptState::row(Table::Attempts, why);
    for ((id, place), attempts) in attempts {
        let (sub, _) = rows.get_mut(&id).ok_or(wrong("of no subscription"))?;
        if place.offset >= log.end || sub.is_settled(place) || attempts.count == 0 {
            return Err(wrong("of a message that is settled or not there, or none"));
        }
        sub.attempts.insert(place, attempts);
    }
    Ok(())
}

fn fill_outboxes(
    rows: &mut Rows,
    destinations: BTreeMap<(SubscriptionId, LogId), (u64, u32)>,
    mut letters: BTreeMap<(SubscriptionId, LogId, u64), Place>,
    log: &Log<'_>,
) -> Result<(), CorruptState> {
    let wrong = |why| CorruptState::row(Table::DeadLetter, why);
    for ((id, to), (next_sequence, count)) in destinations {
        let (sub, _) = rows.get_mut(&id).ok_or(wrong("of no subscription"))?;
        CorruptState::countable(Table::Destination, [next_sequence])?;
        let first =
            next_sequence.checked_sub(u64::from(count)).ok_or(wrong("more letters than were sent"))?;
        let mut destination = Destination { next_sequence, ..Destination::default() };
        // As many as there are rows for: a count alone must not make memory.
        for sequence in first..next_sequence {
            let place = letters.remove(&(id, to, sequence)).filter(|place| place.offset < log.end);
            destination.letters.insert(sequence, place.ok_or(wrong("a letter is missing"))?);
        }
        sub.outbox.letters += destination.letters.len();
        sub.outbox.destinations.insert(to, destination);
    }
    match letters.is_empty() {
        true => Ok(()),
        false => Err(wrong("a letter to nobody, or one that arrived")),
    }
}

fn check_subscription(
    sub: &Subscription,
    counts: RowCounts,
    delayed: &DelayedLog,
    log: &Log<'_>,
) -> Result<(), CorruptState> {
    let (main, lane) = (&sub.main, &sub.delayed);
    let numbers = [sub.seek_epoch, sub.owner_epoch, lane.messages, sub.expired, sub.dropped.messages];
    CorruptState::countable(Table::Subscription, numbers)?;
    let within = log.start <= main.floor && main.floor <= log.end && lane.from <= log.end;
    if !within || main.passed > delayed.messages || lane.before > delayed.messages {
        return Err(CorruptState::row(Table::Subscription, "a place that is not in the log"));
    }
    match counts == sub.row_counts() {
        true => Ok(()),
        false => Err(CorruptState::row(Table::Subscription, "one of its rows is missing")),
    }
}
