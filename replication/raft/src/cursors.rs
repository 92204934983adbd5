//! What the partitions of this node keep of their subscriptions, behind the port of `commitlog`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use meridian_commitlog::{
    CursorBound, CursorError, CursorRefusal, Cursors, DelayedPage, Glance, Mandate, SeekTo, Settled,
    Standing, Tail,
};
use meridian_machine::Command;
use meridian_machine::command::{SettlePart, StartAt, SubscriptionCommand};
use meridian_machine::partition::{
    PartitionMachine, PartitionReply, SettleOutcome, SubscriptionBound, SubscriptionRefusal, SubscriptionView,
};
use meridian_model::limits::DEAD_LETTERS_MAX;
use meridian_model::subscription::{DelayedRange, Settlement};
use meridian_model::{ConsumerId, GroupId, Place, SubscriptionId, UnixMs};

use crate::delayed_index;
use crate::group::Group;
use crate::proposer::ProposeError;
use crate::registry::Registry;
use crate::types::Reply;

/// How long a command waits for a quorum's word. Then nobody knows.
const COMMAND_MAX: Duration = Duration::from_secs(10);

impl From<ProposeError> for CursorError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader { leader } => CursorError::NotLeader { leader },
            ProposeError::Unavailable(why) => CursorError::Unavailable(why),
            ProposeError::Indeterminate(why) => CursorError::Indeterminate(why),
        }
    }
}

impl Registry {
    /// The group, where this node leads it.
    fn led(&self, group: GroupId) -> Result<Arc<Group>, CursorError> {
        let group = self.get(group).ok_or(CursorError::NotLeader { leader: None })?;
        match group.is_leader() {
            true => Ok(group),
            false => Err(CursorError::NotLeader { leader: group.leader() }),
        }
    }
}

