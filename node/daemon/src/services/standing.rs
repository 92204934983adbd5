//! Subscriptions in the partitions of a topic: how they stand, and going elsewhere, wherever the partition is led.

mod skip;

use std::sync::Arc;
use std::time::Duration;

use meridian_commitlog::ReadError;
use meridian_machine::command::{StartAt, SubscriptionCommand};
use meridian_machine::control::BeginAt;
use meridian_machine::partition::{PartitionMachine, PartitionReply, SubscriptionRefusal, SubscriptionView};
use meridian_model::topology::Placement;
use meridian_model::{GroupId, NodeId, Offset, SubscriptionId, TopicName, UnixMs};
use meridian_proto::admin::{MovedPartition, SubscriptionStanding};
use meridian_proto::internal as pb;
use meridian_proto::internal::move_subscription_request::To;
use meridian_proto::v1::{self, ErrorReason, Failure};
use meridian_publish::Leader;
use meridian_raft::network::Links;
use meridian_raft::{Group, ProposeError, Registry};
use tokio::time::Instant;

use super::answers::{of_read, of_route};
use crate::arrival::never_sent;
use crate::routes::Routing;

/// How long a leader is looked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long another node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// Settled ranges that are told of; how many there are is told too.
const RANGES_TOLD_MAX: usize = 64;

/// The way to the partitions' subscriptions.
pub(crate) struct Standings {
    pub(crate) routing: Arc<Routing>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) links: Arc<Links>,
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// Nothing was done. Who leads, if that is known.
    NotLeader(Option<NodeId>),
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Unanswered::Failed(failure)
    }
}

impl From<ReadError> for Unanswered {
    fn from(error: ReadError) -> Self {
        Unanswered::Failed(of_read(&error))
    }
}

impl From<ProposeError> for Unanswered {
    fn from(error: ProposeError) -> Self {
        let reason = match error {
            ProposeError::NotLeader { leader } => return Unanswered::NotLeader(leader),
            ProposeError::Unavailable(_) => ErrorReason::Unavailable,
            ProposeError::Indeterminate(_) => ErrorReason::Indeterminate,
        };
        Unanswered::Failed(Failure::new(reason, error.to_string()))
    }
}

/// Where a subscription is to begin or go on; behind the newest message where nothing is said.
pub(crate) fn begin_at(start: Option<v1::SubscriptionStart>) -> BeginAt {
    use v1::subscription_start::At;
    match start.and_then(|start| start.at) {
        Some(At::Earliest(true)) => BeginAt::Earliest,
        Some(At::TimeMs(time)) => BeginAt::Time(UnixMs(time)),
        Some(At::Offset(offset)) => BeginAt::Offset(Offset(offset)),
        Some(At::Latest(_) | At::Earliest(false)) | None => BeginAt::Latest,
    }
}

