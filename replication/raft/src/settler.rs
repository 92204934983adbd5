//! From what dispatchers decide to Raft entries: parts of all subscriptions of a partition that arrive while a round
//! is in flight go into the next one, so that acks cost a partition one round at a time, whatever their number.

use std::sync::Arc;
use std::time::Duration;

use meridian_machine::Command;
use meridian_machine::command::{PartitionCommand, SettlePart, SubscriptionCommand};
use meridian_machine::partition::{PartitionReply, SettleOutcome};
use meridian_model::limits::{SETTLE_ITEMS_MAX, SETTLE_PARTS_MAX};
use meridian_model::{NodeId, UnixMs};
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot};

use crate::clock_book::ClockBook;
use crate::proposer::ProposeError;
use crate::quiet::Lease;
use crate::types::{CommandBytes, Reply};
use crate::view::GroupView;

/// Parts that may wait for a round. Each dispatcher has one.
const QUEUE_PARTS: usize = 1_024;
/// How long a round may wait for a quorum's word. Then nobody knows; it may still be applied.
const ROUND_MAX: Duration = Duration::from_secs(10);

/// What became of a part, and the stamp of its entry.
pub(crate) type Settled = Result<(UnixMs, SettleOutcome), ProposeError>;

struct Waiting {
    part: SettlePart,
    answer: oneshot::Sender<Settled>,
}

/// The end that dispatchers hold. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Settler {
    queue: mpsc::Sender<Waiting>,
}

impl Settler {
    pub(crate) fn spawn(lease: Lease, view: Arc<GroupView>, clocks: Arc<ClockBook>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_PARTS);
        tokio::spawn(Rounds { lease, view, clocks }.run(waiting));
        Self { queue }
    }

    /// Settles one part. Not cancel safe: it may be proposed although nobody listens any more.
    pub(crate) async fn settle(&self, part: SettlePart) -> Settled {
        let stopped = || ProposeError::Unavailable("the group has stopped".into());
        let (answer, settled) = oneshot::channel();
        self.queue.send(Waiting { part, answer }).await.map_err(|_| stopped())?;
        settled.await.unwrap_or_else(|_| Err(ProposeError::Indeterminate("the group has stopped".into())))
    }
}

struct Rounds {
    lease: Lease,
    view: Arc<GroupView>,
    clocks: Arc<ClockBook>,
}

impl Rounds {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut beyond = None;
        loop {
            let first = match beyond.take() {
                Some(first) => first,
                None => match waiting.recv().await {
                    Some(first) => first,
                    None => return,
                },
            };
            let (round, next) = collect(first, &mut waiting);
            beyond = next;
            self.settle(round).await;
        }
    }

    async fn settle(&self, round: Vec<Waiting>) {
        let (parts, answers): (Vec<_>, Vec<_>) =
            round.into_iter().map(|waiting| (waiting.part, waiting.answer)).unzip();
        let settled = tokio::time::timeout(ROUND_MAX, self.propose(parts)).await;
        let settled = settled
            .unwrap_or_else(|_| Err(ProposeError::Indeterminate("no quorum answered in time".into())));
        match settled {
            Ok((stamp, outcomes)) if outcomes.len() == answers.len() => {
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // A dispatcher that went away does not need the answer.
                    let _ = answer.send(Ok((stamp, outcome)));
                }
            }
            Ok(_) => refuse(answers, &ProposeError::Indeterminate("outcomes of other parts came".into())),
            Err(error) => refuse(answers, &error),
        }
    }

    async fn propose(&self, parts: Vec<SettlePart>) -> Result<(UnixMs, Vec<SettleOutcome>), ProposeError> {
        let voters = self.voters()?;
        self.lease.renew().await;
        let stamp = self.clocks.stamp(self.view.applied().stamp, &voters);
        let command = SubscriptionCommand::Settle { stamp, parts };
        let command = Command::Partition(PartitionCommand::Subscription(command));
        let written = self.lease.raft.client_write(CommandBytes(command.encode())).await;
        match written.map_err(ProposeError::of_write)?.data {
            Reply::Partition(PartitionReply::Settled(outcomes)) => Ok((stamp, outcomes)),
            other => Err(ProposeError::Indeterminate(format!("a settlement was answered with {other}"))),
        }
    }

    /// The nodes that vote, where this replica leads.
    fn voters(&self) -> Result<Vec<NodeId>, ProposeError> {
        let metrics = self.lease.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let node_of = |id: u64| membership.get_node(&id).map(|node| node.node);
        match metrics.current_leader {
            Some(leader) if leader == metrics.id => Ok(membership.voter_ids().filter_map(node_of).collect()),
            leader => Err(ProposeError::NotLeader { leader: leader.and_then(node_of) }),
        }
    }
}

/// What fits into one round, and the part that does not.
fn collect(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut items = first.part.settlement.items();
    let mut round = vec![first];
    while round.len() < SETTLE_PARTS_MAX {
        let Ok(more) = waiting.try_recv() else { break };
        items += more.part.settlement.items();
        if items > SETTLE_ITEMS_MAX {
            return (round, Some(more));
        }
        round.push(more);
    }
    (round, None)
}

fn refuse(answers: Vec<oneshot::Sender<Settled>>, error: &ProposeError) {
    for answer in answers {
        let _ = answer.send(Err(error.clone()));
    }
}
