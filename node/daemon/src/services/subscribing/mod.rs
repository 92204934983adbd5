//! One consumer: its stream ends here, its parts are wherever the partitions are led.

mod credit;
mod held;
mod part;
mod selection;
mod sources;
mod way;

use std::collections::VecDeque;
use std::time::Duration;

use futures::{Stream, StreamExt};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    ErrorReason, Failure, SubscribeConfirmed, SubscribeDrained, SubscribeHeartbeat, SubscribeRefused,
    SubscribeRequest, SubscribeResponse,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use self::credit::{Amount, CREDIT_BYTES_MAX, CREDIT_MESSAGES_MAX, Credit};
pub(crate) use self::part::Ways;
use self::part::{FromPart, Heard};
pub(super) use self::selection::Selection;
pub(super) use self::sources::{Consumer, Sources};
pub(super) use self::way::{HELD_MAX, Wanted, consumer_id};

/// A consumer that says nothing for so long counts as gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often a consumer hears something, and the leaders hear of a consumer that is there.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How often new topics and partitions are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What parts say that may wait for this task.
const HEARD: usize = 256;

/// The way to the consumer.
pub(super) type Answers = mpsc::Sender<Result<SubscribeResponse, Status>>;

/// Why a consumer's stream ends.
enum End {
    /// The consumer closed it.
    Closed,
    /// It broke, or the consumer was silent for too long.
    Lost,
    /// The consumer holds nothing any more.
    Drained,
    Refused(Failure),
}

/// The task of one consumer.
pub(super) struct Subscribing {
    sources: Sources,
    credit: Credit,
    answers: Answers,
    heard: mpsc::Receiver<Heard>,
    /// What came beyond the credit, and what came behind it from partitions.
    waiting: VecDeque<Response>,
    draining: bool,
    said_at: Instant,
}

impl Subscribing {
    pub(super) fn new(consumer: Consumer, first: (u64, u64), answers: Answers) -> Result<Self, Failure> {
        let (hears, heard) = mpsc::channel(HEARD);
        let mut credit = Credit::default();
        if !credit.add(Amount { messages: first.0, bytes: first.1 }) {
            return Err(too_much_credit());
        }
        Ok(Self {
            sources: Sources::new(consumer, hears),
            credit,
            answers,
            heard,
            waiting: VecDeque::new(),
            draining: false,
            said_at: Instant::now(),
        })
    }

    pub(super) async fn run(
        mut self,
        mut requests: impl Stream<Item = Result<SubscribeRequest, Status>> + Unpin,
    ) {
        let end = self.serve(&mut requests).await;
        let last = match &end {
            End::Drained => Some(Ok(response(Response::Drained(SubscribeDrained {})))),
            End::Refused(failure) => Some(Err(failure.clone().into())),
            End::Closed | End::Lost => None,
        };
        if let Some(last) = last {
            // The consumer may have gone.
            let _ = self.answers.send(last).await;
        }
        if !matches!(end, End::Lost) {
            self.sources.leave();
        }
    }

    async fn serve(
        &mut self,
        requests: &mut (impl Stream<Item = Result<SubscribeRequest, Status>> + Unpin),
    ) -> End {
        let mut heartbeat = tokio::time::interval(HEARTBEAT_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let retry_at = self.sources.retry_at();
            let done = tokio::select! {
                request = requests.next() => match request {
                    Some(Ok(SubscribeRequest { request: Some(request) })) => {
                        self.said_at = Instant::now();
                        self.request(request).await
                    }
                    Some(Ok(_)) => Ok(()),
                    None => Err(End::Closed),
                    Some(Err(_)) => Err(End::Lost),
                },
                Some(heard) = self.heard.recv() => self.hear(heard).await,
                () = tokio::time::sleep_until(retry_at) => {
                    self.sources.retry();
                    Ok(())
                }
                _ = look.tick() => self.look().await,
                _ = heartbeat.tick() => self.beat().await,
                () = self.answers.closed() => Err(End::Lost),
            };
            if let Err(end) = done {
                return end;
            }
            self.grant();
        }
    }

    async fn look(&mut self) -> Result<(), End> {
        for gone in self.sources.look().await.map_err(End::Refused)? {
            self.credit.detached(gone.source);
            self.pass(Response::Source(gone)).await?;
        }
        self.end_if_drained()
    }

    async fn beat(&mut self) -> Result<(), End> {
        if self.said_at.elapsed() > SILENCE_MAX {
            return Err(End::Lost);
        }
        self.sources.say_to_all(&Request::Heartbeat(SubscribeHeartbeat {}));
        self.answer(Response::Heartbeat(SubscribeHeartbeat {})).await
    }

