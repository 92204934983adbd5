//! `ReadService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use meridian_commitlog::{LogBounds, ReadCommitted, StoredBatch};
use meridian_deliver::{Page, ReadSession};
use meridian_model::{Batch, GroupId, NodeId, Offset, batch};
use meridian_proto::v1::read_service_server::ReadService;
use meridian_proto::v1::{
    ErrorReason, Failure, GetLogRequest, GetLogResponse, OffsetRange, ReadFormat, ReadRequest, ReadResponse,
    StoredMessage,
};
use meridian_publish::Leader;
use meridian_raft::Registry;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::answers::{of_read, of_route};
use super::forward::{Forwarder, forwarded, is_forwarded, of_read_at};
use crate::requests::{self, topic_name};
use crate::routes::Routing;

/// Pages that may wait for a slow reader.
const PAGES: usize = 2;
const CONFIRM_MAX: Duration = Duration::from_secs(3);

/// Reads replicas here, or through the node that has them.
#[derive(Clone)]
pub(crate) struct Read {
    pub(crate) registry: Arc<Registry>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) forwarder: Arc<Forwarder>,
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
    There(NodeId),
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
                true => Ok(Place::There(node)),
            };
        }
        match self.routing.leader_of(&placement) {
            Leader::Here => Ok(Place::Here(placement.group)),
            Leader::Elsewhere(node) if !forwarded => Ok(Place::There(node)),
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
                Place::There(node) => {
                    let reason = unreached(request.replica_node);
                    let answer = self.forwarder.read(node)?.read(forwarded(request)).await;
                    let answer = answer.map_err(|status| of_read_at(node, reason, status))?;
                    return Ok(Response::new(Box::pin(answer.into_inner())));
                }
            };
        if request.replica_node.is_none() {
            self.confirm(group).await?;
        }
        let start = requests::start(request.start);
        let log: Arc<dyn ReadCommitted> = Arc::clone(&self.registry) as _;
        let session =
            ReadSession::open(log, group, start, request.clamp).await.map_err(|error| of_read(&error))?;
        let (pages, outgoing) = mpsc::channel(PAGES);
        let reading = Reading {
            from: session.place(),
            session,
            decode: request.format() == ReadFormat::Messages,
            follow: request.follow,
            left: (request.messages_max > 0).then_some(request.messages_max),
        };
        tokio::spawn(reading.run(pages));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
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
                Place::There(node) => {
                    let reason = unreached(request.replica_node);
                    let answer = self.forwarder.read(node)?.get_log(forwarded(request)).await;
                    return answer.map_err(|status| of_read_at(node, reason, status));
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

struct Reading {
    session: ReadSession,
    from: Offset,
    decode: bool,
    follow: bool,
    left: Option<u64>,
}

impl Reading {
    async fn run(mut self, pages: mpsc::Sender<Result<ReadResponse, Status>>) {
        loop {
            let page = match self.session.page().await {
                Ok(page) => page,
                Err(error) => return drop(pages.send(Err(of_read(&error).into())).await),
            };
            // An empty page is worth sending once: it tells a reader that it is at the end.
            let is_news = !page.batches.is_empty() || page.skipped.is_some();
            let sent = match self.decode {
                true => self.send(page.apart(), &pages).await,
                false => self.send(std::iter::once(page), &pages).await,
            };
            if !sent || self.left == Some(0) {
                return;
            }
            if is_news {
                continue;
            }
            if !self.follow {
                return;
            }
            tokio::select! {
                waited = self.session.wait() => if waited.is_err() { continue },
                () = pages.closed() => return,
            }
        }
    }

    /// Sends what is left to be sent of these. Whether the reader can go on.
    async fn send(
        &mut self,
        parts: impl Iterator<Item = Page>,
        pages: &mpsc::Sender<Result<ReadResponse, Status>>,
    ) -> bool {
        for part in parts {
            let response = self.respond(part);
            let failed = response.is_err();
            if pages.send(response).await.is_err() || failed {
                return false;
            }
            if self.left == Some(0) {
                break;
            }
        }
        true
    }

    fn respond(&mut self, page: Page) -> Result<ReadResponse, Status> {
        let bounds: LogBounds = page.bounds;
        let mut response = ReadResponse {
            skipped: page.skipped.map(|(from, to)| OffsetRange { from: from.0, to: to.0 }),
            next_offset: page.next.0,
            log_start: bounds.start.0,
            log_end: bounds.end.0,
            log_id: bounds.log.0.to_vec().into(),
            ..Default::default()
        };
        for stored in page.batches {
            if self.left == Some(0) {
                break;
            }
            let before = self.from.0.saturating_sub(stored.base.0).min(u64::from(stored.count));
            let new = u64::from(stored.count) - before;
            if self.decode {
                let take = self.left.map_or(new, |left| left.min(new));
                response.messages.extend(messages_of(&stored, before as u32, take as u32)?);
            } else {
                response.batches.push(meridian_proto::v1::StoredBatch {
                    base_offset: stored.base.0,
                    count: stored.count,
                    appended_at_ms: stored.appended_at.0,
                    batch: stored.bytes,
                });
            }
            self.left = self.left.map(|left| left.saturating_sub(new));
        }
        self.from = page.next;
        Ok(response)
    }
}

fn messages_of(stored: &StoredBatch, first: u32, count: u32) -> Result<Vec<StoredMessage>, Status> {
    let damaged = |error: meridian_model::BatchError| Failure::new(ErrorReason::Internal, error.to_string());
    let whole = Batch::verify(stored.bytes.clone()).map_err(damaged)?;
    let header = whole.header();
    let messages = batch::decode_range(&whole, first, count).map_err(damaged)?;
    let stored = messages.into_iter().zip(u64::from(first)..).map(|(message, at)| StoredMessage {
        offset: stored.base.0 + at,
        appended_at_ms: stored.appended_at.0,
        key: message.key,
        properties: message.properties.into_iter().collect(),
        body: message.body,
        producer_id: header.producer.0.to_vec().into(),
        producer_epoch: header.epoch,
        sequence: header.first_sequence + at,
    });
    Ok(stored.collect())
}
