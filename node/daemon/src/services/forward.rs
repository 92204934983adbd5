//! Forwarding: a request that reached the wrong node goes on to the leader, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::NodeId;
use meridian_model::limits::RPC_BYTES_MAX;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{
    ErrorReason, Failure, PublishBatch, PublishBatchFailure, PublishOpen, PublishStreamRequest,
    PublishStreamResponse,
};
use meridian_raft::network::Links;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// The metadata key that marks a forwarded request: it is not forwarded again.
const FORWARDED: &str = "meridian-forwarded";

/// Whether this request was forwarded by another node.
pub(super) fn is_forwarded<T>(request: &Request<T>) -> bool {
    request.metadata().contains_key(FORWARDED)
}

/// The same message, marked.
pub(super) fn forwarded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(FORWARDED, tonic::metadata::MetadataValue::from_static("1"));
    request
}

/// The ways to other nodes' services.
pub(crate) struct Forwarder {
    pub(crate) links: Arc<Links>,
}

fn unreachable(node: NodeId) -> Failure {
    Failure::new(
        ErrorReason::Unavailable,
        format!("{node} leads the partition and cannot be reached; try again"),
    )
}

/// What becomes of a forwarded publish whose answer is this status. What the leader said stands. What the
/// connection said is no answer: without one nothing was sent, and when one breaks nobody knows.
pub(super) fn of_publish_at(node: NodeId, status: Status) -> Status {
    if Failure::told_by(&status).is_some() {
        return status;
    }
    match never_sent(&status) {
        true => unreachable(node).into(),
        false => Failure::new(ErrorReason::Indeterminate, broken(node)).into(),
    }
}

/// The same for a read, which may be repeated.
pub(super) fn of_read_at(node: NodeId, reason: ErrorReason, status: Status) -> Status {
    match Failure::told_by(&status) {
        Some(_) => status,
        None => Failure::new(reason, format!("{node} cannot be reached; try again")).into(),
    }
}

fn broken(node: NodeId) -> String {
    format!("the connection to {node} broke before it answered")
}

fn never_sent(status: &Status) -> bool {
    let first: &(dyn std::error::Error + 'static) = status;
    std::iter::successors(Some(first), |error| error.source())
        .any(|error| error.downcast_ref::<tonic::ConnectError>().is_some())
}

impl Forwarder {
    /// The publish service of a node.
    pub(super) fn publish(&self, node: NodeId) -> Result<PublishServiceClient<Channel>, Failure> {
        let channel = self.links.channel(node).map_err(|_| unreachable(node))?;
        let client = PublishServiceClient::new(channel);
        Ok(client.max_decoding_message_size(RPC_BYTES_MAX).max_encoding_message_size(RPC_BYTES_MAX))
    }

    /// The read service of a node.
    pub(super) fn read(&self, node: NodeId) -> Result<ReadServiceClient<Channel>, Failure> {
        let channel = self.links.channel(node).map_err(|_| unreachable(node))?;
        Ok(ReadServiceClient::new(channel).max_decoding_message_size(RPC_BYTES_MAX))
    }
}

/// The bytes of a batch on its way, which count until it is answered.
type Share = Option<OwnedSemaphorePermit>;

type Answers = mpsc::Sender<Result<PublishStreamResponse, Status>>;

/// The forwarded part of one publish stream: a stream to each leader, in the client's order.
pub(super) struct ForwardedStream {
    forwarder: Arc<Forwarder>,
    topic: String,
    answers: Answers,
    streams: BTreeMap<NodeId, mpsc::Sender<(PublishBatch, Share)>>,
}

impl ForwardedStream {
    pub(super) fn new(forwarder: Arc<Forwarder>, topic: String, answers: Answers) -> Self {
        Self { forwarder, topic, answers, streams: BTreeMap::new() }
    }

    /// Sends a batch on; its answer comes to the client's stream. Waits while the leader is slow.
    pub(super) async fn send(&mut self, node: NodeId, batch: PublishBatch, share: Share) {
        let correlation = batch.correlation;
        let stream = self.streams.entry(node).or_insert_with(|| {
            let (batches, queue) = mpsc::channel(64);
            tokio::spawn(relay(
                Arc::clone(&self.forwarder),
                node,
                self.topic.clone(),
                queue,
                self.answers.clone(),
            ));
            batches
        });
        if stream.send((batch, share)).await.is_err() {
            self.streams.remove(&node);
            fail(&self.answers, correlation, unreachable(node)).await;
        }
    }
}

pub(super) async fn fail(answers: &Answers, correlation: u64, failure: Failure) {
    let failure = PublishBatchFailure { correlation, failure: Some(failure) };
    let response = PublishStreamResponse { response: Some(Answer::Failure(failure)) };
    // The client may have gone.
    let _ = answers.send(Ok(response)).await;
}

/// Relays batches to one leader until either side ends; whatever is unanswered then is indeterminate.
async fn relay(
    forwarder: Arc<Forwarder>,
    node: NodeId,
    topic: String,
    mut queue: mpsc::Receiver<(PublishBatch, Share)>,
    answers: Answers,
) {
    let mut unanswered = BTreeMap::new();
    let (requests, outgoing) = mpsc::channel(8);
    let open =
        PublishStreamRequest { request: Some(Sent::Open(PublishOpen { topic, accept_redirect: true })) };
    let opened = async {
        let mut client = forwarder.publish(node).ok()?;
        requests.send(open).await.ok()?;
        client.publish_stream(forwarded(ReceiverStream::new(outgoing))).await.ok()
    };
    if let Some(response) = opened.await {
        let mut incoming = response.into_inner();
        // None once the client has sent everything: its answers still come.
        let mut requests = Some(requests);
        loop {
            tokio::select! {
                batch = queue.recv(), if requests.is_some() => {
                    let (Some((batch, share)), Some(leader)) = (batch, &requests) else {
                        requests = None;
                        continue;
                    };
                    unanswered.insert(batch.correlation, share);
                    if leader.send(PublishStreamRequest { request: Some(Sent::Batch(batch)) }).await.is_err() {
                        break;
                    }
                }
                answer = incoming.message() => {
                    let Ok(Some(answer)) = answer else { break };
                    match &answer.response {
                        Some(Answer::Ack(ack)) => drop(unanswered.remove(&ack.correlation)),
                        Some(Answer::Failure(failure)) => drop(unanswered.remove(&failure.correlation)),
                        _ => continue,
                    }
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
    queue.close();
    while let Ok((batch, _)) = queue.try_recv() {
        fail(&answers, batch.correlation, unreachable(node)).await;
    }
    for correlation in unanswered.into_keys() {
        fail(&answers, correlation, Failure::new(ErrorReason::Indeterminate, broken(node))).await;
    }
}
