//! Logs in memory: the ports without Raft and disks, for the tests of whoever stands on them.

mod cursors;
mod partition;
mod subscriptions;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::channel::oneshot;
use futures::future::{FutureExt, ready};
use meridian_model::{Batch, GroupId, LogId, NodeId, Offset, UnixMs};

use crate::{Append, AppendError, Appended, LogBounds, ReadCommitted, ReadError, Share, StoredBatch, Ticket};
use partition::Partition;

#[derive(Default)]
struct State {
    now: UnixMs,
    partitions: BTreeMap<GroupId, Partition>,
    failures: BTreeMap<GroupId, AppendError>,
    /// What is stored and not answered yet, while answers are held back.
    unanswered: Option<Vec<Unanswered>>,
}

struct Unanswered {
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    appended: Result<Appended, AppendError>,
    _share: Share,
}

/// Logs of some partitions. What is appended is committed at once; nothing is replicated and nothing is kept.
#[derive(Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

impl MemoryLog {
    /// No partitions, at this time.
    pub fn new(now: UnixMs) -> Self {
        let state = State { now, ..State::default() };
        Self { state: Mutex::new(state) }
    }

    /// Adds an empty partition that is led here.
    pub fn create(&self, group: GroupId) {
        let log = LogId::from_u128(u128::from(group.0) + 1);
        self.state().partitions.insert(group, Partition::new(log));
    }

    /// Says who leads a partition: `None` is nobody known. It can still be read here.
    pub fn led_elsewhere(&self, group: GroupId, leader: Option<NodeId>) {
        self.fail_from_now(group, AppendError::NotLeader { leader });
    }

    /// Every append to a partition fails like this from now on, and stores nothing.
    pub fn fail_from_now(&self, group: GroupId, error: AppendError) {
        self.state().failures.insert(group, error);
    }

    /// Holds every answer back from now on, as rounds under way would.
    pub fn hold_answers(&self) {
        self.state().unanswered.get_or_insert_default();
    }

    /// Answers everything that was held back.
    pub fn release_answers(&self) {
        for held in self.state().unanswered.take().into_iter().flatten() {
            // Whoever asked may be gone.
            let _ = held.answer.send(held.appended);
        }
    }

    /// Moves the clock.
    pub fn pass(&self, ms: u64) {
        let mut state = self.state();
        state.now = state.now.plus_ms(ms);
    }

    /// Removes whole batches below `start`, as retention would.
    pub fn trim(&self, group: GroupId, start: Offset) {
        if let Some(partition) = self.state().partitions.get_mut(&group) {
            partition.trim(start);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<R>(
        &self,
        group: GroupId,
        look: impl FnOnce(&mut Partition) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        let mut state = self.state();
        let partition = state.partitions.get_mut(&group);
        look(partition.ok_or_else(|| ReadError::Unavailable("no replica of it is here".into()))?)
    }
}

#[async_trait]
impl Append for MemoryLog {
    async fn append(
        &self,
        group: GroupId,
        batch: Batch,
        opened_at: UnixMs,
        share: Share,
    ) -> Result<Ticket, AppendError> {
        let mut state = self.state();
        let now = state.now;
        if let Some(error) = state.failures.get(&group) {
            return Err(error.clone());
        }
        let partition = state.partitions.get_mut(&group).ok_or(AppendError::NotLeader { leader: None })?;
        let appended = partition.append(batch, opened_at, now).map_err(AppendError::from);
        let Some(unanswered) = &mut state.unanswered else { return Ok(ready(appended).boxed()) };
        let (answer, answered) = oneshot::channel();
        unanswered.push(Unanswered { answer, appended, _share: share });
        let stopped = || AppendError::Indeterminate("the log is gone".into());
        Ok(answered.map(move |answered| answered.unwrap_or_else(|_| Err(stopped()))).boxed())
    }
}

#[async_trait]
impl ReadCommitted for MemoryLog {
    fn bounds(&self, group: GroupId) -> Result<LogBounds, ReadError> {
        self.look(group, |partition| Ok(partition.bounds()))
    }

    async fn read(&self, group: GroupId, from: Offset, bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        self.look(group, |partition| partition.read(from, bytes))
    }

    async fn offset_at(&self, group: GroupId, time: UnixMs) -> Result<Offset, ReadError> {
        self.look(group, |partition| Ok(partition.offset_at(time)))
    }

    async fn wait_beyond(&self, group: GroupId, end: Offset) -> Result<(), ReadError> {
        loop {
            let (waiter, moved) = oneshot::channel();
            let there = self.look(group, |partition| Ok(partition.wait_beyond(end, waiter)))?;
            if there || moved.await.is_err() {
                // Without a waiter there is nothing left to wait for.
                return self.look(group, |_| Ok(()));
            }
        }
    }
}
