//! What a group has applied, for readers: watched, searched by offset and time, read as batches.
//!
//! Rows of the index are written behind: until the writer has them they are found in memory here.

use std::collections::BTreeMap;
use std::io;

use meridian_commitlog::{ReadError, StoredBatch};
use meridian_machine::command::append_batch_at;
use meridian_machine::control::ControlMachine;
use meridian_machine::partition::PartitionMachine;
use meridian_machine::{Effect, IndexRow};
use meridian_model::limits::FRAME_BYTES_MAX;
use meridian_model::{GroupId, Offset, UnixMs};
use meridian_storage::keys::index;
use meridian_storage::{Disk, Family};
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::digest::{Digests, StateDigest};
use crate::log_store::LogStore;
use crate::types::Payload;

/// Index rows kept in memory although they are on disk.
const RECENT_ROWS: usize = 512;
/// Batches in one read.
const READ_BATCHES_MAX: usize = 512;

/// The state machine of a group.
pub enum Machine {
    /// Of a partition.
    Partition(Box<PartitionMachine>),
    /// Of the control group.
    Control(Box<ControlMachine>),
}

/// Where the applied state stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The last applied index. `None`: nothing yet.
    pub index: Option<u64>,
    /// The first offset kept.
    pub start: Offset,
    /// The next offset.
    pub end: Offset,
    /// The head of the hash chain at `end`.
    pub head: [u8; 32],
    /// The last stamp.
    pub stamp: UnixMs,
    /// Bytes of stored batches.
    pub log_bytes: u64,
    /// Whether a snapshot is still ahead of the log: nothing may be served then.
    pub catching_up: bool,
}

#[derive(Default)]
struct Rows {
    rows: BTreeMap<Offset, IndexRow>,
    /// Rows at or above are only in memory.
    flushed_end: Offset,
}

/// The applied state of one replica. Shared between the machine store, which changes it, and readers.
pub struct GroupView {
    group: GroupId,
    disk: Disk,
    log: LogStore,
    machine: RwLock<Machine>,
    rows: RwLock<Rows>,
    applied: watch::Sender<Applied>,
    digests: Digests,
}

impl GroupView {
    pub(crate) fn new(
        group: GroupId,
        disk: Disk,
        log: LogStore,
        machine: Machine,
        catching_up: bool,
    ) -> Self {
        let applied = watch::Sender::new(Applied { catching_up, ..Applied::default() });
        let digests = Digests::default();
        let view = Self {
            group,
            disk,
            log,
            machine: RwLock::new(machine),
            rows: RwLock::default(),
            applied,
            digests,
        };
        view.reset_rows();
        view
    }

