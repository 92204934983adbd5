//! One publish stream to one node: many partitions share it, under the credit that the node grants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_model::limits;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request;
use meridian_proto::v1::publish_stream_response::Response;
use meridian_proto::v1::{
    ErrorReason, Failure, PublishAck, PublishBatch, PublishOpen, PublishOpened, PublishStreamRequest,
    PublishStreamResponse,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::doubt::Doubt;
use super::verdict::Trouble;
use crate::Error;
use crate::call::is_transport;
use crate::metadata::TopicRoute;

/// Requests between the stream's task and the connection.
const OUTBOUND_REQUESTS_MAX: usize = 8;

/// A copy of a batch to send, and where its answer goes.
pub(super) struct Submission {
    pub(super) partition: u32,
    pub(super) ticket: u64,
    pub(super) attempt: u64,
    pub(super) batch: Bytes,
    pub(super) opened_at_ms: u64,
    pub(super) answers: mpsc::UnboundedSender<Answer>,
}

/// What became of a copy. Every submission gets exactly one.
pub(super) struct Answer {
    pub(super) ticket: u64,
    pub(super) attempt: u64,
    pub(super) result: Result<PublishAck, Trouble>,
}

/// A handle to the stream. What may be queued on it is bounded by the partitions' batches in flight.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) address: String,
    pub(super) in_flight_max: usize,
    submissions: mpsc::UnboundedSender<Submission>,
    kill: Arc<Notify>,
    /// When the node last said anything.
    heard: Arc<Mutex<Instant>>,
    /// The node forwards: no leader was known, or it could not be reached.
    pub(super) is_detour: bool,
}

impl Link {
    /// Opens the stream and waits until the node grants credit.
    pub(super) async fn open(
        channel: Channel,
        doubt: Doubt,
        open: PublishOpen,
        patience: Duration,
    ) -> Result<Link, Status> {
        let address = doubt.address().to_string();
        let is_detour = !open.accept_redirect;
        let (outbound, requests) = mpsc::channel(OUTBOUND_REQUESTS_MAX);
        let first = PublishStreamRequest { request: Some(Request::Open(open)) };
        outbound.try_send(first).map_err(|_| Status::internal("the stream's queue is full at its start"))?;
        let opening = async {
            let mut client =
                PublishServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX);
            let mut inbound = client.publish_stream(ReceiverStream::new(requests)).await?.into_inner();
            let opened = inbound.message().await?;
            Ok::<_, Status>((inbound, opened))
        };
        let (inbound, opened) = tokio::time::timeout(patience, opening).await.map_err(|_| {
            Status::unavailable(format!("{address} did not open the publish stream in time"))
        })??;
        let opened = match opened.and_then(|first| first.response) {
            Some(Response::Opened(opened)) => opened,
            Some(Response::Failure(refused)) => {
                return Err(refused.failure.unwrap_or_default().into_status());
            }
            _ => return Err(Status::unavailable("the node ended the publish stream before opening it")),
        };
        let (submissions, queue) = mpsc::unbounded_channel();
        let kill = Arc::new(Notify::new());
        let heard = Arc::new(Mutex::new(Instant::now()));
        let in_flight_max = (opened.inflight_batches_max as usize).max(1);
        let task = LinkTask::new(queue, outbound, opened, kill.clone(), heard.clone(), doubt);
        tokio::spawn(task.run(inbound));
        Ok(Link { address, in_flight_max, submissions, kill, heard, is_detour })
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.submissions.is_closed()
    }

    /// Queues a copy. `false`: the stream has ended, nothing was sent and no answer will come.
    pub(super) fn submit(&self, submission: Submission) -> bool {
        self.submissions.send(submission).is_ok()
    }

    /// How long the node has said nothing, about any partition.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    /// Ends the stream: what is out counts as lost.
    pub(super) fn kill(&self) {
        self.kill.notify_one();
    }
}

struct Outstanding {
    partition: u32,
    ticket: u64,
    attempt: u64,
    bytes: u64,
    answers: mpsc::UnboundedSender<Answer>,
}

struct LinkTask {
    queue: mpsc::UnboundedReceiver<Submission>,
    outbound: mpsc::Sender<PublishStreamRequest>,
    kill: Arc<Notify>,
    heard: Arc<Mutex<Instant>>,
    credit_bytes: u64,
    used_bytes: u64,
    next_correlation: u64,
    outstanding: BTreeMap<u64, Outstanding>,
    /// Taken from the queue, waiting for credit.
    waiting: Option<Submission>,
    doubt: Doubt,
    /// Since when something is unanswered.
    unanswered_since: Instant,
}

impl LinkTask {
    fn new(
        queue: mpsc::UnboundedReceiver<Submission>,
        outbound: mpsc::Sender<PublishStreamRequest>,
        opened: PublishOpened,
        kill: Arc<Notify>,
        heard: Arc<Mutex<Instant>>,
        doubt: Doubt,
    ) -> Self {
        Self {
            queue,
            outbound,
            kill,
            heard,
            credit_bytes: opened.credit_bytes,
            used_bytes: 0,
            next_correlation: 1,
            outstanding: BTreeMap::new(),
            waiting: None,
            doubt,
            unanswered_since: Instant::now(),
        }
    }

