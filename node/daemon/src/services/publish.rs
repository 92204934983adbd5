//! `PublishService`.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use meridian_model::limits::{CLOCK_SKEW_MS_MAX, PRODUCER_INFLIGHT_BATCHES_MAX};
use meridian_model::{NodeId, TopicName, UnixMs, hash};
use meridian_proto::requests::{pack, topic_name};
use meridian_proto::v1::publish_service_server::PublishService;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::{
    Durability, ErrorReason, Failure, OpenProducerRequest, OpenProducerResponse, PublishAck, PublishBatch,
    PublishBatchAck, PublishOpened, PublishRequest, PublishResponse, PublishStreamRequest,
    PublishStreamResponse, publish_request,
};
use meridian_publish::{Credential, PublishError, Published, Publisher, Routes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::answers::{of_publish, of_route};
use super::forward::{
    ForwardedStream, Forwarder, Returned, fail, following, forwarded, is_forwarded, not_redirected,
    of_publish_at, refusal,
};
use super::open_producer::Producers;
use crate::intake::Held;
use crate::routes::Routing;

/// Answers that may wait for a slow client.
const ANSWERS: usize = 1_024;

/// Publishes, here or through the leader.
#[derive(Clone)]
pub(crate) struct Publish {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) producers: Arc<Producers>,
    pub(crate) routing: Arc<Routing>,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) stream_credit_bytes: u64,
}

impl Publish {
    /// A token from the future would keep its producer's row for ever: it counts as given now.
    fn token(&self, opened_at_ms: u64) -> UnixMs {
        UnixMs(opened_at_ms).min(self.forwarder.links.clocks().now().plus_ms(CLOCK_SKEW_MS_MAX))
    }

    /// Where plain messages without a partition go: by the first key, or anywhere.
    fn partition_for(&self, topic: &TopicName, request: &PublishRequest) -> Result<u32, Failure> {
        if let Some(partition) = request.partition {
            return Ok(partition);
        }
        let Some(publish_request::Payload::Messages(messages)) = &request.payload else {
            return Err(Failure::invalid("partition", "a batch needs its partition"));
        };
        let partitions = self.routing.partitions(topic).map_err(|error| of_route(&error))?;
        let key = messages.messages.first().and_then(|message| message.key.as_ref());
        Ok(match key {
            Some(key) => hash::partition_of(key, partitions),
            None => (meridian_raft::runtime::next_random() % u64::from(partitions.max(1))) as u32,
        })
    }
}

/// What a client is told. One that follows redirects learns the leader's address, others are never sent elsewhere.
fn told(error: &PublishError, routing: &Routing, redirects: bool) -> Failure {
    let failure = of_publish(error);
    if !redirects {
        return not_redirected(failure);
    }
    let node = failure.metadata.get("node").and_then(|node| node.parse().ok()).map(NodeId);
    match node.and_then(|node| routing.client_address(node)) {
        Some(address) => failure.with("address", address),
        None => failure,
    }
}

fn ack(partition: u32, published: Published) -> PublishAck {
    PublishAck {
        partition,
        log_id: published.log.0.to_vec().into(),
        base_offset: published.base.0,
        count: published.count,
        duplicate: published.duplicate,
        durability: Durability::Quorum as i32,
    }
}

#[tonic::async_trait]
impl PublishService for Publish {
    type PublishStreamStream = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

