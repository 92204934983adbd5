//! `SubscribeService`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use meridian_model::{ConsumerId, NodeId, TopicName, name};
use meridian_proto::requests::topic_name;
use meridian_proto::subscription as wire;
use meridian_proto::v1::subscribe_request::Request as Sent;
use meridian_proto::v1::subscribe_response::Response as Answer;
use meridian_proto::v1::subscribe_service_client::SubscribeServiceClient;
use meridian_proto::v1::subscribe_service_server::SubscribeService;
use meridian_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, DeliveredRange, ErrorReason, Failure, HeldMessages,
    ModifyDeadlineRequest, ModifyDeadlineResponse, PullRequest, PullResponse, SubscribeOpen, SubscribeOpened,
    SubscribeRequest, SubscribeResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admin::subscription_settings;
use super::forward::{forwarded, is_forwarded};
use super::pulling::{self, MESSAGES_MAX, Pullers, Verdict, WAIT_MAX};
use super::standing::begin_at;
use super::subscribing::{
    Consumer, HELD_MAX, SILENCE_MAX, Selection, Subscribing, Ways, consumer_id, response,
};
use crate::intake::Held;

/// Frames that may wait for a slow consumer.
const ANSWERS: usize = 64;

/// A pull that waits for nothing finds out that there is nothing in so long.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// Serves consumers whose streams end here.
#[derive(Clone)]
pub(crate) struct Subscribe {
    pub(crate) ways: Ways,
    pub(crate) pullers: Pullers,
}

type Holds = BTreeMap<(TopicName, u32), (u64, Vec<DeliveredRange>)>;

/// What a consumer says that it holds from before.
fn holds(held: Vec<HeldMessages>) -> Result<Holds, Failure> {
    let (mut holds, mut messages) = (Holds::new(), 0u64);
    for of in held {
        let topic = topic_name(&of.topic)?;
        if of.ranges.iter().any(|range| range.from >= range.to) {
            return Err(Failure::invalid("holds", "a range is empty"));
        }
        let held = of.ranges.iter().map(|range| range.to - range.from);
        messages = held.fold(messages, u64::saturating_add);
        if messages > HELD_MAX {
            return Err(Failure::invalid("holds", format!("more than {HELD_MAX} messages")));
        }
        holds.insert((topic, of.partition), (of.seek_epoch, of.ranges));
    }
    Ok(holds)
}

fn fresh_id() -> ConsumerId {
    let high = u128::from(meridian_raft::runtime::next_random());
    ConsumerId((high << 64 | u128::from(meridian_raft::runtime::next_random())).to_be_bytes())
}

impl Subscribe {
    fn consumer(&self, open: SubscribeOpen) -> Result<Consumer, Failure> {
        let kind = wire::kind(open.kind)?;
        if open.batches && !kind.is_owned() {
            return Err(Failure::invalid("batches", "only exclusive and failover deliver whole batches"));
        }
        if !open.key_ranges.iter().all(|range| range.first <= range.last && range.last <= 0xffff) {
            return Err(Failure::invalid("key_ranges", "a range ends before it begins, or beyond 65535"));
        }
        name::check("subscription", &open.subscription).map_err(|error| {
            Failure::invalid("subscription", error.to_string().trim_start_matches("subscription: "))
        })?;
        let id = match open.consumer_id.is_empty() {
            true => fresh_id(),
            false => {
                let wrong = || Failure::invalid("consumer_id", "16 bytes, or none");
                consumer_id(&open.consumer_id).ok_or_else(wrong)?
            }
        };
        let create = match open.create {
            true => {
                let settings = open.settings.unwrap_or_default();
                let settings = meridian_proto::v1::SubscriptionSettings { kind: open.kind, ..settings };
                Some((subscription_settings(Some(settings))?, begin_at(open.start)))
            }
            false => None,
        };
        Ok(Consumer {
            ways: self.ways.clone(),
            topics: Selection::parse(&open.topics)?,
            subscription: open.subscription,
            id,
            kind,
            priority: open.priority,
            key_ranges: open.key_ranges,
            batches: open.batches,
            partition: None,
            holds: holds(open.holds)?,
            create,
        })
    }
}

impl Subscribe {
    /// The consumer behind a pull: of a subscription that exists, and whose messages may go to anybody.
    fn puller(&self, request: &PullRequest) -> Result<Consumer, Failure> {
        let topic = topic_name(&request.topic)?;
        let known = self.ways.routing.control.look(|machine| {
            machine.subscription(&topic, &request.subscription).map(|known| known.settings.rules.kind)
        });
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        let missing = || {
            let why =
                format!("topic {topic} has no subscription {:?}; create it first", request.subscription);
            Failure::new(ErrorReason::NotFound, why).with("field", "subscription")
        };
        let kind = known.ok_or_else(not_ready)?.ok_or_else(missing)?;
        if kind.is_owned() {
            let why =
                "what is pulled may be acked by anybody: that needs a shared or key-shared subscription";
            return Err(Failure::new(ErrorReason::OtherKind, why));
        }
        Ok(Consumer {
            ways: self.ways.clone(),
            topics: Selection::parse(&[topic.resource()])?,
            subscription: request.subscription.clone(),
            id: fresh_id(),
            kind,
            priority: 0,
            key_ranges: Vec::new(),
            batches: false,
            partition: request.partition,
            holds: Holds::new(),
            create: None,
        })
    }

