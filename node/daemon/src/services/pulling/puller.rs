//! The consumer behind one pull: it takes what it was asked for, drains, and lives until what it holds is settled or its
//! leases end.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_model::{ConsumerId, NodeId};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    DeliveredMessages, DeliveryEpochs, ErrorReason, Failure, PulledMessage, SubscribeAck, SubscribeDrain,
    SubscribeExtend, SubscribeHeartbeat, SubscribeNack, SubscribeRequest, SubscribeResponse,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;

use super::ack_id::AckId;

/// How long more messages are waited for once there are some.
const LINGER: Duration = Duration::from_millis(10);
/// How often the consumer says that it is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// What is to become of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::services) enum Verdict {
    Ack,
    Nack,
    Extend,
}

/// Messages of one pull, by their places in the client's request, and where the refused ones are told.
pub(super) struct Order {
    pub(super) verdict: Verdict,
    pub(super) ids: Vec<(u32, AckId)>,
    pub(super) refused: oneshot::Sender<Vec<(u32, Failure)>>,
}

/// One order on its way: what is still to be answered.
struct Waiting {
    /// Places in the client's request, by the number of the consumer's request.
    open: BTreeMap<u64, Vec<u32>>,
    told: Vec<(u32, Failure)>,
    refused: oneshot::Sender<Vec<(u32, Failure)>>,
}

pub(super) struct Puller {
    pub(super) consumer: ConsumerId,
    pub(super) node: NodeId,
    pub(super) requests: mpsc::Sender<Result<SubscribeRequest, Status>>,
    pub(super) answers: mpsc::Receiver<Result<SubscribeResponse, Status>>,
    /// By the number of the partition on this consumer's stream.
    partitions: BTreeMap<u32, u32>,
    pulled: Vec<PulledMessage>,
    waiting: Vec<Waiting>,
    numbers: u64,
    over: bool,
}

impl Puller {
    pub(super) fn new(
        (consumer, node): (ConsumerId, NodeId),
        requests: mpsc::Sender<Result<SubscribeRequest, Status>>,
        answers: mpsc::Receiver<Result<SubscribeResponse, Status>>,
    ) -> Self {
        let (partitions, pulled, waiting) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { consumer, node, requests, answers, partitions, pulled, waiting, numbers: 0, over: false }
    }

    /// What comes until there is enough, or the time is over. Where nothing came the consumer leaves.
    pub(super) async fn pull(
        &mut self,
        messages_max: usize,
        wait: Duration,
    ) -> Result<Vec<PulledMessage>, Status> {
        let mut until = Instant::now() + wait;
        while self.pulled.len() < messages_max {
            match tokio::time::timeout_at(until, self.answers.recv()).await {
                Ok(Some(Ok(SubscribeResponse { response: Some(response) }))) => {
                    let before = self.pulled.len();
                    self.hear(response);
                    if before == 0 && !self.pulled.is_empty() {
                        until = until.min(Instant::now() + LINGER);
                    }
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(refused))) => return Err(refused),
                Ok(None) | Err(_) => break,
            }
        }
        if !self.pulled.is_empty() {
            self.say(Request::Drain(SubscribeDrain {})).await;
        }
        Ok(std::mem::take(&mut self.pulled))
    }

    /// Does what the client orders, until nothing is held any more.
    pub(super) async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
        while !self.over {
            tokio::select! {
                answer = self.answers.recv() => match answer {
                    Some(Ok(SubscribeResponse { response: Some(response) })) => self.hear(response),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => self.over = true,
                },
                order = orders.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => self.over = true,
                },
                _ = heartbeat.tick() => self.say(Request::Heartbeat(SubscribeHeartbeat {})).await,
            }
        }
        for waiting in self.waiting {
            let mut told = waiting.told;
            let unknown = || Failure::new(ErrorReason::Unavailable, "the answer was lost; say it again");
            told.extend(waiting.open.into_values().flatten().map(|place| (place, unknown())));
            // The client may have gone.
            let _ = waiting.refused.send(told);
        }
    }

    async fn say(&mut self, request: Request) {
        let said = self.requests.send(Ok(SubscribeRequest { request: Some(request) })).await;
        self.over |= said.is_err();
    }

    async fn order(&mut self, order: Order) {
        // By partition and epochs: what was delivered together is said together.
        let key = |id: &AckId| {
            let DeliveryEpochs { dispatch, owner, seek } = id.epochs;
            (id.source, dispatch, owner, seek)
        };
        let mut groups: BTreeMap<_, Vec<(u32, AckId)>> = BTreeMap::new();
        order.ids.into_iter().for_each(|(place, id)| groups.entry(key(&id)).or_default().push((place, id)));
        let mut waiting = Waiting { open: BTreeMap::new(), told: Vec::new(), refused: order.refused };
        for ((source, dispatch, owner, seek), ids) in groups {
            self.numbers += 1;
            let (request, epochs) = (self.numbers, Some(DeliveryEpochs { dispatch, owner, seek }));
            waiting.open.insert(request, ids.iter().map(|(place, _)| *place).collect());
            let ranges = ids.iter().map(|(_, id)| id.range()).collect();
            self.say(match order.verdict {
                Verdict::Ack => {
                    Request::Ack(SubscribeAck { request, source, epochs, ranges, cumulative: None })
                }
                Verdict::Nack => Request::Nack(SubscribeNack { request, source, epochs, ranges }),
                Verdict::Extend => Request::Extend(SubscribeExtend { request, source, epochs, ranges }),
            })
            .await;
        }
        self.waiting.push(waiting);
        self.answer_done();
    }

    fn hear(&mut self, response: Response) {
        match response {
            Response::Source(source) => drop(self.partitions.insert(source.source, source.partition)),
            Response::Messages(frame) => self.take(frame),
            Response::Confirmed(frame) => {
                frame.requests.iter().for_each(|request| self.answered(*request, None));
            }
            Response::Refused(frame) => self.answered(frame.request, frame.failure),
            Response::Drained(_) => self.over = true,
            _ => {}
        }
        self.answer_done();
    }

    fn take(&mut self, frame: DeliveredMessages) {
        let partition = self.partitions.get(&frame.source).copied().unwrap_or_default();
        let epochs = frame.epochs.unwrap_or_default();
        for message in frame.messages {
            let offset = message.message.as_ref().map_or(0, |stored| stored.offset);
            let id = AckId {
                consumer: self.consumer,
                node: self.node,
                source: frame.source,
                epochs,
                offset,
                deliver_at_ms: message.deliver_at_ms,
            };
            self.pulled.push(PulledMessage { ack_id: id.encode(), partition, message: Some(message) });
        }
    }

    fn answered(&mut self, request: u64, failure: Option<Failure>) {
        for waiting in &mut self.waiting {
            if let Some(places) = waiting.open.remove(&request)
                && let Some(failure) = &failure
            {
                waiting.told.extend(places.into_iter().map(|place| (place, failure.clone())));
            }
        }
    }

    fn answer_done(&mut self) {
        for done in self.waiting.extract_if(.., |waiting| waiting.open.is_empty()) {
            // The client may have gone.
            let _ = done.refused.send(done.told);
        }
    }
}