    async fn open_producer(
        &self,
        request: Request<OpenProducerRequest>,
    ) -> Result<Response<OpenProducerResponse>, Status> {
        Ok(Response::new(self.producers.open(request.into_inner()).await?))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let may_forward = !is_forwarded(&request) && !request.get_ref().accept_redirect;
        let credential = credential(&request);
        // The bytes count until the batch is admitted or answered.
        let held = request.extensions().get::<Held>().cloned();
        let mut request = request.into_inner();
        let topic = topic_name(&request.topic)?;
        let partition = self.partition_for(&topic, &request)?;
        let batch = match request.payload.take() {
            Some(publish_request::Payload::Batch(batch)) => batch,
            Some(publish_request::Payload::Messages(messages)) => {
                pack(messages, self.forwarder.links.clocks().now())?
            }
            None => return Err(Failure::invalid("payload", "neither a batch nor messages").into()),
        };
        let opened_at = self.token(request.opened_at_ms);
        let outcome = self.publisher.publish(&credential, &topic, partition, batch.clone(), opened_at).await;
        let published = match outcome {
            Ok(outcome) => {
                drop(held);
                outcome.await
            }
            Err(error) => Err(error),
        };
        match published {
            Ok(published) => Ok(Response::new(PublishResponse { ack: Some(ack(partition, published)) })),
            Err(PublishError::Elsewhere { group, node }) if may_forward => {
                request.payload = Some(publish_request::Payload::Batch(batch));
                request.partition = Some(partition);
                let publish = async |node| {
                    let answer = self.forwarder.publish(node)?.publish(forwarded(request.clone())).await;
                    answer.map_err(|status| of_publish_at(node, status))
                };
                following(&self.routing, (group, node), publish).await
            }
            Err(error) => Err(told(&error, &self.routing, !may_forward).into()),
        }
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let was_forwarded = is_forwarded(&request);
        let credential = credential(&request);
        let held = request.extensions().get::<Held>().cloned();
        held.iter().for_each(Held::is_stream);
        let mut requests = request.into_inner();
        let open = match requests.message().await?.and_then(|request| request.request) {
            Some(Sent::Open(open)) => open,
            _ => {
                return Err(Failure::new(ErrorReason::Protocol, "a publish stream begins with `open`").into());
            }
        };
        let topic = topic_name(&open.topic)?;
        self.routing.partitions(&topic).map_err(|error| of_route(&error))?;
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let opened = PublishOpened {
            credit_bytes: self.stream_credit_bytes,
            inflight_batches_max: PRODUCER_INFLIGHT_BATCHES_MAX as u32,
        };
        let opened = PublishStreamResponse { response: Some(Answer::Opened(opened)) };
        answers.try_send(Ok(opened)).map_err(|_| Status::internal("the answer queue is closed"))?;
        let forwarding = (!was_forwarded && !open.accept_redirect).then(|| {
            let (forwarder, routing) = (Arc::clone(&self.forwarder), Arc::clone(&self.routing));
            ForwardedStream::new(forwarder, routing, topic.resource(), answers.clone())
        });
        let stream = PublishingStream { service: self.clone(), credential, held, topic, answers, forwarding };
        tokio::spawn(stream.run(requests));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// What the caller shows: a token in the call.
fn credential<T>(request: &Request<T>) -> Credential {
    let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    Credential { token: token.map(str::to_string) }
}

struct PublishingStream {
    service: Publish,
    credential: Credential,
    held: Option<Held>,
    topic: TopicName,
    answers: mpsc::Sender<Result<PublishStreamResponse, Status>>,
    forwarding: Option<ForwardedStream>,
}

/// What the forwarded part has for the client's task; never anything where nothing is forwarded.
async fn returned(forwarding: &mut Option<ForwardedStream>) -> Returned {
    match forwarding {
        Some(forwarding) => forwarding.returned().await,
        None => std::future::pending().await,
    }
}

impl PublishingStream {
    async fn run(mut self, mut requests: Streaming<PublishStreamRequest>) {
        loop {
            let request = tokio::select! {
                request = requests.message() => request,
                returned = returned(&mut self.forwarding) => {
                    if let Some(forwarding) = &mut self.forwarding {
                        forwarding.go_on(returned).await;
                    }
                    continue;
                }
            };
            let request = match request {
                Ok(Some(request)) => request,
                Ok(None) => break,
                // The client may be there to hear it: too much at once, a message too large, bytes without sense.
                Err(status) => return drop(self.answers.send(Err(status)).await),
            };
            match request.request {
                Some(Sent::Batch(batch)) => self.batch(batch).await,
                _ => {
                    let failure = Failure::new(ErrorReason::Protocol, "after `open` only batches may follow");
                    let _ = self.answers.send(Err(failure.into())).await;
                    return;
                }
            }
            if self.answers.is_closed() {
                return;
            }
        }
        // The bytes of the last message count no longer.
        let Self { forwarding, .. } = self;
        if let Some(forwarding) = forwarding {
            forwarding.finish().await;
        }
    }

    /// Appends one batch; its answer comes when it is stored, others do not wait for it.
    async fn batch(&mut self, sent: PublishBatch) {
        let (correlation, partition) = (sent.correlation, sent.partition);
        let opened_at = self.service.token(sent.opened_at_ms);
        let publisher = &self.service.publisher;
        let outcome =
            publisher.publish(&self.credential, &self.topic, partition, sent.batch.clone(), opened_at).await;
        let redirects = self.forwarding.is_none();
        let outcome = match (outcome, &mut self.forwarding) {
            (Ok(outcome), _) => outcome,
            (Err(PublishError::Elsewhere { group, node }), Some(forwarding)) => {
                let held = self.held.as_ref().and_then(|held| held.split(sent.batch.len()));
                return forwarding.send((group, node), sent, held).await;
            }
            (Err(error), _) => {
                let failure = told(&error, &self.service.routing, redirects);
                return fail(&self.answers, correlation, failure).await;
            }
        };
        // A batch has its place among the answers before the next one is read: who reads no answers sends no more.
        let Ok(place) = self.answers.clone().reserve_owned().await else { return };
        let routing = Arc::clone(&self.service.routing);
        tokio::spawn(async move {
            let response = match outcome.await {
                Ok(published) => {
                    let ack = PublishBatchAck { correlation, ack: Some(ack(partition, published)) };
                    PublishStreamResponse { response: Some(Answer::Ack(ack)) }
                }
                Err(error) => refusal(correlation, told(&error, &routing, redirects)),
            };
            place.send(Ok(response));
        });
    }
}
