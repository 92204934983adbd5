//! The Raft log of one group, on the shared engine.
//!
//! `append` puts entries into a bounded in-memory tail, where they are readable at once, hands them to the
//! node's writer and returns; the writer calls back when they are on disk. Everything else that writes (votes,
//! truncation, purge) goes through the same FIFO and is awaited, so the order on disk is the order of calls.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meridian_model::GroupId;
use meridian_model::limits::FRAME_BYTES_MAX;
use meridian_storage::keys::{self, entry, meta};
use meridian_storage::{Disk, Durability, Family, Value, Write, WriteSet, WriterHandle};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;

use crate::types::{Entry, LogId, Payload, TypeConfig, Vote, log_id, term_of};
use crate::wire;

/// Bytes of durable entries that one group keeps in memory whatever the others do.
const TAIL_BYTES_MIN: usize = 64 * 1024;
/// Bytes of durable entries that one group keeps in memory at the most.
const TAIL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of one read from disk.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// The memory that the log tails of a node share.
#[derive(Debug)]
pub struct TailBudget {
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

impl TailBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicUsize::new(0), bytes_max })
    }

    fn exhausted(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) > self.bytes_max
    }
}

#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// The first entry there is, if any.
    first: Option<u64>,
    last: Option<LogId>,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Every index below is on disk.
    durable_next: u64,
}

struct Shared {
    group: GroupId,
    writer: WriterHandle,
    disk: Disk,
    budget: Arc<TailBudget>,
    tail: Mutex<Tail>,
}

/// One group's log: writer and reader at once. Clones share the same log.
#[derive(Clone)]
pub struct LogStore(Arc<Shared>);

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Normal(command) => 64 + command.0.len(),
        _ => 256,
    }
}

impl LogStore {
    /// Opens the log of `group` from what is stored. Blocks on the disk.
    pub fn open(
        group: GroupId,
        writer: WriterHandle,
        disk: Disk,
        budget: Arc<TailBudget>,
    ) -> Result<Self, io::Error> {
        let engine = disk.engine();
        let vote = engine.get(Family::Meta, &meta::encode(group, meta::Fact::Vote))?;
        let purged = engine.get(Family::Meta, &meta::encode(group, meta::Fact::Purged))?;
        let purged = match purged {
            Some(bytes) => Some(decode_position(&bytes)?),
            None => None,
        };
        let first = engine.scan(Family::Log, &keys::log::all(group), 1, 1)?;
        let first = first.first().and_then(|(key, _)| keys::log::decode(key).ok()).map(|(_, index)| index);
        let last = match engine.last(Family::Log, &keys::log::all(group))? {
            Some((_, value)) => Some(decode_entry(value)?.log_id),
            None => None,
        };
        let last = last.max(purged);
        let tail = Tail {
            vote: vote.map(|bytes| wire::decode_vote(&bytes)).transpose()?,
            purged,
            first,
            last,
            durable_next: last.map_or(0, |id| id.index + 1),
            ..Default::default()
        };
        Ok(Self(Arc::new(Shared { group, writer, disk, budget, tail: Mutex::new(tail) })))
    }

    /// Entries `from..to`, at most about `bytes` of them but at least one. The log must hold them all.
    pub async fn read(&self, from: u64, to: u64, bytes: usize) -> Result<Vec<Entry>, io::Error> {
        let mut found: Vec<Entry> = Vec::new();
        let mut total = 0;
        let mut next = from;
        while next < to && total < bytes {
            let more = match self.read_tail(next, to, bytes - total) {
                Ok(entries) => entries,
                Err(tail_start) => self.read_disk(next, to.min(tail_start), bytes - total).await?,
            };
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            total += more.iter().map(entry_bytes).sum::<usize>();
            found.extend(more);
        }
        Ok(found)
    }

