//! One lane to one node: calls go out in order, coalesced into frames; answers come back by id.
//!
//! A lane for entries connects when it has something to say; one for heartbeats, once it was needed, stays open and
//! comes back by itself, because its pulses are how the peer knows that this node lives. When the stream ends, stalls or cannot be made, every call
//! that waits fails at once, and openraft decides when to try again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use meridian_model::NodeId;
use meridian_model::limits::FRAME_BYTES_MAX;
use meridian_proto::internal::{Answer, Call, ExchangeRequest, ExchangeResponse};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::links::Links;
use crate::clock_book::DiskState;

/// Calls that may wait for their turn.
const QUEUE_CALLS: usize = 4_096;
/// Frames between the coalescer and the wire.
const FRAMES: usize = 2;
/// How long a stream with unanswered calls may be silent.
const SILENCE_MAX: Duration = Duration::from_millis(2_500);
/// A lane for heartbeats that has nothing to say says so as often as this: the peer then knows that this node
/// lives, however rare the heartbeats of its groups are.
const PULSE_EVERY: Duration = Duration::from_millis(100);
/// How often a lane for heartbeats tries to come back.
const RETURN_EVERY: Duration = Duration::from_millis(250);
/// How long a stream may take to open.
const CONNECT_MAX: Duration = Duration::from_millis(1_000);

/// What a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LaneKind {
    /// Entries.
    Bulk,
    /// Heartbeats, votes, leadership transfer.
    Urgent,
}

/// The call got no answer, and may or may not have arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from {node}: {why}")]
pub(super) struct NoAnswer {
    pub(super) node: NodeId,
    pub(super) why: String,
}

struct Pending {
    call: Call,
    answer: oneshot::Sender<Result<Answer, NoAnswer>>,
}

/// The sending end of a lane.
pub(super) struct Lane {
    node: NodeId,
    ids: AtomicU64,
    queue: mpsc::Sender<Pending>,
}

impl Lane {
    pub(super) fn spawn(links: Weak<Links>, node: NodeId, kind: LaneKind) -> Arc<Lane> {
        let (queue, calls) = mpsc::channel(QUEUE_CALLS);
        tokio::spawn(run(links, node, kind, calls));
        Arc::new(Lane { node, ids: AtomicU64::new(1), queue })
    }

    /// Queues a call. Its answer, or the news that none will come, arrives on the receiver; calls queued in
    /// order are sent in order. Waits while the queue is full.
    pub(super) async fn start(
        &self,
        mut call: Call,
    ) -> Result<oneshot::Receiver<Result<Answer, NoAnswer>>, NoAnswer> {
        call.id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let sent = self.queue.send(Pending { call, answer }).await;
        sent.map_err(|_| NoAnswer { node: self.node, why: "the lane is closed".into() })?;
        Ok(receiver)
    }

