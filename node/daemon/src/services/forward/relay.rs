//! One stream to one leader, for the batches of one client: answers go to the client, what must go elsewhere goes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::{GroupId, NodeId};
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::{
    ErrorReason, Failure, PublishBatch, PublishBatchFailure, PublishOpen, PublishStreamRequest,
    PublishStreamResponse,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Forwarder, broken, forwarded, knows_nothing, moved, named, not_behind, unreachable};

/// The way to a client's stream.
pub(super) type Answers = mpsc::Sender<Result<PublishStreamResponse, Status>>;

/// A batch on its way.
pub(super) struct Passed {
    pub(super) group: GroupId,
    pub(super) batch: PublishBatch,
    /// Its bytes, which count until it is answered.
    pub(super) _share: Option<OwnedSemaphorePermit>,
    /// A node has named the one that it goes to.
    pub(super) redirected: bool,
}

/// What became of a batch at a node.
pub(in super::super) struct Returned {
    pub(super) partition: u32,
    pub(super) group: GroupId,
    pub(super) node: NodeId,
    pub(super) redirected: bool,
    pub(super) fate: Fate,
}

pub(super) enum Fate {
    /// The client has its answer.
    Answered,
    /// The same, but the node is not there, or knows no leader.
    Lost,
    /// It goes to this node instead.
    Named(NodeId, Passed),
}

impl Passed {
    pub(super) fn returned(&self, node: NodeId, fate: Fate) -> Returned {
        let (partition, group, redirected) = (self.batch.partition, self.group, self.redirected);
        Returned { partition, group, node, redirected, fate }
    }
}

/// What a client is told of a batch that was refused.
pub(in super::super) fn refusal(correlation: u64, failure: Failure) -> PublishStreamResponse {
    let failure = PublishBatchFailure { correlation, failure: Some(failure) };
    PublishStreamResponse { response: Some(Answer::Failure(failure)) }
}

/// Answers a batch of the client's stream.
pub(in super::super) async fn fail(answers: &Answers, correlation: u64, failure: Failure) {
    // The client may have gone.
    let _ = answers.send(Ok(refusal(correlation, failure))).await;
}

/// Relays batches to one leader until either side ends; whatever is unanswered then is indeterminate.
pub(super) struct Relay {
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) node: NodeId,
    pub(super) topic: String,
    pub(super) answers: Answers,
    pub(super) returns: mpsc::UnboundedSender<Returned>,
    pub(super) unanswered: BTreeMap<u64, Passed>,
}

impl Relay {
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Passed>) {
        let (requests, outgoing) = mpsc::channel(8);
        let unsent = match self.open(&requests, outgoing).await {
            Ok(incoming) => {
                self.relay(requests, incoming, &mut queue).await;
                unreachable(self.node)
            }
            Err(refused) => refused,
        };
        queue.close();
        // To the end: a batch may be on its way into the queue still.
        while let Some(passed) = queue.recv().await {
            fail(&self.answers, passed.batch.correlation, unsent.clone()).await;
            self.give_back(&passed, if knows_nothing(&unsent) { Fate::Lost } else { Fate::Answered });
        }
        for (correlation, passed) in std::mem::take(&mut self.unanswered) {
            let failure = Failure::new(ErrorReason::Indeterminate, broken(self.node));
            fail(&self.answers, correlation, failure).await;
            self.give_back(&passed, Fate::Lost);
        }
    }

    fn give_back(&self, passed: &Passed, fate: Fate) {
        // The client's task may have gone.
        let _ = self.returns.send(passed.returned(self.node, fate));
    }

    /// No batch was sent where this fails.
    async fn open(
        &self,
        requests: &mpsc::Sender<PublishStreamRequest>,
        outgoing: mpsc::Receiver<PublishStreamRequest>,
    ) -> Result<Streaming<PublishStreamResponse>, Failure> {
        let open = PublishOpen { topic: self.topic.clone(), accept_redirect: true };
        let mut client = self.forwarder.publish(self.node)?;
        let opening = PublishStreamRequest { request: Some(Sent::Open(open)) };
        requests.send(opening).await.map_err(|_| unreachable(self.node))?;
        let answer = client.publish_stream(forwarded(ReceiverStream::new(outgoing))).await;
        let refused = |status: Status| match Failure::told_by(&status) {
            Some(failure) => not_behind(self.node, failure),
            None => unreachable(self.node),
        };
        Ok(answer.map_err(refused)?.into_inner())
    }

    async fn relay(
        &mut self,
        requests: mpsc::Sender<PublishStreamRequest>,
        mut incoming: Streaming<PublishStreamResponse>,
        queue: &mut mpsc::Receiver<Passed>,
    ) {
        // None once the client has sent everything: its answers still come.
        let mut requests = Some(requests);
        loop {
            tokio::select! {
                passed = queue.recv(), if requests.is_some() => {
                    let (Some(passed), Some(leader)) = (passed, &requests) else {
                        requests = None;
                        continue;
                    };
                    let batch = PublishStreamRequest { request: Some(Sent::Batch(passed.batch.clone())) };
                    if let Some(same) = self.unanswered.insert(passed.batch.correlation, passed) {
                        // Its client uses a number twice, and cannot tell the answers apart either.
                        self.give_back(&same, Fate::Answered);
                    }
                    if leader.send(batch).await.is_err() {
                        return;
                    }
                }
                answer = incoming.message() => {
                    let Ok(Some(answer)) = answer else { return };
                    if !self.answer(answer).await {
                        return;
                    }
                }
            }
        }
    }

    /// Passes an answer on to the client, or gives the batch back. `false`: the client has gone.
    async fn answer(&mut self, mut answer: PublishStreamResponse) -> bool {
        let (passed, fate) = match &mut answer.response {
            Some(Answer::Ack(ack)) => (self.unanswered.remove(&ack.correlation), Fate::Answered),
            Some(Answer::Failure(PublishBatchFailure { correlation, failure: Some(failure) })) => {
                let passed = self.unanswered.remove(correlation);
                let passed = match (named(failure), passed) {
                    (Some(leader), Some(passed)) if !passed.redirected => {
                        let back = passed.returned(self.node, Fate::Answered);
                        let again = Passed { redirected: true, ..passed };
                        let _ = self.returns.send(Returned { fate: Fate::Named(leader, again), ..back });
                        return true;
                    }
                    (_, passed) => passed,
                };
                let fate = if knows_nothing(failure) { Fate::Lost } else { Fate::Answered };
                if named(failure).is_some() {
                    *failure = moved();
                }
                (passed, fate)
            }
            Some(Answer::Failure(failure)) => (self.unanswered.remove(&failure.correlation), Fate::Answered),
            _ => return true,
        };
        let heard = self.answers.send(Ok(answer)).await.is_ok();
        if let Some(passed) = passed {
            self.give_back(&passed, fate);
        }
        heard
    }
}