impl Standings {
    /// How a subscription stands in a partition, as its leader knows it. `None`: the partition does not know it.
    pub(crate) async fn of(
        &self,
        topic: &TopicName,
        partition: u32,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionStanding>, Failure> {
        self.at_leader(topic, partition, PATIENCE, |leader, placement| self.ask(leader, placement, id)).await
    }

    /// The same, asked once: who leads may not be known at the moment.
    pub(crate) async fn of_now(
        &self,
        topic: &TopicName,
        partition: u32,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionStanding>, Failure> {
        let ask = |leader, placement| self.ask(leader, placement, id);
        self.at_leader(topic, partition, Duration::ZERO, ask).await
    }

    /// Moves a subscription in a partition. What is not certain is `INDETERMINATE`.
    pub(crate) async fn move_to(
        &self,
        topic: &TopicName,
        partition: u32,
        id: SubscriptionId,
        to: &To,
    ) -> Result<MovedPartition, Failure> {
        let ask = |leader, placement| self.ask_to_move(leader, placement, id, to);
        let moved = self.at_leader(topic, partition, PATIENCE, ask).await;
        moved
            .map(|moved| MovedPartition { partition, ..moved })
            .map_err(|why| why.with("partition", partition))
    }

    /// Asks whoever leads the partition, as long as nobody does and patience lasts.
    async fn at_leader<R, A>(
        &self,
        topic: &TopicName,
        partition: u32,
        patience: Duration,
        ask: impl Fn(NodeId, GroupId) -> A,
    ) -> Result<R, Failure>
    where
        A: Future<Output = Result<R, Unanswered>>,
    {
        let deadline = Instant::now() + patience;
        loop {
            let placement = self.routing.placement(topic, partition).map_err(|error| of_route(&error))?;
            let leader = match self.routing.leader_of(&placement) {
                Leader::Here => Some(self.routing.own),
                Leader::Elsewhere(node) => Some(node),
                Leader::Unknown => None,
            };
            if let Some(leader) = leader {
                match ask(leader, placement.group).await {
                    Ok(answer) => return Ok(answer),
                    Err(Unanswered::Failed(failure)) => return Err(failure),
                    Err(Unanswered::NotLeader(hint)) => self.learn(&placement, leader, hint),
                }
            }
            if Instant::now() >= deadline {
                let why = format!("partition {partition} has no leader at the moment; try again");
                return Err(Failure::new(ErrorReason::Unavailable, why));
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    fn learn(&self, placement: &Placement, asked: NodeId, hint: Option<NodeId>) {
        match hint {
            Some(leader) => self.routing.told(placement.group, leader),
            None => self.routing.failed(placement.group, asked),
        }
    }

    /// The group, if it is led here.
    fn led(&self, group: GroupId) -> Result<Arc<Group>, Unanswered> {
        let here = self.registry.get(group).ok_or(Unanswered::NotLeader(None))?;
        match here.is_leader() {
            true => Ok(here),
            false => Err(Unanswered::NotLeader(here.leader())),
        }
    }

    async fn ask(
        &self,
        leader: NodeId,
        group: GroupId,
        id: SubscriptionId,
    ) -> Result<Option<SubscriptionStanding>, Unanswered> {
        if leader == self.routing.own {
            return self.look(group, id);
        }
        let request =
            pb::GetStandingRequest { from_node: self.routing.own.0, group: group.0, subscription: id.0 };
        let mut client = self.links.client(leader).map_err(|_| Unanswered::NotLeader(None))?;
        let answer = tokio::time::timeout(ANSWER_MAX, client.get_standing(request)).await;
        let answer = answer.map_err(|_| Unanswered::NotLeader(None))?;
        let answer = answer.map_err(|_| Unanswered::NotLeader(None))?.into_inner();
        match answer.not_leader {
            true => Err(Unanswered::NotLeader(answer.leader_node.map(NodeId))),
            false => Ok(answer.standing),
        }
    }

    fn look(&self, group: GroupId, id: SubscriptionId) -> Result<Option<SubscriptionStanding>, Unanswered> {
        let (group, own) = (self.led(group)?, self.routing.own);
        let found = group
            .view()
            .partition(|machine| machine.subscription(id).map(|view| standing(own, machine, &view)));
        Ok(found.flatten())
    }

    /// Answers another node.
    pub(crate) fn serve_standing(&self, request: &pb::GetStandingRequest) -> pb::GetStandingResponse {
        match self.look(GroupId(request.group), SubscriptionId(request.subscription)) {
            Ok(standing) => pb::GetStandingResponse { standing, ..Default::default() },
            Err(Unanswered::NotLeader(leader)) => pb::GetStandingResponse {
                not_leader: true,
                leader_node: leader.map(|node| node.0),
                ..Default::default()
            },
            Err(Unanswered::Failed(_)) => pb::GetStandingResponse { not_leader: true, ..Default::default() },
        }
    }

    async fn ask_to_move(
        &self,
        leader: NodeId,
        group: GroupId,
        id: SubscriptionId,
        to: &To,
    ) -> Result<MovedPartition, Unanswered> {
        if leader == self.routing.own {
            return self.move_here(group, id, to).await;
        }
        let request = pb::MoveSubscriptionRequest {
            from_node: self.routing.own.0,
            group: group.0,
            subscription: id.0,
            to: Some(*to),
        };
        let unknown = || Failure::new(ErrorReason::Indeterminate, format!("{leader} did not answer in time"));
        let mut client = self.links.client(leader).map_err(|_| Unanswered::NotLeader(None))?;
        let answer = match tokio::time::timeout(2 * PATIENCE, client.move_subscription(request)).await {
            Err(_) => return Err(unknown().into()),
            Ok(Err(status)) if never_sent(&status) => return Err(Unanswered::NotLeader(None)),
            Ok(Err(_)) => return Err(unknown().into()),
            Ok(Ok(answer)) => answer.into_inner(),
        };
        match (answer.not_leader, answer.failure, answer.moved) {
            (true, ..) => Err(Unanswered::NotLeader(answer.leader_node.map(NodeId))),
            (false, Some(failure), _) => Err(failure.into()),
            (false, None, Some(moved)) => Ok(moved),
            (false, None, None) => Err(unknown().into()),
        }
    }

    /// Does what another node asks for.
    pub(crate) async fn serve_move(
        &self,
        request: pb::MoveSubscriptionRequest,
    ) -> pb::MoveSubscriptionResponse {
        let (group, id) = (GroupId(request.group), SubscriptionId(request.subscription));
        let to = request.to.unwrap_or(To::SkipMessages(0));
        match self.move_here(group, id, &to).await {
            Ok(moved) => pb::MoveSubscriptionResponse { moved: Some(moved), ..Default::default() },
            Err(Unanswered::NotLeader(leader)) => pb::MoveSubscriptionResponse {
                not_leader: true,
                leader_node: leader.map(|node| node.0),
                ..Default::default()
            },
            Err(Unanswered::Failed(failure)) => {
                pb::MoveSubscriptionResponse { failure: Some(failure), ..Default::default() }
            }
        }
    }

    async fn move_here(
        &self,
        group: GroupId,
        id: SubscriptionId,
        to: &To,
    ) -> Result<MovedPartition, Unanswered> {
        let group = self.led(group)?;
        match to {
            To::Start(start) => {
                let to = start_at(&group, begin_at(Some(*start))).await?;
                seek(&group, id, to).await
            }
            To::SkipMessages(messages) => skip::skip(&group, id, *messages).await,
        }
    }
}

/// The place that is meant, which must be one of the log.
async fn start_at(group: &Group, to: BeginAt) -> Result<StartAt, Unanswered> {
    match to {
        BeginAt::Earliest => Ok(StartAt::Earliest),
        BeginAt::Latest => Ok(StartAt::Latest),
        BeginAt::Time(time) => Ok(group.start_at_time(time).await?),
        BeginAt::Offset(offset) => {
            let applied = group.view().applied();
            if offset < applied.start || offset > applied.end {
                let (start, end) = (applied.start, applied.end);
                return Err(of_read(&ReadError::OutOfRange { offset, start, end }).into());
            }
            Ok(group.start_at(offset).await?)
        }
    }
}

async fn seek(group: &Group, id: SubscriptionId, to: StartAt) -> Result<MovedPartition, Unanswered> {
    let command = SubscriptionCommand::Seek { stamp: group.stamp(), id, to };
    match group.propose_subscription(command, PATIENCE).await? {
        PartitionReply::Sought { seek_epoch, floor } => {
            Ok(MovedPartition { floor: floor.0, seek_epoch, ..Default::default() })
        }
        PartitionReply::SubscriptionRefused(refusal) => Err(of_refusal(&refusal).into()),
        other => {
            Err(Failure::new(ErrorReason::Internal, format!("a seek was answered with {other:?}")).into())
        }
    }
}

/// What whoever asked is told. The control group knows the subscription: a partition that does not was not told yet.
fn of_refusal(refusal: &SubscriptionRefusal) -> Failure {
    let said = refusal.to_string();
    match refusal {
        SubscriptionRefusal::Unknown | SubscriptionRefusal::WrongRank { .. } => {
            Failure::new(ErrorReason::Unavailable, format!("{said} at the moment; try again"))
        }
        SubscriptionRefusal::BeyondEnd { end } => {
            Failure::new(ErrorReason::OutOfRange, said).with("end", end).with("field", "offset")
        }
        SubscriptionRefusal::Sealed => Failure::new(ErrorReason::TopicSealed, said),
        SubscriptionRefusal::Bound(_) => Failure::new(ErrorReason::Limit, said),
        SubscriptionRefusal::StaleControl { .. }
        | SubscriptionRefusal::StaleSeek { .. }
        | SubscriptionRefusal::StaleOwner { .. } => Failure::new(ErrorReason::Conflict, said),
        _ => Failure::new(ErrorReason::Internal, said),
    }
}

fn standing(own: NodeId, machine: &PartitionMachine, view: &SubscriptionView<'_>) -> SubscriptionStanding {
    let backlog = view.backlog();
    let told = view.settled().iter().take(RANGES_TOLD_MAX);
    SubscriptionStanding {
        leader_node: own.0,
        control_index: view.control_index(),
        floor: view.floor().0,
        settled: told.map(|range| v1::OffsetRange { from: range.from.0, to: range.to.0 }).collect(),
        settled_ranges: view.settled().ranges() as u64,
        log_start: machine.start().0,
        log_end: machine.end().0,
        backlog_messages: backlog.main,
        delayed_messages: backlog.delayed,
        delayed_at_most: !backlog.is_exact,
        seek_epoch: view.seek_epoch(),
        failed_messages: view.attempts().count() as u64,
        dead_letters: view.outbox().map(|(_, to)| to.letters.len() as u64).sum(),
        expired_messages: view.expired(),
        dropped_messages: view.dropped().map_or(0, |dropped| dropped.messages),
        owner: view.owner().map(|owner| owner.0.to_vec().into()).unwrap_or_default(),
        owner_epoch: view.owner_epoch(),
    }
}
