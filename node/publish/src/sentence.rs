//! The sentence itself.

use std::sync::Arc;

use bytes::Bytes;
use meridian_commitlog::{Append, AppendError};
use meridian_model::{GroupId, LogId, NodeId, Offset, Refusal, TopicName, UnixMs};

use crate::admission::{Admission, Admitted, Refused};
use crate::authentication::{Authenticate, Caller, Credential};
use crate::routing::{Leader, Route, RouteError, Routes};

/// A stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Which history it is in.
    pub log: LogId,
    /// The offset of its first message.
    pub base: Offset,
    /// Messages in it.
    pub count: u32,
    /// An earlier send of the same batch stored it.
    pub duplicate: bool,
}

/// Why a batch was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nobody known.
    #[error("the caller is not known")]
    Unauthenticated,
    /// Not admitted.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No such place.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Another node leads; the batch is handed back for forwarding.
    #[error("{node} leads the partition")]
    Elsewhere {
        /// The group.
        group: GroupId,
        /// The leader.
        node: NodeId,
    },
    /// The partition's log did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The outcome of a batch that was appended, to be awaited.
pub type Outcome = std::pin::Pin<Box<dyn Future<Output = Result<Published, PublishError>> + Send>>;

/// Publishes batches to the partitions that this node leads.
pub struct Publisher {
    authentication: Arc<dyn Authenticate>,
    admission: Admission,
    routes: Arc<dyn Routes>,
    log: Arc<dyn Append>,
}

impl Publisher {
    /// From its four parts.
    pub fn new(
        authentication: Arc<dyn Authenticate>,
        admission: Admission,
        routes: Arc<dyn Routes>,
        log: Arc<dyn Append>,
    ) -> Self {
        Self { authentication, admission, routes, log }
    }

    /// Publishes one batch. Batches whose calls return in order are stored in order. The outcome is awaited
    /// apart, so that many can be in flight.
    ///
    /// Errors here mean that nothing was stored. Cancel safe until it returns.
    pub async fn publish(
        &self,
        credential: &Credential,
        topic: &TopicName,
        partition: u32,
        batch: Bytes,
        opened_at: UnixMs,
    ) -> Result<Outcome, PublishError> {
        let _caller = self.authenticate(credential)?;
        let route = self.route(topic, partition)?;
        let admitted = self.admit(batch)?;
        self.append(route, admitted, opened_at).await
    }

    fn authenticate(&self, credential: &Credential) -> Result<Caller, PublishError> {
        self.authentication.caller(credential).ok_or(PublishError::Unauthenticated)
    }

    fn admit(&self, batch: Bytes) -> Result<Admitted, PublishError> {
        Ok(self.admission.admit(batch)?)
    }

    fn route(&self, topic: &TopicName, partition: u32) -> Result<Route, PublishError> {
        let route = self.routes.route(topic, partition)?;
        match route.leader {
            Leader::Elsewhere(node) => Err(PublishError::Elsewhere { group: route.group, node }),
            Leader::Unknown => Err(AppendError::NotLeader { leader: None }.into()),
            Leader::Here if route.disk_full => Err(AppendError::Refused(Refusal::DiskFull).into()),
            Leader::Here => Ok(route),
        }
    }

    async fn append(
        &self,
        route: Route,
        admitted: Admitted,
        opened_at: UnixMs,
    ) -> Result<Outcome, PublishError> {
        let count = admitted.batch().header().count;
        let (batch, share) = admitted.into_parts();
        // The log keeps the share: a publisher that goes away leaves its batch in the queue.
        let ticket = self.log.append(route.group, batch, opened_at, Box::new(share)).await?;
        Ok(Box::pin(async move {
            let appended = ticket.await?;
            Ok(Published { log: route.log, base: appended.base, count, duplicate: appended.duplicate })
        }))
    }
}
