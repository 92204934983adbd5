//! One subscription as a partition remembers it, and its row.

use std::collections::BTreeMap;

use meridian_model::subscription::{Attempts, SubscriptionRules};
use meridian_model::{ConsumerId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};

use super::delayed_lane::DelayedLane;
use super::journal::Journal;
use super::keys;
use super::main_lane::MainLane;
use super::outbox::Outbox;
use crate::command::{rules_codec, subscription_codec};
use crate::wire::{OutOfBytes, Reader, put_flag};
use crate::{CorruptState, Table};

/// What is known of a backlog that was dropped by the namespace's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The latest: from the floor that held back, to where the log began afterwards.
    pub range: OffsetRange,
    /// Messages of the main lane that were dropped unsettled, since the subscription was made.
    pub messages: u64,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) control_index: u64,
    pub(super) rules: SubscriptionRules,
    pub(super) seek_epoch: u64,
    pub(super) owner: Option<ConsumerId>,
    pub(super) owner_epoch: u64,
    pub(super) main: MainLane,
    pub(super) delayed: DelayedLane,
    /// Unsettled messages of both lanes that failed, by their place.
    pub(super) attempts: BTreeMap<Place, Attempts>,
    pub(super) outbox: Outbox,
    /// Messages that were settled because they expired, since the subscription was made.
    pub(super) expired: u64,
    pub(super) dropped: Dropped,
}

/// How many rows beside its own a subscription has, so that a lost one is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowCounts {
    pub(super) settled: u32,
    pub(super) attempts: u32,
    pub(super) destinations: u32,
}

impl Subscription {
    pub(super) fn new(
        id: SubscriptionId,
        control_index: u64,
        rules: SubscriptionRules,
        start: Offset,
        delayed_before: u64,
    ) -> Self {
        let nothing = OffsetRange::new(Offset(0), Offset(0));
        Self {
            id,
            control_index,
            rules,
            seek_epoch: 0,
            owner: None,
            owner_epoch: 0,
            main: MainLane::at(start, delayed_before),
            delayed: DelayedLane::at(start, delayed_before),
            attempts: BTreeMap::new(),
            outbox: Outbox::default(),
            expired: 0,
            dropped: Dropped { range: nothing, messages: 0 },
        }
    }

    pub(super) fn is_settled(&self, place: Place) -> bool {
        match place.is_delayed() {
            true => self.delayed.is_settled(place),
            false => self.main.is_settled(place.offset),
        }
    }

    /// Forgets the attempts of messages that are settled now.
    pub(super) fn forget_attempts(&mut self, deliver_at: UnixMs, range: OffsetRange, journal: &mut Journal) {
        let (from, to) = (Place { deliver_at, offset: range.from }, Place { deliver_at, offset: range.to });
        let places: Vec<Place> = self.attempts.range(from..to).map(|(place, _)| *place).collect();
        for place in places {
            self.attempts.remove(&place);
            journal.delete(Table::Attempts, keys::place(self.id, place));
        }
    }

    /// Counts a failed attempt.
    pub(super) fn fail(&mut self, place: Place, not_before: UnixMs, journal: &mut Journal) {
        let known = self.attempts.contains_key(&place);
        let attempts = self.attempts.entry(place).or_default();
        attempts.count = attempts.count.saturating_add(1);
        attempts.not_before = not_before;
        let value = [&attempts.count.to_le_bytes()[..], &not_before.0.to_le_bytes()].concat();
        let key = keys::place(self.id, place);
        match known {
            true if planted!(LosesSecondAttempt) => {}
            true => journal.update(Table::Attempts, key, value),
            false => journal.insert(Table::Attempts, key, value),
        }
    }

    /// Removes every row.
    pub(super) fn delete_rows(&self, journal: &mut Journal) {
        self.main.delete_rows(self.id, journal);
        self.delayed.delete_rows(self.id, journal);
        for place in self.attempts.keys() {
            journal.delete(Table::Attempts, keys::place(self.id, *place));
        }
        self.outbox.delete_rows(self.id, journal);
        journal.delete(Table::Subscription, keys::subscription(self.id));
    }

    pub(super) fn row_counts(&self) -> RowCounts {
        RowCounts {
            settled: (self.main.settled.ranges() + self.delayed.ranges) as u32,
            attempts: self.attempts.len() as u32,
            destinations: self.outbox.destinations.len() as u32,
        }
    }

    /// Bytes: control index 8, rules 31, seek epoch 8, owner 17, owner epoch 8, then the lanes' scalars, counters
    /// and the number of rows.
    pub(super) fn row(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(224);
        let put = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        out.extend(put(&[self.control_index]));
        rules_codec::write(&self.rules, &mut out);
        out.extend(put(&[self.seek_epoch, self.owner_epoch]));
        put_flag(&mut out, self.owner.is_some());
        out.extend_from_slice(&self.owner.unwrap_or_default().0);
        let (main, delayed, dropped) = (&self.main, &self.delayed, &self.dropped);
        out.extend(put(&[main.floor.0, main.passed, delayed.from.0, delayed.before]));
        out.extend(put(&[delayed.floor.deliver_at.0, delayed.floor.offset.0, delayed.messages]));
        put_flag(&mut out, delayed.exact);
        out.extend(put(&[self.expired, dropped.range.from.0, dropped.range.to.0, dropped.messages]));
        let counts = self.row_counts();
        for count in [counts.settled, counts.attempts, counts.destinations] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        out
    }

    /// A subscription whose other rows are still to come, and how many they must be.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(Self, RowCounts), CorruptState> {
        let read = || {
            let id = keys::read_subscription(key)?;
            let mut reader = Reader::new(value);
            let read = Self::read(id, &mut reader)?;
            reader.end().map(|()| read)
        };
        read().map_err(CorruptState::length(Table::Subscription))
    }

    fn read(id: SubscriptionId, reader: &mut Reader<'_>) -> Result<(Self, RowCounts), OutOfBytes> {
        let (control_index, rules) = (reader.u64()?, rules_codec::read(reader)?);
        let mut read = Self::new(id, control_index, rules, Offset(0), 0);
        (read.seek_epoch, read.owner_epoch) = (reader.u64()?, reader.u64()?);
        read.owner = subscription_codec::read_owner(reader)?;
        read.main = MainLane::at(Offset(reader.u64()?), reader.u64()?);
        read.delayed = DelayedLane::at(Offset(reader.u64()?), reader.u64()?);
        read.delayed.floor = Place { deliver_at: UnixMs(reader.u64()?), offset: Offset(reader.u64()?) };
        read.delayed.messages = reader.u64()?;
        read.delayed.exact = reader.flag()?;
        read.expired = reader.u64()?;
        let (from, to) = (Offset(reader.u64()?), Offset(reader.u64()?));
        read.dropped = Dropped { range: OffsetRange { from, to }, messages: reader.u64()? };
        let counts =
            RowCounts { settled: reader.u32()?, attempts: reader.u32()?, destinations: reader.u32()? };
        match from <= to {
            true => Ok((read, counts)),
            false => Err(OutOfBytes),
        }
    }
}
