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

impl From<ProposeError> for AppendError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => AppendError::NotLeader { leader },
            ProposeError::Unavailable(why) => AppendError::Unavailable(why),
            ProposeError::Indeterminate(why) => AppendError::Indeterminate(why),
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
    let applied = group.view().readable()?;
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
        self.readable(group)?.view().read(from, bytes).await
    }

    async fn offset_at(&self, group: GroupId, time: UnixMs) -> Result<Offset, ReadError> {
        self.readable(group)?.view().offset_at(time).await
    }

    async fn wait_beyond(&self, group: GroupId, end: Offset) -> Result<(), ReadError> {
        let mut applied = self.readable(group)?.view().watch();
        let moved = applied.wait_for(|applied| applied.end > end).await;
        moved.map(|_| ()).map_err(|_| ReadError::Unavailable("it was stopped".into()))
    }
}