    /// From memory, or the index at which memory begins.
    fn read_tail(&self, from: u64, to: u64, bytes: usize) -> Result<Vec<Entry>, u64> {
        let tail = self.0.tail.lock();
        let Some(first) = tail.entries.front().map(|entry| entry.log_id.index) else {
            return if from >= tail.durable_next { Ok(Vec::new()) } else { Err(u64::MAX) };
        };
        if from < first {
            return Err(first);
        }
        let mut total = 0;
        let entries = tail.entries.iter().skip((from - first) as usize).take((to - from) as usize);
        let within = |entry: &&Entry| {
            let fits = total < bytes;
            total += entry_bytes(entry);
            fits
        };
        Ok(entries.take_while(within).cloned().collect())
    }

    async fn read_disk(&self, from: u64, to: u64, bytes: usize) -> Result<Vec<Entry>, io::Error> {
        let read = self.read_stored(from, to, bytes).await;
        read.inspect_err(|error| self.0.disk.report_if_damage(self.0.group, error))
    }

    async fn read_stored(&self, from: u64, to: u64, bytes: usize) -> Result<Vec<Entry>, io::Error> {
        let range = keys::log::range(self.0.group, from, to);
        let bytes = bytes.min(READ_BYTES);
        let rows =
            self.0.disk.read(move |engine| engine.scan(Family::Log, &range, usize::MAX, bytes)).await?;
        let entries =
            rows.into_iter().map(|(_, value)| decode_entry(value)).collect::<Result<Vec<Entry>, _>>()?;
        let dense = entries.iter().zip(from..).all(|(entry, index)| entry.log_id.index == index);
        match dense {
            true => Ok(entries),
            // Not damage: a purge or a truncation may have come in between.
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{}: entry {from} is not in the log", self.0.group),
            )),
        }
    }

    fn stored(&self, entry: &Entry) -> Write {
        let (kind, body) = wire::entry_parts(entry);
        let head = entry::header(term_of(&entry.log_id), entry.log_id.index, kind, &body);
        let key = keys::log::encode(self.0.group, entry.log_id.index);
        Write::Put(Family::Log, key, Value::Framed { head, body })
    }

    fn flushed(&self, index: u64) {
        let mut tail = self.0.tail.lock();
        tail.durable_next = tail.durable_next.max(index + 1);
        // What is on disk may leave memory, oldest first.
        while tail.bytes > TAIL_BYTES_MIN && (tail.bytes > TAIL_BYTES_MAX || self.0.budget.exhausted()) {
            let durable_next = tail.durable_next;
            match tail.entries.front() {
                Some(entry) if entry.log_id.index < durable_next => self.forget_front(&mut tail),
                _ => break,
            }
        }
    }

    fn forget_front(&self, tail: &mut Tail) {
        if let Some(entry) = tail.entries.pop_front() {
            tail.bytes -= entry_bytes(&entry);
            self.0.budget.used_bytes.fetch_sub(entry_bytes(&entry), Ordering::Relaxed);
        }
    }

    fn forget_back(&self, tail: &mut Tail) {
        if let Some(entry) = tail.entries.pop_back() {
            tail.bytes -= entry_bytes(&entry);
            self.0.budget.used_bytes.fetch_sub(entry_bytes(&entry), Ordering::Relaxed);
        }
    }

    async fn write(&self, set: WriteSet) -> Result<(), io::Error> {
        Ok(self.0.writer.write(set, Durability::Synced).await?)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.tail.lock().bytes, Ordering::Relaxed);
    }
}

