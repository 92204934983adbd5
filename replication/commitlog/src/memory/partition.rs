//! One partition in memory, by the rules of the contract and no faster than they read.

use std::collections::{BTreeMap, VecDeque};

use futures::channel::oneshot;
use meridian_model::batch::BatchHeader;
use meridian_model::limits::{DEDUP_HORIZON_MS, DEDUP_WINDOW_BATCHES};
use meridian_model::{Batch, LogId, Offset, Place, ProducerId, Refusal, SubscriptionId, UnixMs, hash};

use super::subscriptions::{DelayedMessages, Subscription};
use crate::{Appended, LogBounds, ReadError, StoredBatch};

/// What is remembered of a producer.
#[derive(Default)]
struct Producer {
    epoch: u32,
    next: u64,
    /// First sequence, count and offset of its last batches, oldest first.
    window: VecDeque<(u64, u32, Offset)>,
}

/// A partition.
pub(super) struct Partition {
    log: LogId,
    start: Offset,
    end: Offset,
    head: [u8; 32],
    applied_index: u64,
    batches: VecDeque<StoredBatch>,
    producers: BTreeMap<ProducerId, Producer>,
    waiters: Vec<oneshot::Sender<()>>,
    stamp: UnixMs,
    /// When delayed batches are due, by their first offsets.
    delayed: BTreeMap<Offset, UnixMs>,
    pub(super) subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub(super) dispatch_epoch: u64,
}

impl Producer {
    /// `Ok(None)`: to be stored now. `Ok(Some)`: stored before.
    fn classify(&self, header: &BatchHeader) -> Result<Option<Offset>, Refusal> {
        let (first, expected) = (header.first_sequence, self.next);
        if header.epoch < self.epoch {
            return Err(Refusal::StaleEpoch { current: self.epoch, got: header.epoch });
        }
        if first == expected {
            return Ok(None);
        }
        if first > expected {
            return Err(Refusal::SequenceGap { expected, got: first });
        }
        let same =
            self.window.iter().find(|(sequence, count, _)| (*sequence, *count) == (first, header.count));
        let oldest = self.window.front().map_or(expected, |(sequence, ..)| *sequence);
        match same {
            Some((.., base)) => Ok(Some(*base)),
            None if header.next_sequence() <= oldest => Err(Refusal::DuplicateBeyondWindow),
            None => Err(Refusal::PartialOverlap { expected }),
        }
    }
}

impl Partition {
    pub(super) fn new(log: LogId) -> Self {
        Self {
            log,
            start: Offset(0),
            end: Offset(0),
            head: [0; 32],
            applied_index: 0,
            batches: VecDeque::new(),
            producers: BTreeMap::new(),
            waiters: Vec::new(),
            stamp: UnixMs(0),
            delayed: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            dispatch_epoch: 0,
        }
    }

    pub(super) fn append(
        &mut self,
        batch: Batch,
        opened_at: UnixMs,
        now: UnixMs,
    ) -> Result<Appended, Refusal> {
        self.stamped(now);
        let header = batch.header().clone();
        let anonymous = header.producer.is_nil() && !header.is_named();
        if !anonymous && let Some(base) = self.classify(&header, opened_at, now)? {
            return Ok(Appended { base, duplicate: true });
        }
        let base = self.end;
        if !anonymous {
            let producer = self.producers.entry(header.producer).or_default();
            if header.epoch > producer.epoch {
                *producer = Producer { epoch: header.epoch, ..Producer::default() };
            }
            producer.next = header.next_sequence();
            producer.window.push_back((header.first_sequence, header.count, base));
            if producer.window.len() > DEDUP_WINDOW_BATCHES {
                producer.window.pop_front();
            }
        }
        // Not the published chain: only something that changes with everything stored.
        let link = hash::key_hash(&[&self.head[..], batch.bytes()].concat()).to_be_bytes();
        self.head = [link; 4].concat().try_into().unwrap_or(self.head);
        self.end = base.plus(u64::from(header.count));
        if header.deliver_at > self.stamp {
            self.delayed.insert(base, header.deliver_at);
        }
        let bytes = batch.into_bytes();
        self.batches.push_back(StoredBatch { base, count: header.count, appended_at: self.stamp, bytes });
        // Whoever went away needs no word.
        self.waiters.drain(..).for_each(|waiter| waiter.send(()).unwrap_or_default());
        Ok(Appended { base, duplicate: false })
    }

