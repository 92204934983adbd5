//! Forwarding: a request that reached the wrong node goes on to the leader. Whoever is asked does not forward it
//! again, but may name the leader; then it is asked, once.

mod relay;
mod stream;

use std::sync::Arc;

use meridian_model::limits::RPC_BYTES_MAX;
use meridian_model::{GroupId, NodeId};
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{ErrorReason, Failure};
use meridian_raft::network::Links;
use tonic::transport::Channel;
use tonic::{Request, Status};

pub(super) use relay::{Returned, fail, refusal};
pub(super) use stream::ForwardedStream;

use crate::arrival::never_sent;
use crate::routes::Routing;

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
    if let Some(told) = Failure::told_by(&status) {
        return of_told(node, status, told);
    }
    match never_sent(&status) {
        true => unreachable(node).into(),
        false => Failure::new(ErrorReason::Indeterminate, broken(node)).into(),
    }
}

/// The same for a read, which may be repeated.
pub(super) fn of_read_at(node: NodeId, reason: ErrorReason, status: Status) -> Status {
    match Failure::told_by(&status) {
        Some(told) => of_told(node, status, told),
        None => Failure::new(reason, format!("{node} cannot be reached; try again")).into(),
    }
}

fn of_told(node: NodeId, status: Status, told: Failure) -> Status {
    match told.reason() {
        ErrorReason::NotFound => not_behind(node, told).into(),
        _ => status,
    }
}

/// A node that does not know a topic which this one knows lags behind, or this one does: it is no answer yet.
fn not_behind(node: NodeId, told: Failure) -> Failure {
    match told.reason() {
        ErrorReason::NotFound => Failure::new(
            ErrorReason::Unavailable,
            format!("{node} leads the partition and does not know its topic yet, or no more; try again"),
        ),
        _ => told,
    }
}

/// The leader that a refusal names.
fn named(failure: &Failure) -> Option<NodeId> {
    let node = failure.metadata.get("node").filter(|_| failure.reason() == ErrorReason::NotLeader);
    node.and_then(|node| node.parse().ok()).map(NodeId)
}

/// Whether another node may know better than the one that says this.
fn knows_nothing(failure: &Failure) -> bool {
    use ErrorReason::{Indeterminate, NotLeader, ReplicaUnavailable, Unavailable};
    matches!(failure.reason(), Unavailable | ReplicaUnavailable | Indeterminate | NotLeader)
}

/// What somebody who does not follow redirects is told instead of one.
pub(super) fn not_redirected(failure: Failure) -> Failure {
    match failure.reason() {
        ErrorReason::NotLeader => moved(),
        _ => failure,
    }
}

fn moved() -> Failure {
    Failure::new(ErrorReason::Unavailable, "the partition is about to have another leader; try again")
}

/// Calls a node about a group, and the leader that it names instead. What is learned that way is remembered.
pub(super) async fn following<T, A>(
    routing: &Routing,
    (group, node): (GroupId, NodeId),
    call: impl Fn(NodeId) -> A,
) -> Result<T, Status>
where
    A: Future<Output = Result<T, Status>>,
{
    let refused = match call(node).await {
        Ok(answer) => return Ok(answer),
        Err(status) => status,
    };
    let failure = Failure::from_status(&refused);
    let Some(leader) = named(&failure) else {
        if knows_nothing(&failure) {
            routing.failed(group, node);
        }
        return Err(refused);
    };
    routing.told(group, leader);
    if leader == routing.own {
        return Err(moved().into());
    }
    call(leader).await.map_err(|refused| {
        let failure = Failure::from_status(&refused);
        if knows_nothing(&failure) {
            routing.failed(group, leader);
        }
        match failure.reason() {
            ErrorReason::NotLeader => moved().into(),
            _ => refused,
        }
    })
}

fn broken(node: NodeId) -> String {
    format!("the connection to {node} broke before it answered")
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
