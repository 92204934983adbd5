//! `SubscribeService`.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures::Stream;
use meridian_model::{ConsumerId, TopicName, name};
use meridian_proto::requests::topic_name;
use meridian_proto::v1::subscribe_request::Request as Sent;
use meridian_proto::v1::subscribe_response::Response as Answer;
use meridian_proto::v1::subscribe_service_server::SubscribeService;
use meridian_proto::v1::{
    AcknowledgeRequest, AcknowledgeResponse, DeliveredRange, ErrorReason, Failure, HeldMessages, ModifyDeadlineRequest,
    ModifyDeadlineResponse, PullRequest, PullResponse, SubscribeOpen, SubscribeOpened, SubscribeRequest,
    SubscribeResponse,
};
use meridian_proto::subscription as wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::admin::subscription_settings;
use super::standing::begin_at;
use super::subscribing::{Consumer, HELD_MAX, SILENCE_MAX, Selection, Subscribing, Ways, consumer_id, response};
use crate::intake::Held;

/// Frames that may wait for a slow consumer.
const ANSWERS: usize = 64;

/// Serves consumers whose streams end here.
#[derive(Clone)]
pub(crate) struct Subscribe {
    pub(crate) ways: Ways,
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
            holds: holds(open.holds)?,
            create,
        })
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
            _ => return Err(Failure::new(ErrorReason::Protocol, "a subscribe stream begins with `open`").into()),
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

    async fn pull(&self, _request: Request<PullRequest>) -> Result<Response<PullResponse>, Status> {
        Err(Status::unimplemented("pull"))
    }

    async fn acknowledge(
        &self,
        _request: Request<AcknowledgeRequest>,
    ) -> Result<Response<AcknowledgeResponse>, Status> {
        Err(Status::unimplemented("acknowledge"))
    }

    async fn modify_deadline(
        &self,
        _request: Request<ModifyDeadlineRequest>,
    ) -> Result<Response<ModifyDeadlineResponse>, Status> {
        Err(Status::unimplemented("modify_deadline"))
    }
}
