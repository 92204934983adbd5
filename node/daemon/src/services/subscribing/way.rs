//! The way from a consumer's stream to the dispatcher of a partition, wherever it is led.

use std::sync::Arc;

use meridian_deliver::subscription::{Join, KeyRange};
use meridian_dispatch::{Attach, Attached, Room};
use meridian_model::limits::RPC_BYTES_MAX;
use meridian_model::subscription::SubscriptionKind;
use meridian_model::{ConsumerId, GroupId, NodeId, Offset, Place, SubscriptionId, UnixMs};
use meridian_proto::internal as pb;
use meridian_proto::internal::attach_request::Request as Sent;
use meridian_proto::internal::peer_service_client::PeerServiceClient;
use meridian_proto::subscription as wire;
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{self, SubscribeRequest};
use meridian_raft::network::Links;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Requests on their way to another node.
const REQUESTS: usize = 64;

/// What a consumer wants of a partition, whoever leads it.
#[derive(Clone, Debug)]
pub(in crate::services) struct Wanted {
    pub(super) group: GroupId,
    pub(super) subscription: SubscriptionId,
    pub(super) consumer: ConsumerId,
    pub(super) kind: SubscriptionKind,
    pub(super) priority: u32,
    pub(super) key_ranges: Vec<v1::KeyRange>,
    pub(super) holds: Vec<v1::DeliveredRange>,
    pub(super) seek_epoch: u64,
    pub(super) batches: bool,
    pub(super) source: u32,
}

pub(super) enum Way {
    Here(Attached),
    There(NodeId, mpsc::Sender<pb::AttachRequest>, Box<Streaming<pb::AttachResponse>>),
}

impl Wanted {
    /// In the words of the dispatch room.
    pub(in crate::services) fn attach(self) -> Attach {
        let key = |hash: u32| u16::try_from(hash).unwrap_or(u16::MAX);
        let ranges = self.key_ranges.iter();
        let ranges = ranges.map(|range| KeyRange { first: key(range.first), last: key(range.last) });
        let holds = self.holds.iter().flat_map(|range| {
            let place = |offset| Place { deliver_at: UnixMs(range.deliver_at_ms), offset: Offset(offset) };
            (range.from..range.to).map(place)
        });
        let join = Join {
            consumer: self.consumer,
            kind: self.kind,
            priority: self.priority,
            ranges: ranges.collect(),
            holds: holds.collect(),
            seek_epoch: self.seek_epoch,
        };
        let Wanted { group, subscription, source, batches, .. } = self;
        Attach { group, subscription, join, source, batches }
    }

    /// From the wire of another node. `None`: it makes no sense.
    pub(in crate::services) fn from_wire(open: pb::AttachOpen) -> Option<Self> {
        let kind = wire::kind(open.kind).ok()?;
        let whole = open.holds.iter().all(|range| range.from < range.to);
        let held: u64 = open.holds.iter().map(|range| range.to.saturating_sub(range.from)).sum();
        if !whole || held > HELD_MAX {
            return None;
        }
        Some(Self {
            group: GroupId(open.group),
            subscription: SubscriptionId(open.subscription),
            consumer: consumer_id(&open.consumer_id)?,
            kind,
            priority: open.priority,
            key_ranges: open.key_ranges,
            holds: open.holds,
            seek_epoch: open.seek_epoch,
            batches: open.batches,
            source: open.source,
        })
    }

    fn to_wire(&self, from: NodeId) -> pb::AttachOpen {
        pb::AttachOpen {
            from_node: from.0,
            group: self.group.0,
            subscription: self.subscription.0,
            consumer_id: self.consumer.0.to_vec().into(),
            kind: wire::kind_to_wire(self.kind) as i32,
            priority: self.priority,
            key_ranges: self.key_ranges.clone(),
            holds: self.holds.clone(),
            seek_epoch: self.seek_epoch,
            batches: self.batches,
            source: self.source,
        }
    }
}

/// Messages that a consumer may say that it holds of one partition.
pub(in crate::services) const HELD_MAX: u64 = 20_000;

/// 16 bytes.
pub(in crate::services) fn consumer_id(bytes: &[u8]) -> Option<ConsumerId> {
    bytes.try_into().ok().map(ConsumerId)
}

impl Way {
    /// To the dispatch room of this node.
    pub(super) fn here(room: &Arc<Room>, wanted: Wanted) -> Self {
        Way::Here(room.attach(wanted.attach()))
    }

    /// To another node. `None`: it is not there. Cancel safe.
    pub(super) async fn there(links: &Links, node: NodeId, wanted: &Wanted) -> Option<Self> {
        let (requests, outgoing) = mpsc::channel(REQUESTS);
        let open = pb::AttachRequest { request: Some(Sent::Open(wanted.to_wire(links.own()))) };
        requests.send(open).await.ok()?;
        let channel = links.channel(node).ok()?;
        let client = PeerServiceClient::new(channel);
        let mut client =
            client.max_decoding_message_size(RPC_BYTES_MAX).max_encoding_message_size(RPC_BYTES_MAX);
        let answers = client.attach(ReceiverStream::new(outgoing)).await.ok()?.into_inner();
        Some(Way::There(node, requests, Box::new(answers)))
    }

    /// Says something. `false`: the way ends here. Cancel safe: then nothing was said.
    pub(super) async fn say(&self, request: Request) -> bool {
        match self {
            Way::Here(attached) => attached.speaker().say(request).await,
            Way::There(_, requests, _) => {
                let said = SubscribeRequest { request: Some(request) };
                requests.send(pb::AttachRequest { request: Some(Sent::Said(said)) }).await.is_ok()
            }
        }
    }

    /// What comes back. `None`: the way ends here. Cancel safe.
    pub(super) async fn answer(&mut self) -> Option<Response> {
        match self {
            Way::Here(attached) => attached.answer().await,
            Way::There(_, _, answers) => answers.message().await.ok()??.said?.response,
        }
    }

    /// The consumer leaves for good.
    pub(super) async fn leave(self) {
        match self {
            Way::Here(attached) => attached.speaker().clone().leave().await,
            Way::There(_, requests, _) => {
                let leave = pb::AttachRequest { request: Some(Sent::Leave(pb::AttachLeave {})) };
                // Where nobody hears it, nothing is held any more.
                let _ = requests.send(leave).await;
            }
        }
    }
}