    /// Calls and waits for the answer, at most so long.
    pub(super) async fn call(&self, call: Call, patience: Duration) -> Result<Answer, NoAnswer> {
        let answer = async {
            let receiver = self.start(call).await?;
            receiver
                .await
                .unwrap_or_else(|_| Err(NoAnswer { node: self.node, why: "the stream ended".into() }))
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(result) => result,
            Err(_) => Err(NoAnswer { node: self.node, why: format!("timed out after {patience:?}") }),
        }
    }
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Result<Answer, NoAnswer>>>>>;

async fn run(links: Weak<Links>, node: NodeId, kind: LaneKind, mut calls: mpsc::Receiver<Pending>) {
    loop {
        let first = match kind {
            LaneKind::Bulk => calls.recv().await.map(Some),
            LaneKind::Urgent => match tokio::time::timeout(RETURN_EVERY, calls.recv()).await {
                Ok(first) => first.map(Some),
                Err(_) => Some(None),
            },
        };
        let Some(first) = first else { return };
        let Some(links) = links.upgrade() else { return };
        let why = match open(&links, node).await {
            Ok((frames, answers)) => {
                tracing::debug!(%node, ?kind, "lane open");
                let pulse = (kind == LaneKind::Urgent).then_some(PULSE_EVERY);
                exchange(&links, node, first, &mut calls, frames, answers, pulse).await
            }
            Err(why) => {
                if let Some(first) = first {
                    refuse(first, node, &why);
                }
                why
            }
        };
        tracing::debug!(%node, ?kind, why, "lane closed");
        while let Ok(pending) = calls.try_recv() {
            refuse(pending, node, &why);
        }
    }
}

fn refuse(pending: Pending, node: NodeId, why: &str) {
    // The caller may have gone: nobody is left to be told then.
    let _ = pending.answer.send(Err(NoAnswer { node, why: why.to_string() }));
}

type Open = (mpsc::Sender<ExchangeRequest>, Streaming<ExchangeResponse>);

async fn open(links: &Arc<Links>, node: NodeId) -> Result<Open, String> {
    let mut client = links.connect(node).map_err(|error| error.to_string())?;
    let (frames, outgoing) = mpsc::channel(FRAMES);
    let hello = ExchangeRequest { hello: Some(links.hello(node)), ..greeting(links) };
    frames.try_send(hello).map_err(|_| "the first frame does not fit".to_string())?;
    let opening = client.exchange(ReceiverStream::new(outgoing));
    match tokio::time::timeout(CONNECT_MAX, opening).await {
        Ok(Ok(response)) => Ok((frames, response.into_inner())),
        Ok(Err(status)) => Err(status.message().to_string()),
        Err(_) => Err(format!("no connection within {CONNECT_MAX:?}")),
    }
}

/// Runs an open stream until it fails; answers what waits, and says why it ended.
async fn exchange(
    links: &Arc<Links>,
    node: NodeId,
    first: Option<Pending>,
    calls: &mut mpsc::Receiver<Pending>,
    frames: mpsc::Sender<ExchangeRequest>,
    answers: Streaming<ExchangeResponse>,
    pulse: Option<Duration>,
) -> String {
    let waiting = Waiting::default();
    let why = tokio::select! {
        why = send(links, first, calls, frames, &waiting, pulse) => why,
        why = receive(links, node, answers, &waiting) => why,
    };
    for (_, answer) in std::mem::take(&mut *waiting.lock()) {
        let _ = answer.send(Err(NoAnswer { node, why: why.clone() }));
    }
    why
}

async fn send(
    links: &Arc<Links>,
    first: Option<Pending>,
    calls: &mut mpsc::Receiver<Pending>,
    frames: mpsc::Sender<ExchangeRequest>,
    waiting: &Waiting,
    pulse: Option<Duration>,
) -> String {
    let mut next = first;
    loop {
        let mut request = greeting(links);
        let mut bytes = next.take().map_or(0, |pending| add(&mut request, pending, waiting));
        while bytes < FRAME_BYTES_MAX {
            let Ok(more) = calls.try_recv() else { break };
            bytes += add(&mut request, more, waiting);
        }
        // Without a call it is a pulse.
        if frames.send(request).await.is_err() {
            return "the stream ended".into();
        }
        next = match tokio::time::timeout(pulse.unwrap_or(Duration::MAX), calls.recv()).await {
            Ok(None) => return "this node is stopping".into(),
            Ok(next) => next,
            Err(_) => None,
        };
    }
}

/// An empty frame that says how this node is.
fn greeting(links: &Links) -> ExchangeRequest {
    let (clock_ms, disk) = (links.clocks().now().0, links.clocks().own_disk());
    let (disk_full, disk_stalled) = (disk.full, disk.stalled);
    ExchangeRequest { clock_ms, disk_full, disk_stalled, ..ExchangeRequest::default() }
}

fn add(request: &mut ExchangeRequest, pending: Pending, waiting: &Waiting) -> usize {
    let bytes = pending.call.encoded_len();
    waiting.lock().insert(pending.call.id, pending.answer);
    request.calls.push(pending.call);
    bytes
}

async fn receive(
    links: &Arc<Links>,
    node: NodeId,
    mut answers: Streaming<ExchangeResponse>,
    waiting: &Waiting,
) -> String {
    loop {
        let response = match tokio::time::timeout(SILENCE_MAX, answers.message()).await {
            Ok(Ok(Some(response))) => response,
            Ok(Ok(None)) => return "the peer closed the stream".into(),
            Ok(Err(status)) => return status.message().to_string(),
            Err(_) if waiting.lock().is_empty() => continue,
            Err(_) => return format!("silent for {SILENCE_MAX:?}"),
        };
        let disk = DiskState { full: response.disk_full, stalled: response.disk_stalled };
        links.heard(node, response.clock_ms, disk);
        for answer in response.answers {
            if let Some(waiter) = waiting.lock().remove(&answer.id) {
                let _ = waiter.send(Ok(answer));
            }
        }
    }
}
