//! `ReadService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use meridian_commitlog::ReadCommitted;
use meridian_deliver::ReadSession;
use meridian_model::{GroupId, NodeId};
use meridian_proto::requests::{self, topic_name};
use meridian_proto::v1::read_service_server::ReadService;
use meridian_proto::v1::{
    ErrorReason, Failure, GetLogRequest, GetLogResponse, ReadFormat, ReadRequest, ReadResponse,
};
use meridian_publish::Leader;
use meridian_raft::Registry;
use tonic::{Request, Response, Status};

use super::answers::{of_read, of_route};
use super::forward::{Forwarder, following, forwarded, is_forwarded, of_read_at};
use super::reading::{Answers, Pages, Reading};
use crate::routes::Routing;

const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// Reads replicas here, or through the node that has them.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) registry: Arc<Registry>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) pages: Pages,
}

/// What it means for a read that its node cannot be reached.
fn unreached(replica: Option<u64>) -> ErrorReason {
    match replica {
        Some(_) => ErrorReason::ReplicaUnavailable,
        None => ErrorReason::Unavailable,
    }
}

enum Place {
    Here(GroupId),
    There(GroupId, NodeId),
}

impl Read {
    /// Where to read: the replica asked for, or the leader.
    fn place(
        &self,
        topic: &str,
        partition: u32,
        replica: Option<u64>,
        forwarded: bool,
    ) -> Result<Place, Failure> {
        let topic = topic_name(topic)?;
        let placement = self.routing.placement(&topic, partition).map_err(|error| of_route(&error))?;
        if let Some(node) = replica.map(NodeId) {
            let held = placement.replicas.iter().any(|replica| replica.node == node);
            return match held {
                false => Err(Failure::new(
                    ErrorReason::ReplicaUnavailable,
                    format!("{node} holds no replica of partition {partition}"),
                )),
                true if node == self.routing.own => Ok(Place::Here(placement.group)),
                true if forwarded => Err(Failure::new(ErrorReason::Protocol, "forwarded twice")),
                true => Ok(Place::There(placement.group, node)),
            };
        }
        match self.routing.leader_of(&placement) {
            Leader::Here => Ok(Place::Here(placement.group)),
            Leader::Elsewhere(node) if !forwarded => Ok(Place::There(placement.group, node)),
            Leader::Elsewhere(node) => {
                Err(Failure::new(ErrorReason::NotLeader, format!("{node} leads the partition"))
                    .with("node", node.0))
            }
            Leader::Unknown => Err(Failure::new(
                ErrorReason::Unavailable,
                "the partition has no leader at the moment; try again",
            )),
        }
    }

    /// A leader confirms that it still leads: what was acked before is then applied here.
    /// Calls the node of a named replica and no other, or the leader.
    async fn at<T, A>(
        &self,
        (group, node): (GroupId, NodeId),
        replica_node: Option<u64>,
        call: impl Fn(NodeId) -> A,
    ) -> Result<T, Status>
    where
        A: Future<Output = Result<T, Status>>,
    {
        match replica_node {
            Some(_) => call(node).await,
            None => following(&self.routing, (group, node), call).await,
        }
    }

    async fn confirm(&self, group: GroupId) -> Result<(), Failure> {
        let gone = || Failure::new(ErrorReason::Unavailable, "the partition moved; try again");
        let group = self.registry.get(group).ok_or_else(gone)?;
        let confirmed = group.linearizable(CONFIRM_MAX).await;
        confirmed.map(|_| ()).map_err(|error| Failure::new(ErrorReason::Unavailable, error.to_string()))
    }
}

#[tonic::async_trait]
impl ReadService for Read {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let was_forwarded = is_forwarded(&request);
        let request = request.into_inner();
        let group =
            match self.place(&request.topic, request.partition, request.replica_node, was_forwarded)? {
                Place::Here(group) => group,
                Place::There(group, node) => {
                    let reason = unreached(request.replica_node);
                    let read = async |node| {
                        let answer = self.forwarder.read(node)?.read(forwarded(request.clone())).await;
                        answer.map_err(|status| of_read_at(node, reason, status))
                    };
                    let answer = self.at((group, node), request.replica_node, read).await?;
                    return Ok(Response::new(Box::pin(self.pages.clone().passed_on(answer.into_inner()))));
                }
            };
        if request.replica_node.is_none() {
            self.confirm(group).await?;
        }
        let start = requests::start(request.start);
        let log: Arc<dyn ReadCommitted> = Arc::clone(&self.registry) as _;
        let session =
            ReadSession::open(log, group, start, request.clamp).await.map_err(|error| of_read(&error))?;
        let answers = Answers {
            from: session.place(),
            decode: request.format() == ReadFormat::Messages,
            left: (request.messages_max > 0).then_some(request.messages_max),
        };
        let reading = Reading { session, answers, follow: request.follow };
        Ok(Response::new(Box::pin(reading.stream(self.pages.clone()))))
    }

    async fn get_log(&self, request: Request<GetLogRequest>) -> Result<Response<GetLogResponse>, Status> {
        let was_forwarded = is_forwarded(&request);
        let request = request.into_inner();
        if request.linearizable && request.replica_node.is_some() {
            return Err(Failure::invalid(
                "linearizable",
                "only the leader can be linearizable; name no replica",
            )
            .into());
        }
        let group =
            match self.place(&request.topic, request.partition, request.replica_node, was_forwarded)? {
                Place::Here(group) => group,
                Place::There(group, node) => {
                    let reason = unreached(request.replica_node);
                    let get = async |node| {
                        let answer = self.forwarder.read(node)?.get_log(forwarded(request.clone())).await;
                        answer.map_err(|status| of_read_at(node, reason, status))
                    };
                    return self.at((group, node), request.replica_node, get).await;
                }
            };
        if request.linearizable {
            self.confirm(group).await?;
        }
        let bounds = self.registry.bounds(group).map_err(|error| of_read(&error))?;
        Ok(Response::new(GetLogResponse {
            log_start: bounds.start.0,
            log_end: bounds.end.0,
            log_id: bounds.log.0.to_vec().into(),
            chain_head: bounds.head.to_vec().into(),
            applied_index: bounds.applied_index,
            log_bytes: bounds.log_bytes,
        }))
    }
}
