//! What a leader needs to look after a partition's subscriptions: their commands, places to begin at, and the rows of
//! delayed batches.

use std::time::Duration;

use meridian_commitlog::ReadError;
use meridian_machine::command::{StartAt, SubscriptionCommand};
use meridian_machine::partition::{DelayedBatch, PartitionReply};
use meridian_machine::{Command, Table};
use meridian_model::{Offset, UnixMs};
use meridian_storage::Family;
use meridian_storage::engine::{KeyValue, Range};
use meridian_storage::keys::state;

use crate::group::Group;
use crate::proposer::ProposeError;
use crate::types::Reply;

/// Bytes of rows in one read.
const READ_BYTES: usize = 1024 * 1024;

impl Group {
    /// Proposes a command about subscriptions, and waits until it is applied here. A refusal is a reply too. Dropping
    /// the future abandons it; the command may still take effect.
    pub async fn propose_subscription(
        &self,
        command: SubscriptionCommand,
        patience: Duration,
    ) -> Result<PartitionReply, ProposeError> {
        match self.propose(&Command::from(command), patience).await? {
            (_, Reply::Partition(reply)) => Ok(reply),
            (_, other) => Err(ProposeError::Indeterminate(format!("a partition answered with {other}"))),
        }
    }

    /// A place to begin at: this offset, with the number of delayed messages below it. Whether the log still has it, or
    /// has it yet, is decided when the command is applied.
    pub async fn start_at(&self, offset: Offset) -> Result<StartAt, ReadError> {
        let delayed_before = self.delayed_before(offset).await?;
        Ok(StartAt::Offset { offset, delayed_before })
    }

    /// The same at the first message appended at or after `time`; behind the newest message where there is none.
    pub async fn start_at_time(&self, time: UnixMs) -> Result<StartAt, ReadError> {
        self.start_at(self.view().offset_at(time).await?).await
    }

    /// Delayed messages below an offset since the log began.
    async fn delayed_before(&self, offset: Offset) -> Result<u64, ReadError> {
        let counted = || self.view().partition(|machine| machine.delayed_messages()).unwrap_or(0);
        // Counted first: a batch that is stored meanwhile then has a row at or beyond the offset, which tells.
        let all = counted();
        if all == 0 {
            return Ok(0);
        }
        self.written().await?;
        let (before, beyond) =
            (self.delayed_rows(Offset(0), offset), self.delayed_rows(offset, Offset(u64::MAX)));
        let found = self.disk().read(move |engine| {
            let last = engine.last(Family::State, &before)?;
            Ok((last, engine.scan(Family::State, &beyond, 1, READ_BYTES)?))
        });
        let (last, next) = found.await.map_err(|error| ReadError::Disk(error.to_string()))?;
        if let Some(row) = last {
            let (batch, rank) = decode(&row)?;
            return Ok(rank + u64::from(batch.count).min(offset.0 - batch.first.offset.0));
        }
        // None is left below: whatever was delayed there was trimmed and its rows were swept.
        next.first().map_or(Ok(all), |row| decode(row).map(|(_, rank)| rank))
    }

    /// Delayed batches whose first message lies in `from..to`, in order of offsets, at most so many. Every one is among
    /// them that was stored before the call and is not below the log's start.
    pub async fn delayed_batches(
        &self,
        from: Offset,
        to: Offset,
        batches_max: usize,
    ) -> Result<Vec<DelayedBatch>, ReadError> {
        self.written().await?;
        self.delayed_on_disk(from, to, batches_max).await
    }

    /// Delayed batches below the log's start whose rows were left behind by a trim, at most so many. Some of them may
    /// have been swept since.
    pub async fn delayed_left_behind(&self, batches_max: usize) -> Result<Vec<DelayedBatch>, ReadError> {
        self.delayed_on_disk(Offset(0), self.view().applied().start, batches_max).await
    }

    async fn delayed_on_disk(
        &self,
        from: Offset,
        to: Offset,
        batches_max: usize,
    ) -> Result<Vec<DelayedBatch>, ReadError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.delayed_rows(from, to);
        let found =
            self.disk().read(move |engine| engine.scan(Family::State, &range, batches_max, READ_BYTES));
        let found = found.await.map_err(|error| ReadError::Disk(error.to_string()))?;
        found.iter().map(|row| decode(row).map(|(batch, _)| batch)).collect()
    }

    /// Waits until the rows of all that is applied can be read.
    async fn written(&self) -> Result<(), ReadError> {
        let stopped = || ReadError::Unavailable("the node stops".into());
        self.writer().freeze().await.map(drop).ok_or_else(stopped)
    }

    fn delayed_rows(&self, from: Offset, to: Offset) -> Range {
        let key = |offset: Offset| state::encode(self.id(), Table::DelayedByOffset, &offset.0.to_be_bytes());
        Range { from: key(from), to: key(to) }
    }
}

fn decode((key, value): &KeyValue) -> Result<(DelayedBatch, u64), ReadError> {
    let damaged = || ReadError::Disk("a row of a delayed batch is malformed".into());
    let (_, _, key) = state::decode(key).map_err(|_| damaged())?;
    DelayedBatch::by_offset(key, value).map_err(|_| damaged())
}