    /// Says what is to become of messages that were pulled, at the nodes where they were pulled.
    async fn order(
        &self,
        verdict: Verdict,
        subscription: (&str, &str),
        ack_ids: &[Bytes],
        may_forward: bool,
    ) -> Result<BTreeMap<u32, Failure>, Failure> {
        let (by_node, mut refused) = pulling::named(ack_ids)?;
        for (node, ids) in by_node {
            if node == self.ways.links.own() {
                refused.extend(self.pullers.order(verdict, ids).await);
                continue;
            }
            let places: Vec<u32> = ids.iter().map(|(place, _)| *place).collect();
            let there = match may_forward {
                true => self.order_there(node, verdict, subscription, pulling::wire(&ids)).await,
                false => None,
            };
            match there {
                Some(told) => {
                    let named = |at: u32| places.get(at as usize).copied();
                    refused.extend(told.into_iter().filter_map(|(at, why)| Some((named(at)?, why))));
                }
                None => {
                    let why = format!("the message was pulled at {node}, which cannot be reached; try again");
                    let failure = Failure::new(ErrorReason::Unavailable, why);
                    refused.extend(places.into_iter().map(|place| (place, failure.clone())));
                }
            }
        }
        Ok(refused)
    }

    /// The same at another node. `None`: it cannot be reached.
    async fn order_there(
        &self,
        node: NodeId,
        verdict: Verdict,
        (topic, subscription): (&str, &str),
        ack_ids: Vec<Bytes>,
    ) -> Option<BTreeMap<u32, Failure>> {
        let mut client = SubscribeServiceClient::new(self.ways.links.channel(node).ok()?);
        let (topic, subscription) = (topic.to_owned(), subscription.to_owned());
        let nack = match verdict {
            Verdict::Ack => {
                let request = AcknowledgeRequest { topic, subscription, ack_ids };
                return Some(client.acknowledge(forwarded(request)).await.ok()?.into_inner().refused);
            }
            Verdict::Nack => true,
            Verdict::Extend => false,
        };
        let request = ModifyDeadlineRequest { topic, subscription, ack_ids, nack };
        Some(client.modify_deadline(forwarded(request)).await.ok()?.into_inner().refused)
    }
}

#[tonic::async_trait]
impl SubscribeService for Subscribe {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let held = request.extensions().get::<Held>().cloned();
        held.iter().for_each(Held::is_stream);
        let mut requests = request.into_inner();
        let open = match requests.message().await?.and_then(|request| request.request) {
            Some(Sent::Open(open)) => open,
            _ => {
                return Err(
                    Failure::new(ErrorReason::Protocol, "a subscribe stream begins with `open`").into()
                );
            }
        };
        let first = (open.credit_messages, open.credit_bytes);
        let consumer = self.consumer(open)?;
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let opened = SubscribeOpened {
            consumer_id: consumer.id.0.to_vec().into(),
            silence_ms_max: SILENCE_MAX.as_millis() as u64,
        };
        let opened = response(Answer::Opened(opened));
        answers.try_send(Ok(opened)).map_err(|_| Status::internal("the answer queue is closed"))?;
        let subscribing = Subscribing::new(consumer, first, answers)?;
        tokio::spawn(async move {
            subscribing.run(requests).await;
            drop(held);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn pull(&self, request: Request<PullRequest>) -> Result<Response<PullResponse>, Status> {
        let request = request.into_inner();
        let consumer = self.puller(&request)?;
        let messages_max = request.messages_max.clamp(1, MESSAGES_MAX);
        let wait = Duration::from_millis(request.wait_ms_max).clamp(WAIT_MIN, WAIT_MAX);
        let node = self.ways.links.own();
        let messages = self.pullers.pull(node, consumer, messages_max, wait).await?;
        Ok(Response::new(PullResponse { messages }))
    }

    async fn acknowledge(
        &self,
        request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        let may_forward = !is_forwarded(&request);
        let AcknowledgeRequest { topic, subscription, ack_ids } = request.into_inner();
        let refused = self.order(Verdict::Ack, (&topic, &subscription), &ack_ids, may_forward).await?;
        Ok(Response::new(AcknowledgeResponse { refused }))
    }

    async fn modify_deadline(
        &self,
        request: Request<ModifyDeadlineRequest>,
    ) -> Result<Response<ModifyDeadlineResponse>, Status> {
        let may_forward = !is_forwarded(&request);
        let ModifyDeadlineRequest { topic, subscription, ack_ids, nack } = request.into_inner();
        let verdict = if nack { Verdict::Nack } else { Verdict::Extend };
        let refused = self.order(verdict, (&topic, &subscription), &ack_ids, may_forward).await?;
        Ok(Response::new(ModifyDeadlineResponse { refused }))
    }
}
