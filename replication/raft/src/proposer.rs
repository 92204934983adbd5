//! From producer batches to Raft entries: what arrives while rounds are in flight goes into the next one.
//!
//! Throughput is limited by commit rounds, not by bytes, so batches of all producers of a partition share
//! entries. Nobody waits for a timer: a batch that finds no round in flight leaves at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use meridian_commitlog::Share;
use meridian_machine::Command;
use meridian_machine::command::{AppendItem, PartitionCommand};
use meridian_machine::partition::PartitionReply;
use meridian_model::limits::{ENTRY_BATCHES_MAX, ENTRY_BYTES_MAX};
use meridian_model::refusal::AppendOutcome;
use meridian_model::{NodeId, UnixMs};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use tokio::sync::{mpsc, oneshot};

use crate::clock_book::ClockBook;
use crate::quiet::Lease;
use crate::types::{CommandBytes, Reply, TypeConfig};
use crate::view::GroupView;

/// Rounds of one group that may be in flight.
const ROUNDS_MAX: usize = 2;
/// How long a round may wait for a quorum's word. Then its publishers are told that nobody knows; it may still
/// be applied.
const ROUND_MAX: Duration = Duration::from_secs(10);
/// Batches that may wait for a round.
const QUEUE_BATCHES: usize = 4_096;
/// Bytes that one entry collects while others wait behind it.
const ROUND_BYTES: usize = 1024 * 1024;

/// Why a proposal did not get a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not proposed: another replica leads.
    #[error("this replica does not lead the partition")]
    NotLeader {
        /// The node that leads, if known.
        leader: Option<NodeId>,
    },
    /// Not proposed: no quorum, or the group is not ready.
    #[error("the partition is not available: {0}")]
    Unavailable(String),
    /// Proposed, and nobody knows whether it will be applied.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
}

impl ProposeError {
    pub(crate) fn of_write(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        match error {
            RaftError::APIError(error) => Self::of_refusal(error),
            RaftError::Fatal(error) => ProposeError::Indeterminate(error.to_string()),
        }
    }

    fn of_refusal(error: ClientWriteError<TypeConfig>) -> Self {
        match error {
            // Said before the entry was appended, so nothing happened.
            ClientWriteError::ForwardToLeader(forward) => {
                ProposeError::NotLeader { leader: forward.leader_node.map(|node| node.node) }
            }
            other => ProposeError::Indeterminate(other.to_string()),
        }
    }
}

struct Waiting {
    /// Empty once it is in an entry.
    batch: Bytes,
    opened_at: UnixMs,
    _share: Share,
    answer: oneshot::Sender<Result<AppendOutcome, ProposeError>>,
}

/// The end that publishers hold. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Waiting>,
}

impl Proposer {
    pub(crate) fn spawn(lease: Lease, view: Arc<GroupView>, clocks: Arc<ClockBook>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_BATCHES);
        tokio::spawn(Rounds { lease, view, clocks, last_stamp: UnixMs(0) }.run(waiting));
        Self { queue }
    }

    /// Queues one verified batch. The outcome arrives on the receiver once its entry is applied on a quorum's
    /// word. Batches queued in order are proposed in order. Waits while the queue is full.
    ///
    /// Cancel safe until it returns; afterwards the batch is proposed whether or not anyone listens, and its
    /// share is held until it is answered.
    pub async fn append(
        &self,
        batch: Bytes,
        opened_at: UnixMs,
        share: Share,
    ) -> Result<oneshot::Receiver<Result<AppendOutcome, ProposeError>>, ProposeError> {
        let (answer, outcome) = oneshot::channel();
        let sent = self.queue.send(Waiting { batch, opened_at, _share: share, answer }).await;
        sent.map_err(|_| ProposeError::Unavailable("the group has stopped".into()))?;
        Ok(outcome)
    }
}

struct Rounds {
    lease: Lease,
    view: Arc<GroupView>,
    clocks: Arc<ClockBook>,
    last_stamp: UnixMs,
}

type Written = Result<ClientWriteResponse<TypeConfig>, ClientWriteError<TypeConfig>>;

impl Rounds {
    async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut rounds = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = rounds.next(), if !rounds.is_empty() => {}
                first = waiting.recv(), if rounds.len() < ROUNDS_MAX => {
                    let Some(first) = first else { break };
                    let batch = collect(first, &mut waiting);
                    if let Some(round) = self.propose(batch).await {
                        rounds.push(round);
                    }
                }
            }
        }
        while rounds.next().await.is_some() {}
    }

    /// Starts one round; the future answers everybody in it.
    async fn propose(&mut self, mut batch: Vec<Waiting>) -> Option<impl Future<Output = ()> + use<>> {
        let (voters, is_leader, leader) = {
            let metrics = self.lease.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            let node_of = |id: u64| membership.get_node(&id).map(|node| node.node);
            let voters: Vec<NodeId> = membership.voter_ids().filter_map(node_of).collect();
            (voters, metrics.current_leader == Some(metrics.id), metrics.current_leader.and_then(node_of))
        };
        if !is_leader {
            answer_all(batch, |_| Err(ProposeError::NotLeader { leader }));
            return None;
        }
        self.lease.renew().await;
        let stamp = self.clocks.stamp(self.view.applied().stamp.max(self.last_stamp), &voters);
        self.last_stamp = stamp;
        // The entry holds the bytes from here on; whoever waits only waits.
        let item =
            |waiting: &mut Waiting| AppendItem::new(std::mem::take(&mut waiting.batch), waiting.opened_at);
        let items = batch.iter_mut().map(item).collect();
        let entry = CommandBytes(Command::Partition(PartitionCommand::Append { stamp, items }).encode());
        let (responder, written) = openraft::impls::OneshotResponder::new_pair();
        let sent = self.lease.raft.write(entry).responder(responder).await;
        if let Err(error) = sent {
            answer_all(batch, |_| Err(ProposeError::Unavailable(error.to_string())));
            return None;
        }
        Some(async move {
            let why = match tokio::time::timeout(ROUND_MAX, written).await {
                Ok(Ok(written)) => return settle(batch, written),
                Ok(Err(_)) => "the group stopped",
                Err(_) => "no quorum answered in time",
            };
            answer_all(batch, |_| Err(ProposeError::Indeterminate(why.into())));
        })
    }
}

fn collect(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
    let mut bytes = first.batch.len();
    let mut batch = vec![first];
    const _: () = assert!(ROUND_BYTES + meridian_model::limits::BATCH_BYTES_MAX <= ENTRY_BYTES_MAX);
    while bytes < ROUND_BYTES && batch.len() < ENTRY_BATCHES_MAX {
        let Ok(more) = waiting.try_recv() else { break };
        bytes += more.batch.len();
        batch.push(more);
    }
    batch
}

fn answer_all(batch: Vec<Waiting>, result: impl Fn(usize) -> Result<AppendOutcome, ProposeError>) {
    for (number, waiting) in batch.into_iter().enumerate() {
        // A publisher that went away does not need the answer.
        let _ = waiting.answer.send(result(number));
    }
}

fn settle(batch: Vec<Waiting>, written: Written) {
    match written {
        Ok(response) => match response.data {
            Reply::Partition(PartitionReply::Appended(outcomes)) if outcomes.len() == batch.len() => {
                answer_all(batch, |number| Ok(outcomes[number].clone()));
            }
            other => {
                let why = format!("an append was answered with {other}");
                answer_all(batch, |_| Err(ProposeError::Indeterminate(why.clone())));
            }
        },
        Err(error) => {
            let error = ProposeError::of_refusal(error);
            answer_all(batch, |_| Err(error.clone()));
        }
    }
}