fn look<R>(
    group: &Group,
    id: SubscriptionId,
    look: impl FnOnce(&PartitionMachine, SubscriptionView<'_>) -> R,
) -> Result<R, CursorError> {
    let seen = group.view().partition(|machine| machine.subscription(id).map(|sub| look(machine, sub)));
    seen.flatten().ok_or(CursorError::Refused(CursorRefusal::Unknown))
}

fn outbox_room(sub: &SubscriptionView<'_>) -> usize {
    let letters: usize = sub.outbox().map(|(_, destination)| destination.letters.len()).sum();
    DEAD_LETTERS_MAX.saturating_sub(letters)
}

fn standing(machine: &PartitionMachine, sub: SubscriptionView<'_>) -> Standing {
    let delayed_settled = sub.delayed_settled().flat_map(|(deliver_at, settled)| {
        settled.iter().map(move |range| DelayedRange { deliver_at, range })
    });
    Standing {
        subscription: sub.id(),
        rules: sub.rules().clone(),
        dispatch_epoch: machine.dispatch_epoch(),
        owner: sub.owner(),
        owner_epoch: sub.owner_epoch(),
        seek_epoch: sub.seek_epoch(),
        floor: sub.floor(),
        settled: sub.settled().iter().collect(),
        delayed_from: sub.delayed_from(),
        delayed_floor: sub.delayed_floor(),
        delayed_settled: delayed_settled.collect(),
        attempts: sub.attempts().collect(),
        outbox_room: outbox_room(&sub),
        destinations: sub.outbox().map(|(destination, _)| destination).collect(),
        stamp: machine.last_stamp(),
    }
}

fn bound(bound: SubscriptionBound) -> CursorBound {
    match bound {
        SubscriptionBound::Subscriptions => CursorBound::Subscriptions,
        SubscriptionBound::SettledRanges => CursorBound::SettledRanges,
        SubscriptionBound::SettledDelayed => CursorBound::SettledDelayed,
        SubscriptionBound::Attempts => CursorBound::Attempts,
        SubscriptionBound::DeadLetters => CursorBound::DeadLetters,
        SubscriptionBound::Destinations => CursorBound::Destinations,
        SubscriptionBound::Parts => CursorBound::Parts,
        SubscriptionBound::Items => CursorBound::Items,
    }
}

fn refused(refusal: SubscriptionRefusal) -> CursorRefusal {
    match refusal {
        SubscriptionRefusal::Unknown => CursorRefusal::Unknown,
        SubscriptionRefusal::StaleControl { current } => CursorRefusal::StaleControl { current },
        SubscriptionRefusal::StaleSeek { current } => CursorRefusal::StaleSeek { current },
        SubscriptionRefusal::StaleOwner { current } => CursorRefusal::StaleOwner { current },
        SubscriptionRefusal::NotOwned => CursorRefusal::NotOwned,
        SubscriptionRefusal::BeyondEnd { end } => CursorRefusal::BeyondEnd { end },
        SubscriptionRefusal::NotDue { deliver_at } => CursorRefusal::NotDue { deliver_at },
        SubscriptionRefusal::NotDelayed => CursorRefusal::NotDelayed,
        SubscriptionRefusal::NotLastAttempt { count } => CursorRefusal::NotLastAttempt { count },
        SubscriptionRefusal::FloorPassesAttempt => CursorRefusal::FloorPassesAttempt,
        SubscriptionRefusal::WrongRank { least, most } => CursorRefusal::WrongRank { least, most },
        SubscriptionRefusal::NeverSent => CursorRefusal::NeverSent,
        SubscriptionRefusal::Sealed => CursorRefusal::Sealed,
        SubscriptionRefusal::Bound(reached) => CursorRefusal::Bound(bound(reached)),
    }
}

impl Group {
    async fn command(
        &self,
        command: impl FnOnce(UnixMs) -> SubscriptionCommand,
    ) -> Result<PartitionReply, CursorError> {
        let command = Command::from(command(self.stamp()));
        match self.propose(&command, COMMAND_MAX).await? {
            (_, Reply::Partition(PartitionReply::SubscriptionRefused(refusal))) => {
                Err(refused(refusal).into())
            }
            (_, Reply::Partition(reply)) => Ok(reply),
            (_, other) => Err(CursorError::Indeterminate(format!("answered with {other}"))),
        }
    }
}

#[async_trait]
impl Cursors for Registry {
    fn tail(&self, group: GroupId) -> Result<Tail, CursorError> {
        let group = self.led(group)?;
        let delayed = group.view().partition(|machine| machine.delayed_messages());
        let applied = group.view().applied();
        match applied.catching_up {
            true => Err(CursorError::Unavailable("it is catching up".into())),
            false => Ok(Tail {
                start: applied.start,
                end: applied.end,
                stamp: applied.stamp,
                delayed_messages: delayed.unwrap_or_default(),
            }),
        }
    }

    fn glance(&self, group: GroupId, id: SubscriptionId) -> Result<Glance, CursorError> {
        look(&*self.led(group)?, id, |_, sub| Glance {
            seek_epoch: sub.seek_epoch(),
            rules_at: sub.control_index(),
            outbox_room: outbox_room(&sub),
            backlog_messages: sub.backlog().main + sub.backlog().delayed,
        })
    }

    fn standing(&self, group: GroupId, id: SubscriptionId) -> Result<Standing, CursorError> {
        let here = self.get(group).ok_or(CursorError::NotLeader { leader: None })?;
        look(&here, id, standing)
    }

    async fn begin_dispatch(&self, group: GroupId) -> Result<u64, CursorError> {
        let group = self.led(group)?;
        match group.command(|stamp| SubscriptionCommand::BeginDispatch { stamp }).await? {
            PartitionReply::DispatchBegun { epoch } => Ok(epoch),
            other => Err(unexpected(&other)),
        }
    }

    async fn settle(
        &self,
        group: GroupId,
        parts: Vec<(Mandate, Settlement)>,
    ) -> Result<Vec<Result<Settled, CursorRefusal>>, CursorError> {
        let group = self.led(group)?;
        let ids: Vec<SubscriptionId> = parts.iter().map(|(mandate, _)| mandate.subscription).collect();
        let part = |(mandate, settlement): (Mandate, Settlement)| SettlePart {
            id: mandate.subscription,
            seek_epoch: mandate.seek_epoch,
            owner_epoch: mandate.owner_epoch,
            settlement,
        };
        let (stamp, parts) = (group.stamp(), parts.into_iter().map(part).collect());
        let reply = group.command(|_| SubscriptionCommand::Settle { stamp, parts }).await?;
        let PartitionReply::Settled(outcomes) = reply else { return Err(unexpected(&reply)) };
        let settled = |(outcome, id): (SettleOutcome, SubscriptionId)| match outcome {
            SettleOutcome::Applied => {
                let room = look(&group, id, |_, sub| outbox_room(&sub));
                Ok(Settled { stamp, outbox_room: room.unwrap_or_default() })
            }
            SettleOutcome::Refused(refusal) => Err(refused(refusal)),
        };
        Ok(outcomes.into_iter().zip(ids).map(settled).collect())
    }

    async fn own(
        &self,
        group: GroupId,
        id: SubscriptionId,
        owner: Option<ConsumerId>,
    ) -> Result<u64, CursorError> {
        let group = self.led(group)?;
        match group.command(|stamp| SubscriptionCommand::Own { stamp, id, owner }).await? {
            PartitionReply::Owned { epoch } => Ok(epoch),
            other => Err(unexpected(&other)),
        }
    }

    async fn seek(&self, group: GroupId, id: SubscriptionId, to: SeekTo) -> Result<Standing, CursorError> {
        let group = self.led(group)?;
        let to = match to {
            SeekTo::Earliest => StartAt::Earliest,
            SeekTo::Latest => StartAt::Latest,
            SeekTo::Offset(offset) => {
                let found = group.start_at(offset).await;
                found.map_err(|error| CursorError::Unavailable(error.to_string()))?
            }
        };
        match group.command(|stamp| SubscriptionCommand::Seek { stamp, id, to }).await? {
            PartitionReply::Sought { .. } => look(&group, id, standing),
            other => Err(unexpected(&other)),
        }
    }

    async fn delayed(
        &self,
        group: GroupId,
        from: Place,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError> {
        delayed_index::page(&*self.led(group)?, from, through, bytes).await
    }
}

fn unexpected(reply: &PartitionReply) -> CursorError {
    CursorError::Indeterminate(format!("answered with {reply:?}"))
}