    /// The state as it is now.
    pub fn applied(&self) -> Applied {
        *self.applied.borrow()
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<Applied> {
        self.applied.subscribe()
    }

    pub(crate) fn remember_digest(&self, digest: StateDigest) {
        self.digests.remember(digest);
    }

    /// The last digests of the tables, oldest first: to be compared with those of other replicas at equal indexes.
    pub fn digests(&self) -> Vec<StateDigest> {
        self.digests.all()
    }

    /// Looks at the machine. Short: applying waits meanwhile.
    pub fn machine<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.machine.read())
    }

    /// Looks at the control machine. `None` for a partition.
    pub fn control<R>(&self, look: impl FnOnce(&ControlMachine) -> R) -> Option<R> {
        match &*self.machine.read() {
            Machine::Control(machine) => Some(look(machine)),
            Machine::Partition(_) => None,
        }
    }

    /// Looks at the partition's machine. `None` for the control group.
    pub fn partition<R>(&self, look: impl FnOnce(&PartitionMachine) -> R) -> Option<R> {
        match &*self.machine.read() {
            Machine::Partition(machine) => Some(look(machine)),
            Machine::Control(_) => None,
        }
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Machine) -> R) -> R {
        change(&mut self.machine.write())
    }

    /// After an entry: its rows become readable and its end visible.
    pub(crate) fn publish(&self, index: Option<u64>, effects: &[Effect], catching_up: bool) {
        {
            let mut rows = self.rows.write();
            for effect in effects {
                match effect {
                    Effect::Index { base, row } => drop(rows.rows.insert(*base, *row)),
                    Effect::Trimmed { start, .. } => rows.rows = rows.rows.split_off(start),
                    _ => {}
                }
            }
        }
        let mut applied = Applied { index, catching_up, ..Applied::default() };
        if let Machine::Partition(machine) = &*self.machine.read() {
            applied.start = machine.start();
            applied.end = machine.end();
            applied.head = machine.head();
            applied.stamp = machine.last_stamp();
            applied.log_bytes = match added_bytes(effects) {
                Some(added) => self.applied.borrow().log_bytes + added,
                None => machine.log_bytes(),
            };
        }
        self.applied.send_replace(applied);
    }

    /// The writer has every row below `end`.
    pub(crate) fn flushed(&self, end: Offset) {
        let mut rows = self.rows.write();
        rows.flushed_end = rows.flushed_end.max(end);
        while rows.rows.len() > RECENT_ROWS {
            match rows.rows.first_key_value() {
                Some((base, row)) if base.plus(u64::from(row.count)) <= rows.flushed_end => {
                    let _ = rows.rows.pop_first();
                }
                _ => break,
            }
        }
    }

    /// All rows are on disk: after opening, after installing a snapshot.
    pub(crate) fn reset_rows(&self) {
        let end = self.partition(|machine| machine.end()).unwrap_or_default();
        *self.rows.write() = Rows { rows: BTreeMap::new(), flushed_end: end };
    }

    /// Batches from the one that holds `from` on, in order, at most about `bytes` of them (at least one).
    /// Empty at the end of the log. Messages before `from` are still in the first batch.
    pub async fn read(&self, from: Offset, bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let applied = self.readable()?;
        if from < applied.start || from > applied.end {
            return Err(ReadError::OutOfRange { offset: from, start: applied.start, end: applied.end });
        }
        if from == applied.end {
            return Ok(Vec::new());
        }
        match self.read_rows(from, applied.end, bytes).await {
            Ok(batches) if !batches.is_empty() => Ok(batches),
            failed => {
                let now = self.applied();
                if now.start > from {
                    // Retention removed them under our hands.
                    return Err(ReadError::OutOfRange { offset: from, start: now.start, end: now.end });
                }
                failed.and_then(|_| Err(self.damaged("the index points to nothing")))
            }
        }
    }

    /// Bytes of the commands in the entries `from..to`, which must be in the log.
    pub async fn command_bytes(&self, from: u64, to: u64) -> Result<u64, io::Error> {
        let (mut next, mut total) = (from, 0);
        while next < to {
            let entries = self.log.read(next, to, FRAME_BYTES_MAX).await?;
            let Some(last) = entries.last() else { break };
            next = last.log_id.index + 1;
            total += entries
                .iter()
                .map(|entry| match &entry.payload {
                    Payload::Normal(command) => command.0.len() as u64,
                    _ => 0,
                })
                .sum::<u64>();
        }
        Ok(total)
    }

    pub(crate) fn readable(&self) -> Result<Applied, ReadError> {
        let applied = self.applied();
        match applied.catching_up {
            // A snapshot was installed and the log has not caught up with it.
            true => Err(ReadError::Unavailable("it is catching up".into())),
            false => Ok(applied),
        }
    }

    async fn read_rows(
        &self,
        from: Offset,
        end: Offset,
        bytes: usize,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let mut rows = self.rows_from(from, end).await?;
        let mut total = 0;
        let within = |(_, row): &&(Offset, IndexRow)| {
            let fits = total == 0 || total + row.bytes as usize <= bytes;
            total += row.bytes as usize;
            fits
        };
        let fitting = rows.iter().take_while(within).count();
        rows.truncate(fitting);
        self.batches(&rows).await
    }

    fn damaged(&self, why: &str) -> ReadError {
        ReadError::Disk(format!("{}: {why}", self.group))
    }

    async fn rows_from(&self, from: Offset, end: Offset) -> Result<Vec<(Offset, IndexRow)>, ReadError> {
        if let Some(rows) = self.rows_in_memory(from) {
            return Ok(rows);
        }
        let group = self.group;
        let found = self.disk.read(move |engine| {
            let upto = index::range(group, Offset(0), from.plus(1));
            let Some((first, _)) = engine.last(Family::Index, &upto)? else { return Ok(Vec::new()) };
            let mut range = index::range(group, Offset(0), end);
            range.from = first.to_vec();
            engine.scan(Family::Index, &range, READ_BATCHES_MAX, usize::MAX)
        });
        let found = found.await.map_err(|error| ReadError::Disk(error.to_string()))?;
        if found.is_empty() {
            // Between the look at memory and the look at disk the rows moved; memory was right.
            return self.rows_in_memory(from).ok_or_else(|| self.damaged("no index row"));
        }
        let mut rows = Vec::with_capacity(found.len());
        for (key, value) in found {
            let (_, base) = index::decode(&key).map_err(|_| self.damaged("an index key is malformed"))?;
            let row = index::decode_row(&value).map_err(|_| self.damaged("an index row is malformed"))?;
            rows.push((base, row));
        }
        Ok(rows)
    }

    fn rows_in_memory(&self, from: Offset) -> Option<Vec<(Offset, IndexRow)>> {
        let rows = self.rows.read();
        let (first, _) = rows.rows.range(..=from).next_back()?;
        Some(rows.rows.range(*first..).take(READ_BATCHES_MAX).map(|(base, row)| (*base, *row)).collect())
    }

    async fn batches(&self, rows: &[(Offset, IndexRow)]) -> Result<Vec<StoredBatch>, ReadError> {
        let (Some((_, first)), Some((_, last))) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
        let entries = self.log.read(first.index, last.index + 1, usize::MAX).await;
        let entries = entries.map_err(|error| ReadError::Disk(error.to_string()))?;
        let mut batches = Vec::with_capacity(rows.len());
        for (base, row) in rows {
            let entry = row.index.checked_sub(first.index).and_then(|at| entries.get(at as usize));
            let Some(entry) = entry else { break };
            let Payload::Normal(command) = &entry.payload else {
                return Err(self.damaged("the index points to an entry without messages"));
            };
            let bytes = append_batch_at(&command.0, row.position);
            let bytes = bytes.map_err(|_| self.damaged("the index points into the void"))?;
            batches.push(StoredBatch { base: *base, count: row.count, appended_at: row.stamp, bytes });
        }
        Ok(batches)
    }

    /// The offset of the first batch appended at or after `time`; the end if there is none.
    pub async fn offset_at(&self, time: UnixMs) -> Result<Offset, ReadError> {
        loop {
            let applied = self.readable()?;
            match self.search(&applied, time).await {
                // Retention removed what was searched: search what is left.
                Err(_) if self.applied().start > applied.start => {}
                found => return found,
            }
        }
    }

    async fn search(&self, applied: &Applied, time: UnixMs) -> Result<Offset, ReadError> {
        let (mut low, mut high) = (applied.start, applied.end);
        while low < high {
            let middle = Offset(low.0 + (high.0 - low.0) / 2);
            let rows = self.rows_from(middle, applied.end).await?;
            let (base, row) = rows.first().ok_or_else(|| self.damaged("no index row"))?;
            match row.stamp < time {
                true => low = base.plus(u64::from(row.count)),
                false => high = *base,
            }
        }
        Ok(low.max(applied.start))
    }
}

/// Bytes of the batches that an entry stored. `None` where it did more than store: then they are counted anew,
/// which takes time in the number of segments.
fn added_bytes(effects: &[Effect]) -> Option<u64> {
    if effects.is_empty() || effects.iter().any(|effect| matches!(effect, Effect::Trimmed { .. })) {
        return None;
    }
    let rows = effects.iter().map(|effect| match effect {
        Effect::Index { row, .. } => u64::from(row.bytes),
        _ => 0,
    });
    Some(rows.sum())
}
