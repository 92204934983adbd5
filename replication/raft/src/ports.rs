//! The groups of this node behind the ports of `commitlog`.

use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use meridian_commitlog::{
    Append, AppendError, Appended, LogBounds, ReadCommitted, ReadError, Share, StoredBatch, Ticket,
};
use meridian_model::refusal::AppendOutcome;
use meridian_model::{Batch, GroupId, Offset, UnixMs};

use crate::group::Group;
use crate::proposer::ProposeError;
use crate::registry::Registry;
use crate::view;

impl From<ProposeError> for AppendError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => AppendError::NotLeader { leader },
            ProposeError::Unavailable(why) => AppendError::Unavailable(why),
            ProposeError::Indeterminate(why) => AppendError::Indeterminate(why),
        }
    }
}

impl From<view::ReadError> for ReadError {
    fn from(error: view::ReadError) -> Self {
        match error {
            view::ReadError::OutOfRange { offset, start, end } => {
                ReadError::OutOfRange { offset, start, end }
            }
            view::ReadError::CatchingUp => ReadError::Unavailable("it is catching up".into()),
            view::ReadError::Disk(error) => ReadError::Disk(error.to_string()),
        }
    }
}

#[async_trait]
impl Append for Registry {
    async fn append(
        &self,
        group: GroupId,
        batch: Batch,
        opened_at: UnixMs,
        share: Share,
    ) -> Result<Ticket, AppendError> {
        let group = self.get(group).ok_or(AppendError::NotLeader { leader: None })?;
        let outcome = group.proposer().append(batch.into_bytes(), opened_at, share).await?;
        let ticket = async move {
            match outcome.await {
                Ok(Ok(AppendOutcome::Stored { base })) => Ok(Appended { base, duplicate: false }),
                Ok(Ok(AppendOutcome::Duplicate { base })) => Ok(Appended { base, duplicate: true }),
                Ok(Ok(AppendOutcome::Refused(refusal))) => Err(AppendError::Refused(refusal)),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(AppendError::Indeterminate("the group stopped".into())),
            }
        };
        Ok(ticket.boxed())
    }
}

impl Registry {
    fn readable(&self, group: GroupId) -> Result<Arc<Group>, ReadError> {
        self.get(group).ok_or_else(|| ReadError::Unavailable("no replica of it runs on this node".into()))
    }
}

fn bounds_of(group: &Group) -> Result<LogBounds, ReadError> {
    let applied = group.view().applied();
    if applied.catching_up {
        return Err(view::ReadError::CatchingUp.into());
    }
    Ok(LogBounds {
        log: group.identity().history,
        start: applied.start,
        end: applied.end,
        head: applied.head,
        applied_index: applied.index.unwrap_or(0),
        log_bytes: applied.log_bytes,
    })
}

#[async_trait]
impl ReadCommitted for Registry {
    fn bounds(&self, group: GroupId) -> Result<LogBounds, ReadError> {
        bounds_of(&*self.readable(group)?)
    }

    async fn read(&self, group: GroupId, from: Offset, bytes: usize) -> Result<Vec<StoredBatch>, ReadError> {
        let batches = self.readable(group)?.view().read(from, bytes).await?;
        let stored = batches.into_iter().map(|batch| StoredBatch {
            base: batch.base,
            count: batch.row.count,
            appended_at: batch.row.stamp,
            bytes: batch.bytes,
        });
        Ok(stored.collect())
    }

    async fn offset_at(&self, group: GroupId, time: UnixMs) -> Result<Offset, ReadError> {
        Ok(self.readable(group)?.view().offset_at(time).await?)
    }

    async fn wait_beyond(&self, group: GroupId, end: Offset) -> Result<(), ReadError> {
        let mut applied = self.readable(group)?.view().watch();
        let moved = applied.wait_for(|applied| applied.end > end).await;
        moved.map(|_| ()).map_err(|_| ReadError::Unavailable("it was stopped".into()))
    }
}