    async fn request(&mut self, request: Request) -> Result<(), End> {
        let (number, source) = match &request {
            Request::Open(_) => {
                return Err(End::Refused(Failure::new(
                    ErrorReason::Protocol,
                    "a subscribe stream has one `open`, its first request",
                )));
            }
            Request::Credit(credit) => {
                let more = Amount { messages: credit.messages, bytes: credit.bytes };
                return match self.credit.add(more) {
                    true => self.send_waiting().await,
                    false => self.refuse(0, too_much_credit()).await,
                };
            }
            Request::Heartbeat(_) => return Ok(()),
            Request::Drain(_) => {
                self.draining = true;
                self.sources.say_to_all(&request);
                return self.end_if_drained();
            }
            Request::Ack(ack) => (ack.request, Some(ack.source)),
            Request::Nack(nack) => (nack.request, Some(nack.source)),
            Request::Extend(extend) => (extend.request, Some(extend.source)),
            Request::Seek(seek) => (seek.request, seek.source),
        };
        match self.sources.ask(number, source, request) {
            Ok(()) => Ok(()),
            Err(failure) => self.refuse(number, failure).await,
        }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), End> {
        let Heard { source, life, what } = heard;
        if !self.sources.is_current(source, life) {
            return Ok(());
        }
        match what {
            FromPart::Attached(way) => {
                self.credit.attached(source);
                self.sources.attached(source, way, self.draining);
                Ok(())
            }
            FromPart::Ended => {
                self.credit.detached(source);
                let (state, unanswered) = self.sources.detached(source);
                for (request, harmless) in unanswered {
                    let (reason, why) = match harmless {
                        true => {
                            (ErrorReason::Unavailable, "its leader is gone; say it again once it is attached")
                        }
                        false => (
                            ErrorReason::Indeterminate,
                            "its leader is gone; it may count as an attempt, or not",
                        ),
                    };
                    self.refuse(request, Failure::new(reason, why)).await?;
                }
                match state {
                    Some(state) => self.pass(Response::Source(state)).await,
                    None => self.end_if_drained(),
                }
            }
            FromPart::Said(response) => self.said(source, *response).await,
        }
    }

    async fn said(&mut self, source: u32, response: Response) -> Result<(), End> {
        self.sources.hear(source, &response);
        match &response {
            Response::Messages(frame) => {
                let messages = frame.messages.len() as u64;
                self.credit.came(source, Amount { messages, bytes: frame.credit_bytes });
                self.pass(response).await
            }
            Response::Batches(frame) => {
                let messages = frame.ranges.iter().map(|range| range.to - range.from).sum();
                self.credit.came(source, Amount { messages, bytes: frame.credit_bytes });
                self.pass(response).await
            }
            Response::Confirmed(_) => match self.sources.confirmed(response) {
                Some(confirmed) => self.answer(confirmed).await,
                None => Ok(()),
            },
            Response::Drained(_) => {
                self.sources.drained(source);
                self.end_if_drained()
            }
            // A partition refuses a consumer for good: the whole stream ends with its reason. One that takes it in is
            // told of behind what still waits from before, the end of its last part among it.
            Response::Source(told) => match &told.failure {
                Some(failure) => Err(End::Refused(failure.clone())),
                None => {
                    let state = self.sources.taken_in(source);
                    self.pass(Response::Source(state)).await
                }
            },
            Response::Refused(_) => self.answer(response).await,
            _ => self.pass(response).await,
        }
    }

    fn end_if_drained(&self) -> Result<(), End> {
        match self.draining && self.sources.all_drained() {
            true => Err(End::Drained),
            false => Ok(()),
        }
    }

    /// Grants partitions what the consumer takes.
    fn grant(&mut self) {
        if self.draining || !self.waiting.is_empty() {
            return;
        }
        for (source, Amount { messages, bytes }) in self.credit.grants() {
            self.sources.grant(source, messages, bytes);
        }
    }

    /// Sends what comes from partitions, in order, as far as there is credit.
    async fn pass(&mut self, response: Response) -> Result<(), End> {
        self.waiting.push_back(response);
        self.send_waiting().await
    }

    async fn send_waiting(&mut self) -> Result<(), End> {
        while let Some(first) = self.waiting.front() {
            let amount = match first {
                Response::Messages(frame) => {
                    Some(Amount { messages: frame.messages.len() as u64, bytes: frame.credit_bytes })
                }
                Response::Batches(frame) => {
                    let messages = frame.ranges.iter().map(|range| range.to - range.from).sum();
                    Some(Amount { messages, bytes: frame.credit_bytes })
                }
                _ => None,
            };
            if let Some(amount) = amount {
                if !self.credit.is_left() {
                    break;
                }
                self.credit.spend(amount);
            }
            let Some(first) = self.waiting.pop_front() else { break };
            self.answer(first).await?;
        }
        Ok(())
    }

    async fn refuse(&mut self, request: u64, failure: Failure) -> Result<(), End> {
        self.answer(Response::Refused(SubscribeRefused { request, failure: Some(failure) })).await
    }

    async fn answer(&mut self, answer: Response) -> Result<(), End> {
        self.answers.send(Ok(response(answer))).await.map_err(|_| End::Lost)
    }
}

/// As it goes out.
pub(super) fn response(response: Response) -> SubscribeResponse {
    SubscribeResponse { response: Some(response) }
}

fn too_much_credit() -> Failure {
    let why =
        format!("at most {CREDIT_MESSAGES_MAX} messages and {CREDIT_BYTES_MAX} bytes may be outstanding");
    Failure::invalid("credit", why)
}

/// Requests that are confirmed, as one answer.
fn confirmed(requests: Vec<u64>) -> Option<Response> {
    (!requests.is_empty()).then(|| Response::Confirmed(SubscribeConfirmed { requests }))
}