    fn classify(
        &self,
        header: &BatchHeader,
        opened_at: UnixMs,
        now: UnixMs,
    ) -> Result<Option<Offset>, Refusal> {
        match self.producers.get(&header.producer) {
            Some(producer) if header.epoch <= producer.epoch => producer.classify(header),
            // Nobody opens named producers here, so there is no fence that would announce one.
            _ if header.is_named() || header.first_sequence > 0 => Err(Refusal::UnknownProducer),
            _ if opened_at.plus_ms(DEDUP_HORIZON_MS) < now => Err(Refusal::TokenExpired),
            _ => Ok(None),
        }
    }

    pub(super) fn trim(&mut self, start: Offset) {
        while self.batches.front().is_some_and(|batch| end_of(batch) <= start) {
            self.batches.pop_front();
        }
        self.start = self.batches.front().map_or(self.end, |batch| batch.base);
        self.delayed = self.delayed.split_off(&self.start);
    }

    /// Another command is applied. Stamps never go back.
    pub(super) fn stamped(&mut self, now: UnixMs) {
        self.applied_index += 1;
        self.stamp = self.stamp.max(now);
    }

    pub(super) fn stamp(&self) -> UnixMs {
        self.stamp
    }

    /// Delayed batches in the order of their places.
    pub(super) fn delayed_batches(&self) -> Vec<(Place, StoredBatch)> {
        let row = |batch: &StoredBatch| {
            let deliver_at = self.delayed.get(&batch.base)?;
            Some((Place { deliver_at: *deliver_at, offset: batch.base }, batch.clone()))
        };
        let mut rows: Vec<_> = self.batches.iter().filter_map(row).collect();
        rows.sort_by_key(|(place, _)| *place);
        rows
    }

    pub(super) fn delayed_messages(&self) -> DelayedMessages {
        let each = |(place, batch): (Place, StoredBatch)| {
            (0..u64::from(batch.count)).map(move |number| (batch.base.plus(number), place.deliver_at))
        };
        self.delayed_batches().into_iter().flat_map(each).collect()
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds {
            log: self.log,
            start: self.start,
            end: self.end,
            head: self.head,
            applied_index: self.applied_index,
            log_bytes: self.batches.iter().map(|batch| batch.bytes.len() as u64).sum(),
        }
    }

    pub(super) fn read(&self, from: Offset, bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        if from < self.start || from > self.end {
            return Err(ReadError::OutOfRange { offset: from, start: self.start, end: self.end });
        }
        let mut total = 0;
        let wanted = self.batches.iter().skip_while(|batch| end_of(batch) <= from);
        let within = |batch: &&StoredBatch| {
            let fits = total == 0 || total + batch.bytes.len() <= bytes;
            total += batch.bytes.len();
            fits
        };
        Ok(wanted.take_while(within).cloned().collect())
    }

    pub(super) fn offset_at(&self, time: UnixMs) -> Offset {
        let first = self.batches.iter().find(|batch| batch.appended_at >= time);
        first.map_or(self.end, |batch| batch.base)
    }

    /// Whether the log ends beyond `end`; if not, `waiter` hears of the next append.
    pub(super) fn wait_beyond(&mut self, end: Offset, waiter: oneshot::Sender<()>) -> bool {
        if self.end > end {
            return true;
        }
        self.waiters.retain(|waiter| !waiter.is_canceled());
        self.waiters.push(waiter);
        false
    }
}

fn end_of(batch: &StoredBatch) -> Offset {
    batch.base.plus(u64::from(batch.count))
}