    async fn run(mut self, mut inbound: Streaming<PublishStreamResponse>) {
        let why = self.serve(&mut inbound).await;
        self.queue.close();
        let mut lost: Vec<Submission> = self.waiting.take().into_iter().collect();
        // To the end: a submission may be on its way into the queue still.
        while let Some(submission) = self.queue.recv().await {
            lost.push(submission);
        }
        tracing::debug!(?why, outstanding = self.outstanding.len(), "publish stream ended");
        for outstanding in std::mem::take(&mut self.outstanding).into_values() {
            outstanding.answer(Err(Trouble::lost(why.clone())));
        }
        for submission in lost {
            let (ticket, attempt) = (submission.ticket, submission.attempt);
            let result = Err(Trouble::unsent());
            let _ = submission.answers.send(Answer { ticket, attempt, result });
        }
    }

    /// Until the stream ends; returns why.
    async fn serve(&mut self, inbound: &mut Streaming<PublishStreamResponse>) -> Failure {
        let kill = self.kill.clone();
        let outbound = self.outbound.clone();
        let mut abandoned = false;
        loop {
            let sendable = self.waiting.as_ref().is_some_and(|next| self.has_credit(next));
            let quiet_since = self.unanswered_since.max(*self.heard.lock());
            tokio::select! {
                biased;
                () = kill.notified() => return ended("answers are overdue"),
                received = inbound.message() => match received {
                    Ok(Some(message)) => self.answered(message),
                    Ok(None) => return ended("the node ended the publish stream"),
                    Err(status) => {
                        if is_transport(&status) {
                            self.doubt.suspect();
                        }
                        return Failure::from_status(&status);
                    }
                },
                permit = outbound.reserve(), if sendable => match permit {
                    Ok(permit) => self.send(permit),
                    Err(_) => return ended("the connection is gone"),
                },
                next = self.queue.recv(), if self.waiting.is_none() && !abandoned => match next {
                    Some(submission) => self.waiting = Some(submission),
                    None => abandoned = true,
                },
                route = self.doubt.others_say(quiet_since), if !self.outstanding.is_empty() => {
                    self.give_up_moved(&route);
                }
            }
            if abandoned && self.outstanding.is_empty() && self.waiting.is_none() {
                return ended("the producer is done");
            }
        }
    }

    /// A batch larger than the whole credit goes when nothing else is out.
    fn has_credit(&self, next: &Submission) -> bool {
        self.outstanding.is_empty() || self.used_bytes + next.batch.len() as u64 <= self.credit_bytes
    }

    fn send(&mut self, permit: mpsc::Permit<'_, PublishStreamRequest>) {
        let Some(submission) = self.waiting.take() else { return };
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        let bytes = submission.batch.len() as u64;
        self.used_bytes += bytes;
        let Submission { partition, ticket, attempt, batch, opened_at_ms, answers } = submission;
        if self.outstanding.is_empty() {
            self.unanswered_since = Instant::now();
        }
        self.outstanding.insert(correlation, Outstanding { partition, ticket, attempt, bytes, answers });
        let batch = PublishBatch { correlation, partition, batch, opened_at_ms };
        permit.send(PublishStreamRequest { request: Some(Request::Batch(batch)) });
    }

    /// The node is silent, and others say who leads: what waits for a partition that has another leader is lost.
    fn give_up_moved(&mut self, route: &TopicRoute) {
        let moved = |outstanding: &Outstanding| {
            let leader = route.leader_address(outstanding.partition);
            leader.is_some_and(|leader| leader != self.doubt.address())
        };
        let moved: Vec<u64> = self.outstanding.iter().filter(|(_, o)| moved(o)).map(|(id, _)| *id).collect();
        for outstanding in moved.iter().filter_map(|id| self.outstanding.remove(id)).collect::<Vec<_>>() {
            self.used_bytes -= outstanding.bytes;
            outstanding.answer(Err(Trouble::lost(ended("the node is silent and another one leads"))));
        }
    }

    fn answered(&mut self, message: PublishStreamResponse) {
        *self.heard.lock() = Instant::now();
        let (correlation, result) = match message.response {
            Some(Response::Ack(ack)) => (ack.correlation, ack.ack.ok_or_else(Failure::default)),
            Some(Response::Failure(refused)) => {
                (refused.correlation, Err(refused.failure.unwrap_or_default()))
            }
            Some(Response::Opened(opened)) => {
                self.credit_bytes = opened.credit_bytes;
                return;
            }
            None => return,
        };
        let Some(outstanding) = self.outstanding.remove(&correlation) else {
            tracing::debug!(correlation, "an answer to what was given up, or never sent");
            return;
        };
        self.used_bytes -= outstanding.bytes;
        outstanding.answer(result.map_err(Trouble::refused));
    }
}

impl Outstanding {
    /// The partition may be gone already; then nobody waits.
    fn answer(self, result: Result<PublishAck, Trouble>) {
        let _ = self.answers.send(Answer { ticket: self.ticket, attempt: self.attempt, result });
    }
}

fn ended(why: &str) -> Failure {
    Failure::new(ErrorReason::Unavailable, why)
}

/// A status met while opening, as an error.
pub(super) fn open_error(status: &Status) -> Error {
    Failure::from_status(status).into()
}