fn decode_entry(value: bytes::Bytes) -> Result<Entry, io::Error> {
    let stored = entry::decode(value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(wire::entry_of_stored(stored)?)
}

fn decode_position(bytes: &[u8]) -> Result<LogId, io::Error> {
    let (term, index) =
        meta::decode_position(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(log_id(term, index))
}

fn bounds<R: RangeBounds<u64>>(range: &R) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + openraft::OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let (from, to) = bounds(&range);
        let (start, end) = {
            let tail = self.0.tail.lock();
            (tail.first.unwrap_or(u64::MAX), tail.last.map_or(0, |id| id.index + 1))
        };
        let (from, to) = (from.max(start), to.min(end));
        if from >= to {
            return Ok(Vec::new());
        }
        self.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.tail.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, FRAME_BYTES_MAX).await
    }

    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl futures::Stream<Item = Result<Entry, io::Error>> + openraft::OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + openraft::OptionalSend,
    {
        let (from, to) = bounds(&range);
        let log = self.clone();
        Box::pin(futures::stream::unfold(
            (log, from, VecDeque::new()),
            move |(log, next, mut ready)| async move {
                if ready.is_empty() && next < to {
                    match log.read(next, to, READ_BYTES).await {
                        Ok(entries) => ready.extend(entries.into_iter().map(Ok)),
                        Err(error) => return Some((Err(error), (log, to, ready))),
                    }
                }
                let entry: Result<Entry, io::Error> = ready.pop_front()?;
                Some((entry, (log, next + 1, ready)))
            },
        ))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.0.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut set = WriteSet::default();
        set.put(Family::Meta, meta::encode(self.0.group, meta::Fact::Vote), wire::encode_vote(vote));
        self.write(set).await?;
        self.0.tail.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + openraft::OptionalSend,
        I::IntoIter: openraft::OptionalSend,
    {
        let mut set = WriteSet::default();
        let last = {
            let mut tail = self.0.tail.lock();
            for entry in entries {
                set.push(self.stored(&entry));
                let bytes = entry_bytes(&entry);
                tail.bytes += bytes;
                self.0.budget.used_bytes.fetch_add(bytes, Ordering::Relaxed);
                tail.first.get_or_insert(entry.log_id.index);
                tail.last = Some(entry.log_id);
                tail.entries.push_back(entry);
            }
            tail.last
        };
        let Some(last) = last.filter(|_| !set.is_empty()) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let log = self.clone();
        self.0.writer.submit(set, Durability::Synced, move |result| {
            if result.is_ok() {
                log.flushed(last.index);
            }
            callback.io_completed(result.map_err(io::Error::from));
        });
        Ok(())
    }

    async fn truncate_after(&mut self, keep: Option<LogId>) -> Result<(), io::Error> {
        let next = keep.map_or(0, |id| id.index + 1);
        let mut set = WriteSet::default();
        set.delete_range(Family::Log, keys::log::range(self.0.group, next, u64::MAX));
        {
            let mut tail = self.0.tail.lock();
            while tail.entries.back().is_some_and(|entry| entry.log_id.index >= next) {
                self.forget_back(&mut tail);
            }
            tail.last = tail.last.min(keep.max(tail.purged));
            tail.first = tail.first.filter(|first| *first < next);
        }
        // Awaited: when this returns no earlier append can still call back for what was cut off.
        self.write(set).await?;
        let mut tail = self.0.tail.lock();
        tail.durable_next = tail.durable_next.min(next);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let group = self.0.group;
        let mut set = WriteSet::default();
        let position = meta::encode_position(term_of(&upto), upto.index);
        set.put(Family::Meta, meta::encode(group, meta::Fact::Purged), position);
        let gone = keys::log::range(group, 0, upto.index + 1);
        set.delete_range(Family::Log, gone.clone());
        {
            let mut tail = self.0.tail.lock();
            tail.purged = Some(upto).max(tail.purged);
            tail.last = tail.last.max(Some(upto));
            let rest = tail.last.filter(|last| last.index > upto.index);
            tail.first = rest.and(tail.first.map(|first| first.max(upto.index + 1)));
            tail.durable_next = tail.durable_next.max(upto.index + 1);
            while tail.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
                self.forget_front(&mut tail);
            }
        }
        self.write(set).await?;
        // Files wholly inside the range go at once; only after the purge itself is durable.
        Ok(self.0.disk.read(move |engine| engine.reclaim(Family::Log, &gone)).await?)
    }
}
